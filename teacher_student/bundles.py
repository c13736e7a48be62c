"""What kernels know of a learning rule, of the teacher and of the activations, as tuples that travel together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teacher_student.kernels import njit
from teacher_student.schedules import rate_at

if TYPE_CHECKING:
    from teacher_student.order_parameters import OrderParameters
    from teacher_student.problem import LearningRule

FloatArray = npt.NDArray[np.float64]


class Rule(NamedTuple):
    """A learning rule: rates as `teacher_student.schedules` reads them, (4, width), and the numbers of `LearningRule`.

    `friction` is 0 for a rule without velocities.
    """

    schedules: Any
    noise: float
    weight_decay: float
    batch_size: int
    friction: float
    spherical: bool


class Teacher(NamedTuple):
    """The teacher's overlaps T (blocks, M, M), one matrix for each block of input directions, and output weights v (M,)."""

    T: Any
    v: Any


class Units(NamedTuple):
    """The student's g and g' and the teacher's g, as compiled functions of one number."""

    g: Any
    g_prime: Any
    g_teacher: Any


class Eta(NamedTuple):
    """The rates at one time: of the input modes per step / sqrt(N), of the slow factors per step / N."""

    xi_in: float
    sigma: float
    xi_out: float
    v: float


def rule_bundle(rule: LearningRule) -> Rule:
    """Return what kernels know of `rule`; momentum at fixed beta is no part of it."""
    return Rule(rule.schedules, rule.noise, rule.weight_decay, rule.batch_size, rule.friction or 0.0, rule.spherical)


def teacher_bundle(state: OrderParameters) -> Teacher:
    """Return the teacher of `state`, as arrays of its own that can be written: to the compiler others are of another type."""
    return Teacher(state.T[np.newaxis].copy(), state.v_teacher.copy())


@njit(cache=True, nogil=True)
def eta_at(schedules: FloatArray, alpha: float) -> Eta:
    """Return the rates at the time `alpha`."""
    return Eta(
        rate_at(schedules[0], alpha), rate_at(schedules[1], alpha), rate_at(schedules[2], alpha), rate_at(schedules[3], alpha)
    )
