"""Students with more units than the teacher, and label noise: Goldt et al., NeurIPS 2019, arXiv:1906.08632.

First layer only, erf units, K = M + L, orthonormal teacher, output weights 1. Near the student that has learnt the teacher with
its first M units and nothing with the others, delta = sum_k g'_k d_k . x / sqrt(N) - noise z, with g'_k = g'(rho_k) (g'(0) for
excess units) and d_k the small deviations, which for N -> infinity are orthogonal to the teacher. With E_kj = <g'_k g'_j>, their
overlaps D obey, to first order in eta, dD/dalpha = -eta (E D + D E) + eta^2 noise^2 E. They rest at D = eta noise^2 / 2, with

    eps_g = tr(E D) / 2 = eta noise^2 / (2 pi) (L + M / sqrt(3)),

for E_kk is 2 / (pi sqrt(3)) for units that have learnt and 2 / pi for excess ones. It is the formula of Goldt et al. At finite
rates it holds for some thousand units of alpha: later excess units pair, so that the error of K = 4 falls below that of K = 3.

If output weights learn too, those of ReLU units have no end. The deviations rest at the same D, with eps_g = tr(v E v D) / 2 =
eta noise^2 sum_k v_k^2 / 8. The drift keeps Q_kk - v_k^2, and the noise of SGD adds to it eta^2 noise^2 v_k^2 / 2 per unit of
alpha. So Q_kk and v_k^2 become proportional, Q_kk = v_k^2 / rho^2, and with sum_k v_k sqrt(Q_kk) = 1 for the units of each of
the M teacher units, sum_k v_k^2 = M rho. Then d(1 / rho^2)/dalpha = eta^2 noise^2, rho = 1 / (eta noise sqrt(alpha)), and

    eps_g = M noise / (8 sqrt(alpha)),

whatever the rate and K.
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
def late_errors(
    activation: str, both: bool, times: tuple[float, ...], seed: int = 0, noise: float = 0.1, units: tuple[int, ...] = (2, 3, 4)
) -> np.ndarray:
    """Return eps_g for K = `units` and M = 2 at `times`, (K, alpha), from random weights."""
    errors = []
    for K in units:
        rng = np.random.default_rng(seed)
        weights = np.sqrt(0.1) * rng.standard_normal((K, 500))
        teacher = np.sqrt(500) * np.linalg.qr(rng.standard_normal((500, 2)))[0].T
        v = rng.uniform(0.2, 0.8, K) if both else np.ones(K)
        Q, R, T = weights @ weights.T / 500, weights @ teacher.T / 500, teacher @ teacher.T / 500
        initial = ts.plain_committee(Q=Q, R=R, T=T, v=v, v_teacher=np.ones(2))
        rule = ts.LearningRule(activation, eta_xi_in=0.2, eta_v=0.2 if both else 0.0, noise=noise)
        problem = ts.Problem(initial=initial, rule=rule)
        errors.append(ts.integrate(problem, times, rtol=1e-7, atol=1e-10, progress=False)["eps_g"].values)
    return np.array(errors)


def changes(errors: np.ndarray) -> np.ndarray:
    """Return eps_g at each K over that at the K before."""
    return errors[1:] / errors[:-1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_the_first_layer_alone_every_excess_unit_of_erf_costs_accuracy_until_they_pair(seed: int) -> None:
    at_some_thousands, much_later = changes(late_errors("erf", both=False, times=(2500.0, 1e5), seed=seed)).T
    assert (at_some_thousands > 1.3).all()
    assert much_later[0] > 1.3
    assert much_later[1] < 0.85


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_the_first_layer_alone_every_excess_unit_of_relu_costs_accuracy(seed: int) -> None:
    assert (changes(late_errors("relu", both=False, times=(2500.0, 1e5), seed=seed)) > 1.4).all()


def test_without_label_noise_excess_units_cost_nothing() -> None:
    assert late_errors("erf", both=False, times=(2500.0,), noise=0.0).max() < 1e-6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_both_layers_the_error_falls_with_every_unit_of_erf(seed: int) -> None:
    assert (changes(late_errors("erf", both=True, times=(1e5,), seed=seed)) < 0.8).all()


def test_with_both_layers_the_error_of_relu_falls_at_last_alike_at_every_width(record_check: Callable[..., None]) -> None:
    times = (2500.0, 1e4, 1e5)
    errors = late_errors("relu", both=True, times=times)
    exponents = np.log(errors[:, 2] / errors[:, 1]) / np.log(10.0)
    record_check("exponent of late eps_g in alpha, ReLU, both layers: difference", "-1/2", np.abs(exponents + 0.5).max(), 0.05)
    unlike = np.abs(changes(errors) - 1.0).max(axis=0)
    assert (np.diff(unlike) < 0.0).all()
    record_check("late eps_g at neighbouring K, ReLU, both layers: |ratio - 1|", "0", unlike[-1], 0.005)


def test_with_both_layers_the_late_error_of_relu_has_a_closed_form(record_check: Callable[..., None]) -> None:
    """Linear in the label noise, where with output weights at rest it would be quadratic."""
    for noise in (0.1, 0.2):
        late = late_errors("relu", both=True, times=(1e6,), noise=noise, units=(2,)).item()
        error = abs(late / (2 * noise / (8 * np.sqrt(1e6))) - 1.0)
        record_check(
            "late eps_g of ReLU, both layers, label noise: relative difference", "M noise / (8 sqrt(alpha))", error, 0.01
        )
