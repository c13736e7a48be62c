"""What heavy-ball momentum adds to the linear noise: increments of slow velocities, and corrections of order 1/N to the mean.

With friction the corrections are those of the exact step: see `friction_correction`. At fixed beta, velocities p are of order
N^(-1/2) and fast. The variables xi_in + beta / (1 - beta) p, and the same for every other factor, move as under plain SGD at the
rates eta / (1 - beta) but with the gradient at the state itself, which lags behind them. By as much, on average, and by what it
correlates their fields with the gradient, means are off those of plain SGD at order 1/N: see `momentum_correction`.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.problem import LearningRule
from teacher_student.theory.drift import flow
from teacher_student.theory.momentum_drift import velocity_flow

_STATE = ("Q_modes", "R_modes", "sigma", "xi_out", "v")


def decay_forces(factors: dict[str, FloatArray], rates: FloatArray, weight_decay: float) -> tuple[FloatArray, FloatArray]:
    """Return what weight decay adds to `hz` and `slow` of `teacher_student.theory.drift.mean_forces`, z being all fields."""
    with_modes = [factors[name] for name in ("Q_modes", "R_modes", "C_velocities") if name in factors]
    slow = [rate * factors[name].ravel() for rate, name in zip(rates[1:], ("sigma", "xi_out", "v"), strict=True)]
    return -rates[0] * weight_decay * np.hstack(with_modes), -weight_decay * np.concatenate(slow)


def linear_flow(full: FloatArray, factors: dict[str, FloatArray], rates: FloatArray, rule: LearningRule) -> FloatArray:
    """Return dy/dalpha without gradients, (n_full,): weight decay and what velocities do."""
    hz, slow = decay_forces(factors, rates, rule.weight_decay)
    hh, out = np.zeros_like(factors["Q_modes"]), np.empty_like(full)
    if rule.friction is None:
        flow(hz, hh, slow, out)
    else:
        velocity_flow(full, hz, hh, slow, factors["R_modes"].shape[1], rule.friction, out)
    return out


def friction_correction(
    factors: dict[str, FloatArray], change: dict[str, FloatArray], square: FloatArray, hh: FloatArray, friction: float
) -> FloatArray:
    """Return N times what the exact mean step with friction has beyond the drift, (n_full,).

    `change` is the drift, `square` (P, P) the correction that plain SGD makes to Q_modes, made here to Q_velocities, and `hh`
    (P, P) is <h h^T> / b. A step uses the new velocity, so that every factor feels the change of its velocity at once.
    """
    V, dV, dC = factors["Q_velocities"], change["Q_velocities"], change["C_velocities"]
    parts = [dC + dC.T - V]
    parts += [change[name] for name in ("R_velocities", "sigma_velocity", "xi_out_velocity", "v_velocity")]
    parts += [square + friction * (hh - dV - friction * V)]
    parts += [np.zeros_like(change[name]) for name in _STATE[1:]]
    parts += [dV]
    return np.concatenate([part.ravel() for part in parts])


def momentum_correction(
    factors: dict[str, FloatArray],
    change: dict[str, FloatArray],
    square: FloatArray,
    hh: FloatArray,
    hu: FloatArray,
    per_overlap: FloatArray,
    decay: float,
    beta: float,
) -> tuple[FloatArray, FloatArray]:
    """Return the mean correction and the lag at fixed beta, (n_full,) each.

    All arguments are those of the plain rule with rates eta / (1 - beta): `change` its drift, `square` (P, P) its own correction
    to Q_modes, `hh` (P, P) its <h h^T> / b, `hu` (P, P) its <h u^T>, `decay` its eta_xi_in kappa. `per_overlap` (P, M + P) turns
    the covariances of (rho, u) with a field into the averages <h_a times this field>.
    """
    ratio = beta / (1.0 - beta)
    C = hu.T - decay * factors["Q_modes"] + hh / (1.0 + beta)  # N xi_in p^T / N, and N p W*^T / N is the drift of R_modes
    h_pi = per_overlap @ np.vstack([change["R_modes"].T, C])
    correction = np.zeros(sum(change[name].size for name in _STATE))
    correction[: hh.size] = (square + ratio * (h_pi + h_pi.T - decay * (C + C.T))).ravel()
    lag = ratio * np.concatenate([change[name].ravel() for name in _STATE])
    lag[: hh.size] += (beta / (1.0 - beta**2) * hh).ravel()
    return correction, lag


@njit(cache=True, nogil=True)
def velocity_increment(plain: FloatArray, h: FloatArray, u: FloatArray, pi: FloatArray, batch_size: int, f: FloatArray) -> None:
    """Write the increment times N with friction into `f`, (n_full,), without what is linear in the state.

    `plain`, that of plain SGD, may be the beginning of `f`; `h`, `u` and `pi` (P,) are -eta_xi_in delta d and the fields of modes
    and velocities.
    """
    P, n = len(h), len(plain)
    for i in range(n):
        f[n + i] = plain[i]
        f[i] = 0.0
    for a in range(P):
        for b in range(P):
            f[n + a * P + b] = h[a] * pi[b] + h[b] * pi[a] + h[a] * h[b] / batch_size
            f[2 * n + a * P + b] = u[a] * h[b]
