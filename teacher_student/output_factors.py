"""Factors of the output that depend on the width: 1, 1/K (mean field) and 1/sqrt(K) (neural tangent kernel)."""

from __future__ import annotations

import math
from collections.abc import Callable

from teacher_student.errors import refuse

OUTPUT_SCALINGS: dict[str, Callable[[int], float]] = {
    "1": lambda n_units: 1.0,
    "1/K": lambda n_units: 1.0 / n_units,
    "1/sqrt(K)": lambda n_units: 1.0 / math.sqrt(n_units),
}


class Applied(str):
    """The name of a factor that the numbers of a problem contain already."""


def check_output_scaling(output_scaling: object) -> str:
    """Return `output_scaling`; raises `InvalidInput` unless it is the name of one."""
    if not isinstance(output_scaling, str) or output_scaling not in OUTPUT_SCALINGS:
        refuse("output_scaling", output_scaling, "one of " + ", ".join(f'"{name}"' for name in OUTPUT_SCALINGS))
    return output_scaling


def check_applied(output_scaling: object) -> None:
    """Raise `InvalidInput` unless this is the name of a factor that changes nothing any more: "1", or one that is `Applied`."""
    name = check_output_scaling(output_scaling)
    if name != "1" and not isinstance(name, Applied):
        refuse("output_scaling", name, f'"1" here, and the factor by ts.with_output_scaling(problem, "{name}")')
