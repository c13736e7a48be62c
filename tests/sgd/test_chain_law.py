"""The overlap chain and SGD on weights are the same process in law, at every N from P + M on.

Means and variances of all order parameters are compared by z-scores, differences in units of their estimated standard
error: the largest must be below 4.5 and their root mean square between 0.4 and 1.6 (they are correlated, so that it
scatters more than that of independent ones). Two-sample Kolmogorov-Smirnov tests on eps_g and one late overlap must
give p > 1e-3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import teacher_student as ts

LARGEST_Z = 4.5
RMS_Z = (0.4, 1.6)
SMALLEST_P = 1e-3
TIMES = [0.5, 1.5, 3.0]
REPLICAS = 500


def run(problem: ts.Problem, n_inputs: int, method: str, replicas: int, seed: int) -> xr.Dataset:
    return ts.simulate(problem, TIMES, n_inputs=n_inputs, replicas=replicas, seed=seed, method=method, progress=False)


def observables(trajectory: xr.Dataset) -> np.ndarray:
    """Return every order parameter at every time once, (replica, observable)."""
    n_replicas, P = trajectory.sizes["replica"], trajectory.sizes["mode"]
    upper = np.triu_indices(P)
    columns = [trajectory["Q_modes"].values[..., upper[0], upper[1]]]
    columns += [trajectory[name].values for name in ("R_modes", "sigma", "xi_out", "v", "eps_g")]
    return np.concatenate([column.reshape(n_replicas, -1) for column in columns], axis=1)


def mean_z(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    error = np.sqrt(first.var(0, ddof=1) / len(first) + second.var(0, ddof=1) / len(second))
    return (first.mean(0) - second.mean(0)) / error


def variance_z(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return z-scores of log(s1^2 / s2^2): a log-variance of n runs has the variance (kurtosis - 1) / n."""
    error = np.sqrt(sum((stats.kurtosis(x, axis=0, fisher=False) - 1) / len(x) for x in (first, second)))
    return np.log(first.var(0, ddof=1) / second.var(0, ddof=1)) / error


def differences(first: xr.Dataset, second: xr.Dataset) -> list[str]:
    """Return the criteria by which the two samples differ in law; none if they agree."""
    a, b = observables(first), observables(second)
    moves = a.std(axis=0) > 1e-9
    a, b = a[:, moves], b[:, moves]
    found = []
    for name, z in (("means", mean_z(a, b)), ("variances", variance_z(a, b))):
        largest, rms = float(np.abs(z).max()), float(np.sqrt(np.mean(z**2)))
        if not (largest < LARGEST_Z and RMS_Z[0] < rms < RMS_Z[1]):
            found.append(f"{name}: max |z| = {largest:.2f}, rms z = {rms:.2f}")
    last = [(x["eps_g"].values[:, -1], x["R_modes"].values[:, -1, 0, 0]) for x in (first, second)]
    for name, x, y in zip(("eps_g", "R_modes[0, 0]"), *last, strict=True):
        p = float(stats.ks_2samp(x, y).pvalue)
        if not p > SMALLEST_P:
            found.append(f"{name}: p = {p:.2g}")
    return found


@pytest.mark.parametrize(
    ("n_inputs", "sizes", "rank", "batch_size"),
    [
        (20, (4, 2, 3), 6, 1),  # P < K
        (20, (2, 3, 2), 6, 4),  # P > K
        (200, (4, 3, 2), 6, 4),
        (200, (2, 3, 2), 6, 1),
        (5, (4, 3, 2), 6, 1),  # N = P + M: nothing outside teacher and modes
        (5, (2, 3, 2), 6, 4),
        (6, (4, 3, 2), 6, 1),  # one direction outside
        (6, (2, 3, 2), 6, 4),
        (7, (4, 3, 2), 6, 4),  # fewer directions outside than inputs in a batch
        (20, (3, 2, 4), 2, 2),  # P < M, singular T
    ],
)
def test_chain_is_sgd_on_weights_in_law(
    make_problem: Callable[..., ts.Problem],
    n_inputs: int,
    sizes: tuple[int, int, int],
    rank: int,
    batch_size: int,
    record_check: Callable[..., None],
) -> None:
    problem = make_problem(*sizes, teacher_rank=rank, batch_size=batch_size)
    on_weights = run(problem, n_inputs, "weights", REPLICAS, seed=1)
    chain = run(problem, n_inputs, "overlaps", 8 * REPLICAS, seed=2)
    found = differences(on_weights, chain)
    record_check("chain of order parameters: significant differences in law", "SGD on weights", len(found), 0)


@pytest.mark.parametrize(("n_inputs", "batch_size"), [(6, 1), (20, 4)])
def test_chain_is_sgd_on_weights_for_modes_of_kept_length_and_scheduled_rates(
    make_problem: Callable[..., ts.Problem], n_inputs: int, batch_size: int
) -> None:
    """Negative controls: a chain without rescaling, and one with the schedule's first rate throughout."""
    rate = ts.Cosine(start=2.0, end=0.2, period=1.5, repeats=2)
    problem = make_problem(3, 2, 2, batch_size=batch_size, eta_xi_in=rate, spherical=True)
    on_weights = run(problem, n_inputs, "weights", 2 * REPLICAS, seed=1)
    assert differences(on_weights, run(problem, n_inputs, "overlaps", 3 * REPLICAS, seed=2)) == []
    assert np.ptp(on_weights["Q_modes"].values[..., 0, 0]) < 1e-14
    for mistake in ({"spherical": False}, {"eta_xi_in": 2.0}):
        wrong = make_problem(3, 2, 2, batch_size=batch_size, **{"eta_xi_in": rate, "spherical": True, **mistake})
        assert differences(on_weights, run(wrong, n_inputs, "overlaps", 3 * REPLICAS, seed=3)) != []


@pytest.mark.parametrize(
    "mistake",
    [
        {"eta_xi_in": 1.05},
        {"eta_sigma": 0.525},
        {"eta_xi_out": 0.735},
        {"eta_v": 0.42},
        {"noise": 0.7**2},
        {"batch_size": 1},
        {"weight_decay": 0.0},
    ],
    ids=lambda mistake: "+".join(mistake),
)
def test_comparison_finds_mistakes(
    make_problem: Callable[..., ts.Problem], right_runs: xr.Dataset, mistake: dict[str, float]
) -> None:
    """Negative control: the same criteria find one wrong argument of the chain."""
    problem = make_problem(**{"noise": 0.7, **mistake})
    assert differences(right_runs, run(problem, 200, "overlaps", 3000, seed=2)) != []


def test_comparison_accepts_the_right_chain(make_problem: Callable[..., ts.Problem], right_runs: xr.Dataset) -> None:
    """The positive half of the control above, at its numbers of runs."""
    assert differences(right_runs, run(make_problem(noise=0.7), 200, "overlaps", 3000, seed=3)) == []


@pytest.fixture(scope="module")
def right_runs(make_problem: Callable[..., ts.Problem]) -> xr.Dataset:
    """1,000 runs on weights at N = 200, to which chains with one mistake are compared."""
    return run(make_problem(noise=0.7), 200, "weights", 1000, seed=1)
