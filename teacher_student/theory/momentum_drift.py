"""The right-hand side of the ODEs with heavy-ball momentum and friction, in compiled code.

With velocities p of the input modes and s of every other factor theta, one step is

    p <- (1 - gamma / N) p + h x / sqrt(N) - eta_xi_in kappa xi_in / N,    xi_in <- xi_in + p / N,
    s <- (1 - gamma / N) s - eta_theta / N (gradient + kappa theta),       theta <- theta + s / N,    h = -eta_xi_in delta d.

The velocities' fields pi = p.x / sqrt(N) are Gaussian like all others, cov(pi, u) = C_velocities^T and cov(pi, rho) =
R_velocities, so that Stein's lemma gives <h_a pi_b> as it gives <h_a u_b>. The state is one vector: that of
`teacher_student.theory.drift`, then Q_velocities, R_velocities and the velocities of sigma, xi_out and v in the same layout,
then C_velocities (P P).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.theory.drift import mean_forces


@njit(cache=True)
def velocity_flow(
    y: FloatArray, hz: FloatArray, hh: FloatArray, slow: FloatArray, M: int, friction: float, out: FloatArray
) -> None:
    """Write dy/dalpha into `out`, both in the module's layout.

    `hz` (P, P + M + P), `hh` and `slow` are what `teacher_student.theory.drift.mean_forces` writes, z being (u, rho, pi).
    """
    P = len(hh)
    end_R = P * P + P * M
    n = end_R + len(slow)
    V, C = y[n : n + P * P].reshape((P, P)), y[2 * n :].reshape((P, P))
    for a in range(P):
        for b in range(P):
            out[a * P + b] = C[a, b] + C[b, a]
            out[n + a * P + b] = hz[a, P + M + b] + hz[b, P + M + a] + hh[a, b] - 2.0 * friction * V[a, b]
            out[2 * n + a * P + b] = V[a, b] + hz[b, a] - friction * C[a, b]
        for m in range(M):
            i = P * P + a * M + m
            out[i] = y[n + i]
            out[n + i] = hz[a, P + m] - friction * y[n + i]
    for i in range(len(slow)):
        out[end_R + i] = y[n + end_R + i]
        out[n + end_R + i] = slow[i] - friction * y[n + end_R + i]


@njit(cache=True)
def velocity_drift(
    averages: Any,
    parameters: FloatArray,
    y: FloatArray,
    T: FloatArray,
    v_teacher: FloatArray,
    K: int,
    P: int,
    rates: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    friction: float,
    out: FloatArray,
) -> None:
    """Write dy/dalpha into `out`, both in the module's layout; other arguments as in `teacher_student.theory.drift`."""
    M = len(v_teacher)
    end_Q = P * P
    end_R = end_Q + P * M
    end_sigma = end_R + P
    end_xi_out = end_sigma + K * P
    n = end_xi_out + K
    with_modes = np.empty((P + M + P, P))
    with_modes[:P] = y[:end_Q].reshape((P, P))
    with_modes[P : P + M] = y[end_Q:end_R].reshape((P, M)).T
    with_modes[P + M :] = y[2 * n :].reshape((P, P)).T
    with_teacher = np.empty((P + M + P, M))
    with_teacher[:P] = y[end_Q:end_R].reshape((P, M))
    with_teacher[P : P + M] = T
    with_teacher[P + M :] = y[n + end_Q : n + end_R].reshape((P, M))
    hz, hh, slow = np.empty((P, P + M + P)), np.empty((P, P)), np.empty(P + K * P + K)
    mean_forces(
        averages,
        parameters,
        with_modes,
        with_teacher,
        y[end_R:end_sigma],
        y[end_sigma:end_xi_out].reshape((K, P)),
        y[end_xi_out:n],
        v_teacher,
        rates,
        noise,
        weight_decay,
        batch_size,
        hz,
        hh,
        slow,
    )
    velocity_flow(y, hz, hh, slow, M, friction, out)
