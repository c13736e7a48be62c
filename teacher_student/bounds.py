"""The bounds beyond which a run has diverged, the same for theory and simulation."""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import BoolArray, FloatArray
from teacher_student.order_parameters import OrderParameters, unit_overlaps

# With a bounded activation the norms of a student above its largest stable rate grow for ever, as (eta^2 alpha)^(2/3), without
# overflow. To learn a teacher of norm T a student never needs a norm a thousand times larger.
LARGEST_RATIO = 1e3


def bounds_of(initial: OrderParameters) -> tuple[float, float]:
    """Return the largest Q and v that a run from `initial` may reach."""
    largest_Q = LARGEST_RATIO * max(1.0, float(initial.T.max()), float(initial.Q.max()))
    return largest_Q, LARGEST_RATIO * max(1.0, float(np.abs(initial.v_teacher).max()), float(np.abs(initial.v).max()))


def first_out_of_bounds(factors: dict[str, FloatArray], initial: OrderParameters) -> tuple[str, float] | None:
    """Return the name and value of an order parameter that exceeds its bound, or None.

    `factors` holds Q_modes, R_modes, sigma, xi_out and v of one state. The bound on Q is `LARGEST_RATIO` times the largest of
    1, T and the initial Q; that on v the same with v_teacher and the initial v.
    """
    for name, array in factors.items():
        broken = ~np.isfinite(array)
        if broken.any():
            return _label(name, broken), float(array[broken].flat[0])
    Q, _ = unit_overlaps(factors)
    largest_Q, largest_v = bounds_of(initial)
    for name, array, largest in (("Q", Q, largest_Q), ("v", factors["v"], largest_v)):
        beyond = ~(np.abs(array) <= largest)
        if beyond.any():
            return _label(name, beyond), float(array[beyond].flat[0])
    return None


def _label(name: str, where: BoolArray) -> str:
    return f"{name}[{','.join(str(index) for index in np.argwhere(where)[0])}]"
