"""What heavy-ball momentum adds to the linear noise: increments of velocities, and corrections of order 1/N to the mean.

With friction the corrections are those of the exact step: see `friction_correction`. At fixed beta, velocities p are of order
N^(-1/2) and fast. The variables xi_in + beta / (1 - beta) p, and the same for every other factor, move as under plain SGD at the
rates eta / (1 - beta) but with the gradient at the state itself, which lags behind them. By as much, on average, and by what it
correlates their fields with the gradient, means are off those of plain SGD at order 1/N: see `momentum_correction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.layout import FACTORS, SLOW_FACTORS
from teacher_student.problem import LearningRule

if TYPE_CHECKING:
    from teacher_student.theory.noise.diffusion import Products

Parts = dict[str, FloatArray]


def friction_correction(factors: Parts, change: Parts, square: FloatArray, hh: FloatArray, friction: float) -> Parts:
    """Return N times what the exact mean step with friction has beyond the drift, by the names of the state's parts.

    `change` is the drift, `square` (P, P) the correction that plain SGD makes to Q_modes, made here to Q_velocities, and `hh`
    (P, P) is <h h^T> / b (docs/theory.rst: `shift-friction`). A step uses the new velocity, so that every factor feels the
    change of its velocity at once.
    """
    V, dV, dC = factors["Q_velocities"], change["Q_velocities"], change["C_velocities"]
    correction = {name: np.zeros_like(part) for name, part in factors.items()}
    correction |= {"Q_modes": dC + dC.T - V, "R_modes": change["R_velocities"], "C_velocities": dV}
    correction |= {name: change[f"{name}_velocity"] for name in SLOW_FACTORS}
    correction["Q_velocities"] = square + friction * (hh - dV - friction * V)
    return correction


def momentum_correction(
    factors: Parts,
    change: Parts,
    square: FloatArray,
    products: Products,
    per_overlap: FloatArray,
    decay: float,
    rule: LearningRule,
) -> tuple[Parts, Parts]:
    """Return the mean correction and the lag at fixed beta, by the names of the state's parts (docs/theory.rst: `lag`,
    `shift-momentum-source`).

    All arguments but `rule` are those of the plain rule with rates eta / (1 - beta): `change` its drift, `square` (P, P) its own
    correction to Q_modes, `products` its averages of h, `decay` its eta_xi_in kappa. `per_overlap` (P, M + P) turns the
    covariances of (rho, u) with a field into the averages <h_a times this field>.
    """
    beta, hh = rule.momentum, products.hh / rule.batch_size
    ratio = beta / (1.0 - beta)
    # N xi_in p^T / N, and N p W*^T / N is the drift of R_modes
    C = products.hu.T - decay * factors["Q_modes"] + hh / (1.0 + beta)
    h_pi = per_overlap @ np.vstack([change["R_modes"].T, C])
    correction = {name: np.zeros_like(change[name]) for name in FACTORS}
    correction["Q_modes"] = square + ratio * (h_pi + h_pi.T - decay * (C + C.T))
    lag = {name: ratio * change[name] for name in FACTORS}
    lag["Q_modes"] = lag["Q_modes"] + beta / (1.0 - beta**2) * hh
    return correction, lag
