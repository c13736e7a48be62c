"""What kernels know of a learning rule, of the teacher and of the activations, as tuples that travel together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.np.unsafe import ndarray

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.layout import RATES, Eta
from teacher_student.rates import rate_at
from teacher_student.tuple_types import remember_type

if TYPE_CHECKING:
    from teacher_student.order_parameters import OrderParameters
    from teacher_student.problem import LearningRule


N_RATES = len(RATES)
# To mypy it is a function of other arguments.
_as_tuple: Any = ndarray.to_fixed_tuple


class Rule(NamedTuple):
    """A learning rule: rates as `teacher_student.rates` reads them, (4, width), and the numbers of `LearningRule`.

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


remember_type(Rule)
remember_type(Units)


def rule_bundle(rule: LearningRule) -> Rule:
    """Return what kernels know of `rule`; momentum at fixed beta is no part of it."""
    return Rule(rule.schedules, rule.noise, rule.weight_decay, rule.batch_size, rule.friction or 0.0, rule.spherical)


def teacher_bundle(state: OrderParameters) -> Teacher:
    """Return the teacher of `state`, as arrays of its own that can be written: to the compiler others are of another type."""
    return Teacher(state.T[np.newaxis].copy(), state.v_teacher.copy())


@njit(cache=True, nogil=True)
def eta_at(schedules: FloatArray, alpha: float) -> Eta:
    """Return the rates at the time `alpha`."""
    rates = np.empty(N_RATES)
    for i in range(N_RATES):
        rates[i] = rate_at(schedules[i], alpha)
    return Eta(*_as_tuple(rates, N_RATES))
