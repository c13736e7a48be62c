"""The ODEs and the linear noise with momentum, against linear students that are solved exactly, and in their limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import xarray as xr

import teacher_student as ts
from teacher_student.arrays import FloatArray
from teacher_student.problem import RATES
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise import diffusion
from teacher_student.theory.noise.linearisation import jacobian
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.theory.right_hand_side import DriftAt, SampledDrift, right_hand_side

NOISE = 0.4
NAMES = ("Q_modes", "R_modes", "C_velocities", "R_velocities", "Q_velocities")
K, M = 2, 3


def linear_problem(**rule: object) -> ts.Problem:
    """Return a linear committee whose first layer learns, with noise and decay."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((K + M, 7)) / np.sqrt(7)
    gram = rows @ rows.T
    initial = ts.plain_committee(
        Q=gram[:K, :K], R=gram[:K, K:], T=gram[K:, K:], v=rng.standard_normal(K), v_teacher=rng.standard_normal(M)
    )
    options = {"eta_xi_in": 0.8, "weight_decay": 0.3, **rule}
    return ts.Problem(initial=initial, rule=ts.LearningRule(activation="linear", noise=NOISE, **options))


class LinearMoments:
    """The averages of a step of a linear committee, which are linear in its overlaps: delta = v.u - v*.rho - noise."""

    def __init__(self, problem: ts.Problem, X: FloatArray) -> None:
        state, eta = problem.initial, problem.rule.eta_xi_in
        self.decay = eta * problem.rule.weight_decay
        v, v_teacher, T = state.v, state.v_teacher, state.T
        sizes = (K * K, K * M, K * K, K * M)
        Q, R, C, Pi, V = (
            part.reshape(K, -1) for part in np.split(X, np.cumsum(sizes))
        )  # xi_in xi_in^T, xi_in W*^T, xi_in p^T, p W*^T, p p^T, all over N
        self.overlaps = Q, R, C, Pi, V
        self.uh = -eta * np.outer(Q @ v - R @ v_teacher, v)
        self.rho_h = -eta * np.outer(R.T @ v - T @ v_teacher, v)
        self.pi_h = -eta * np.outer(C.T @ v - Pi @ v_teacher, v)
        self.delta_square = v @ Q @ v - 2 * v @ R @ v_teacher + v_teacher @ T @ v_teacher
        self.hh = eta**2 * np.outer(v, v)  # times <delta^2>


def affine(f: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Return the matrix of an affine map f of vectors (n,), acting on (1, X)."""
    n = 4 * K * K - K * K + 2 * K * M
    constant = f(np.zeros(n))
    columns = [f(unit) - constant for unit in np.eye(n)]
    return np.vstack([np.eye(n + 1)[:1], np.column_stack([constant, *columns])])


def start_vector(problem: ts.Problem) -> FloatArray:
    state = problem.initial
    rest = np.zeros(2 * K * K + K * M)
    return np.concatenate([[1.0], state.Q_modes.ravel(), state.R_modes.ravel(), rest])


def linear_ode(problem: ts.Problem, gamma: float, alpha: float) -> FloatArray:
    """Return the overlaps of `NAMES` at `alpha`, in a row: the linear moment equations solved by a matrix exponential."""

    def change(X: FloatArray) -> FloatArray:
        moments = LinearMoments(problem, X)
        Q, R, C, Pi, V = moments.overlaps
        decay = moments.decay
        dC = V - gamma * C + moments.uh - decay * Q
        dPi = -gamma * Pi + moments.rho_h.T - decay * R
        dV = -2 * gamma * V + moments.pi_h + moments.pi_h.T - decay * (C + C.T)
        dV += moments.hh * (moments.delta_square + NOISE**2)
        return np.concatenate([part.ravel() for part in (C + C.T, Pi, dC, dPi, dV)])

    matrix = affine(change)
    matrix[0] = 0.0
    return np.asarray(scipy.linalg.expm(alpha * matrix) @ start_vector(problem))[1:]


def exact_mean(problem: ts.Problem, keep: float, scale: float, N: int, n_steps: int) -> FloatArray:
    """Return the exact means of the overlaps of `NAMES` after `n_steps` steps at finite N: their map is affine at any N.

    p <- keep p + h x / sqrt(N) - eta kappa / N xi_in, xi_in <- xi_in + scale p, <(w.x)^2 |x|^2> = (N + 2) |w|^2.
    """

    def step(X: FloatArray) -> FloatArray:
        moments = LinearMoments(problem, X)
        Q, R, C, Pi, V = moments.overlaps
        decay = moments.decay / N
        V_new = keep**2 * V + keep / N * (moments.pi_h + moments.pi_h.T) - keep * decay * (C + C.T) + decay**2 * Q
        V_new += moments.hh / N * (moments.delta_square * (1 + 2 / N) + NOISE**2) - decay / N * (moments.uh + moments.uh.T)
        xi_p = keep * C + moments.uh / N - decay * Q
        Pi_new = keep * Pi + moments.rho_h.T / N - decay * R
        Q_new = Q + scale * (xi_p + xi_p.T) + scale**2 * V_new
        return np.concatenate([part.ravel() for part in (Q_new, R + scale * Pi_new, xi_p + scale * V_new, Pi_new, V_new)])

    return np.asarray(np.linalg.matrix_power(affine(step), n_steps) @ start_vector(problem))[1:]


def in_a_row(trajectory: xr.Dataset) -> FloatArray:
    return np.concatenate([trajectory[name].values[-1].ravel() for name in NAMES])


def test_linear_student_is_the_matrix_exponential(record_check: Callable[..., None]) -> None:
    problem = linear_problem(friction=1.5)
    solution = in_a_row(ts.integrate(problem, [3.0], progress=False))
    error = np.abs(solution - linear_ode(problem, 1.5, 3.0)).max()
    record_check("linear student with friction: difference", "matrix exponential", error, 1e-7)
    assert np.abs(solution - linear_ode(problem, 1.5 * 1.001, 3.0)).max() > 1e-5


@pytest.mark.parametrize(
    ("rule", "keep_and_scale"),
    [
        ({"friction": 1.5}, lambda N: (1 - 1.5 / N, 1 / N)),
        ({"friction": 1.5, "weight_decay": 0.0}, lambda N: (1 - 1.5 / N, 1 / N)),
        ({"momentum": 0.6, "eta_xi_in": 0.2}, lambda N: (0.6, 1.0)),
        ({"momentum": 0.9, "eta_xi_in": 0.05, "weight_decay": 0.0}, lambda N: (0.9, 1.0)),
    ],
    ids=["friction and decay", "friction", "momentum and decay", "momentum"],
)
def test_shift_of_the_mean_is_that_of_linear_students(
    monkeypatch: pytest.MonkeyPatch,
    rule: dict[str, float],
    keep_and_scale: Callable[[int], tuple[float, float]],
    record_check: Callable[..., None],
) -> None:
    """N times the deviation of the exact mean from the ODE, extrapolated from two N, is the predicted shift.

    To 1 % of the largest, for averages are quasi-random; that of plain SGD, or without the correction for friction, is far off.
    """
    problem, alpha = linear_problem(**rule), 1.5
    theory = ts.integrate(problem, [alpha], fluctuations=True, progress=False)
    coordinates = coordinates_of(problem.initial, problem.rule)
    names = NAMES if "friction" in rule else NAMES[:2]
    ode = np.concatenate([theory[name].values[-1].ravel() for name in names])
    deviations = []
    for N in (20000, 40000):
        deviations.append(N * (exact_mean(problem, *keep_and_scale(N), N, round(alpha * N))[: len(ode)] - ode))
    exact = 2 * deviations[1] - deviations[0]
    labels = [f"{name}[{a},{b}]" for name in names for a in range(K) for b in range(theory[name].shape[-1])]
    kept = [i for i, label in enumerate(labels) if label in coordinates.labels]
    order = [coordinates.labels.index(labels[i]) for i in kept]
    shift, exact = theory["shift"].values[-1][order], exact[kept]
    largest = np.abs(exact).max()
    record_check("shift of the mean with momentum: relative difference", "exact", np.abs(shift - exact).max() / largest, 0.01)
    mistaken = dataclasses.replace(problem, rule=problem.rule.without_momentum)
    nothing = {name: np.zeros_like(part) for name, part in coordinates.parts(coordinates.start[coordinates.moving]).items()}
    monkeypatch.setattr(diffusion, "friction_correction", lambda *arguments: nothing)
    of_mistaken = ts.integrate(mistaken, [alpha], fluctuations=True, progress=False)["shift"].values[-1][order]
    assert np.abs(of_mistaken - exact).max() > 0.1 * largest


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_much_friction_is_plain_sgd(
    make_problem: Callable[..., ts.Problem], activation: str, record_check: Callable[..., None]
) -> None:
    """At rates gamma eta the ODEs tend to those of plain SGD as 1 / gamma: deviations halve when gamma doubles."""
    problem = make_problem(3, 2, 2, activation=activation)
    limit = ts.integrate(problem, [1.5], progress=False)
    deviations = []
    for gamma in (400.0, 800.0):
        rates = {name: gamma * getattr(problem.rule, name) for name in RATES}
        rule = dataclasses.replace(problem.rule, friction=gamma, **rates)
        solution = ts.integrate(dataclasses.replace(problem, rule=rule), [1.5], progress=False)
        names = ("Q_modes", "R_modes", "sigma", "xi_out", "v")
        deviations.append(np.concatenate([(solution[name] - limit[name]).values.ravel() for name in names]))
    assert np.abs(deviations[0]).max() < 0.02
    error = np.abs(deviations[0] - 2.0 * deviations[1]).max() / np.abs(deviations[0]).max()
    record_check("friction: deviation from plain SGD against twice that at twice the friction", "1 / gamma", error, 0.02)


def test_fixed_momentum_is_plain_sgd_at_larger_rates(make_problem: Callable[..., ts.Problem]) -> None:
    """Also of rates that are schedules; they enter the term in eta^2 with the square of 1 / (1 - beta)."""
    schedules = {"eta_xi_in": ts.Cosine(start=0.6, end=0.1, period=1.0), "eta_v": ts.Piecewise(rates=[0.2, 0.1], alpha=[0.7])}
    larger = {"eta_xi_in": ts.Cosine(start=2.4, end=0.4, period=1.0), "eta_v": ts.Piecewise(rates=[0.8, 0.4], alpha=[0.7])}
    slow = make_problem(3, 2, 2, momentum=0.75, eta_sigma=0.1, **schedules)
    plain = make_problem(3, 2, 2, eta_sigma=0.4, eta_xi_out=4 * slow.rule.eta_xi_out, **larger)
    first, second = (ts.integrate(problem, [0.5, 1.5], progress=False) for problem in (slow, plain))
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v", "eps_g"):
        np.testing.assert_allclose(first[name].values, second[name].values, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_inertia_slows_the_escape_from_the_symmetric_plateau(gamma: float, record_check: Callable[..., None]) -> None:
    """At the fixed point of plain SGD at rates eta / gamma, with Q_velocities = -gamma <h u^T> of that rule and nothing else.

    Specialisation is in R alone, which obeys R" + gamma R' = gamma lambda R; without inertia it would grow at the rate lambda.
    """
    rest = ts.plain_committee(Q=np.full((2, 2), 0.35), R=np.full((2, 2), 0.4), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    slightly_apart = dataclasses.replace(rest, Q_modes=[[0.35, 0.33], [0.33, 0.35]])
    point = ts.fixed_point(ts.Problem(initial=slightly_apart, rule=ts.LearningRule(eta_xi_in=1.0)))
    rule = ts.LearningRule(eta_xi_in=gamma, friction=gamma)
    coordinates = coordinates_of(point.state, rule)
    f = DriftAt(right_hand_side(point.state, rule, coordinates), 0.0)
    y = coordinates.start[coordinates.moving]
    assert np.abs(f(y)).max() > 1e-4
    V = [i for i, label in enumerate(coordinates.labels) if label.startswith("Q_vel")]
    force = {label: change for label, change in zip(coordinates.labels, f(y), strict=True) if label.startswith("C_")}
    y[V] = [-force[coordinates.labels[i].replace("Q_vel", "C_vel")] for i in V]
    record_check("plateau with friction: largest change", "fixed point of plain SGD", np.abs(f(y)).max(), 1e-10)
    growth = np.linalg.eigvals(jacobian(f, y)).real.max()
    expected = np.sqrt(gamma**2 / 4 + gamma * point.escape_rates[0]) - gamma / 2
    record_check("escape rate with friction: relative difference", "closed form", abs(growth / expected - 1.0), 1e-6)
    assert abs(growth / point.escape_rates[0] - 1.0) > 0.05


def test_sampled_averages_with_friction_are_the_closed_ones(make_problem: Callable[..., ts.Problem]) -> None:
    """Within 7.5 of the standard errors that the sampled right-hand side states; without decay it is not."""
    problem = make_problem(3, 2, 2, friction=1.5)
    y = moving_coordinates(ts.integrate(problem, [0.7], progress=False), coordinates_of(problem.initial, problem.rule))[0]
    coordinates = coordinates_of(problem.initial, problem.rule)
    closed = right_hand_side(problem.initial, problem.rule, coordinates)(0.0, y)
    for kappa, right in ((problem.rule.weight_decay, True), (0.0, False)):
        rule = dataclasses.replace(problem.rule, weight_decay=kappa)
        sampled = SampledDrift(problem.initial, rule, coordinates)
        difference, error = sampled(0.0, y) - closed, sampled.error(0.0, y)
        known = error < 1e-12  # the change of the state, which is given by the velocities
        assert (np.abs(difference[known]) < 1e-12).all()
        assert (np.abs(difference[~known] / error[~known]).max() < 7.5) == right
