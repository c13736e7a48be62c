"""Members of the families with closed averages: erf of any width and sign, any leaky ReLU, any polynomial of second degree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from deviations import z_scores

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.diffusion import step_moments
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side

SLOPE, COEFFICIENTS, WIDTH = -0.4, (0.3, -0.8, 0.5), 1.6
N_POINTS = 2**14
# Of up to a hundred independent standard normal numbers one exceeds 4.5 in one of two thousand cases.
LARGEST_Z = 4.5
NAMES = ("Q_modes", "R_modes", "v", "eps_g")


@pytest.fixture(autouse=True)
def members() -> None:
    ts.register_activation("bent", piecewise_linear=SLOPE)
    ts.register_activation("parabola", polynomial=COEFFICIENTS)
    ts.register_activation("wide", erf=WIDTH)
    ts.register_activation("same_erf", erf=1)
    ts.register_activation("same_leak", piecewise_linear=0.01)
    ts.register_activation("same_square", polynomial=np.array([-1, 0, 1]))
    ts.register_activation("same_line", polynomial=[0, 1, 0])


@pytest.mark.parametrize("name", ["bent", "parabola", "wide", "same_erf", "same_leak", "same_square", "same_line"])
def test_members_are_functions_with_their_derivatives(name: str) -> None:
    g, g_prime = ACTIVATIONS[name].g.ctypes, ACTIVATIONS[name].g_prime.ctypes
    exact: dict[str, Callable[[float], float]] = {
        "bent": lambda x: x if x > 0 else SLOPE * x,
        "parabola": lambda x: COEFFICIENTS[0] + COEFFICIENTS[1] * x + COEFFICIENTS[2] * x * x,
        "wide": lambda x: math.erf(x / (WIDTH * math.sqrt(2.0))),
        "same_erf": ACTIVATIONS["erf"].g.ctypes,
        "same_leak": ACTIVATIONS["leaky_relu"].g.ctypes,
        "same_square": ACTIVATIONS["centred_quadratic"].g.ctypes,
        "same_line": ACTIVATIONS["linear"].g.ctypes,
    }
    for x in (-2.3, -0.4, 0.0, 0.7, 1.9):
        assert abs(g(x) - exact[name](x)) < 1e-15
        assert abs((g(x + 1e-6) - g(x - 1e-6)) / 2e-6 - g_prime(x)) < 1e-8
    assert np.isnan(g(np.nan))


def largest_z(problem: ts.Problem, integrated: ts.LearningRule) -> float:
    """Return the largest deviation of the closed drift from the mean of sampled steps, in errors of independent samples."""
    state, rule = problem.initial, problem.rule
    coordinates = coordinates_of(state, rule)
    f = right_hand_side(state, integrated, coordinates)
    assert not isinstance(f, SampledDrift)
    points = gaussian_points(state.n_modes + state.n_teacher + 1, N_POINTS, seed=3)
    moments = step_moments(coordinates.start, state, rule, coordinates, points)
    error = np.sqrt(np.diagonal(moments.covariance) * rule.batch_size / N_POINTS)
    return float(np.abs((moments.mean - f(0.0, coordinates.start[coordinates.moving])) / error).max())


@pytest.mark.parametrize(
    ("student", "teacher", "mistake"),
    [
        ("bent", "bent", "leaky_relu"),
        ("bent", "relu", "bent"),
        ("linear", "bent", "relu"),
        ("parabola", "parabola", "quadratic"),
        ("parabola", "linear", "parabola"),
        ("same_line", "bent", "relu"),
        ("wide", "wide", "erf"),
        ("wide", "sign", "wide"),
        ("erf", "sign", "erf"),
    ],
)
def test_the_drift_is_the_mean_of_sampled_steps(
    make_problem: Callable[..., ts.Problem], student: str, teacher: str, mistake: str
) -> None:
    """A pair of one family has a closed drift; the identity is in both. Negative control: another teacher."""
    problem = make_problem(4, 3, 2, activation=student, teacher_activation=teacher, weight_decay=0.0)
    assert largest_z(problem, problem.rule) < 3.0  # quasi-random points do better than independent ones
    assert largest_z(problem, dataclasses.replace(problem.rule, teacher_activation=mistake)) > 3.0


@pytest.mark.parametrize(
    ("member", "built_in"), [("same_erf", "erf"), ("same_leak", "leaky_relu"), ("same_square", "centred_quadratic")]
)
def test_members_with_the_parameters_of_built_in_ones_are_them(
    make_problem: Callable[..., ts.Problem], member: str, built_in: str
) -> None:
    """In the solution, the linear noise, and both simulations: bit for bit."""
    problems = [make_problem(3, 2, 2, activation=name, eta_xi_in=0.1) for name in (member, built_in)]
    theories = [ts.integrate(problem, [0.5, 1.0], fluctuations=True, progress=False) for problem in problems]
    pairs = [theories]
    for method in ("weights", "overlaps"):
        runs = [ts.simulate(each, [1.0], n_inputs=50, replicas=9, method=method, progress=False) for each in problems]
        pairs.append(runs)
    for first, second in pairs:
        xr.testing.assert_equal(first, second)
    other = dataclasses.replace(problems[0], rule=dataclasses.replace(problems[0].rule, activation="bent"))
    assert not ts.integrate(other, [0.5, 1.0], progress=False)["Q"].equals(theories[0]["Q"])


@pytest.mark.parametrize(
    ("student", "teacher", "method", "eta"),
    [
        ("bent", None, "overlaps", 1.0),
        ("bent", "relu", "weights", 1.0),
        ("parabola", None, "overlaps", 0.2),
        ("wide", "sign", "overlaps", 1.5),
        ("erf", "sign", "weights", 1.5),
    ],
)
def test_sgd_follows_the_ode(
    student: str, teacher: str | None, method: str, eta: float, record_check: Callable[..., None]
) -> None:
    """The chain has its own vector code for the families. Negative controls: no eta^2 term, and a rate 5 % off."""
    initial = ts.plain_committee(
        Q=[[0.3, 0.05], [0.05, 0.4]], R=[[0.2, 0.05], [0.0, 0.3]], T=[[1.0, 0.2], [0.2, 0.8]], v=[0.6, 0.8], v_teacher=[1.0, 0.7]
    )
    rule = ts.LearningRule(student, eta_xi_in=eta, eta_v=0.2, noise=0.2, teacher_activation=teacher)
    problem, times = ts.Problem(initial=initial, rule=rule), [0.5, 1.5, 3.0]
    n_inputs, replicas = (4000, 48) if method == "overlaps" else (2000, 24)
    runs = ts.simulate(problem, times, n_inputs=n_inputs, replicas=replicas, seed=2, method=method, progress=False)
    largest = float(np.abs(z_scores(runs, ts.integrate(problem, times, progress=False), NAMES)).max())
    record_check("members of families that users register: largest |z|", "SGD", largest, LARGEST_Z)
    for mistake in ({"batch_size": 10**12}, {"eta_xi_in": 1.05 * eta}):
        wrong = dataclasses.replace(problem, rule=dataclasses.replace(rule, **mistake))
        assert np.abs(z_scores(runs, ts.integrate(wrong, times, progress=False), NAMES)).max() > LARGEST_Z


INPUTS = ("symmetry", "rotation of the inputs that leaves the teacher as it is")


def zero_modes(rule: ts.LearningRule, v: list[float], v_teacher: list[float]) -> list[tuple[str, str]]:
    """Return the zero modes where noisy units end that have begun near a teacher of orthogonal units."""
    lengths = np.sqrt(np.divide(v_teacher, v))
    state = ts.plain_committee(Q=np.diag(lengths**2), R=np.diag(lengths), T=np.eye(len(v)), v=v, v_teacher=v_teacher)
    point = ts.fixed_point(ts.Problem(initial=state, rule=rule), near=10.0)
    return [(mode.kind, mode.name) for mode in point.zero_modes]


def test_fixed_points_know_the_symmetries_of_members() -> None:
    """A constant leaves the rotations of x^2, a linear part only those of the inputs that leave its sum over units alone."""
    ts.register_activation("shifted_square", polynomial=(0.7, 0.0, 1.0))
    square, parabola = (ts.LearningRule(name, eta_xi_in=0.02, noise=0.1) for name in ("shifted_square", "parabola"))
    assert zero_modes(square, [1.0, 1.2], [1.0, 1.0]) == [INPUTS]
    assert zero_modes(square, [1.0, 1.0], [1.0, 1.2]) == [("symmetry", "rotation of units 0 and 1")]
    assert zero_modes(parabola, [1.0, 1.2], [1.0, 1.0]) == []
    assert zero_modes(parabola, [1.0, 1.0], [1.0, 1.2]) == []
    assert zero_modes(parabola, [1.0, 1.1, 1.2], [1.0, 1.0, 1.0]) == [INPUTS]
