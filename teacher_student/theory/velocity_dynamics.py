"""The right-hand side with friction at a time of the schedules, as a function pointer like that of `dynamics`."""

from __future__ import annotations

from typing import Any

from teacher_student.arrays import FloatArray
from teacher_student.kernels import cfunc
from teacher_student.schedules import rates_at
from teacher_student.theory.flow import DYNAMICS
from teacher_student.theory.momentum_drift import velocity_drift


def _velocity_dynamics(
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
    """Write dy/dalpha of the full state `y`, velocities included, at the time `alpha` into `out`; rules are never `spherical`."""
    rates_at(schedules, alpha, rates)
    velocity_drift(averages, parameters, y, T, v_teacher, K, P, rates, noise, weight_decay, batch_size, friction, out)


velocity_dynamics_pointer = cfunc(DYNAMICS, cache=True)(_velocity_dynamics)
