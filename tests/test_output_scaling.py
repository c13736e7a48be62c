"""The factor of the output, 1, 1/K or 1/sqrt(K): against SGD that has it as a factor, and what becomes of wide students."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from plain_sgd import drawn_inputs
from scipy.special import erf

import teacher_student as ts
from teacher_student.analysis.compare import compare
from teacher_student.analysis.report import report
from teacher_student.networks import draw_weights
from teacher_student.problem_file import parse_problem
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.weights import replica_of
from teacher_student.velocities import at_rest

N_INPUTS, N_STEPS = 30, 45
FACTORS = {"1": lambda n: 1.0, "1/K": lambda n: 1.0 / n, "1/sqrt(K)": lambda n: n**-0.5}
TEXT = """
[initial]
kind = "plain"
output_scaling = "1/K"
Q = [[0.5, 0.0], [0.0, 0.5]]
R = [[0.1], [0.2]]
T = [[1.0]]
v = [1.0, 0.5]
v_teacher = [0.7]

[rule]
eta_xi_in = 0.8
eta_v = 0.4
"""


def sgd_with_factor(stated: ts.Problem, factor: Callable[[int], float], seed: int) -> dict[str, np.ndarray]:
    """Return the state after SGD down the gradient of delta^2 / 2 with the outputs s sum_k v_k g(lambda_k), in plain NumPy.

    The weights and inputs are those that `ts.simulate` draws.
    """
    rule = stated.rule
    rng = replica_generators(seed, 1)[0]
    w = draw_weights(stated.initial, N_INPUTS, rng)
    inputs = drawn_inputs(replica_of(w, rng).arrays.stream, N_INPUTS, batch_size=1)
    xi_in, sigma, xi_out, v = w.xi_in.copy(), w.sigma.copy(), w.xi_out.copy(), w.v.copy()
    s, s_teacher = factor(len(v)), factor(len(w.v_teacher))
    for _ in range(N_STEPS):
        x = next(inputs)
        label = s_teacher * w.v_teacher @ erf(w.W_teacher @ x / np.sqrt(2 * N_INPUTS)) + rule.noise * rng.standard_normal()
        u = xi_in @ x / np.sqrt(N_INPUTS)
        field = xi_out @ (sigma * u)
        activity, slope = erf(field / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(field**2) / 2)
        delta = s * v @ activity - label
        back = s * v * slope
        gradients = (
            delta * np.outer(back @ xi_out * sigma, x) * np.sqrt(N_INPUTS),
            delta * u * (back @ xi_out),
            delta * np.outer(back, u * sigma),
            delta * s * activity,
        )
        xi_in, sigma, xi_out, v = (
            factor - rate / N_INPUTS * (gradient + rule.weight_decay * factor)
            for factor, rate, gradient in zip((xi_in, sigma, xi_out, v), rule.rates, gradients, strict=True)
        )
    overlaps = {"Q_modes": xi_in @ xi_in.T / N_INPUTS, "R_modes": xi_in @ w.W_teacher.T / N_INPUTS}
    return {**overlaps, "sigma": sigma, "xi_out": xi_out, "v": s * v}


def largest_difference(problem: ts.Problem, expected: dict[str, np.ndarray]) -> float:
    end = ts.simulate(problem, [N_STEPS / N_INPUTS], n_inputs=N_INPUTS, seed=3, progress=False).isel(replica=0, alpha=-1)
    return max(float(np.abs(end[name].values - value).max()) for name, value in expected.items())


@pytest.mark.parametrize("scaling", list(FACTORS))
@pytest.mark.parametrize("decay", [{"weight_decay": 0.0}, {"weight_decay": 0.5, "eta_v": 0.0}], ids=["v learns", "others decay"])
def test_a_run_is_sgd_on_outputs_with_the_factor(
    make_problem: Callable[..., ts.Problem], scaling: str, decay: dict[str, float], record_check: Callable[..., None]
) -> None:
    stated = make_problem(4, 3, 2, batch_size=1, **decay)
    problem = ts.with_output_scaling(stated, scaling)
    expected = sgd_with_factor(stated, FACTORS[scaling], seed=3)
    error = largest_difference(problem, expected)
    record_check("outputs with the factor 1, 1/K or 1/sqrt(K): difference", "plain NumPy, same random numbers", error, 1e-12)
    if scaling == "1":
        assert problem == stated
        return
    # Negative controls: the rate of v without the factor's square, with the factor itself, and the student's for the teacher.
    mistakes = [dataclasses.replace(problem, initial=dataclasses.replace(problem.initial, v_teacher=stated.initial.v_teacher))]
    if stated.rule.eta_v > 0:
        for power in (0, 1):
            rule = dataclasses.replace(problem.rule, eta_v=FACTORS[scaling](4) ** power * stated.rule.eta_v)
            mistakes.append(dataclasses.replace(problem, rule=rule))
    assert all(largest_difference(mistake, expected) > 1e-4 for mistake in mistakes)


def test_a_file_states_output_weights_without_the_factor() -> None:
    problem = parse_problem(TEXT)
    np.testing.assert_array_equal(problem.initial.v, [0.5, 0.25])
    np.testing.assert_array_equal(problem.initial.v_teacher, [0.7])
    assert (problem.rule.eta_v, problem.rule.eta_xi_in, problem.output_scaling) == (0.1, 0.8, "1/K")
    again = parse_problem(problem.to_toml())
    assert again == problem
    assert again.to_toml() == problem.to_toml()


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ('output_scaling = "1/N"', r'initial.output_scaling: got .1/N., expected one of "1", "1/K", "1/sqrt\(K\)"'),
        ("output_scaling = 1", "initial.output_scaling: got 1, expected"),
        ('output_scaling = "1/K"\noutput_scaling_applied = "yes"', "initial.output_scaling_applied: got 'yes', expected true or"),
    ],
)
def test_another_factor_is_refused(line: str, refusal: str) -> None:
    with pytest.raises(ts.InvalidInput, match=rf"\A{refusal}"):
        parse_problem(TEXT.replace('output_scaling = "1/K"', line))


def test_what_the_factor_cannot_mean_is_refused() -> None:
    problem = parse_problem(TEXT)
    with pytest.raises(ts.InvalidInput, match=r"output_scaling: got '1/sqrt\(K\)', expected a problem without one"):
        ts.with_output_scaling(problem, "1/sqrt(K)")
    with pytest.raises(ts.InvalidInput, match=r"rule.weight_decay: got 0.1, expected 0 where"):
        parse_problem(TEXT.replace("eta_v = 0.4", "eta_v = 0.4\nweight_decay = 0.1"))
    with pytest.raises(ts.InvalidInput, match=r"output_scaling: got 'K', expected one of"):
        ts.Problem(initial=problem.initial, rule=problem.rule, output_scaling="K")
    li_huang = '[initial]\nkind = "li-huang"\nn_inputs = 30\nn_units = 4\nn_modes = 2\nseed = 1\n'
    assert parse_problem(li_huang + "[rule]\neta_xi_in = 1.0\n").initial.v[0] == 0.25
    with pytest.raises(ts.InvalidInput, match=r"initial.output_scaling: got '1/K', expected no such key"):
        parse_problem(li_huang + 'output_scaling = "1/K"\n[rule]\neta_xi_in = 1.0\n')


def test_the_name_alone_of_a_factor_is_refused() -> None:
    """It would change no number of the problem; one that contains a factor keeps its name in whatever becomes of it."""
    problem = parse_problem(TEXT)
    stated = parse_problem(TEXT.replace('"1/K"', '"1"'))
    assert stated.output_scaling == "1"
    message = 'output_scaling: got \'1/K\', expected "1" here, and the factor by ts.with_output_scaling(problem, "1/K")'
    for named in (
        lambda: ts.Problem(initial=stated.initial, rule=stated.rule, output_scaling="1/K"),
        lambda: dataclasses.replace(stated, output_scaling="1/K"),
    ):
        with pytest.raises(ts.InvalidInput) as caught:
            named()
        assert str(caught.value) == message
    for same in (dataclasses.replace(problem, seed=7), copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert dataclasses.replace(same, seed=problem.seed) == problem
        assert same.output_scaling == "1/K"
    assert ts.warm_restart(ts.integrate(problem, [0.1], progress=False)).output_scaling == "1/K"


def test_a_schedule_of_the_output_weights_rate_is_scaled_too() -> None:
    text = TEXT.replace("eta_v = 0.4", 'eta_v = { kind = "power-law", start = 0.4, alpha = 2.0, exponent = 1.0 }')
    problem = parse_problem(text)
    assert problem.rule.eta_v == ts.PowerLaw(start=0.1, alpha=2.0, exponent=1.0)
    assert parse_problem(problem.to_toml()) == problem


def test_the_report_says_what_the_numbers_contain() -> None:
    lines = {}
    for scaling in ("1", "1/K"):
        problem = parse_problem(TEXT.replace('"1/K"', f'"{scaling}"'))
        runs = ts.simulate(problem, [0.0, 1.0], n_inputs=20, replicas=2, progress=False)
        result = compare(ts.integrate(problem, [0.0, 1.0], progress=False), runs)
        lines[scaling] = report(result, {"theory": 0.0, "simulation": 0.0}, "")
    assert "- Output scaling 1/K (of the teacher with M for K): v, v_teacher and eta_v below contain it" in lines["1/K"]
    assert "Output scaling" not in lines["1"]


def wide(n_units: int, rate: float) -> ts.Problem:
    """Return a mean-field problem: two kinds of units, half of all each, that differ beside it by independent parts."""
    R = np.repeat([[0.3, 0.1], [0.05, 0.25]], n_units // 2, axis=0)
    initial = ts.plain_committee(
        Q=R @ R.T + 0.5 * np.eye(n_units), R=R, T=np.eye(2), v=np.repeat([1.0, 0.8], n_units // 2), v_teacher=[1.0, 1.5]
    )
    rule = ts.LearningRule(eta_xi_in=rate, eta_v=rate, noise=0.1)
    return ts.with_output_scaling(ts.Problem(initial=initial, rule=rule), "1/K")


def test_wide_students_have_a_limit_if_rates_grow_with_the_width(record_check: Callable[..., None]) -> None:
    """With 1/K and rates proportional to K, eps_g tends to a limit as 1/K: what it changes by halves when K doubles."""

    def curves(power: int) -> np.ndarray:
        problems = [wide(K, 0.5 * K**power) for K in (4, 8, 16, 32)]
        return np.array([ts.integrate(problem, [0.0, 1.0, 3.0, 6.0], progress=False)["eps_g"].values for problem in problems])

    growing, fixed = curves(1), curves(0)
    change = np.abs(np.diff(growing, axis=0)).max(axis=1)
    error = np.abs(change[:-1] / change[1:] - 2).max()
    record_check("wide students, 1/K: |change of eps_g at K / that at 2 K - 2|", "approach to the limit as 1/K", error, 0.3)
    learnt = growing[:, 0] - growing[:, -1]
    assert learnt[-1] / learnt[-2] == pytest.approx(1.0, abs=0.05)
    # Negative control: at rates that do not grow, students learn half as much when they are twice as wide.
    learnt = fixed[:, 0] - fixed[:, -1]
    assert learnt[-1] / learnt[-2] == pytest.approx(0.5, abs=0.05)


def test_velocities_of_output_weights_are_stated_without_the_factor_too() -> None:
    """At a rate of almost zero nothing but friction acts on them: v = v_0 + s_0 (1 - exp(-gamma alpha)) / gamma."""
    gamma, alpha, s = 0.5, 2.0, np.array([0.3, -0.2])
    stated = ts.LearningRule(eta_xi_in=0.0, eta_v=1e-12, friction=gamma)
    initial = parse_problem(TEXT.replace('output_scaling = "1/K"', "")).initial
    velocity = dataclasses.replace(at_rest(initial), v_velocity=s)
    problem = ts.with_output_scaling(ts.Problem(initial=initial, rule=stated, velocity=velocity), "1/K")
    end = ts.integrate(problem, [alpha], progress=False)["v"].values[-1]
    np.testing.assert_allclose(end, (initial.v + s * (1.0 - np.exp(-gamma * alpha)) / gamma) / 2.0, atol=1e-9)
