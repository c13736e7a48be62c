"""Escape from plateaus at finite N: the prediction from a fixed point, against the exact chain and against itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from symmetric_students import committee, symmetric_point, two_units

import teacher_student as ts
from teacher_student.analysis.stages import passage_times
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.stability.fixed_points import FixedPoint
from teacher_student.theory.stability.plateau import escape_probability, sample_escape_times

SIZES = {100: 300, 1000: 60, 10000: 12}


@pytest.fixture(scope="module")
def escapes() -> dict[int, np.ndarray]:
    """Return the escape times of runs of the chain that start at the fixed point, by N; NaN beyond alpha = 150."""
    point = two_units()
    times = np.arange(0.0, 151.0, 2.0)
    found = {}
    for N, replicas in SIZES.items():
        runs = ts.simulate(point.problem, times, n_inputs=N, replicas=replicas, seed=11, method="overlaps", progress=False)
        found[N] = passage_times(runs, 0.5 * point.eps_g).values
    return found


def kolmogorov(length: object, times: np.ndarray) -> float:
    """Return sqrt(n) times the largest distance between predicted and measured probability of an escape before alpha."""
    n = len(times)
    seen = np.sort(times[~np.isnan(times)])
    predicted = escape_probability(length, seen)[0]
    above, below = np.arange(1, len(seen) + 1) / n, np.arange(len(seen)) / n
    return float(np.sqrt(n) * max(np.abs(predicted - above).max(), np.abs(predicted - below).max()))


def test_escape_times_have_the_predicted_distribution(escapes: dict[int, np.ndarray], record_check: Callable[..., None]) -> None:
    point = two_units()
    for N, times in escapes.items():
        statistic = kolmogorov(ts.plateau_length(point, N), times)  # 1.63: at 1 %
        record_check("predicted escape times: Kolmogorov's statistic", "runs of the chain", statistic, 1.63)
    length = ts.plateau_length(point, 100)
    wrong = dataclasses.replace(length, diffusion=4 * length.diffusion)
    assert kolmogorov(wrong, escapes[100]) > 1.63
    assert kolmogorov(dataclasses.replace(length, rate=0.8 * length.rate), escapes[100]) > 1.63


def test_escape_times_grow_with_the_logarithm_of_n_over_twice_the_rate(escapes: dict[int, np.ndarray]) -> None:
    length = ts.plateau_length(two_units(), [100, 10000])
    assert length.mean[1] - length.mean[0] == pytest.approx(np.log(100) / (2 * length.rate))
    assert not any(np.isnan(times).any() for times in escapes.values())
    measured = escapes[10000].mean() - escapes[100].mean()
    error = length.deviation * np.sqrt(1 / SIZES[100] + 1 / SIZES[10000])
    assert abs(measured - (length.mean[1] - length.mean[0])) < 3.3 * error  # one in a thousand
    assert abs(measured - 2 * (length.mean[1] - length.mean[0])) > 3.3 * error
    spread = escapes[100].std(ddof=1)
    # The standard deviation of 300 draws of -ln |Z|: 7 % (its kurtosis is 7), and 4 of these.
    assert spread == pytest.approx(length.deviation, rel=0.28)


def unequal_units() -> FixedPoint:
    """Return the saddle of two units whose teacher units differ in output weight and norm."""
    point = two_units()
    initial = dataclasses.replace(point.state, v=[1.0, 1.3], v_teacher=[1.0, 1.3], T=np.diag([4.0, 5.0]))
    return ts.fixed_point(dataclasses.replace(point.problem, initial=initial))


@pytest.mark.parametrize("point", [two_units(), unequal_units()], ids=["equal", "unequal"])
def test_mean_and_deviation_are_those_of_the_distribution(point: FixedPoint) -> None:
    length = ts.plateau_length(point, 1000)
    alpha = np.linspace(0.0, 400.0, 40001)
    survival = 1 - escape_probability(length, alpha)[0]
    mean = np.trapezoid(survival, alpha)
    square = 2 * np.trapezoid(alpha * survival, alpha)
    assert mean == pytest.approx(length.mean[0], rel=1e-4)
    assert np.sqrt(square - mean**2) == pytest.approx(length.deviation, rel=1e-3)


def test_the_two_ways_out_have_their_own_reach() -> None:
    equal, unequal = ts.plateau_length(two_units(), 1000), ts.plateau_length(unequal_units(), 1000)
    assert equal.reach[0] == pytest.approx(equal.reach[1], rel=1e-5)
    assert abs(np.log(unequal.reach[0] / unequal.reach[1])) > 0.1


def test_sampled_escapes_from_one_direction_are_those_in_closed_form() -> None:
    point = unequal_units()
    times = np.sort(sample_escape_times(point, 1000, n_samples=64))
    length = ts.plateau_length(point, 1000)
    # Quasi-random quantiles lie within a few 1/n of the distribution.
    middle = (np.arange(64) + 0.5) / 64
    assert np.abs(escape_probability(length, times)[0] - middle).max() < 3 / 64
    assert np.abs(escape_probability(ts.plateau_length(point, 2000), times)[0] - middle).max() > 3 / 64


def test_three_units_escape_along_four_directions_when_sampled_noise_says() -> None:
    point = ts.fixed_point(ts.Problem(initial=committee(3, 0.63, 0.131, 0.303), rule=ts.LearningRule(eta_xi_in=1.0)))
    assert point.n_unstable == 4
    runs = ts.simulate(
        point.problem, np.arange(0, 321, 4.0), n_inputs=1000, replicas=16, seed=5, method="overlaps", progress=False
    )
    measured = passage_times(runs, 0.5 * point.eps_g).values
    predicted = sample_escape_times(point, 1000, n_samples=64)
    error = np.sqrt(measured.var(ddof=1) / len(measured) + predicted.var(ddof=1) / 64)
    assert abs(measured.mean() - predicted.mean()) < 3.3 * error
    forgotten_n = np.log(1000) / (2 * point.escape_rates[0])
    assert abs(measured.mean() - predicted.mean() + forgotten_n) > 3.3 * error


def test_identical_students_have_no_noise_that_parts_them() -> None:
    with pytest.raises(ts.InvalidInput, match="point"):
        ts.plateau_length(symmetric_point(2, 0.5), 1000)
    with pytest.raises(ts.InvalidInput, match="exactly one"):
        ts.plateau_length(ts.fixed_point(ts.load_problem("saad-solla-1995"), near=30.0), 1000)


def test_what_is_no_fixed_point_or_no_number_is_refused() -> None:
    point = two_units()
    for call in (ts.plateau_length, sample_escape_times):
        for other in (point.problem, point.state, None):
            with pytest.raises(ts.InvalidInput, match=r"^point: got '\w+', expected a FixedPoint"):
                call(other, 100)  # type: ignore[operator]
        for N in (-1, 0, 1e6, "many", True):
            with pytest.raises(ts.InvalidInput, match=r"^n_inputs: "):
                call(point, N)  # type: ignore[operator]
        for fraction in (0, 1.0, np.nan, "half"):
            with pytest.raises(ts.InvalidInput, match=r"^fraction: "):
                call(point, 100, fraction=fraction)  # type: ignore[operator]
    for sizes in ([], [100, -1], [[100], [200]], [[1], [1, 2]]):
        with pytest.raises(ts.InvalidInput, match=r"^n_inputs: "):
            ts.plateau_length(point, sizes)
    for n_samples in (4.0, 0, 1, 6, "all"):
        with pytest.raises(ts.InvalidInput, match=r"^n_samples: "):
            sample_escape_times(point, 100, n_samples=n_samples)  # type: ignore[arg-type]
    length = ts.plateau_length(point, np.int32(100), np.float32(0.5))
    assert length.mean == ts.plateau_length(point, 100).mean
    np.testing.assert_array_equal(ts.plateau_length(point, np.array([100, 200])).n_inputs, [100, 200])


def test_a_teacher_of_another_activation_counts_in_every_error() -> None:
    """A leaky student of a ReLU teacher on its symmetric plateau: its error, and when that has halved, are those of the flow."""
    initial = ts.plain_committee(
        Q=[[0.55, 0.25], [0.25, 0.55]], R=np.full((2, 2), 0.4), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
    )
    rule = ts.LearningRule("leaky_relu", eta_xi_in=0.1, teacher_activation="relu")
    point = ts.fixed_point(ts.Problem(initial=initial, rule=rule))
    assert point.eps_g == pytest.approx(point.state.eps_g("leaky_relu", "relu"), rel=1e-12)
    assert point.eps_g != pytest.approx(point.state.eps_g("leaky_relu"), rel=1e-2)
    length = ts.plateau_length(point, 1000)
    direction = point.eigenvectors[:, 0].real
    coordinates = coordinates_of(point.state, rule)
    for sign, reach in zip((1.0, -1.0), length.reach, strict=True):
        y = coordinates.start[coordinates.moving] + sign * 1e-4 * direction
        state = coordinates.parts(y)
        near = ts.OrderParameters(**state, T=point.state.T, v_teacher=point.state.v_teacher)
        theory = ts.integrate(ts.Problem(initial=near, rule=rule), np.linspace(0.0, 1000.0, 2001), progress=False)
        passage = float(passage_times(theory, 0.5 * point.eps_g))
        assert passage == pytest.approx(np.log(reach / 1e-4) / length.rate, rel=1e-3)
