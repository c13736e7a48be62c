"""The ODEs against SGD on weights: the mean over runs agrees within its standard error, and the rest shrinks as 1/N.

z is the deviation of the mean over runs from the ODE in units of its estimated standard error. The largest |z| must be
below 4.5 and the root mean square of z between 0.4 and 1.6: wide, because order parameters and times are strongly
correlated. At N = 2,000 the systematic O(1/N) deviation is below one standard error of 24 runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from deviations import z_scores

import teacher_student as ts

LARGEST_Z = 4.5
RMS_Z = (0.4, 1.6)
N_INPUTS = 2000
REPLICAS = 24
TIMES = [0.5, 1.5, 3.0, 5.0]


def plain_problem() -> ts.Problem:
    initial = ts.plain_committee(
        Q=np.diag([0.3, 0.5]),
        R=[[0.2, 0.05], [0.0, 0.3]],
        T=[[1.0, 0.2], [0.2, 1.3]],
        v=[1.0, 1.0],
        v_teacher=[1.0, 0.7],
    )
    return ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.2, noise=0.2))


@pytest.fixture(scope="module")
def problems(make_problem: Callable[..., ts.Problem]) -> dict[str, ts.Problem]:
    return {"all factors": make_problem(4, 3, 2, noise=0.2, batch_size=2), "plain": plain_problem()}


@pytest.fixture(scope="module")
def runs(problems: dict[str, ts.Problem]) -> dict[str, xr.Dataset]:
    return {
        name: ts.simulate(problem, TIMES, n_inputs=N_INPUTS, replicas=REPLICAS, seed=1, progress=False)
        for name, problem in problems.items()
    }


def agrees(z: np.ndarray) -> bool:
    return bool(np.abs(z).max() < LARGEST_Z and RMS_Z[0] < np.sqrt(np.mean(z**2)) < RMS_Z[1])


@pytest.mark.parametrize(("name", "n_scores"), [("all factors", 35 * 4), ("plain", 9 * 4)])
def test_mean_of_runs_is_the_ode(
    problems: dict[str, ts.Problem],
    runs: dict[str, xr.Dataset],
    name: str,
    n_scores: int,
    record_check: Callable[..., None],
) -> None:
    z = z_scores(runs[name], ts.integrate(problems[name], TIMES, progress=False))
    assert len(z) == n_scores
    record_check("mean of runs at N = 2000: largest |z|", "the ODEs", np.abs(z).max(), LARGEST_Z)
    assert agrees(z), f"max |z| = {np.abs(z).max():.2f}, rms z = {np.sqrt(np.mean(z**2)):.2f}"


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("all factors", {"eta_xi_in": 1.05}),
        ("all factors", {"eta_sigma": 0.525}),
        ("all factors", {"eta_xi_out": 0.735}),
        ("all factors", {"eta_v": 0.42}),
        ("all factors", {"weight_decay": 0.0}),
        ("all factors", {"batch_size": 1}),
        ("plain", {"eta_xi_in": 1.2 * 1.05}),
        ("plain", {"eta_xi_in": 1.2 * 0.95}),
        ("plain", {"noise": 0.2**2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_comparison_finds_mistakes(
    problems: dict[str, ts.Problem], runs: dict[str, xr.Dataset], name: str, mistake: dict[str, float]
) -> None:
    """Negative control: an ODE with a rate 5 % off, noise^2 for noise, 1/b missing or no decay does not agree."""
    rule = dataclasses.replace(problems[name].rule, **mistake)
    wrong = dataclasses.replace(problems[name], rule=rule)
    assert not agrees(z_scores(runs[name], ts.integrate(wrong, TIMES, progress=False)))


def test_deviation_of_the_mean_shrinks_as_one_over_n(
    make_problem: Callable[..., ts.Problem], record_check: Callable[..., None]
) -> None:
    """The mean of v deviates from the ODE as N^-1: slope within 3 standard errors of -1, not within 3 of -1/2.

    The slope is that of a weighted fit of log |deviation| to log N; 3,000 runs of the overlap chain at each N.
    """
    problem = make_problem()
    limit = ts.integrate(problem, [2.0], progress=False)["v"].values.mean()
    sizes = (25, 50, 100, 200)
    logarithms, errors = [], []
    for seed, n_inputs in enumerate(sizes):
        run = ts.simulate(problem, [2.0], n_inputs=n_inputs, replicas=3000, seed=seed, method="overlaps", progress=False)
        deviation = run["v"].values.mean(axis=(1, 2)) - limit
        logarithms.append(np.log(abs(deviation.mean())))
        errors.append(deviation.std(ddof=1) / np.sqrt(len(deviation)) / abs(deviation.mean()))
    x, weight = np.log(sizes), 1.0 / np.square(errors)
    x = x - np.average(x, weights=weight)
    slope = np.sum(weight * x * logarithms) / np.sum(weight * x**2)
    error = np.sum(weight * x**2) ** -0.5
    assert 0.0 < error < 0.1
    record_check("exponent of the mean's deviation in N: |z|", "-1", abs(slope + 1.0) / error, 3.0)
    assert abs(slope + 0.5) > 3 * error, f"slope {slope:.3f} +- {error:.3f}"
