"""What a leap is made of, for compiled code: the theory's right-hand side of a problem, on flat states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.kernels import njit
from teacher_student.problem import Problem
from teacher_student.theory.assembly import model_of
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.theory.equations import Equations, equations_of, within
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side

# Relative error of a step of the drift. Fluctuations at N = 1e12 are still a hundred times larger.
_TOLERANCE = 1e-8


class LeapModel(NamedTuple):
    """The equations of a problem and those without rescaling of the modes, and the drift's relative error in a step."""

    equations: Any
    free: Any
    tolerance: float


def drift_tolerance(problem: Problem) -> float:
    """Return the relative error of the drift of `problem` that a step may have.

    Raises `InvalidInput` where g' has jumps and its averages are sampled.
    """
    rule, coordinates = problem.rule, independent_coordinates(problem.initial, problem.rule)
    drift, start = right_hand_side(problem.initial, rule, coordinates), coordinates.start[coordinates.moving]
    if not isinstance(drift, SampledDrift) or len(start) == 0:
        return _TOLERANCE
    if drift.is_rough(start):
        names = f"{rule.activation} (teacher: {rule.teacher_activation or rule.activation})"
        refuse("activation", names, "for leaps activations whose g' has no jumps, or with Gaussian averages in closed form")
    return max(_TOLERANCE, 0.01 * min(1.0, drift.relative_error(start)))


def leap_model(problem: Problem, tolerance: float) -> LeapModel:
    """Return the model of `problem`, with work space of its own, for a `tolerance` of the drift."""
    state, rule, coordinates = problem.initial, problem.rule, independent_coordinates(problem.initial, problem.rule)
    drift = right_hand_side(state, rule, coordinates)
    points = np.concatenate(drift.point_sets) if isinstance(drift, SampledDrift) else None
    model = model_of(state, rule, coordinates.sizes, points)
    equations = equations_of(model, coordinates)
    return LeapModel(equations, equations._replace(model=model._replace(rule=model.rule._replace(spherical=False))), tolerance)


@njit(cache=True, nogil=True)
def slope_of(equations: Equations, alpha: float, full: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha of the flat state `full` at the time `alpha` into `out`, one for all entries of a coordinate."""
    equations.right_hand_side(equations.model, within(equations, alpha), full, out)
    for i in range(len(equations.places)):
        out[equations.places[i]] = out[equations.moving[equations.sources[i]]] * equations.multiples[i]
