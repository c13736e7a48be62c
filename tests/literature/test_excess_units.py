"""Students with more units than the teacher, and label noise: Goldt et al., NeurIPS 2019, arXiv:1906.08632.

First layer only, erf units, K = M + L, orthonormal teacher, output weights 1. Near the student that has learnt the teacher with
its first M units and nothing with the others, delta = sum_k g'_k d_k . x / sqrt(N) - noise z, with g'_k = g'(rho_k) (g'(0) for
excess units) and d_k the small deviations, which for N -> infinity are orthogonal to the teacher. With E_kj = <g'_k g'_j>, their
overlaps D obey, to first order in eta, dD/dalpha = -eta (E D + D E) + eta^2 noise^2 E. They rest at D = eta noise^2 / 2, with

    eps_g = tr(E D) / 2 = eta noise^2 / (2 pi) (L + M / sqrt(3)),

for E_kk is 2 / (pi sqrt(3)) for units that have learnt and 2 / pi for excess ones. It is the formula of Goldt et al.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import teacher_student as ts

NOISE = 0.3


def rest_error(n_teacher: int, n_excess: int, eta: float, noise: float = NOISE) -> float:
    """Return eps_g of the fixed point at which the excess units are all the same."""
    K, M = n_teacher + n_excess, n_teacher
    Q = np.zeros((K, K))
    Q[:M, :M] = np.eye(M)
    Q[M:, M:] = eta * noise**2 / (2 * max(n_excess, 1))
    initial = ts.plain_committee(Q=Q, R=np.eye(K, M), T=np.eye(M), v=np.ones(K), v_teacher=np.ones(M))
    return ts.fixed_point(ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=eta, noise=noise))).eps_g


@pytest.mark.parametrize("n_teacher", [1, 2, 3])
@pytest.mark.parametrize("n_excess", [0, 1, 2])
def test_the_error_at_small_rates_is_that_of_goldt_et_al(
    n_teacher: int, n_excess: int, record_check: Callable[..., None]
) -> None:
    unit = NOISE**2 / (2 * np.pi)
    coarse, fine = (rest_error(n_teacher, n_excess, eta) / (eta * unit) for eta in (2e-3, 1e-3))
    expected = n_excess + n_teacher / np.sqrt(3)
    # Linear in the rate, so this leaves its square.
    error = abs((2 * fine - coarse) / expected - 1)
    record_check("late eps_g with label noise, first layer: relative difference", "formula of Goldt et al. (2019)", error, 1e-5)
    # Negative controls: without the extrapolation, and all units counted alike.
    assert abs(fine / expected - 1) > 1e-5
    assert abs((2 * fine - coarse) / (n_excess + n_teacher) - 1) > 1e-2


@functools.cache
def late_errors(activation: str, both: bool, alpha: float, noise: float = 0.1) -> np.ndarray:
    """Return eps_g at `alpha` for K = 2, 3, 4 and M = 2, from random weights."""
    errors = []
    for K in (2, 3, 4):
        rng = np.random.default_rng(0)
        weights = np.sqrt(0.1) * rng.standard_normal((K, 500))
        teacher = np.sqrt(500) * np.linalg.qr(rng.standard_normal((500, 2)))[0].T
        v = rng.uniform(0.2, 0.8, K) if both else np.ones(K)
        Q, R, T = weights @ weights.T / 500, weights @ teacher.T / 500, teacher @ teacher.T / 500
        initial = ts.plain_committee(Q=Q, R=R, T=T, v=v, v_teacher=np.ones(2))
        rule = ts.LearningRule(activation, eta_xi_in=0.2, eta_v=0.2 if both else 0.0, noise=noise)
        problem = ts.Problem(initial=initial, rule=rule)
        errors.append(ts.integrate(problem, [alpha], rtol=1e-7, atol=1e-10, progress=False)["eps_g"].item())
    return np.array(errors)


def changes(errors: np.ndarray) -> np.ndarray:
    """Return eps_g at each K over that at the K before."""
    return errors[1:] / errors[:-1]


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_with_the_first_layer_alone_every_excess_unit_costs_accuracy(activation: str) -> None:
    assert (changes(late_errors(activation, both=False, alpha=2500.0)) > 1.3).all()


def test_without_label_noise_excess_units_cost_nothing() -> None:
    assert late_errors("erf", both=False, alpha=2500.0, noise=0.0).max() < 1e-6


def test_with_both_layers_the_error_falls_with_every_unit_of_erf_and_stays_for_relu() -> None:
    assert (changes(late_errors("erf", both=True, alpha=1e5)) < 0.8).all()
    relu = changes(late_errors("relu", both=True, alpha=1e5))
    assert (np.abs(relu - 1.0) < 0.03).all()
