"""Leaps against the exact chain, in law: means and covariances of all order parameters, and escapes from a symmetric plateau.

Deviations are whitened by the chain's covariance, so that combinations of order parameters that hardly fluctuate count as much as
others. Means must agree with p > 1e-3 by a chi-square test; second moments, each pair of coordinates once, within 4.5 standard
errors of their difference and 1.3 in the root mean square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import teacher_student as ts
from teacher_student.analysis.scaling import scaling
from teacher_student.analysis.stages import passage_times
from teacher_student.theory.stability.plateau import escape_probability

LARGEST_Z, LARGEST_RMS, SMALLEST_P = 4.5, 1.3, 1e-3
N_INPUTS, CHAINS, LEAPS = 10_000, 800, 800
TIMES = [0.5, 2.0, 4.0]


def coordinates(trajectory: xr.Dataset) -> np.ndarray:
    """Return every order parameter that learns once, (alpha, replica, coordinate)."""
    upper = np.triu_indices(trajectory.sizes["mode"])
    columns = [trajectory["Q_modes"].values[..., upper[0], upper[1]]]
    columns += [trajectory[name].values for name in ("R_modes", "sigma", "xi_out", "v")]
    flat = [column.reshape(*column.shape[:2], -1) for column in columns]
    return np.swapaxes(np.concatenate(flat, axis=2), 0, 1)


def differences(leaps: np.ndarray, chains: np.ndarray) -> list[str]:
    """Return the criteria by which two samples (alpha, replica, coordinate) differ; none if they agree."""
    found = []
    for alpha, x, y in zip(TIMES, leaps, chains, strict=True):
        values, vectors = np.linalg.eigh(np.cov(y.T))
        white = vectors[:, values > 1e-6 * values[-1]] / np.sqrt(values[values > 1e-6 * values[-1]])
        a, b = (x - y.mean(axis=0)) @ white, (y - y.mean(axis=0)) @ white
        chi_square = float(np.sum(a.mean(axis=0) ** 2)) / (1 / len(a) + 1 / len(b))
        p = float(stats.chi2.sf(chi_square, a.shape[1]))
        if not p > SMALLEST_P:
            found.append(f"alpha = {alpha}: means, p = {p:.2g}")
        i, j = np.tril_indices(a.shape[1])
        first, second = (z[:, i] * z[:, j] for z in (a - a.mean(axis=0), b))
        error = np.sqrt(first.var(axis=0) / len(first) + second.var(axis=0) / len(second))
        z = (first.mean(axis=0) - second.mean(axis=0)) / error
        largest, rms = float(np.abs(z).max()), float(np.sqrt(np.mean(z**2)))
        if not (largest < LARGEST_Z and rms < LARGEST_RMS):
            found.append(f"alpha = {alpha}: second moments, max |z| = {largest:.2f}, rms z = {rms:.2f}")
    return found


def leaps_of(problem: ts.Problem, n_inputs: int = N_INPUTS) -> np.ndarray:
    return coordinates(ts.leap(problem, TIMES, n_inputs=n_inputs, replicas=LEAPS, seed=2, progress=False))


@pytest.fixture(scope="module")
def chains(make_problem: Callable[..., ts.Problem]) -> np.ndarray:
    problem = make_problem(2, 2, 2)
    runs = ts.simulate(problem, TIMES, n_inputs=N_INPUTS, replicas=CHAINS, seed=1, method="overlaps", progress=False)
    return coordinates(runs)


def test_leaps_are_the_chain_in_law(
    make_problem: Callable[..., ts.Problem], chains: np.ndarray, record_check: Callable[..., None]
) -> None:
    leaps = leaps_of(make_problem(2, 2, 2))
    found = differences(leaps, chains)
    record_check("leaps at N = 10,000: significant differences in law", "chain of order parameters", len(found), 0)
    # Negative controls: the overlaps R without their correlations with the rest, as if their noise were drawn apart.
    apart = leaps.copy()
    apart[..., 3:7] = np.roll(apart[..., 3:7], 1, axis=1)
    assert differences(apart, chains) != []


@pytest.mark.parametrize("mistake", [{"n_inputs": 2 * N_INPUTS}, {"eta_v": 0.41}], ids=str)
def test_the_criteria_find_mistakes(
    make_problem: Callable[..., ts.Problem], chains: np.ndarray, mistake: dict[str, float]
) -> None:
    """A diffusion matrix of half its size, and a rate 2 % too large."""
    n_inputs = int(mistake.get("n_inputs", N_INPUTS))
    rule = {name: value for name, value in mistake.items() if name != "n_inputs"}
    assert differences(leaps_of(make_problem(2, 2, 2, **rule), n_inputs), chains) != []


def plateau() -> ts.Problem:
    """Return two units that start exactly on the fixed point of their symmetric plateau."""
    initial = ts.plain_committee(
        Q=[[1.27, 0.72], [0.72, 1.27]], R=np.full((2, 2), 1.376), T=4.0 * np.eye(2), v=np.ones(2), v_teacher=np.ones(2)
    )
    return ts.fixed_point(ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.0)))


def test_leaps_leave_a_symmetric_plateau_as_the_chain_does(record_check: Callable[..., None]) -> None:
    point = plateau()
    alpha = np.arange(0.0, 121.0, 5.0)
    chain = ts.simulate(point.problem, alpha, n_inputs=N_INPUTS, replicas=40, seed=1, method="overlaps", progress=False)
    leaps = ts.leap(point.problem, alpha, n_inputs=N_INPUTS, replicas=120, seed=2, progress=False)
    late = ts.leap(point.problem, alpha, n_inputs=10 * N_INPUTS, replicas=60, seed=3, progress=False)
    expected = passage_times(chain, 0.5 * point.eps_g).values
    escapes, others = (passage_times(runs, 0.5 * point.eps_g).values for runs in (leaps, late))
    smallest = [float(stats.ks_2samp(escapes, expected).pvalue)]
    for time in (50.0, 60.0, 70.0, 90.0):  # before, while and after most runs leave
        x, y = (runs.sel(alpha=time, method="nearest") for runs in (leaps, chain))
        for of in (lambda at: at["eps_g"], lambda at: at["R"][:, 0, 0], lambda at: at["Q"][:, 0, 1]):
            smallest.append(float(stats.ks_2samp(of(x).values, of(y).values).pvalue))
    what = "leaps off a symmetric plateau: -log10 of the smallest p-value"
    record_check(what, "chain of order parameters", -np.log10(min(smallest)), 3.0)
    assert stats.ks_2samp(others, expected).pvalue < SMALLEST_P  # ten times the inputs, ln(10) / (2 lambda) later


def test_escape_times_at_large_n_are_the_predicted_ones(record_check: Callable[..., None]) -> None:
    point = plateau()
    N, replicas = 10**9, 120
    length = ts.plateau_length(point, [N, 2 * N])
    alpha = np.linspace(0.0, length.mean[0] + 8 * length.deviation, 60)
    runs = ts.leap(point.problem, alpha, n_inputs=N, replicas=replicas, seed=5, progress=False)
    times = np.sort(passage_times(runs, 0.5 * point.eps_g).values)
    z = (times.mean() - length.mean[0]) / (length.deviation / np.sqrt(replicas))
    record_check("leaps at N = 1e9: mean escape time, standard errors", "prediction from rate and noise", abs(z), 3.3)
    ratio = times.std(ddof=1) / length.deviation
    assert ratio == pytest.approx(1.0, abs=4 * np.sqrt(6.0 / (4 * replicas)))  # the kurtosis of ln |Z| is 7
    steps = np.arange(1, replicas + 1) / replicas
    distances = [np.sqrt(replicas) * np.abs(steps - 0.5 / replicas - p).max() for p in escape_probability(length, times)]
    assert distances[0] < 1.63  # Kolmogorov's at 1 %
    assert distances[1] > 1.63  # half the noise


def test_the_spread_falls_with_the_root_of_n(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(2, 2, 2, batch_size=1, eta_xi_out=0.0)
    sizes = [10**4, 10**6, 10**8]
    found = scaling([ts.leap(problem, TIMES, n_inputs=N, replicas=60, seed=i, progress=False) for i, N in enumerate(sizes)])
    exponent = found.spread_exponent
    assert abs(exponent.value + 0.5) < 4 * exponent.error < 0.05
    z = (found.spread * np.sqrt(sizes) - 1.0) / (found.spread_error * np.sqrt(sizes))
    assert np.abs(z).max() < 4.0
