"""The right-hand side at a time of the schedules, as a function pointer, which the import compiles or finds compiled."""

from __future__ import annotations

from typing import Any

from teacher_student.arrays import FloatArray
from teacher_student.kernels import cfunc
from teacher_student.schedules import rates_at
from teacher_student.theory.drift import drift, keep_lengths
from teacher_student.theory.flow import DYNAMICS


def _dynamics(
    averages: Any,
    parameters: FloatArray,
    schedules: FloatArray,
    alpha: float,
    y: FloatArray,
    T: FloatArray,
    v_teacher: FloatArray,
    K: int,
    P: int,
    noise: float,
    weight_decay: float,
    batch_size: int,
    spherical: bool,
    friction: float,
    rates: FloatArray,
    out: FloatArray,
) -> None:
    """Write dy/dalpha of the full state `y` at the time `alpha` into `out`; `rates` (4,) become those of that time.

    Without velocities there is nothing that `friction` acts on.
    """
    rates_at(schedules, alpha, rates)
    drift(averages, parameters, y, T, v_teacher, K, P, rates, noise, weight_decay, batch_size, out)
    if spherical:
        keep_lengths(y, P, len(v_teacher), out)


dynamics_pointer = cfunc(DYNAMICS, cache=True)(_dynamics)
