"""Learning rules against each other: for each activation and rule, SGD on weights and the chain have the mean of the ODEs.

z is the deviation of the mean over runs from the ODE in units of its estimated standard error. The largest |z| of about a hundred
order parameters and times must be below 4.5; the same criterion must fail for each of the rule's mistakes. Further activations
and rules take fewer and smaller runs on weights, and their mistakes are made in the chain, which costs less than a theory with
sampled averages. Runs that go on where another ended are held to the theory that goes on from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from deviations import z_scores

import teacher_student as ts
from teacher_student.problem import RATES
from teacher_student.schedules import scaled
from teacher_student.theory import integrate
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.right_hand_side import right_hand_side

LARGEST_Z = 4.5
REPLICAS = 32
SIZES = {"weights": 4_000, "overlaps": 10_000}
TIMES = [0.5, 1.5, 3.0]
# N and number of runs that cost little; the ODEs' own error of order 1/N stays below a standard error.
ENSEMBLES = {"weights": (1_000, 16), "overlaps": (10_000, 32)}
EARLY = [0.5, 1.5]

POWER_LAW = ts.PowerLaw(start=1.0, alpha=0.3, exponent=1.0)
COSINE = ts.Cosine(start=0.8, end=0.1, period=1.2, repeats=2)
PIECEWISE = ts.Piecewise(rates=[0.8, 0.0, 0.4], alpha=[0.4, 1.0])

NO_RESCALING: dict[str, object] = {}  # in the theory, the diagonal of Q_modes kept all the same
# Rules, as changes of a constant one with label noise, and mistakes, as further changes.
RULES: dict[str, tuple[dict[str, object], list[dict[str, object]]]] = {
    "constant": ({}, [{"eta_xi_in": 0.6 * 1.1}]),
    "power law, input modes": (
        {"eta_xi_in": POWER_LAW},
        [{"eta_xi_in": dataclasses.replace(POWER_LAW, exponent=1.05)}, {"eta_xi_in": 1.0}],
    ),
    "cosine, input modes": ({"eta_xi_in": COSINE}, [{"eta_xi_in": dataclasses.replace(COSINE, repeats=1)}, {"eta_xi_in": 0.45}]),
    "piecewise, strengths": (
        {"eta_sigma": PIECEWISE},
        [{"eta_sigma": 0.8}, {"eta_sigma": dataclasses.replace(PIECEWISE, alpha=(0.5, 1.0))}],
    ),
    "power law, output modes": (
        {"eta_xi_out": POWER_LAW},
        [{"eta_xi_out": dataclasses.replace(POWER_LAW, elapsed=0.1)}, {"eta_xi_out": 1.0}],
    ),
    "cosine, output weights": ({"eta_v": COSINE}, [{"eta_v": 0.8}, {"eta_v": dataclasses.replace(COSINE, end=0.2)}]),
    "all scheduled, batch, decay": (
        {
            "eta_xi_in": dataclasses.replace(COSINE, start=1.2, elapsed=0.3),
            "eta_sigma": POWER_LAW,
            "eta_xi_out": COSINE,
            "eta_v": PIECEWISE,
            "batch_size": 3,
            "weight_decay": 0.2,
        },
        [{"batch_size": 1}, {"weight_decay": 0.0}, {"eta_v": 0.8}],
    ),
    "spherical": ({"eta_xi_in": 1.5, "spherical": True}, [NO_RESCALING, {"spherical": False}, {"eta_xi_in": 1.575}]),
    "spherical, scheduled, batch, decay": (
        {
            "eta_xi_in": dataclasses.replace(POWER_LAW, start=1.5),
            "eta_v": COSINE,
            "batch_size": 2,
            "weight_decay": 0.3,
            "spherical": True,
        },
        [NO_RESCALING, {"batch_size": 1}, {"weight_decay": 0.0}],
    ),
}
MORE_RULES: dict[str, tuple[dict[str, object], list[dict[str, object]]]] = {
    "piecewise, input modes": (
        {"eta_xi_in": PIECEWISE},
        [{"eta_xi_in": 0.6}, {"eta_xi_in": dataclasses.replace(PIECEWISE, alpha=(0.5, 1.0))}],
    ),
    "piecewise, output modes, cosine, strengths": (
        {"eta_xi_out": PIECEWISE, "eta_sigma": dataclasses.replace(COSINE, start=1.2)},
        [{"eta_xi_out": 0.8}, {"eta_xi_out": dataclasses.replace(PIECEWISE, alpha=(0.5, 1.0))}, {"eta_sigma": 0.65}],
    ),
}
CASES = [("erf", rule) for rule in RULES]
CASES += [("relu", "power law, input modes"), ("relu", "all scheduled, batch, decay")]
CASES += [("relu", "spherical"), ("tanh", "power law, input modes"), ("tanh", "spherical")]
CASES += [("linear", "all scheduled, batch, decay"), ("quadratic", "cosine, output weights"), ("leaky_relu", "spherical")]
MORE_CASES = [("erf", rule) for rule in MORE_RULES]
MORE_CASES += [
    ("tanh", "all scheduled, batch, decay"),
    ("gelu", "piecewise, input modes"),
    ("softplus", "spherical, scheduled, batch, decay"),
]
MORE_CASES += [("sigmoid", "piecewise, output modes, cosine, strengths"), ("sign", "cosine, output weights")]
MORE_CASES += [("hermite2", "all scheduled, batch, decay"), ("hermite3", "spherical"), ("hermite4", "power law, input modes")]
MORE_CASES += [("centred_quadratic", "all scheduled, batch, decay")]
MORE_CASES += [("arctangent", "all scheduled, batch, decay"), ("arctangent", "spherical")]
SLOWER = {"hermite3": 0.3, "hermite4": 0.1}  # steps of polynomials have heavy tails


def problem_of(make_problem: Callable[..., ts.Problem], activation: str, changes: dict[str, object]) -> ts.Problem:
    constant = {"eta_xi_in": 0.6, "eta_sigma": 0.3, "eta_xi_out": 0.3, "eta_v": 0.3}
    rule = {**constant, "noise": 0.2, "weight_decay": 0.0, "batch_size": 1, **changes}
    rates = {name: scaled(rule[name], SLOWER.get(activation, 1.0)) for name in RATES}
    return make_problem(2, 2, 2, activation=activation, **{**rule, **rates})


def without_rescaling(state: ts.OrderParameters, rule: ts.LearningRule, moving: Coordinates) -> Callable[..., object]:
    """Return the right-hand side of a rule that rescales nothing, on the coordinates of one that does."""
    return right_hand_side(state, dataclasses.replace(rule, spherical=False), moving)


def solved(problem: ts.Problem, times: list[float] = TIMES) -> xr.Dataset:
    """Return the theory, to a hundredth of the smallest standard error."""
    return ts.integrate(problem, times, rtol=1e-6, atol=1e-8, progress=False)


def largest_z(runs: xr.Dataset, theory: xr.Dataset) -> float:
    """Return the largest deviation of the mean of runs from the ODE in standard errors, for all that moves."""
    return float(np.abs(z_scores(runs, theory)).max(initial=0.0))


@pytest.mark.parametrize(("activation", "rule"), CASES)
def test_rule_in_theory_weights_and_chain(
    make_problem: Callable[..., ts.Problem],
    activation: str,
    rule: str,
    record_check: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes, mistakes = RULES[rule]
    problem = problem_of(make_problem, activation, changes)
    runs = {
        method: ts.simulate(problem, TIMES, n_inputs=N, replicas=REPLICAS, seed=6, method=method, progress=False)
        for method, N in SIZES.items()
    }
    theory = solved(problem)
    for method, N in SIZES.items():
        record_check(f"{rule}: largest |z|", f"{method}, {activation}, N = {N}", largest_z(runs[method], theory), LARGEST_Z)
    for mistake in mistakes if activation == "erf" else mistakes[:1]:
        with monkeypatch.context() as patched:
            if mistake is NO_RESCALING:
                patched.setattr(integrate, "right_hand_side", without_rescaling)
            wrong = solved(problem_of(make_problem, activation, {**changes, **mistake}))
        assert all(largest_z(runs[method], wrong) > LARGEST_Z for method in SIZES), mistake


def runs_of(problem: ts.Problem, method: str) -> xr.Dataset:
    """Return the runs of `ENSEMBLES` at the times `EARLY`."""
    N, replicas = ENSEMBLES[method]
    return ts.simulate(problem, EARLY, n_inputs=N, replicas=replicas, seed=6, method=method, progress=False)


@pytest.mark.usefixtures("arctangent")
@pytest.mark.parametrize(("activation", "rule"), MORE_CASES)
def test_further_activations_and_rules(
    make_problem: Callable[..., ts.Problem], activation: str, rule: str, record_check: Callable[..., None]
) -> None:
    changes, mistakes = {**RULES, **MORE_RULES}[rule]
    problem = problem_of(make_problem, activation, changes)
    theory = solved(problem, EARLY)
    for method, (N, _) in ENSEMBLES.items():
        z = largest_z(runs_of(problem, method), theory)
        record_check(f"{rule}: largest |z|", f"{method}, {activation}, N = {N}", z, LARGEST_Z)
    for mistake in mistakes if activation == "erf" else mistakes[:1]:
        wrong = {**changes, **(mistake or {"spherical": False})}
        assert largest_z(runs_of(problem_of(make_problem, activation, wrong), "overlaps"), theory) > LARGEST_Z, mistake


@pytest.mark.parametrize("method", list(ENSEMBLES))
@pytest.mark.parametrize(
    ("activation", "rule"),
    [
        ("erf", "all scheduled, batch, decay"),
        ("relu", "all scheduled, batch, decay"),
        ("relu", "spherical, scheduled, batch, decay"),
    ],
)
def test_restarted_runs(
    make_problem: Callable[..., ts.Problem], activation: str, rule: str, method: str, record_check: Callable[..., None]
) -> None:
    """Negative controls: schedules that begin anew, and the state of another run."""
    problem = problem_of(make_problem, activation, RULES[rule][0])
    N, _ = ENSEMBLES[method]
    first = ts.simulate(problem, [0.3, 0.7], n_inputs=N, replicas=2, seed=6, method=method, progress=False)
    restarted = ts.warm_restart(first, alpha=0.3, replica=1)
    runs = runs_of(restarted, method)
    z = largest_z(runs, solved(restarted, EARLY))
    record_check(f"{rule}, restarted: largest |z|", f"{method}, {activation}, N = {N}", z, LARGEST_Z)
    for wrong in (ts.warm_restart(first, problem.rule, alpha=0.3, replica=1), ts.warm_restart(first, alpha=0.3, replica=0)):
        assert largest_z(runs, solved(wrong, EARLY)) > LARGEST_Z
