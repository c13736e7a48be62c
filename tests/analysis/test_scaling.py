"""Finite-size scaling: exponents of known data, and those of the chain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.analysis.scaling import Exponent, Scaling, fit_power, replicas_for

PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array([0.0, 20.0]))


def test_a_power_is_found_from_values_of_which_some_are_noise() -> None:
    N = np.geomspace(100, 1e6, 5)
    z = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        errors = 0.02 / N**0.6
        fit = fit_power(N, 1.3 / N + errors * rng.standard_normal(5), errors, guess=-1.0)
        z.append((fit.value + 1.0) / fit.error)
    # Of 200 standard normal deviates: mean 0 +- 0.07, standard deviation 1 +- 0.05; the fit is not quite linear.
    assert abs(np.mean(z)) < 5 * 0.07
    assert np.std(z) == pytest.approx(1.0, abs=5 * 0.05)


def test_spread_and_mean_of_the_chain_fall_as_predicted() -> None:
    runs = [ts.simulate(PROBLEM, n_inputs=N, replicas=1500, seed=N, method="overlaps") for N in (60, 120, 240)]
    result = ts.scaling(runs)
    for fit, exponent, other in ((result.spread_exponent, -0.5, -1.0), (result.deviation_exponent, -1.0, -0.5)):
        assert fit.error < 0.1
        assert abs(fit.value - exponent) < 4 * fit.error + 0.02  # the next order moves it by a few hundredths at these N
        assert abs(fit.value - other) > 4 * fit.error  # the other exponent is refused by the same criterion
        assert fit.amplitude == pytest.approx(1.0, abs=0.35)
    assert result.outcome == "falls with N as predicted"
    assert "**falls with N as predicted**" in result.report("runs")
    figure, ax = ts.plots.finite_size_scaling(result)
    assert figure is ax.figure
    assert "N^{-0." in ax.get_legend().get_texts()[2].get_text()


def scaling_of(spread: float, deviation: float, error: float) -> Scaling:
    N, few = np.array([100.0, 1000.0, 10000.0]), np.full(3, 0.01)
    exponents = [Exponent(value, error, 1.0, 1.0, 1, predicted) for value, predicted in ((spread, -0.5), (deviation, -1.0))]
    return Scaling((100, 1000, 10000), (8, 8, 8), N**spread, few, N**deviation, few, *exponents)


@pytest.mark.parametrize(
    ("spread", "deviation", "error", "outcome"),
    [
        (-0.5, -1.0, 0.02, "falls with N as predicted"),
        (-0.55, -1.0, 0.02, "falls with N as predicted"),  # 0.03 are allowed for the next order at N = 100
        (-0.6, -1.0, 0.02, "does not fall with N as predicted"),
        (-0.5, 0.0, 0.1, "does not fall with N as predicted"),  # a difference that stays
        (-0.5, -0.7, 0.3, "not decided"),
        (-0.5, float("nan"), 0.02, "does not fall with N as predicted"),
    ],
)
def test_the_verdict_on_exponents(spread: float, deviation: float, error: float, outcome: str) -> None:
    result = scaling_of(spread, deviation, error)
    assert result.outcome == outcome
    report = result.report("runs", "a command")
    assert f"**{outcome}**\n\n{result.meaning}\n" in report
    assert report.startswith("# runs: finite-size scaling\n\n- Command: `a command`\n- N (and runs")
    assert sum(line.startswith("| 1") for line in report.splitlines()) == 3


def test_smaller_sizes_take_more_runs() -> None:
    assert replicas_for((100, 10_000, 1_000_000), 8) == (8000, 253, 8)


def test_what_cannot_be_fitted_is_refused() -> None:
    runs = [ts.simulate(PROBLEM, 0.1, n_inputs=N, replicas=2) for N in (20, 30, 40)]
    with pytest.raises(ts.InvalidInput, match=r"^n_inputs: got \[20, 30\], expected at least three different N"):
        ts.scaling(runs[:2])
    with pytest.raises(ts.InvalidInput, match=r"^simulations\[2\]: got 'another rule.noise', expected simulations of one"):
        other = dataclasses.replace(PROBLEM, rule=dataclasses.replace(PROBLEM.rule, noise=0.3))
        ts.scaling([*runs[:2], ts.simulate(other, 0.1, n_inputs=40, replicas=2)])
    with pytest.raises(ts.InvalidInput, match=r"^replicas: got 1, expected at least 2 runs at every N"):
        ts.scaling([*runs[:2], ts.simulate(PROBLEM, 0.1, n_inputs=40)])
