"""Sampled averages: against closed forms, nested quadrature, and the symmetries that hold a plateau."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.special

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS, get_activations
from teacher_student.gaussian_averages.mehler import converges
from teacher_student.gaussian_averages.sampled import sampled_generalisation_error
from teacher_student.order_parameters import estimated_generalisation_error
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side

# The error is estimated from 8 sets of points: Student's t with 7 degrees of freedom, of which up to 35 components are the
# largest in a test. |t| of one of them exceeds 7.5 with probability 1.4e-4.
LARGEST_T = 7.5


def deviation(problem: ts.Problem, exact: ts.LearningRule) -> np.ndarray:
    """Return the sampled right-hand side less the one in closed form under the rule `exact`, in standard errors."""
    coordinates = coordinates_of(problem.initial, problem.rule)
    y = coordinates.start[coordinates.moving]
    sampled = SampledDrift(problem.initial, problem.rule, coordinates)
    return (sampled(0.0, y) - right_hand_side(problem.initial, exact, coordinates)(0.0, y)) / sampled.error(0.0, y)


@pytest.mark.parametrize("activation", ["erf", "relu", "quadratic", "linear"])
@pytest.mark.parametrize("sizes", [(2, 2, 2), (4, 3, 2)])
def test_sampled_right_hand_side_is_the_closed_form(
    make_problem: Callable[..., ts.Problem], activation: str, sizes: tuple[int, int, int]
) -> None:
    problem = make_problem(*sizes, activation=activation, noise=0.6)
    t = deviation(problem, problem.rule)
    assert np.abs(t).max() < LARGEST_T
    assert 0.2 < np.sqrt(np.mean(t**2)) < 4.0
    for mistake in ({"eta_xi_in": 1.05}, {"noise": 0.0}, {"weight_decay": 0.0}, {"batch_size": 1}):
        if activation == "quadratic" and mistake != {"batch_size": 1}:
            continue  # its fourth powers of the fields cost so much precision that only large mistakes are seen
        assert np.abs(deviation(problem, dataclasses.replace(problem.rule, **mistake))).max() > LARGEST_T, mistake


def rule_by_quadrature(problem: ts.Problem, g: Callable, g_prime: Callable, g_teacher: Callable) -> tuple[np.ndarray, float]:
    """Return dQ, dR, dv and eps_g for K = M = 1 by nested Gauss-Legendre quadrature, split at 0 and the fields' zeros."""
    state, rule = problem.initial, problem.rule
    q, r, t = state.Q[0, 0], state.R[0, 0], state.T[0, 0]
    x, w = np.polynomial.legendre.leggauss(150)
    half = np.concatenate([4.5 * (x - 1.0), 4.5 * (x + 1.0)])  # a standard normal beyond 9 has probability 1e-19
    weight = np.concatenate([4.5 * w, 4.5 * w]) / np.sqrt(2.0 * np.pi)
    rho, lambda_, total = [], [], []
    for z, wz in zip(half, weight, strict=True):
        mean, spread = r / t * np.sqrt(t) * z, np.sqrt(q - r**2 / t)
        cut = np.clip(-mean / spread, -9.0, 9.0)  # where lambda = 0
        inner = np.concatenate([0.5 * (cut + 9) * x + 0.5 * (cut - 9), 0.5 * (9 - cut) * x + 0.5 * (9 + cut)])
        inner_weight = np.concatenate([0.5 * (cut + 9) * w, 0.5 * (9 - cut) * w]) / np.sqrt(2.0 * np.pi)
        rho.append(np.full_like(inner, np.sqrt(t) * z))
        lambda_.append(mean + spread * inner)
        total.append(wz * inner_weight * np.exp(-0.5 * (z**2 + inner**2)))
    rho, lambda_, total = (np.concatenate(parts) for parts in (rho, lambda_, total))
    delta = state.v[0] * g(lambda_) - state.v_teacher[0] * g_teacher(rho)
    h = -rule.eta_xi_in * state.v[0] * g_prime(lambda_)
    dQ = total @ (2.0 * delta * h * lambda_ + (delta**2 + rule.noise**2) * h**2)
    rows = [dQ, total @ (delta * h * rho), -rule.eta_v * total @ (delta * g(lambda_))]
    return np.array(rows), float(0.5 * total @ delta**2)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (np.tanh, lambda x: 1.0 / np.cosh(x) ** 2),
    "gelu": (
        lambda x: x * scipy.special.ndtr(x),
        lambda x: scipy.special.ndtr(x) + x * np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi),
    ),
    "softplus": (softplus, scipy.special.expit),
    "sigmoid": (scipy.special.expit, lambda x: scipy.special.expit(x) * scipy.special.expit(-x)),
    "jump": (np.sign, np.zeros_like),
    "hermite3": (
        lambda x: scipy.special.eval_hermitenorm(3, x) / 6**0.5,
        lambda x: 3 * scipy.special.eval_hermitenorm(2, x) / 6**0.5,
    ),
    "hermite4": (
        lambda x: scipy.special.eval_hermitenorm(4, x) / 24**0.5,
        lambda x: 4 * scipy.special.eval_hermitenorm(3, x) / 24**0.5,
    ),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(float)),
    "erf": (lambda x: scipy.special.erf(x / 2**0.5), lambda x: np.sqrt(2 / np.pi) * np.exp(-0.5 * x**2)),
}


@pytest.mark.parametrize(
    ("student", "teacher"),
    [(name, name) for name in FUNCTIONS if name not in ("relu", "erf")] + [("erf", "relu"), ("relu", "tanh"), ("jump", "erf")],
)
@pytest.mark.usefixtures("jump")
def test_averages_of_one_unit_each_are_those_of_nested_quadrature(student: str, teacher: str) -> None:
    initial = ts.plain_committee(Q=[[0.7]], R=[[0.3]], T=[[0.9]], v=[0.8], v_teacher=[1.1])
    rule = ts.LearningRule(student, eta_xi_in=0.6, eta_v=0.4, noise=0.3, teacher_activation=teacher)
    problem = ts.Problem(initial=initial, rule=rule)
    exact, eps_g = rule_by_quadrature(problem, *FUNCTIONS[student], FUNCTIONS[teacher][0])
    coordinates = coordinates_of(initial, rule)
    y = coordinates.start[coordinates.moving]
    f = right_hand_side(initial, rule, coordinates)
    assert isinstance(f, SampledDrift)
    value, error = f(0.0, y), f.error(0.0, y)
    assert (np.abs(value - exact) < LARGEST_T * error + 1e-13).all()
    # Negative control: a rate 5 % off would be seen; of Hermite polynomials, whose products reach degree 14, one twice too large.
    mistake = 1.0 if student.startswith("hermite") else 0.05
    assert (mistake * np.abs(exact) > LARGEST_T * error + 1e-13).any()

    arguments = initial.Q, initial.R, initial.T, initial.v, initial.v_teacher
    value_of_eps_g, error_of_eps_g = estimated_generalisation_error(*arguments, student, teacher)
    assert error_of_eps_g is not None
    smooth = all(converges(each) for each in get_activations(student, teacher))
    allowed = 1e-12 + (1.0 if smooth else LARGEST_T) * float(error_of_eps_g)
    assert abs(value_of_eps_g - eps_g) < allowed < 0.05 * eps_g


def test_sampled_generalisation_error_keeps_leading_dimensions_and_vanishes_for_a_perfect_student() -> None:
    erf = ACTIVATIONS["erf"]
    T, v_teacher = np.array([[1.0, 0.2], [0.2, 1.3]]), np.array([1.0, -0.5])
    Q = np.stack([np.stack([T, 0.5 * T + np.eye(2)])] * 3)
    R = np.stack([np.stack([T, 0.5 * T])] * 3)
    v = np.broadcast_to(v_teacher, (3, 2, 2))
    sampled, error = sampled_generalisation_error(erf, erf, Q, R, T, v, v_teacher)
    assert sampled.shape == error.shape == (3, 2)
    assert (sampled[:, 0] < 1e-14).all()
    exact = ts.order_parameters.generalisation_error(Q, R, T, v, v_teacher, "erf")
    assert (np.abs(sampled - exact)[:, 1] < LARGEST_T * error[:, 1]).all()
    assert (error[:, 1] < 1e-3 * exact[:, 1]).all()
    assert ts.order_parameters.generalisation_error(Q, R, T, v, v_teacher, "tanh").shape == (3, 2)


@pytest.mark.parametrize("n_units", [2, 3])
def test_averages_do_not_break_the_symmetry_of_units(n_units: int) -> None:
    """Units that are alike stay alike: on the symmetric plateau only a real difference may grow."""
    initial = ts.plain_committee(
        Q=0.3 * np.eye(n_units) + 0.1, R=np.full((n_units, 2), 0.1), T=np.eye(2), v=[1.0] * n_units, v_teacher=[1.0, 1.0]
    )
    rule = ts.LearningRule("tanh", eta_xi_in=0.5)
    coordinates = coordinates_of(initial, rule)
    y = coordinates.start[coordinates.moving]
    f = SampledDrift(initial, rule, coordinates)
    for row in (f(0.0, y), f.by_set(0.0, y)[0]):
        full = coordinates.expand(np.zeros_like(y))
        full[coordinates.moving] = row
        dR = full[n_units**2 : n_units**2 + 2 * n_units].reshape(n_units, 2)
        assert np.abs(dR - dR[0]).max() < 1e-13
    assert f.error(0.0, y).max() > 1e-8  # which any one set would show as a difference, were it not symmetric


def test_an_even_student_without_overlap_never_finds_the_teacher() -> None:
    initial = ts.plain_committee(Q=[[0.6]], R=[[0.0]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    rule = ts.LearningRule("hermite4", eta_xi_in=0.05)
    coordinates = coordinates_of(initial, rule)
    f = SampledDrift(initial, rule, coordinates)
    assert abs(f(0.0, coordinates.start[coordinates.moving])[1]) < 1e-13


def two_units(activation: str, **rates: float) -> ts.Problem:
    initial = ts.plain_committee(
        Q=[[0.2, 0.0], [0.0, 0.3]], R=[[0.1, 0.0], [0.0, 0.15]], T=np.eye(2), v=[0.8, 0.9], v_teacher=[1.0, 1.0]
    )
    return ts.Problem(initial=initial, rule=ts.LearningRule(activation, **{"eta_xi_in": 0.5, **rates}))


def test_a_trajectory_tells_the_error_of_its_averages() -> None:
    theory = ts.integrate(two_units("tanh"), [0.5, 1.0], progress=False)
    assert theory.attrs["average_points"] == 2**15
    assert 0.0 < theory.attrs["average_error"] < 1e-3
    assert 1e-9 < theory.attrs["rtol"] < 1e-4
    assert "average_error" not in ts.integrate(two_units("erf"), [0.5], progress=False).attrs


def test_integrating_over_another_scrambling_changes_little() -> None:
    """The solution over the points of one seed and the closed form of erf agree within the error of the averages."""
    problem = two_units("erf", eta_v=0.2, noise=0.1)
    coordinates = coordinates_of(problem.initial, problem.rule)
    y = coordinates.start[coordinates.moving]
    sampled = SampledDrift(problem.initial, problem.rule, coordinates, seed=3)
    solution = scipy.integrate.solve_ivp(sampled, (0.0, 4.0), y, rtol=1e-6, atol=1e-9, t_eval=[4.0]).y[:, 0]
    theory = ts.integrate(problem, [4.0], progress=False)
    exact = np.concatenate([theory["Q"].values[0][np.triu_indices(2)], theory["R"].values.ravel(), theory["v"].values.ravel()])
    assert np.abs(solution - exact).max() < 4.0 * LARGEST_T * sampled.error(0.0, y).max()
    assert np.abs(solution - exact).max() < 0.01 * np.abs(exact - y).max()


def test_sign_units_learn_by_their_output_weights_alone() -> None:
    theory = ts.integrate(two_units("sign", eta_v=0.3), [0.0, 3.0], progress=False)
    assert np.array_equal(theory["Q"].values[0], theory["Q"].values[1])
    assert np.abs(theory["v"].values[1] - theory["v"].values[0]).min() > 0.01


def test_fluctuations_of_a_smooth_activation_and_refusal_of_a_kinked_one() -> None:
    theory = ts.integrate(two_units("tanh"), [0.0, 0.1], fluctuations=True, progress=False)
    assert np.linalg.eigvalsh(theory["covariance"].values[1]).min() > 0.0
    kinked = dataclasses.replace(two_units("relu"), rule=ts.LearningRule("relu", eta_xi_in=0.5, teacher_activation="erf"))
    with pytest.raises(ts.InvalidInput, match="fluctuations: got 'relu"):
        ts.integrate(kinked, [0.5], fluctuations=True, progress=False)
    with pytest.raises(ts.InvalidInput, match="activation: got 'relu'"):
        ts.fixed_point(kinked, near=1.0)
