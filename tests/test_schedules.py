"""Schedules of rates: their values, what SGD and the theory make of them, and how they are written down."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.analysis.verdict import judge
from teacher_student.bundles import rule_bundle
from teacher_student.problem_file import parse_problem
from teacher_student.rates import rates_at
from teacher_student.schedules import later, scaled, schedule_rows
from teacher_student.sgd import chain, weights
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise import fluctuations
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side

SCHEDULES = {
    "piecewise": ts.Piecewise(rates=[0.8, 0.3, 1.1], alpha=[0.7, 2.0]),
    "power law": ts.PowerLaw(start=1.2, alpha=0.5, exponent=0.8),
    "cosine": ts.Cosine(start=1.1, end=0.2, period=1.5),
    "cosine, three times": ts.Cosine(start=1.1, end=0.2, period=0.8, repeats=3),
    "piecewise, later": ts.Piecewise(rates=[0.8, 0.3, 1.1], alpha=[0.7, 2.0], elapsed=1.3),
    "power law, later": ts.PowerLaw(start=1.2, alpha=0.5, exponent=0.8, elapsed=1.3),
    "cosine, later": ts.Cosine(start=1.1, end=0.2, period=0.8, repeats=3, elapsed=1.3),
    "exponential": ts.Exponential(start=1.2, alpha=0.6, end=0.1),
    "exponential that rises, later": ts.Exponential(start=0.1, alpha=0.6, end=0.9, elapsed=0.4),
    "ramp": ts.Ramp(rates=[0.0, 0.9, 0.9, 0.2], alpha=[0.6, 1.5, 2.2]),
    "ramp, later": ts.Ramp(rates=[0.0, 0.9, 0.9, 0.2], alpha=[0.6, 1.5, 2.2], elapsed=0.9),
    "constant": 0.6,
}
by_schedule = pytest.mark.parametrize("rate", SCHEDULES.values(), ids=SCHEDULES)


def plain_rate(rate: object, alpha: float) -> float:
    """Return the rate at `alpha`, from the definitions written out once more."""
    if isinstance(rate, float):
        return rate
    t = rate.elapsed + alpha
    if isinstance(rate, ts.Piecewise):
        return rate.rates[sum(t >= jump for jump in rate.alpha)]
    if isinstance(rate, ts.PowerLaw):
        return rate.start * math.exp(-rate.exponent * math.log(1.0 + t / rate.alpha))
    if isinstance(rate, ts.Exponential):
        return rate.end + (rate.start - rate.end) * math.exp(-t / rate.alpha)
    if isinstance(rate, ts.Ramp):
        return float(np.interp(t, (0.0, *rate.alpha), rate.rates))
    if t >= rate.repeats * rate.period:
        return rate.end
    angle = math.pi * math.fmod(t, rate.period) / rate.period
    return rate.start * math.cos(angle / 2) ** 2 + rate.end * math.sin(angle / 2) ** 2


def rate_at(rate: object, alpha: float) -> float:
    out = np.empty(1)
    rates_at(schedule_rows([rate]), alpha, out)
    return float(out[0])


@by_schedule
def test_values(rate: object) -> None:
    times = np.random.default_rng(1).uniform(0.0, 4.0, 200)
    expected = [plain_rate(rate, alpha) for alpha in times]
    np.testing.assert_allclose([rate_at(rate, alpha) for alpha in times], expected, rtol=1e-13)
    np.testing.assert_allclose([rate_at(scaled(rate, 1.5), alpha) for alpha in times], 1.5 * np.array(expected), rtol=1e-13)
    np.testing.assert_allclose(
        [rate_at(later(rate, 0.9), alpha - 0.9) for alpha in times if alpha > 0.9],
        [value for alpha, value in zip(times, expected, strict=True) if alpha > 0.9],
        rtol=1e-13,
    )
    rule = ts.LearningRule(eta_xi_in=rate, eta_v=0.1)
    grid = np.linspace(0.0, 40.0, 40001)
    assert rule.largest_rates[0] == pytest.approx(max(plain_rate(rate, alpha) for alpha in grid), rel=1e-12)
    np.testing.assert_array_equal(rule.largest_rates[1:], [0.0, 0.0, 0.1])


def test_jumps_are_where_the_rate_jumps() -> None:
    """At a jump the rate is the one after it, just before it the one before; also where periods are rounded."""
    rule = ts.LearningRule(eta_xi_in=SCHEDULES["piecewise"], eta_sigma=SCHEDULES["cosine, three times"], eta_v=0.1)
    np.testing.assert_allclose(rule.jumps, [0.7, 0.8, 1.6, 2.0, 2.4])
    for elapsed, done in ((0.0, 0), (0.37, 3), (1.9, 19)):
        many = ts.Cosine(start=2.0, end=1.0, period=0.1, repeats=1000, elapsed=elapsed)
        times = many.jumps()
        assert len(times) == 1000 - done
        for time in times[:-1]:
            assert rate_at(many, time) == pytest.approx(2.0, abs=1e-12)
            assert rate_at(many, time - 1e-11) == pytest.approx(1.0, abs=1e-12)
    for name in ("power law", "exponential"):
        assert ts.LearningRule(eta_xi_in=SCHEDULES[name]).jumps.size == 0
    np.testing.assert_allclose(ts.LearningRule(eta_xi_in=SCHEDULES["ramp, later"]).jumps, [0.6, 1.3])


@pytest.mark.parametrize("method", ["LSODA", "Radau", "BDF", "DOP853", "RK45", "RK23"])
def test_jumps_that_differ_by_rounding_are_one(method: str) -> None:
    """3 x 0.8 is not 2.4, and 2.4 - 1.9 not 0.5; no solver is asked to step over the difference. Distinct ones are two."""
    cosine = ts.Cosine(start=1.1, end=0.2, period=0.8, repeats=3)
    rule = ts.LearningRule(eta_xi_in=cosine, eta_v=ts.Piecewise(rates=[0.1, 0.3], alpha=[2.4]))
    np.testing.assert_allclose(rule.jumps, [0.8, 1.6, 2.4])
    rule = ts.LearningRule(eta_xi_in=later(cosine, 1.9), eta_v=ts.Piecewise(rates=[0.1, 0.3], alpha=[0.5]))
    np.testing.assert_allclose(rule.jumps, [0.5])
    assert ts.LearningRule(eta_xi_in=later(cosine, 2.4)).jumps.size == 0

    rule = dataclasses.replace(rule, eta_sigma=ts.Piecewise(rates=[0.1, 0.3], alpha=[0.5 * (1 + 1e-11)]))
    assert len(rule.jumps) == 2
    problem = dataclasses.replace(linear_unit(0.5), rule=rule)
    values = [ts.integrate(problem, [0.7], method=name, progress=False)["eps_g"].item() for name in (method, "LSODA")]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_a_rate_that_is_zero_from_now_on_freezes_its_factor(make_problem: Callable[..., ts.Problem]) -> None:
    started, ended = (ts.Piecewise(rates=[0.5, 0.0], alpha=[1.0], elapsed=elapsed) for elapsed in (0.5, 1.0))
    for rate, n_sigma in ((started, 3), (ended, 0), (ts.PowerLaw(0.0, 1.0, 1.0), 0), (ts.Cosine(0.0, 0.3, 2.0), 3)):
        problem = make_problem(eta_sigma=rate)
        labels = coordinates_of(problem.initial, problem.rule).labels
        assert sum(label.startswith("sigma") for label in labels) == n_sigma


# What is written down


def test_toml_round_trip(make_problem: Callable[..., ts.Problem]) -> None:
    names = ("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v")
    for shift in range(0, len(SCHEDULES), 3):
        rates = dict(zip(names, np.roll(list(SCHEDULES.values()), shift)[:4], strict=True))
        problem = make_problem(**rates)
        again = parse_problem(problem.to_toml())
        assert again == problem
        assert again.rule == problem.rule
        assert hash(again.rule) == hash(problem.rule)
        assert again.to_toml() == problem.to_toml()
        assert again != make_problem(**{**rates, "eta_v": 0.123})
    text = 'kind = "power-law", start = 1.0, alpha = 10.0, exponent = 1.0'
    assert with_rate(text).rule.eta_xi_in == ts.PowerLaw(start=1.0, alpha=10.0, exponent=1.0)


def with_rate(text: str) -> ts.Problem:
    overlaps = "Q = [[0.5]]\nR = [[0.1]]\nT = [[1.0]]\nv = [1.0]\nv_teacher = [1.0]"
    return parse_problem(f'[initial]\nkind = "plain"\n{overlaps}\n[rule]\neta_xi_in = {{ {text} }}')


NOT_BELOW_0 = "a finite number of at least 0"
NEEDED = "a value; needed here: start, end, period"
KNOWN = "no such key; known here: start, alpha, exponent, elapsed"
QUOTED = '"piecewise" or "power-law" or "cosine" or "exponential" or "ramp"'
KINDS = "one of piecewise, power-law, cosine, exponential, ramp"


@pytest.mark.parametrize(
    ("text", "field", "got", "expected"),
    [
        ("", "", "{}", f"a number of at least 0, or a table with kind = {QUOTED}"),
        ('kind = "step"', "kind", "'step'", KINDS),
        ("kind = [1]", "kind", "[1]", KINDS),
        ('kind = "cosine", start = 1, end = 0', "period", "None", NEEDED),
        ('kind = "cosine", start = 1, end = 0, period = 0', "period", "0.0", "a number above 0"),
        ('kind = "cosine", start = 1, end = nan, period = 1', "end", "nan", NOT_BELOW_0),
        ('kind = "cosine", start = 1, end = 0, period = 1, repeats = 0', "repeats", "0", "a whole number of at least 1"),
        ('kind = "power-law", start = 1, alpha = 2, exponent = -1', "exponent", "-1.0", NOT_BELOW_0),
        ('kind = "power-law", start = 1, alpha = 2, power = 1', "power", "1", KNOWN),
        ('kind = "power-law", start = "1", alpha = 2, exponent = 1', "start", "'1'", "a number of at least 0"),
        ('kind = "exponential", start = 1, alpha = 0', "alpha", "0.0", "a number above 0"),
        ('kind = "ramp", rates = [0, 2], alpha = [1, 2]', "rates", "(0.0, 2.0)", "3 rates, one more than times in alpha"),
        ('kind = "ramp", rates = [0, 2], alpha = [inf]', "alpha[0]", "inf", NOT_BELOW_0),
        ('kind = "piecewise", rates = [1, 2], alpha = [1, 2]', "rates", "(1.0, 2.0)", "3 rates, one more than times in alpha"),
        ('kind = "piecewise", rates = [1, 2, 3], alpha = [2, 2]', "alpha[1]", "2.0", "a time after 2"),
        ('kind = "piecewise", rates = [1, 2], alpha = [0]', "alpha[0]", "0.0", "a time after 0"),
        ('kind = "piecewise", rates = [1], alpha = []', "alpha", "()", "at least one time (a constant rate is a plain number)"),
        ('kind = "piecewise", rates = 1, alpha = [1]', "rates", "1", "a sequence of numbers"),
        ('kind = "piecewise", rates = [1, -2], alpha = [1]', "rates[1]", "-2.0", NOT_BELOW_0),
    ],
)
def test_refusals_name_the_field(text: str, field: str, got: str, expected: str) -> None:
    with pytest.raises(ts.InvalidInput) as caught:
        with_rate(text)
    assert str(caught.value) == f"rule.eta_xi_in.{field}: got {got}, expected {expected}".replace(".:", ":")


def test_what_needs_constant_rates_refuses_a_schedule(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(eta_sigma=ts.Cosine(start=1.0, end=0.1, period=10.0))
    for call in (ts.fixed_point, lambda problem: ts.continuation(problem, "noise", [0.1, 0.2])):
        with pytest.raises(ts.InvalidInput, match=r"^rule\.eta_sigma: got Cosine\(start=1.*, expected a constant rate here$"):
            call(problem)


# What SGD makes of it


def factors_after(method: Any, problem: ts.Problem, rules: list[tuple[int, int, ts.LearningRule]]) -> dict[str, np.ndarray]:
    """Return what is measured after (first step, number of steps) under each of the `rules`, at N = 30."""
    rng, (erf, _) = np.random.Generator(np.random.SFC64(3)), get_activations("erf")
    if method is chain:
        run: Any = chain.start(problem.initial, None, 30, problem.rule.batch_size, [rng])
    else:
        run = weights.start(problem.initial, None, 30, rng)
    for first_step, n_steps, rule in rules:
        assert np.all(method.advance(run, erf, erf, rule_bundle(rule), None, 30, first_step, n_steps) == n_steps)
    return method.measure(run)


@pytest.mark.parametrize("method", [weights, chain], ids=["weights", "overlaps"])
@pytest.mark.parametrize("name", ["eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v"])
def test_a_step_takes_the_rate_at_the_time_before_it(make_problem: Callable[..., ts.Problem], method: object, name: str) -> None:
    """Step n has the rate at n / N: bit for bit the steps of constant rates one by one; one step off it is not."""
    for rate in SCHEDULES.values():
        problem = make_problem(**{name: rate})
        whole = factors_after(method, problem, [(0, 50, problem.rule), (50, 40, problem.rule)])

        def by_single_steps(late: int, problem: ts.Problem = problem, rate: object = rate) -> dict[str, np.ndarray]:
            constant = [dataclasses.replace(problem.rule, **{name: rate_at(rate, (n + late) / 30)}) for n in range(90)]
            return factors_after(method, problem, [(n, 1, rule) for n, rule in enumerate(constant)])

        same, late = by_single_steps(0), by_single_steps(1)
        assert all(np.array_equal(whole[factor], same[factor]) for factor in whole)
        assert rate == 0.6 or not all(np.array_equal(whole[factor], late[factor]) for factor in whole)


def test_simulation_cut_into_many_calls_is_the_same(make_problem: Callable[..., ts.Problem]) -> None:
    """Output times, and with them the calls of the compiled code, change nothing."""
    problem = make_problem(eta_xi_in=SCHEDULES["power law"], eta_v=SCHEDULES["cosine"])
    few = ts.simulate(problem, [3.0], n_inputs=50, seed=1, progress=False)
    many = ts.simulate(problem, np.arange(0.02, 3.01, 0.02), n_inputs=50, seed=1, progress=False)
    assert few.isel(alpha=-1)["eps_g"].item() == many.isel(alpha=-1)["eps_g"].item()


# What the theory makes of it: one linear unit, solved in closed form

TIMES = [0.4, 0.7, 1.1, 1.5, 2.0, 2.9]
T, R_0, Q_0 = 1.3, 0.2, 0.5


def linear_unit(rate: object) -> ts.Problem:
    initial = ts.plain_committee(Q=[[Q_0]], R=[[R_0]], T=[[T]], v=[1.0], v_teacher=[1.0])
    return ts.Problem(initial=initial, rule=ts.LearningRule("linear", eta_xi_in=rate))


def integral(function: Callable[[float], float], rate: object, end: float) -> float:
    """Return the integral of function(eta) over time from 0 to `end`."""
    cuts = ts.LearningRule(eta_xi_in=rate).jumps
    ends = [0.0, *cuts[cuts < end], end]
    parts = [
        scipy.integrate.quad(lambda alpha: function(plain_rate(rate, alpha)), a + 1e-13, b - 1e-13, epsabs=1e-13, epsrel=1e-13)[0]
        for a, b in itertools.pairwise(ends)
    ]
    return sum(parts)


@by_schedule
def test_linear_unit_in_closed_form(rate: object, record_check: Callable[..., None]) -> None:
    """R - T falls as exp(-int eta), D = Q - 2 R + T as exp(int eta^2 - 2 eta); not so with the exponent or first rate 1 % off."""
    theory = ts.integrate(linear_unit(rate), TIMES, progress=False)
    R, Q = theory["R"].values.ravel(), theory["Q"].values.ravel()
    first = [(R_0 - T) * math.exp(-integral(lambda eta: eta, rate, end)) for end in TIMES]
    second = [(Q_0 - 2 * R_0 + T) * math.exp(integral(lambda eta: eta**2 - 2 * eta, rate, end)) for end in TIMES]
    error = max(np.abs(R - T - first).max(), np.abs(Q - 2 * R + T - second).max())
    record_check("linear unit under a schedule: difference", "closed form", error, 1e-7)
    wrong = ts.integrate(linear_unit(scaled(rate, 1.01)), TIMES, progress=False)["R"].values.ravel()
    assert np.abs(wrong - T - first).max() > 1e-4


@by_schedule
@pytest.mark.parametrize("method", ["Radau", "DOP853"])
def test_other_solvers(rate: object, method: str) -> None:
    problem = linear_unit(rate)
    difference = ts.integrate(problem, TIMES, progress=False) - ts.integrate(problem, TIMES, method=method, progress=False)
    assert abs(difference["Q"]).max() < 1e-7


@pytest.mark.parametrize("name", ["piecewise", "power law", "cosine, three times", "power law, later"])
def test_linear_noise_in_closed_form(name: str, monkeypatch: pytest.MonkeyPatch, record_check: Callable[..., None]) -> None:
    """Exactly, a step multiplies <D> by 1 - 2 eta / N + eta^2 (N + 2) / N^2; its relative variance grows by 2 (eta^2 - 2 eta)^2.

    At N = 2e4 the product gives N (<D> - D) to 1e-4. Without df/dalpha the prediction fails, unless the rate only jumps.
    """
    rate, N = SCHEDULES[name], 20_000
    problem, times = linear_unit(rate), [0.4, 1.1, 2.0]
    D_0 = Q_0 - 2 * R_0 + T
    eta = np.array([plain_rate(rate, n / N) for n in range(round(times[-1] * N))])
    logarithm = np.cumsum(np.log1p(-2 * eta / N + eta**2 * (N + 2) / N**2))
    D = np.array([D_0 * math.exp(integral(lambda eta: eta**2 - 2 * eta, rate, end)) for end in times])
    shift = N * (D_0 * np.exp([logarithm[round(end * N) - 1] for end in times]) - D)
    relative = np.array([integral(lambda eta: 2 * (eta**2 - 2 * eta) ** 2, rate, end) for end in times])
    of_D = np.array([1.0, -2.0])

    theory = ts.integrate(problem, times, fluctuations=True, progress=False)
    error = np.abs(theory["shift"].values @ of_D - shift).max()
    variance = np.einsum("i,tij,j->t", of_D, theory["covariance"].values, of_D)
    record_check("shift of a linear unit: difference", "product of exact steps", error, 1e-3)
    record_check("variance of a linear unit: relative error", "closed form", np.abs(variance / D**2 / relative - 1).max(), 2e-3)

    whole = fluctuations.linearise
    monkeypatch.setattr(fluctuations, "linearise", lambda *given: (all_of := whole(*given))._replace(change=0.0 * all_of.change))
    without = ts.integrate(problem, times, fluctuations=True, progress=False)["shift"].values @ of_D
    assert (np.abs(without - shift).max() > 1e-2) == (name != "piecewise")


def test_sampled_averages_follow_the_schedules(make_problem: Callable[..., ts.Problem]) -> None:
    """The right-hand side from samples is that in closed form within 5 of its standard errors; with the rates at 0 it is not."""
    rates = {"eta_xi_in": SCHEDULES["cosine"], "eta_sigma": SCHEDULES["power law"], "eta_xi_out": SCHEDULES["piecewise"]}
    problem = make_problem(2, 2, 2, **rates, eta_v=SCHEDULES["cosine, three times"], weight_decay=0.3)
    coordinates = coordinates_of(problem.initial, problem.rule)
    y = coordinates.start[coordinates.moving]
    closed = right_hand_side(problem.initial, problem.rule, coordinates)
    sampled = SampledDrift(problem.initial, problem.rule, coordinates)
    for alpha in (0.3, 0.9, 2.1):
        allowed = 5.0 * sampled.error(alpha, y) + 1e-12
        assert (np.abs(sampled(alpha, y) - closed(alpha, y)) < allowed).all()
        assert (np.abs(sampled(0.0, y) - closed(alpha, y)) > allowed).any()


def test_verdict_estimates_a_common_factor_of_a_schedule() -> None:
    """Runs whose rate is 5 % larger are found out, by the right parameter; the right ones agree."""
    initial = ts.plain_committee(Q=[[Q_0]], R=[[R_0]], T=[[T]], v=[1.0], v_teacher=[1.0])
    rule = ts.LearningRule(eta_xi_in=SCHEDULES["cosine, three times"], noise=0.3)
    times = [0.0, 0.5, 1.0, 2.0, 4.0]
    theory = ts.integrate(ts.Problem(initial=initial, rule=rule), times, fluctuations=True, progress=False)
    for factor in (1.0, 1.05):
        run = dataclasses.replace(rule, eta_xi_in=scaled(rule.eta_xi_in, factor))
        simulation = ts.simulate(
            ts.Problem(initial=initial, rule=run), times, n_inputs=2000, replicas=60, seed=4, method="overlaps", progress=False
        )
        verdict = judge(theory, simulation)
        estimates = {estimate.name: estimate for estimate in verdict.estimates}
        assert list(estimates) == ["factor of eta_xi_in", "noise"]
        found = estimates["factor of eta_xi_in"]
        assert found.value == 1.0
        assert abs(found.estimate - factor) < 4 * found.error < 0.1
        assert verdict.passed == (factor == 1.0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(jumps=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=4, unique=True), data=st.data())
def test_any_jumps(jumps: list[float], data: st.DataObject) -> None:
    rates = data.draw(st.lists(st.floats(0.0, 1.5), min_size=len(jumps) + 1, max_size=len(jumps) + 1))
    rate = ts.Piecewise(rates=rates, alpha=sorted(jumps))
    R = ts.integrate(linear_unit(rate), TIMES, progress=False)["R"].values.ravel()
    expected = [(R_0 - T) * math.exp(-integral(lambda eta: eta, rate, end)) for end in TIMES]
    np.testing.assert_allclose(R - T, expected, atol=1e-7)
