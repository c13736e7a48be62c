"""The overlap chain itself: its rotations, its corner cases, and its arithmetic at N = 1e9."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from numba import njit

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.networks import gram_factor
from teacher_student.sgd import overlaps

EPS = np.finfo(float).eps


def advance(run: overlaps.OverlapsReplica, rule: ts.LearningRule, n_inputs: int, n_steps: int) -> int:
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    return overlaps.advance(
        run,
        student.g,
        student.g_prime,
        teacher.g,
        rule.schedules,
        rule.noise,
        rule.weight_decay,
        rule.batch_size,
        rule.spherical,
        n_inputs,
        0,
        n_steps,
    )


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("zeros", ["none", "diagonal", "everything", "extra"])
def test_rotations_keep_the_gram_matrix(width: int, zeros: str) -> None:
    """F F^T + e e^T is kept to rounding, F is lower triangular and e exactly zero, also where entries vanish."""
    rng = np.random.default_rng(3)
    F, extra = rng.standard_normal((4, 4)), rng.standard_normal((4, width))
    if zeros in ("diagonal", "everything"):
        np.fill_diagonal(F, 0.0)
    if zeros in ("extra", "everything"):
        extra[:] = 0.0
    if zeros == "everything":
        F[:] = 0.0
    expected = F @ F.T + extra @ extra.T
    overlaps.rotate_into_triangle(F, extra)
    assert np.array_equal(F, np.tril(F))
    assert not extra.any()
    assert np.abs(F @ F.T - expected).max() < 50 * EPS * max(1.0, np.abs(expected).max())


@njit
def _draws(rng: np.random.Generator, normal: np.ndarray, chi2: np.ndarray, degrees: float) -> None:
    for i in range(len(chi2)):
        normal[i] = rng.standard_normal()
        chi2[i] = rng.chisquare(degrees)


def test_compiled_draws_are_numpys() -> None:
    """Compiled code draws the stream that NumPy draws, so that a test can replay a run."""
    compiled, plain = (np.random.Generator(np.random.SFC64(7)) for _ in range(2))
    normal, chi2 = np.empty(50), np.empty(50)
    _draws(compiled, normal, chi2, 1e9 - 5)
    expected = np.array([(plain.standard_normal(), plain.chisquare(1e9 - 5)) for _ in range(50)])
    assert np.array_equal(normal, expected[:, 0])
    np.testing.assert_allclose(chi2, expected[:, 1], rtol=4 * EPS)


def exact(array: object) -> np.ndarray:
    return np.vectorize(mpmath.mpf, otypes=[object])(array)


def cholesky(gram: np.ndarray) -> np.ndarray:
    return exact(mpmath.cholesky(mpmath.matrix(gram.tolist())).tolist())


def replica_in_40_digits(
    problem: ts.Problem, n_inputs: int, n_steps: int, seed: int, relative_rate: float = 1.0, residual: bool = True
) -> np.ndarray:
    """Return Q_modes and R_modes, flat, minus their initial values, after the chain with b = 1 in 40 digits.

    The new triangle comes from the Gram matrix by Cholesky, not by rotations. `relative_rate` and `residual` are for
    mistakes: another rate of the modes, and inputs without a part outside teacher and modes.
    """
    mpmath.mp.dps = 40
    erf = np.frompyfunc(lambda x: mpmath.erf(x / mpmath.sqrt(2)), 1, 1)
    slope_of = np.frompyfunc(lambda x: mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-x * x / 2), 1, 1)
    rng = np.random.Generator(np.random.SFC64(seed))
    state, rule, N = problem.initial, problem.rule, mpmath.mpf(n_inputs)
    M, P = state.n_teacher, state.n_modes
    factor = exact(gram_factor(state))
    F_teacher, F = factor[:M], factor[M:]
    sigma, xi_out, v, v_teacher = (exact(a) for a in (state.sigma, state.xi_out, state.v, state.v_teacher))
    eta, eta_sigma, eta_xi_out, eta_v = exact(rule.rates)
    kappa = mpmath.mpf(rule.weight_decay)
    eta = eta * mpmath.mpf(relative_rate)
    start = np.concatenate([(F @ F.T).ravel(), (F @ F_teacher.T).ravel()])
    for _ in range(n_steps):
        z = exact(rng.standard_normal(M + P))
        rho, u = F_teacher @ z, F @ z
        delta = -rule.noise * mpmath.mpf(rng.standard_normal()) - v_teacher @ erf(rho)
        beyond = mpmath.sqrt(mpmath.mpf(rng.chisquare(n_inputs - M - P))) * residual
        field = xi_out @ (sigma * u)
        activity, slope = erf(field), slope_of(field)
        delta += v @ activity
        back = (v * slope) @ xi_out
        h = -eta / N * delta * back * sigma
        moved = (1 - eta * kappa / N) * F + np.outer(h, z)
        rest = moved[:, M:]
        F = np.concatenate([moved[:, :M], cholesky(rest @ rest.T + np.outer(h, h) * beyond**2)], axis=1)
        new_sigma = sigma - eta_sigma / N * (delta * u * back + kappa * sigma)
        xi_out = xi_out - eta_xi_out / N * (delta * np.outer(v * slope, u * sigma) + kappa * xi_out)
        v = v - eta_v / N * (delta * activity + kappa * v)
        sigma = new_sigma
    end = np.concatenate([(F @ F.T).ravel(), (F @ F_teacher.T).ravel()])
    return (end - start).astype(float)


def test_no_drift_at_a_billion_inputs(make_problem: Callable[..., ts.Problem]) -> None:
    """What 200 steps at N = 1e9 add to the overlaps is right to 1e-6 of it; a rate 1e-4 off, or no residual, is not."""
    n_inputs, n_steps = 10**9, 200
    problem = make_problem(batch_size=1)
    run = overlaps.start(problem.initial, n_inputs, np.random.Generator(np.random.SFC64(11)))
    before = overlaps.measure(run)
    assert advance(run, problem.rule, n_inputs, n_steps) == n_steps
    after = overlaps.measure(run)
    got = np.concatenate([(after[name] - before[name]).ravel() for name in ("Q_modes", "R_modes")])
    expected = replica_in_40_digits(problem, n_inputs, n_steps, 11)
    scale = np.abs(expected).max()
    assert np.abs(got - expected).max() < 1e-6 * scale
    for mistake in ({"relative_rate": 1.0001}, {"residual": False}):
        wrong = replica_in_40_digits(problem, n_inputs, n_steps, 11, **mistake)
        assert np.abs(got - wrong).max() > 1e-5 * scale, mistake


def perfect_student(noise: float) -> ts.Problem:
    T = [[1.0, 0.3, 0.1], [0.3, 1.2, 0.0], [0.1, 0.0, 0.8]]
    initial = ts.plain_committee(Q=T, R=T, T=T, v=[1.0, 0.8, 1.2], v_teacher=[1.0, 0.8, 1.2])
    rule = ts.LearningRule(eta_xi_in=1.0, eta_sigma=1.0, eta_xi_out=1.0, eta_v=1.0, noise=noise, batch_size=2)
    return ts.Problem(initial=initial, rule=rule)


@pytest.mark.parametrize("n_inputs", [6, 7, 200])
def test_perfect_student_stays(n_inputs: int) -> None:
    """A student on the teacher, with no noise, does not move; with noise of 1e-2 it does."""
    run = ts.simulate(perfect_student(0.0), [0.0, 20.0], n_inputs=n_inputs, replicas=2, method="overlaps", progress=False)
    noisy = ts.simulate(perfect_student(1e-2), [0.0, 20.0], n_inputs=n_inputs, replicas=2, method="overlaps", progress=False)
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v"):
        moved = run[name].isel(alpha=1) - run[name].isel(alpha=0)
        assert float(np.abs(moved).max()) < 1e-6
        assert float(np.abs(noisy[name].isel(alpha=1) - noisy[name].isel(alpha=0)).max()) > 1e-4
    assert float(np.abs(run["eps_g"]).max()) < 1e-12


@pytest.mark.parametrize("sizes", [(4, 3, 2), (2, 3, 2), (3, 1, 4)])
def test_singular_teacher_is_factored(make_problem: Callable[..., ts.Problem], sizes: tuple[int, int, int]) -> None:
    """A teacher of rank 1, T singular, has a finite triangular factor, and its Gram matrix stays T."""
    problem = make_problem(*sizes, teacher_rank=1, batch_size=3)
    assert np.linalg.matrix_rank(problem.initial.T) == 1
    run = overlaps.start(problem.initial, 50, np.random.default_rng(1))
    assert advance(run, problem.rule, 50, 500) == 500
    assert np.isfinite(overlaps.measure(run)["Q_modes"]).all()
    np.testing.assert_allclose(run.F_teacher @ run.F_teacher.T, problem.initial.T, atol=1e-13)
    assert np.array_equal(run.F_rest, np.tril(run.F_rest))


def test_steps_do_not_depend_on_the_number_of_calls(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(batch_size=3)
    runs = [overlaps.start(problem.initial, 50, np.random.default_rng(1)) for _ in range(2)]
    advance(runs[0], problem.rule, 50, 100)
    for n_steps in (1, 0, 60, 39):
        advance(runs[1], problem.rule, 50, n_steps)
    at_once, split = (overlaps.measure(run) for run in runs)
    assert all(np.array_equal(at_once[name], split[name]) for name in at_once)


@pytest.mark.parametrize("frozen", ["xi_in", "sigma", "xi_out", "v"])
def test_factor_of_rate_zero_never_moves(make_problem: Callable[..., ts.Problem], frozen: str) -> None:
    """A rate of zero freezes its factor bit for bit, weight decay or not, and the others go on learning."""
    problem = make_problem(**{f"eta_{frozen}": 0.0})
    run = overlaps.start(problem.initial, 50, np.random.default_rng(1))
    before = overlaps.measure(run)
    advance(run, problem.rule, 50, 100)
    after = overlaps.measure(run)
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == ({"Q_modes", "R_modes"} if frozen == "xi_in" else {frozen})
