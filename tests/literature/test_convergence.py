"""Erf committees near perfect learning (the asymptotic phase of Saad and Solla, 1995): all rates of approach, from the weights.

K = M units, orthonormal teacher, w_k = w*_k + d_k with small d_k, so that delta = sum_k g'_k d_k . x / sqrt(N), where
g'_k = g'(rho_k), with independent standard normal rho. Let r_km = d_k . w*_m / N, and D the overlaps of the parts of d orthogonal
to the teacher:

    dr_km/dalpha = -eta sum_jn <g'_k g'_j rho_m rho_n> r_jn,
    dD_kl/dalpha = -eta sum_j (<g'_k g'_j> D_jl + D_kj <g'_j g'_l>) + eta^2 sum_ij <g'_k g'_l g'_i g'_j> D_ij.

R - 1 is r and Q - 1 is r + r^T + D to first order, so that the spectrum of the ODEs is that of both equations together. All
averages factorise into <g'^n rho^2p> = (2/pi)^(n/2) (1 + n)^(-1/2 - p) (2p - 1)!!.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.optimize

import teacher_student as ts


def average(slopes: Sequence[int], fields: Sequence[int] = ()) -> float:
    """Return the average of the g' of the units in `slopes` and the rho of those in `fields`."""
    result = 1.0
    for unit in {*slopes, *fields}:
        n, q = list(slopes).count(unit), list(fields).count(unit)
        result *= 0.0 if q % 2 else (2 / np.pi) ** (n / 2) * (1 + n) ** (-0.5 - q / 2)  # q is 0 or 2, and 1!! = 1
    return result


def rates_along_the_teacher(K: int, eta: float) -> np.ndarray:
    pairs = list(itertools.product(range(K), repeat=2))
    return -eta * np.linalg.eigvalsh([[average((k, j), (m, n)) for j, n in pairs] for k, m in pairs])


def rates_across(K: int, eta: float) -> np.ndarray:
    """Return the rates of D; symmetric D only."""
    basis = list(itertools.combinations_with_replacement(range(K), 2))
    E = np.array([[average((k, j)) for j in range(K)] for k in range(K)])
    columns = []
    for i, j in basis:
        D = np.zeros((K, K))
        D[i, j] = D[j, i] = 1.0
        change = -eta * (E @ D + D @ E)
        for k, m in itertools.product(range(K), repeat=2):
            change[k, m] += eta**2 * sum(average((k, m, a, b)) * D[a, b] for a, b in {(i, j), (j, i)})
        columns.append([change[pair] for pair in basis])
    return np.linalg.eigvals(np.array(columns).T).real


def largest_rate(K: int) -> float:
    """Return the rate eta at which D stops to decay."""
    return float(scipy.optimize.brentq(lambda eta: rates_across(K, eta).max(), 0.5, 5.0, xtol=1e-12))


def perfect(K: int, eta: float) -> ts.Problem:
    initial = ts.plain_committee(Q=np.eye(K), R=np.eye(K), T=np.eye(K), v=np.ones(K), v_teacher=np.ones(K))
    return ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=eta))


@pytest.mark.parametrize("K", [1, 2, 3])
@pytest.mark.parametrize("eta", [0.4, 1.7])
def test_all_rates_of_approach(K: int, eta: float, record_check: Callable[..., None]) -> None:
    expected = np.sort(np.concatenate([rates_along_the_teacher(K, eta), rates_across(K, eta)]))
    found = np.sort(ts.fixed_point(perfect(K, eta)).eigenvalues.real)
    error = np.abs(found - expected).max()
    record_check("all rates of approach to perfect learning: difference", "weights near the teacher", error, 1e-8)
    # Negative control: without the eta^2 term, which only D has.
    small = np.sort(np.concatenate([rates_along_the_teacher(K, eta), eta / 1e-9 * rates_across(K, 1e-9)]))
    assert np.abs(found - small).max() > 1e-3


@pytest.mark.parametrize("K", [2, 3])
def test_the_largest_rate_at_which_perfect_learning_is_stable(K: int, record_check: Callable[..., None]) -> None:
    branch = ts.continuation(perfect(K, 0.5), "eta_xi_in", np.linspace(0.5, 4.0, 8))
    error = abs(branch.stability_lost - largest_rate(K))
    record_check("maximal learning rate of two and three units: difference", "weights near the teacher", error, 1e-6)
    assert largest_rate(1) == pytest.approx(np.pi * np.sqrt(5 / 3), abs=1e-9)


def test_the_error_of_the_preset_decays_as_predicted(record_check: Callable[..., None]) -> None:
    """eps_g is of first order in D and of second in r: the slower of the two, here r, decays last.

    The rate of D is 7 % larger, so that its part is gone only as exp(-0.003 alpha): 2e-3 is allowed for it.
    """
    theory = ts.integrate(ts.load_problem("saad-solla-1995"), [550.0, 600.0], rtol=1e-12, atol=1e-15, progress=False)
    measured = np.diff(np.log(theory["eps_g"].values))[0] / 50.0
    across, along = rates_across(3, 0.5).max(), 2 * rates_along_the_teacher(3, 0.5).max()
    error = abs(measured / max(across, along) - 1.0)
    record_check("decay of eps_g at late times: relative difference", "weights near the teacher", error, 2e-3)
    assert abs(measured / min(across, along) - 1.0) > 0.05
