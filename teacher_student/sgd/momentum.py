"""Heavy-ball momentum: how velocities step, for SGD on weights and the overlap chain alike."""

from __future__ import annotations

from dataclasses import dataclass

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit


@dataclass(frozen=True)
class Momentum:
    """A velocity becomes `keep` times itself plus the step of plain SGD, and its factor moves by `scale` times it.

    At fixed beta these are beta and 1, with friction gamma they are 1 - gamma / N and 1 / N. In the latter case velocities are of
    order one and `slow`, part of the macroscopic state.
    """

    keep: float
    scale: float
    slow: bool


def measured(
    gram: FloatArray,
    with_teacher: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    slow_velocity: FloatArray,
    momentum: Momentum,
) -> dict[str, FloatArray]:
    """Return the state by the names of a trajectory, with velocities if they are slow.

    `gram` (2 P, 2 P) holds the overlaps of the rows (xi_in, p), `with_teacher` (2 P, M) those with the teacher's units.
    """
    K, P = xi_out.shape
    state = {
        "Q_modes": gram[:P, :P].copy(),
        "R_modes": with_teacher[:P].copy(),
        "sigma": sigma.copy(),
        "xi_out": xi_out.copy(),
        "v": v.copy(),
    }
    if not momentum.slow:
        return state
    return {
        **state,
        "Q_velocities": gram[P:, P:].copy(),
        "R_velocities": with_teacher[P:].copy(),
        "sigma_velocity": slow_velocity[:P].copy(),
        "xi_out_velocity": slow_velocity[P : P + K * P].reshape(K, P).copy(),
        "v_velocity": slow_velocity[P + K * P :].copy(),
        "C_velocities": gram[:P, P:].copy(),
    }


@njit(cache=True, nogil=True)
def step_slow_velocities(
    slow: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    velocity: FloatArray,
    rates: FloatArray,
    weight_decay: float,
    batch_size: int,
    n_inputs: int,
    keep: float,
    scale: float,
) -> None:
    """Step sigma, xi_out, v and their `velocity` (P + K P + K) along the mean of the summed gradients `slow` and clear these.

    Arguments as in `teacher_student.sgd.gradient.step_slow_factors` and `Momentum`.
    """
    K, P = xi_out.shape
    for i in range(len(slow)):
        if i < P:
            rate, value = rates[1], sigma[i]
        elif i < P + K * P:
            rate, value = rates[2], xi_out[(i - P) // P, (i - P) % P]
        else:
            rate, value = rates[3], v[i - P - K * P]
        velocity[i] = keep * velocity[i] - rate / n_inputs * (slow[i] / batch_size + weight_decay * value)
        value += scale * velocity[i]
        if i < P:
            sigma[i] = value
        elif i < P + K * P:
            xi_out[(i - P) // P, (i - P) % P] = value
        else:
            v[i - P - K * P] = value
    slow[:] = 0.0
