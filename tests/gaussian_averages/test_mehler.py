"""The generalisation error without closed form: Mehler's expansion, its limits, and the error that is reported with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS, get_activations
from teacher_student.gaussian_averages.mehler import converges, mehler_generalisation_error
from teacher_student.gaussian_averages.sampled import sampled_generalisation_error
from teacher_student.order_parameters import estimated_generalisation_error, generalisation_error

# Student's t with the 7 degrees of freedom of 8 sets: |t| exceeds 7.5 with probability 1.4e-4.
LARGEST_T = 7.5
ROUNDING = 1e-13


def overlaps(seed: int, n_units: int = 2, n_teacher: int = 2, length: float = 1.0) -> tuple[np.ndarray, ...]:
    """Return Q, R, T, v, v_teacher of random vectors, those of the student `length` long on average."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n_units + n_teacher, 6)) / np.sqrt(6)
    rows[:n_units] *= length
    S = rows @ rows.T
    v, v_teacher = 0.5 + rng.random(n_units), 0.5 + rng.random(n_teacher)
    return S[:n_units, :n_units], S[:n_units, n_units:], S[n_units:, n_units:], v, v_teacher


def hermite_coefficients(n: int, deviation: np.ndarray) -> np.ndarray:
    """Return the coefficients of he_n(deviation z) in he_n, he_(n-2), ..., (terms, fields), by the multiplication theorem."""
    terms = [
        deviation ** (n - 2 * j)
        * (deviation**2 - 1.0) ** j
        * math.sqrt(math.factorial(n) / math.factorial(n - 2 * j))
        / (2**j * math.factorial(j))
        for j in range(n // 2 + 1)
    ]
    return np.array(terms)


def eps_g_of_polynomials(student: int, teacher: int, arguments: tuple[np.ndarray, ...], mistake: int = 0) -> float:
    """Return eps_g of he_student and he_teacher units with <he_n(x) he_n(y)> = C^n at unit variance, he_n of unit norm."""
    Q, R, T, v, v_teacher = arguments
    S = np.block([[Q, R], [R.T, T]])
    c = np.concatenate([v, -v_teacher])
    deviation = np.sqrt(np.diagonal(S))
    C = S / np.outer(deviation, deviation)
    orders = [student] * len(v) + [teacher] * len(v_teacher)
    total = 0.0
    for i, n in enumerate(orders):
        for j, m in enumerate(orders):
            a, b = hermite_coefficients(n, deviation[i]), hermite_coefficients(m, deviation[j])
            shared = {n - 2 * k: a[k] for k in range(len(a))}
            total += (
                0.5
                * c[i]
                * c[j]
                * sum(shared.get(m - 2 * k, 0.0) * b[k] * C[i, j] ** (m - 2 * k + mistake) for k in range(len(b)))
            )
    return float(total)


@pytest.mark.parametrize(("student", "teacher"), [(3, 3), (4, 4), (3, 4), (4, 2)])
def test_hermite_polynomials_are_exact(student: int, teacher: int, record_check: Callable[..., None]) -> None:
    """Both polynomials also with fields that are not of unit variance, on which they are not orthogonal to lower ones."""
    worst, wrong = 0.0, 0.0
    for seed in range(5):
        arguments = overlaps(seed, length=1.5)
        exact = eps_g_of_polynomials(student, teacher, arguments)
        value = float(generalisation_error(*arguments, f"hermite{student}", f"hermite{teacher}"))
        worst = max(worst, abs(value / exact - 1.0))
        wrong = max(wrong, abs(eps_g_of_polynomials(student, teacher, arguments, mistake=1) / exact - 1.0))
    record_check("eps_g of Hermite polynomials: relative error", "<he_n he_n> = C^n", worst, ROUNDING)
    assert wrong > 1e-3


def test_erf_without_its_closed_form_is_off_by_no_more_than_the_estimate(record_check: Callable[..., None]) -> None:
    """Up to fields of standard deviation 16, of which erf is nearly a sign, the estimate is an upper limit."""
    ts.register_activation("expanded_erf", lambda x: math.erf(x * math.sqrt(0.5)), ACTIVATIONS["erf"].derivative)
    ratios, estimates = [], []
    for length in (0.3, 1.0, 3.0, 10.0, 16.0):
        for seed in range(6):
            arguments = overlaps(seed, length=length)
            exact = float(generalisation_error(*arguments, "erf"))
            value, estimate = estimated_generalisation_error(*arguments, "expanded_erf")
            assert estimate is not None
            ratios.append(abs(float(value) - exact) / (float(estimate) + ROUNDING))
            estimates.append(float(estimate))
            if length <= 1.0:
                assert abs(float(value) - exact) < ROUNDING
            # Negative control: an output weight 1e-9 off would be seen with fields of variances of order one.
            off = float(generalisation_error(*arguments[:3], arguments[3] * (1 + 1e-9), arguments[4], "expanded_erf"))
            assert length > 1.0 or abs(off - exact) > 10 * ROUNDING
    record_check("eps_g of smooth activations: error in units of its estimate", "closed form of erf", max(ratios), 1.0)
    assert max(estimates) > 1e-7  # so that not only rounding has been compared


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "sigmoid"])
def test_smooth_activations_agree_with_random_fields(activation: str) -> None:
    arguments = Q, R, T, v, v_teacher = overlaps(3)
    S = np.block([[Q, R], [R.T, T]])
    fields = np.random.default_rng(1).standard_normal((400_000, 4)) @ np.linalg.cholesky(S).T
    g = {
        "tanh": np.tanh,
        "gelu": lambda x: x * scipy.special.ndtr(x),
        "softplus": lambda x: np.logaddexp(0.0, x),
        "sigmoid": scipy.special.expit,
    }[activation]
    squares = 0.5 * (g(fields[:, :2]) @ v - g(fields[:, 2:]) @ v_teacher) ** 2
    error = squares.std() / np.sqrt(len(squares))
    assert abs(generalisation_error(*arguments, activation) - squares.mean()) < 4.5 * error
    wrong = generalisation_error(Q, R, T, 1.05 * v, v_teacher, activation)
    assert abs(wrong - squares.mean()) > 4.5 * error


def test_mixed_pairs_and_opposite_fields() -> None:
    """Fields that are opposite, or of no variance, and a student's activation that the teacher does not have."""
    tanh, sigmoid = get_activations("tanh", "sigmoid")
    # sigmoid(2 x) = (1 + tanh x) / 2: a sigmoid teacher of variance 4 S has the part tanh / 2, the rest is 1/2.
    S = np.array([[0.8, -1.6], [-1.6, 3.2]])
    value, _ = mehler_generalisation_error(tanh, sigmoid, S, np.array([0.5, 1.0]), 1)
    assert abs(value - 0.125) < ROUNDING
    value, _ = mehler_generalisation_error(tanh, sigmoid, np.zeros((2, 2)), np.array([0.5, 1.0]), 1)
    assert abs(value - 0.125) < ROUNDING


@pytest.mark.usefixtures("jump")
def test_a_jump_is_the_arcsine_law_to_the_reported_error(record_check: Callable[..., None]) -> None:
    t = []
    for seed in range(6):
        arguments = Q, R, T, v, v_teacher = overlaps(seed)
        S, c = np.block([[Q, R], [R.T, T]]), np.concatenate([v, -v_teacher])
        variances = np.diagonal(S)
        exact = c @ np.arcsin(np.clip(S / np.sqrt(np.outer(variances, variances)), -1.0, 1.0)) @ c / np.pi
        closed, no_error = estimated_generalisation_error(*arguments, "sign")
        assert no_error is None
        assert abs(closed - exact) < ROUNDING
        value, error = estimated_generalisation_error(*arguments, "jump")
        assert error is not None
        assert 0.0 < error < 0.01 * exact
        t.append(float((value - exact) / error))
        assert abs(1.2 * value - exact) > LARGEST_T * error
    record_check("eps_g of a jump, sampled: largest |t|", "arcsine law", np.abs(t).max(), LARGEST_T)
    assert 0.2 < np.sqrt(np.mean(np.square(t))) < 3.0


def test_only_smooth_activations_are_expanded() -> None:
    ts.register_activation("kink", lambda x: abs(x - 0.3), lambda x: 1.0 if x > 0.3 else -1.0)
    ts.register_activation("step", lambda x: 1.0 if x > 1.0 else 0.0, lambda x: 0.0)
    rough = {"kink", "step", "sign", "relu", "leaky_relu"}
    assert {name for name in ACTIVATIONS if not converges(ACTIVATIONS[name])} == rough
    # Why: near perfect learning a kinked activation's eps_g is a series that its first terms are not enough for.
    pair = get_activations("relu")
    T, step = np.eye(2), np.diag([1e-4, 0.0])
    arguments = T + step, T, T, np.ones(2), np.ones(2)
    exact = generalisation_error(*arguments, "relu")
    S, c = np.block([[T + step, T], [T, T]]), np.array([1.0, 1.0, -1.0, -1.0])
    expanded, _ = mehler_generalisation_error(*pair, S, c, 2)
    sampled, error = sampled_generalisation_error(*pair, *arguments)
    assert abs(sampled - exact) < LARGEST_T * error < 0.01 * exact
    assert abs(expanded - exact) > 2.0 * abs(sampled - exact)


@pytest.mark.parametrize("activation", ["tanh", "hermite4", "softplus", "jump", "kinked"])
@pytest.mark.usefixtures("jump")
def test_a_student_equal_to_its_teacher_makes_no_error(activation: str) -> None:
    ts.register_activation("kinked", lambda x: abs(x - 0.3), lambda x: 1.0 if x > 0.3 else -1.0)
    _, _, T, _, v_teacher = overlaps(4, n_teacher=3)
    value, error = estimated_generalisation_error(T, T, T, v_teacher, v_teacher, activation)
    assert abs(value) < ROUNDING
    assert error is not None
    assert error < ROUNDING
    assert generalisation_error(T, T, T, 1.01 * v_teacher, v_teacher, activation) > 1e-6


@pytest.mark.usefixtures("jump")
def test_trajectories_have_the_error_of_eps_g_where_it_has_one(make_problem: Callable[..., ts.Problem], tmp_path: Path) -> None:
    theory = ts.integrate(make_problem(2, 2, 2, activation="jump", eta_xi_in=0.0), [0.0, 1.0], progress=False)
    assert theory["eps_g_error"].dims == ("alpha",)
    assert (theory["eps_g_error"] > 0.0).all()
    assert (theory["eps_g_error"] < 0.05 * theory["eps_g"]).all()
    assert (ts.sampling_error(theory)["eps_g"] >= theory["eps_g_error"]).all()
    runs = ts.simulate(make_problem(activation="tanh"), [1.0], n_inputs=20, replicas=2, progress=False)
    assert runs["eps_g_error"].dims == ("replica", "alpha")
    ts.trajectory.save_trajectory(runs, tmp_path / "runs.nc")
    assert np.array_equal(ts.load_trajectory(tmp_path / "runs.nc")["eps_g_error"], runs["eps_g_error"])
    assert "eps_g_error" not in ts.integrate(make_problem(), [1.0], progress=False)
