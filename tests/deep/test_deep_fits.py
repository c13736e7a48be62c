"""Fitted laws: found where they are, and not claimed where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from teacher_student.arrays import Array
from teacher_student.deep.fits import STRONG, PowerLaws, fit_power_laws, fit_width_laws, width_verdict
from teacher_student.errors import InvalidInput


def ranked(slope_1: float, slope_2: float, at: float, noise: float, n: int, seed: int) -> Array:
    """Return two power laws that meet at rank `at`, with log-normal noise."""
    x = np.log(np.arange(1, n + 1))
    y = 1.0 + slope_1 * x + (slope_2 - slope_1) * np.maximum(x - np.log(at), 0.0)
    return np.exp(y + noise * np.random.default_rng(seed).standard_normal(n))


def test_two_power_laws_are_found_where_there_are_two() -> None:
    pulls = []
    for seed in range(20):
        laws = fit_power_laws(ranked(-0.3, -1.5, 12.0, 0.03, 40, seed))
        assert laws.two_supported
        truth = {"slope_1": -0.3, "slope_2": -1.5, "break": 12.0}
        pulls.append([(laws.two.parameters[name] - value) / laws.two.errors[name] for name, value in truth.items()])
    # Sorting the noise flattens a little, so that means are biased by parts of an error; spreads must be about one.
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 1.0)
    assert np.all((np.std(pulls, axis=0) > 0.4) & (np.std(pulls, axis=0) < 1.6))


def test_a_second_power_law_is_rarely_claimed_where_there_is_one() -> None:
    """Independent noise, smaller than the steps between ranks so that sorting leaves it: false claims below 5 of 100."""
    claims = [fit_power_laws(ranked(-1.0, -1.0, 5.0, 0.01, 20, seed)) for seed in range(100)]
    assert sum(laws.two_supported for laws in claims) < 5
    assert all("two power laws are not supported" in laws.verdict for laws in claims if not laws.two_supported)
    slopes = [laws.one.parameters["slope"] for laws in claims]
    assert abs(np.mean(slopes) + 1) < 4 * np.std(slopes) / np.sqrt(100)


def test_a_smooth_bend_is_not_called_a_break() -> None:
    tau = np.exp(-0.1 * np.arange(1, 41) + 0.01 * np.random.default_rng(0).standard_normal(40))
    laws = fit_power_laws(tau)
    assert laws.one.bic - laws.two.bic > STRONG
    assert not laws.two_supported
    assert laws.verdict.startswith("exponential: two power laws are not supported")
    assert laws.exponential.parameters["rate"] == pytest.approx(-0.1, abs=4 * laws.exponential.errors["rate"])


def test_the_conclusion_belongs_to_the_numbers() -> None:
    rng, rank = np.random.default_rng(0), np.arange(1, 41)
    noise = np.exp(0.01 * rng.standard_normal(40))
    flat = fit_power_laws(rank**-0.05 * noise)
    assert flat.conclusion.startswith("the modes matter almost alike: the largest tau is 1.2")
    one = fit_power_laws(1.0 / rank * noise)
    assert one.conclusion.startswith("ranked tau follows one power law best, of slope -1")
    two = fit_power_laws(ranked(-0.3, -1.5, 12.0, 0.03, 40, 1))
    assert two.conclusion.startswith("tau follows two power laws of its rank, of slopes -0.3")
    exponential = fit_power_laws(np.exp(-0.1 * rank) * noise)
    assert exponential.conclusion.startswith("ranked tau follows an exponential best, of rate -0.0999;")
    bent = [laws for seed in range(20) if 0 < (laws := fit_power_laws(lognormal(seed))).gain <= laws.by_chance]
    assert bent
    assert all(laws.conclusion.endswith("these modes follow no law of rank") for laws in bent)


def lognormal(seed: int) -> Array:
    return np.sort(np.exp(np.random.default_rng(seed).standard_normal(40)))[::-1]


@pytest.mark.parametrize("tau", [np.ones(5), [1.0] * 9 + [0.0], [1.0] * 9 + [np.nan]])
def test_what_cannot_be_fitted_is_refused(tau: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^tau: got"):
        fit_power_laws(tau)


WIDTHS = np.array([8, 16, 32, 64, 128, 256, 512])


@pytest.mark.parametrize(
    ("best", "values"),
    [
        ("logarithm", 1.0 + 1.5 * np.log(WIDTHS)),
        ("power", 0.7 * WIDTHS**0.6),
        ("saturating", 12.0 * WIDTHS / (WIDTHS + 40.0)),
    ],
)
def test_each_width_law_is_recognised(best: str, values: Array) -> None:
    noisy = values + 0.1 * np.random.default_rng(3).standard_normal(7)
    fits = fit_width_laws(WIDTHS, noisy, np.full(7, 0.1))
    assert fits[0].name.startswith(best)
    assert width_verdict(fits).startswith(best)
    assert np.abs((fits[0].predicted - values) / 0.1).max() < 4


def test_growth_is_rarely_claimed_where_there_is_none() -> None:
    claims = 0
    for seed in range(100):
        noisy = 6.0 + 0.1 * np.random.default_rng(seed).standard_normal(7)
        claims += not width_verdict(fit_width_laws(WIDTHS, noisy, np.full(7, 0.1))).startswith("no dependence on width")
    assert claims < 5


def test_too_few_widths_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^widths: got"):
        fit_width_laws([8, 16, 32], [1, 2, 3], [1, 1, 1])
    with pytest.raises(InvalidInput, match=r"^widths: got \[0.0, 8.0, 16.0, 32.0\], expected numbers above 0"):
        fit_width_laws([0, 8, 16, 32], [1, 2, 3, 4], [1, 1, 1, 1])
    with pytest.raises(InvalidInput, match=r"^least, errors: got \(\(3,\), \(4,\)\), expected a number for each of the 4 widths"):
        fit_width_laws([4, 8, 16, 32], [1, 2, 3], [1, 1, 1, 1])


SORTED_NOISE = {
    "uniform": lambda rng: 1 + 0.2 * rng.random(40),
    "normal": lambda rng: 2 + 0.1 * rng.standard_normal(40),
    "log-normal": lambda rng: np.exp(0.3 * rng.standard_normal(40)),
}


@pytest.mark.parametrize("name", SORTED_NOISE)
def test_two_power_laws_are_rarely_claimed_for_sorted_random_numbers(name: str) -> None:
    """One in 20 by construction for log-normal numbers: over 200 samples below that and 4 standard errors, 0.11."""
    rng = np.random.default_rng(1)
    all_laws = [fit_power_laws(SORTED_NOISE[name](rng)) for _ in range(200)]
    assert np.mean([laws.two_supported for laws in all_laws]) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)

    def by_bic_alone(laws: PowerLaws) -> bool:
        return laws.one.bic - laws.two.bic > STRONG and laws.two.bic <= laws.exponential.bic

    # The negative control: residuals taken for independent make two power laws of half of all noise.
    assert np.mean([by_bic_alone(laws) for laws in all_laws]) > 0.3


@pytest.mark.parametrize(("slope_1", "slope_2", "at"), [(-0.3, -1.0, 10), (-0.2, -0.6, 8), (-0.3, -1.5, 12)])
def test_broken_power_laws_are_found_in_noise(slope_1: float, slope_2: float, at: float) -> None:
    found = [fit_power_laws(ranked(slope_1, slope_2, at, 0.03, 40, seed)) for seed in range(100)]
    assert np.mean([laws.two_supported for laws in found]) >= 0.95
    breaks = np.array([laws.two.parameters["break"] for laws in found])
    assert abs(breaks.mean() - at) < 0.1 * at
