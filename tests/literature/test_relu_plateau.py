"""ReLU on its symmetric plateau (Straat and Biehl, ESANN 2019, arXiv:1903.07378), K = M = 2, orthonormal teacher.

For small rates SGD is gradient descent on eps_g. Its derivatives with respect to the weights follow from the arc-cosine kernel
L(q, p, c) = sqrt(q p) (sin theta + (pi - theta) cos theta) / (2 pi), cos theta = c / sqrt(q p), alone:
dL/dc = (pi - theta) / (2 pi) and dL/dq = sqrt(p / q) sin(theta) / (4 pi). On the plateau w_1,2 = R (w*_1 + w*_2) +- d with d
orthogonal to the teacher: unlike erf units, the students are not the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize

import teacher_student as ts

LARGEST_Z = 4.5
TEACHER = np.eye(2, 4)


def angle(w: np.ndarray, u: np.ndarray) -> float:
    return float(np.arccos(np.clip(w @ u / np.sqrt(w @ w * (u @ u)), -1.0, 1.0)))


def gradient(students: np.ndarray) -> np.ndarray:
    """Return the derivative of eps_g with respect to the students' weights, (2, 4), in four dimensions."""
    out = np.zeros_like(students)
    for k, w in enumerate(students):
        others = [(1.0, u) for u in students] + [(-1.0, u) for u in TEACHER]
        for sign, u in others:
            theta = angle(w, u)
            of_length = np.sqrt(u @ u / (w @ w)) * np.sin(theta) / (4 * np.pi)
            out[k] += sign * ((np.pi - theta) / (2 * np.pi) * u + 2 * of_length * w)
    return out


def plateau_weights() -> np.ndarray:
    def residual(unknown: np.ndarray) -> np.ndarray:
        R, d = unknown
        return gradient(np.array([[R, R, d, 0.0], [R, R, -d, 0.0]]))[0, [0, 2]]

    solution = scipy.optimize.root(residual, [0.5, 0.4], tol=1e-12)
    assert np.abs(solution.fun).max() < 1e-13
    R, d = solution.x
    return np.array([[R, R, d, 0.0], [R, R, -d, 0.0]])


def escape_rate(students: np.ndarray) -> float:
    """Return the largest growth rate, over eta, of a small deviation of the weights."""
    step, columns = 1e-5, []
    for direction in np.eye(students.size).reshape(-1, *students.shape):
        columns.append((gradient(students + step * direction) - gradient(students - step * direction)).ravel() / (2 * step))
    return float(-np.linalg.eigvalsh(np.array(columns))[0])


def relu_problem(eta: float, batch_size: int = 1, d: float = 0.15) -> ts.Problem:
    """Return a problem with exactly symmetric students, of which +-sqrt(`d`) is orthogonal to the teacher."""
    initial = ts.plain_committee(
        Q=[[0.4 + d, 0.4 - d], [0.4 - d, 0.4 + d]], R=np.full((2, 2), 0.4), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
    )
    return ts.Problem(initial=initial, rule=ts.LearningRule("relu", eta_xi_in=eta, batch_size=batch_size))


def test_the_plateau_at_small_rates_is_where_the_arc_cosine_kernel_puts_it(record_check: Callable[..., None]) -> None:
    weights = plateau_weights()
    coarse, fine = (ts.fixed_point(relu_problem(eta)) for eta in (2e-3, 1e-3))

    def limit(quantity: Callable[[object], object]) -> np.ndarray:
        # Linear in the rate, so this leaves its square.
        return 2 * np.asarray(quantity(fine)) - np.asarray(quantity(coarse))

    Q, R = weights @ weights.T, weights @ TEACHER.T
    error = max(np.abs(limit(lambda p: p.state.Q) - Q).max(), np.abs(limit(lambda p: p.state.R) - R).max())
    record_check("ReLU's symmetric plateau, small rates: difference of Q and R", "arc-cosine kernel", error, 1e-5)
    assert np.abs(fine.state.Q - Q).max() > 1e-5
    rates = (limit(lambda p: p.escape_rates[0] / p.problem.rule.eta_xi_in)) / escape_rate(weights)
    record_check("ReLU's symmetric plateau: escape rate, relative difference", "Hessian in the weights", abs(rates - 1), 1e-5)
    assert fine.n_unstable == 1


def test_units_that_are_the_same_rest_at_a_higher_error() -> None:
    """R = (1 + 3 pi / 4) / (2 pi) minimises 2 R^2 - 2 R (1 + 3 pi / 4) / pi + (1 + 1 / pi) / 2, their eps_g."""
    R = (1 + 3 * np.pi / 4) / (2 * np.pi)
    coarse, fine = (ts.fixed_point(relu_problem(eta, d=0.0)) for eta in (2e-3, 1e-3))
    np.testing.assert_allclose(2 * fine.state.R - coarse.state.R, R, atol=1e-5)
    assert 2 * fine.eps_g - coarse.eps_g == pytest.approx((1 + 1 / np.pi) / 2 - 2 * R**2, abs=1e-5)
    assert fine.eps_g > ts.fixed_point(relu_problem(1e-3)).eps_g + 0.01


def test_at_a_finite_rate_runs_follow_the_full_ode_and_not_the_one_for_small_rates(record_check: Callable[..., None]) -> None:
    """On the plateau at eta = 1, runs of the exact chain against the ODE with and without (a huge batch) its eta^2 term."""
    problem, times, replicas = relu_problem(1.0), [2.0, 5.0, 10.0], 48
    runs = ts.simulate(problem, times, n_inputs=4000, replicas=replicas, seed=4, method="overlaps", progress=False)

    def largest_z(theory: object) -> float:
        scores = []
        for name in ("Q", "R", "eps_g"):
            deviation = (runs[name] - theory[name]).values  # type: ignore[index]
            error = deviation.std(axis=0, ddof=1) / np.sqrt(replicas)
            scores.append(np.abs(deviation.mean(axis=0) / error).max())
        return float(np.max(scores))

    z = largest_z(ts.integrate(problem, times, progress=False))
    record_check("ReLU on its plateau at eta = 1, N = 4000: largest |z|", "runs of the chain", z, LARGEST_Z)
    without = ts.integrate(relu_problem(1.0, batch_size=10**12), times, progress=False)
    assert largest_z(without) > 20.0
