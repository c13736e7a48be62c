"""Every pair of activations: the right-hand side against sampled SGD steps, and ReLU at finite rates against SGD."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from deviations import z_scores

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.diffusion import step_moments
from teacher_student.theory.right_hand_side import right_hand_side

PAIRS = [(name, name) for name in ("linear", "relu", "leaky_relu", "quadratic", "centred_quadratic", "hermite2")]
PAIRS += [
    ("relu", "linear"),
    ("linear", "leaky_relu"),
    ("leaky_relu", "relu"),
    ("quadratic", "linear"),
    ("linear", "centred_quadratic"),
]
N_POINTS = 2**14
# Above the largest of about a hundred independent standard normal numbers in all but one of two thousand cases.
LARGEST_Z = 4.5


def largest_z(state: ts.OrderParameters, sampled: ts.LearningRule, integrated: ts.LearningRule) -> float:
    """Return the largest deviation of the drift from the mean of sampled steps, in standard errors of independent samples."""
    coordinates = coordinates_of(state, sampled)
    drift = right_hand_side(state, integrated, coordinates)(0.0, coordinates.start[coordinates.moving])
    points = gaussian_points(state.n_modes + state.n_teacher + 1, N_POINTS, seed=3)
    moments = step_moments(coordinates.start, state, sampled, coordinates, points)
    error = np.sqrt(np.diagonal(moments.covariance) * sampled.batch_size / N_POINTS)
    return float(np.abs((moments.mean - drift) / error).max())


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_the_drift_is_the_mean_of_sampled_steps(make_problem: Callable[..., ts.Problem], student: str, teacher: str) -> None:
    problem = make_problem(4, 3, 2, activation=student, teacher_activation=teacher, weight_decay=0.0)
    rule = problem.rule
    assert largest_z(problem.initial, rule, rule) < 3.0  # quasi-random points do better than independent ones
    no_square = dataclasses.replace(rule, batch_size=10**12)
    assert largest_z(problem.initial, rule, no_square) > 3.0
    # A teacher of another activation, of the same family and not close by: relu and leaky_relu differ by 0.01.
    other = "linear" if teacher != "linear" else ("quadratic" if "quadratic" in student else "relu")
    assert largest_z(problem.initial, rule, dataclasses.replace(rule, teacher_activation=other)) > 3.0


def relu_problem(student: str, teacher: str | None, eta: float) -> ts.Problem:
    initial = ts.plain_committee(
        Q=[[0.3, 0.05, 0.0], [0.05, 0.4, 0.1], [0.0, 0.1, 0.2]],
        R=[[0.2, 0.05], [0.0, 0.3], [0.1, 0.1]],
        T=[[1.0, 0.2], [0.2, 0.8]],
        v=[0.6, 0.8, -0.5],
        v_teacher=[1.0, 0.7],
    )
    rule = ts.LearningRule(student, eta_xi_in=eta, eta_v=0.2, noise=0.2, teacher_activation=teacher)
    return ts.Problem(initial=initial, rule=rule)


@pytest.mark.parametrize(
    ("student", "teacher", "method", "n_inputs", "replicas", "eta"),
    [
        ("relu", None, "weights", 2000, 24, 1.0),
        ("relu", None, "overlaps", 4000, 48, 0.6),
        ("leaky_relu", "linear", "overlaps", 4000, 48, 1.0),
        ("linear", "quadratic", "overlaps", 4000, 48, 0.5),
        ("centred_quadratic", None, "overlaps", 4000, 48, 0.1),
    ],
)
def test_sgd_follows_the_ode_at_finite_rates(
    student: str, teacher: str | None, method: str, n_inputs: int, replicas: int, eta: float
) -> None:
    """Negative controls: the literature's ODE without the eta^2 term, and a rate 5 % off."""
    problem, times = relu_problem(student, teacher, eta), [0.5, 1.5, 3.0]
    runs = ts.simulate(problem, times, n_inputs=n_inputs, replicas=replicas, seed=2, method=method, progress=False)
    assert np.abs(z_scores(runs, ts.integrate(problem, times, progress=False))).max() < LARGEST_Z
    for mistake in ({"batch_size": 10**12}, {"eta_xi_in": 1.05 * eta}):
        wrong = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, **mistake))
        assert np.abs(z_scores(runs, ts.integrate(wrong, times, progress=False))).max() > LARGEST_Z


def test_a_relu_unit_of_zero_norm_starts_to_learn_in_both() -> None:
    """A unit whose weights are all zero has g' = 1/2, so its first step is half that of a linear one, in theory and SGD."""
    initial = ts.plain_committee(Q=[[0.0]], R=[[0.0]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    rule = ts.LearningRule("relu", eta_xi_in=0.5)
    coordinates = coordinates_of(initial, rule)
    rates = right_hand_side(initial, rule, coordinates)(0.0, coordinates.start[coordinates.moving])
    # dR = eta <g(rho) rho> / 2 = eta / 4 and dQ = eta^2 <g(rho)^2> / 4 = eta^2 / 8.
    np.testing.assert_allclose(rates, [0.25 / 8.0, 0.125], rtol=1e-14)
    assert largest_z(initial, rule, rule) < 3.0


@pytest.mark.parametrize(
    ("student", "teacher"), [("linear", "relu"), ("linear", "quadratic"), ("leaky_relu", "linear"), ("erf", "erf")]
)
def test_generalisation_error_of_a_pair_agrees_with_sampling(
    make_problem: Callable[..., ts.Problem], student: str, teacher: str
) -> None:
    state = make_problem(3, 3, 2).initial
    rng = np.random.default_rng(3)
    gram = np.block([[state.Q, state.R], [state.R.T, state.T]])
    psi = np.linalg.cholesky(gram) @ rng.standard_normal((5, 100_000))
    g = {
        "linear": lambda x: x,
        "relu": lambda x: np.maximum(x, 0.0),
        "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
        "quadratic": np.square,
        "erf": np.vectorize(ACTIVATIONS["erf"].g.ctypes),
    }
    half_squares = 0.5 * (state.v @ g[student](psi[:3]) - state.v_teacher @ g[teacher](psi[3:])) ** 2
    error = half_squares.std() / np.sqrt(len(half_squares))
    assert abs(state.eps_g(student, teacher) - half_squares.mean()) < 4.0 * error
    if student != teacher:
        assert abs(state.eps_g(teacher, student) - half_squares.mean()) > 4.0 * error
        assert abs(state.eps_g(student) - half_squares.mean()) > 4.0 * error


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_g_prime_is_the_derivative_of_g(name: str) -> None:
    activation = ACTIVATIONS[name]
    g, g_prime = activation.g.ctypes, activation.g_prime.ctypes
    # At 0 the central difference is the mean of both sides, as g' is; sign jumps there, and its g' is 0 all the same.
    for x in (-2.3, -0.4, 0.7, 1.9) if name == "sign" else (-2.3, -0.4, 0.7, 1.9, 0.0):
        assert abs((g(x + 1e-6) - g(x - 1e-6)) / 2e-6 - g_prime(x)) < 1e-8
    assert np.isnan(g(np.nan))
