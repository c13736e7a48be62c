"""The overlap chain itself: against plain NumPy on the same random numbers, its corner cases, and its arithmetic at N = 1e9."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.bundles import rule_bundle
from teacher_student.layout import factors_of
from teacher_student.networks import gram_factor
from teacher_student.rates import rates_at
from teacher_student.sgd import chain, draws
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.lanes import LANES

EPS = np.finfo(float).eps


def start(problem: ts.Problem, n_inputs: int, replicas: int = 1, seed: int = 1) -> chain.ChainReplicas:
    return chain.start(problem.initial, None, n_inputs, problem.rule.batch_size, replica_generators(seed, replicas))


def states(run: chain.ChainReplicas) -> list[dict[str, np.ndarray]]:
    """Return what `measure` does for every replica."""
    measured = chain.measure(run)
    return [{name: array[lane] for name, array in measured.items()} for lane in range(len(run.streams))]


def advance(
    run: chain.ChainReplicas,
    rule: ts.LearningRule,
    n_inputs: int,
    n_steps: int,
    first_step: int = 0,
) -> np.ndarray:
    functions = get_activations(rule.activation, rule.teacher_activation)
    return chain.advance(run, *functions, rule_bundle(rule), None, n_inputs, first_step, n_steps)


def random_numbers(run: chain.ChainReplicas, n_inputs: int, n_steps: int) -> np.ndarray:
    """Return the numbers of the next `n_steps` steps of `run`, just started, (steps, batch, columns + 2, lanes or 1)."""
    rank = len(run.v_teacher) + run.F.shape[1]
    ahead, streams, spares = run.draws.copy(), run.streams.copy(), run.spares.copy()
    numbers = []
    while len(numbers) < n_steps:
        draws.refill(ahead, streams, spares, np.empty(math.prod(ahead.shape[:3])), n_inputs, rank)
        numbers += list(ahead.copy())
    return np.array(numbers[:n_steps]).reshape(n_steps, *ahead.shape[1:3], -1)


def triangle_by_qr(rest: np.ndarray) -> np.ndarray:
    triangle = np.linalg.qr(rest.T, mode="r").T
    return triangle * np.where(np.diagonal(triangle) < 0.0, -1.0, 1.0)


def chain_in_numpy(problem: ts.Problem, n_inputs: int, numbers: np.ndarray, mistake: str = "") -> dict[str, np.ndarray]:
    """Return the state after the steps with the random `numbers` of one lane, (steps, batch, columns + 2), by matrix products.

    The new triangle comes from a QR decomposition. `mistake` leaves something out.
    """
    student, teacher = (
        [np.vectorize(f.ctypes) for f in (activation.g, activation.g_prime)]
        for activation in get_activations(problem.rule.activation, problem.rule.teacher_activation)
    )
    state, rule = problem.initial, problem.rule
    M, P = state.n_teacher, state.n_modes
    factor = gram_factor(state)
    F_teacher, F = factor[:M, :M], factor[M:]
    sigma, xi_out, v = state.sigma, state.xi_out, state.v
    rates = np.empty(4)
    for step, batch in enumerate(numbers):
        rates_at(rule.schedules, step / n_inputs, rates)
        z = batch[:, : M + P]
        outside = np.tril(batch[:, M + P : -2])
        rho, u = z[:, :M] @ F_teacher.T, z @ F.T
        field = (u * sigma) @ xi_out.T
        activity, slope = student[0](field), student[1](field) * v
        delta = activity @ v - teacher[0](rho) @ state.v_teacher - (rule.noise * batch[:, -1] if mistake != "noise" else 0.0)
        eta, eta_sigma, eta_xi_out, eta_v = rates / n_inputs
        kappa = 0.0 if mistake == "decay" else rule.weight_decay
        b = 1 if mistake == "batch" else len(batch)
        back = slope @ xi_out
        h = -eta / b * delta[:, None] * back * sigma
        if mistake == "Bartlett":
            outside = np.diag(np.diagonal(outside)) if outside.shape[0] == outside.shape[1] else outside
        elif mistake == "outside":
            outside = 0.0 * outside
        rest = np.concatenate([(1 - eta * kappa) * F + h.T @ z, h.T @ outside], axis=1)
        if rates[0] > 0:
            F = np.concatenate([rest[:, :M], triangle_by_qr(rest[:, M:])], axis=1)
            if rule.spherical != (mistake == "spherical"):
                F *= np.sqrt(state.Q_modes.diagonal() / (F**2).sum(1))[:, None]
        new_sigma = sigma - eta_sigma * (delta @ (u * back) / b + kappa * sigma)
        xi_out = xi_out - eta_xi_out * (np.einsum("s,sk,sa->ka", delta, slope, u) * sigma / b + kappa * xi_out)
        v = v - eta_v * (delta @ activity / b + kappa * v)
        sigma = new_sigma
    return {"Q_modes": F @ F.T, "R_modes": F[:, :M] @ F_teacher.T, "sigma": sigma, "xi_out": xi_out, "v": v}


FALLING = ts.Piecewise([1.0, 0.0, 0.5], [0.4, 0.6])


@pytest.mark.parametrize(
    ("sizes", "n_inputs", "rule"),
    [
        ((4, 3, 2), 50, {}),
        ((4, 3, 2), 50, {"batch_size": 1}),
        ((2, 3, 2), 5, {"batch_size": 1}),  # N = P + M
        ((2, 3, 2), 6, {"batch_size": 4}),
        ((3, 1, 4), 7, {"batch_size": 3}),
        ((4, 3, 2), 50, {"eta_xi_in": 0.0}),
        ((4, 3, 2), 50, {"eta_sigma": 0.0, "batch_size": 1}),
        ((4, 3, 2), 50, {"eta_xi_out": 0.0, "eta_v": 0.0}),
        ((4, 3, 2), 50, {"noise": 0.0, "weight_decay": 0.0}),
        ((4, 3, 2), 50, {"eta_xi_in": FALLING, "eta_v": FALLING, "eta_sigma": FALLING, "eta_xi_out": FALLING}),
        ((4, 3, 2), 50, {"eta_xi_in": FALLING, "batch_size": 1, "activation": "relu"}),
        ((4, 3, 2), 50, {"activation": "linear", "teacher_activation": "tanh"}),
        ((4, 3, 2), 50, {"activation": "centred_quadratic", "eta_xi_in": 0.1}),
        ((4, 3, 2), 50, {"activation": "tanh", "teacher_activation": "leaky_relu"}),
    ],
)
@pytest.mark.parametrize("spherical", [False, True])
def test_chain_is_that_of_plain_numpy(
    make_problem: Callable[..., ts.Problem],
    sizes: tuple[int, int, int],
    n_inputs: int,
    rule: dict[str, Any],
    spherical: bool,
    record_check: Callable[..., None],
) -> None:
    """Every lane, over more steps than are drawn ahead, to rounding."""
    problem = make_problem(*sizes, spherical=spherical, **rule)
    run = start(problem, n_inputs, replicas=3)
    n_steps = len(run.draws) + 5
    numbers = random_numbers(run, n_inputs, n_steps)
    assert (advance(run, problem.rule, n_inputs, n_steps) == n_steps).all()
    worst = 0.0
    for lane, state in enumerate(states(run)):
        expected = chain_in_numpy(problem, n_inputs, numbers[..., lane])
        worst = max(worst, *(np.abs(state[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected))
    record_check("overlap chain in vector lanes, relative difference", "plain NumPy, same random numbers", worst, 1e-11)


@pytest.mark.parametrize("mistake", ["noise", "decay", "batch", "Bartlett", "outside", "spherical", "order"])
def test_comparison_with_numpy_finds_mistakes(make_problem: Callable[..., ts.Problem], mistake: str) -> None:
    """Negative control: the same comparison with something left out."""
    problem = make_problem()
    run = start(problem, 50)
    numbers = random_numbers(run, 50, 20)
    advance(run, problem.rule, 50, 20)
    numbers = numbers[::-1] if mistake == "order" else numbers
    expected = chain_in_numpy(problem, 50, numbers[..., 0], mistake)
    [state] = states(run)
    assert max(np.abs(state[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected) > 1e-5


def exact(array: object) -> np.ndarray:
    return np.vectorize(mpmath.mpf, otypes=[object])(array)


def cholesky(gram: np.ndarray) -> np.ndarray:
    return exact(mpmath.cholesky(mpmath.matrix(gram.tolist())).tolist())


def replica_in_40_digits(
    problem: ts.Problem, n_inputs: int, numbers: np.ndarray, relative_rate: float = 1.0, residual: bool = True
) -> np.ndarray:
    """Return Q_modes and R_modes, flat, minus their initial values, after the chain with b = 1 in 40 digits.

    `numbers` are those of one lane, (steps, columns + 2). The new triangle comes from the Gram matrix by Cholesky, not by
    reflections. `relative_rate` and `residual` are for mistakes: another rate of the modes, and inputs without a part outside
    teacher and modes.
    """
    mpmath.mp.dps = 40
    erf = np.frompyfunc(lambda x: mpmath.erf(x / mpmath.sqrt(2)), 1, 1)
    slope_of = np.frompyfunc(lambda x: mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-x * x / 2), 1, 1)
    state, rule, N = problem.initial, problem.rule, mpmath.mpf(n_inputs)
    M, P = state.n_teacher, state.n_modes
    factor = exact(gram_factor(state))
    F_teacher, F = factor[:M], factor[M:]
    sigma, xi_out, v, v_teacher = (exact(a) for a in (state.sigma, state.xi_out, state.v, state.v_teacher))
    eta, eta_sigma, eta_xi_out, eta_v = exact(rule.rates)
    kappa = mpmath.mpf(rule.weight_decay)
    eta = eta * mpmath.mpf(relative_rate)
    before = np.concatenate([(F @ F.T).ravel(), (F @ F_teacher.T).ravel()])
    for sample in numbers:
        z = exact(sample[: M + P])
        rho, u = F_teacher @ z, F @ z
        delta = -rule.noise * mpmath.mpf(sample[-1]) - v_teacher @ erf(rho)
        beyond = mpmath.mpf(sample[M + P]) * residual
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
    after = np.concatenate([(F @ F.T).ravel(), (F @ F_teacher.T).ravel()])
    return (after - before).astype(float)


def test_no_drift_at_a_billion_inputs(make_problem: Callable[..., ts.Problem]) -> None:
    """What 200 steps at N = 1e9 add to the overlaps is right to 1e-6 of it; a rate 1e-4 off, or no residual, is not."""
    n_inputs, n_steps = 10**9, 200
    problem = make_problem(batch_size=1)
    run = start(problem, n_inputs, seed=11)
    numbers = random_numbers(run, n_inputs, n_steps)[:, 0, :, 0]
    [before] = states(run)
    assert advance(run, problem.rule, n_inputs, n_steps) == n_steps
    [after] = states(run)
    got = np.concatenate([(after[name] - before[name]).ravel() for name in ("Q_modes", "R_modes")])
    expected = replica_in_40_digits(problem, n_inputs, numbers)
    scale = np.abs(expected).max()
    assert np.abs(got - expected).max() < 1e-6 * scale
    for mistake in ({"relative_rate": 1.0001}, {"residual": False}):
        wrong = replica_in_40_digits(problem, n_inputs, numbers, **mistake)
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
    run = start(problem, 50)
    assert advance(run, problem.rule, 50, 500) == 500
    [state] = states(run)
    assert np.isfinite(state["Q_modes"]).all()
    np.testing.assert_allclose(run.F_teacher @ run.F_teacher.T, problem.initial.T, atol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_steps_do_not_depend_on_the_number_of_calls(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    """Nor on a copy of the state in between, as a process or a checkpoint makes."""
    problem = make_problem(batch_size=batch_size)
    runs = [start(problem, 50, replicas=2) for _ in range(2)]
    advance(runs[0], problem.rule, 50, 100)
    step = 0
    for n_steps in (1, 0, 60, 39):
        advance(runs[1], problem.rule, 50, n_steps, first_step=step)
        step += n_steps
        runs[1] = pickle.loads(pickle.dumps(runs[1]))
    for at_once, split in zip(*map(states, runs), strict=True):
        assert all(np.array_equal(at_once[name], split[name]) for name in at_once)


@pytest.mark.parametrize("frozen", ["xi_in", "sigma", "xi_out", "v"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_factor_of_rate_zero_never_moves(make_problem: Callable[..., ts.Problem], frozen: str, batch_size: int) -> None:
    """A rate of zero freezes its factor bit for bit, weight decay or not, and the others go on learning."""
    problem = make_problem(**{f"eta_{frozen}": 0.0, "batch_size": batch_size})
    run = start(problem, 50)
    [before] = states(run)
    advance(run, problem.rule, 50, 100)
    [after] = states(run)
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == ({"Q_modes", "R_modes"} if frozen == "xi_in" else {frozen})


@pytest.mark.parametrize("replicas", [1, 5, 8])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_units": 9, "batch_size": 1},
        {"activation": "relu", "eta_xi_in": 0.1},
        {"teacher_activation": "quadratic", "eta_xi_in": 0.1},
        {"activation": "tanh"},
        {"teacher_activation": "tanh"},
    ],
    ids=str,
)
def test_lanes_do_not_touch_each_other(make_problem: Callable[..., ts.Problem], settings: dict[str, Any], replicas: int) -> None:
    """The first replicas are the same, bit for bit, in any company, and lanes without a replica repeat the first.

    A replica alone is compiled for numbers, whose products and sums a compiler may fuse otherwise: it is the same to rounding.
    """
    problem = make_problem(**settings)
    runs = [start(problem, 5, replicas=n) for n in (replicas, LANES)]  # rejections are frequent at N - P - M = 0 to 1
    for run in runs:
        advance(run, problem.rule, 5, 300)
    for some, all_of_them in zip(*map(states, runs), strict=False):
        for name in some:
            np.testing.assert_allclose(some[name], all_of_them[name], rtol=0.0 if replicas > 1 else 1e-9, atol=0.0)
    for lane in range(replicas, LANES if replicas > 1 else 1):
        assert np.array_equal(runs[0].F[..., lane], runs[0].F[..., 0])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_replica_that_diverges_is_named_and_leaves_the_others_alone(
    make_problem: Callable[..., ts.Problem], batch_size: int
) -> None:
    problem = make_problem(batch_size=batch_size)
    runs = [start(problem, 50, replicas=4) for _ in range(2)]
    for run in runs:
        advance(run, problem.rule, 50, 10)
    factors_of(runs[1].slow, runs[1].sizes).v[:, 0, 2] = np.nan
    assert advance(runs[0], problem.rule, 50, 40, first_step=10).tolist() == [40, 40, 40, 40]
    assert advance(runs[1], problem.rule, 50, 40, first_step=10).tolist() == [40, 40, 0, 40]
    for lane in (0, 1, 3):
        sound, beside = (states(run)[lane] for run in runs)
        assert all(np.array_equal(sound[name], beside[name]) for name in sound)


def test_run_stops_where_its_only_replica_diverges(make_problem: Callable[..., ts.Problem]) -> None:
    """With a quadratic student the error overflows within the call; the step is that of plain NumPy."""
    problem = make_problem(activation="quadratic", eta_v=60.0, eta_xi_in=20.0, batch_size=1)
    run = start(problem, 50)
    numbers = random_numbers(run, 50, 200)
    [taken] = advance(run, problem.rule, 50, 200)
    assert 0 < taken < 200
    with np.errstate(all="ignore"):
        states = [chain_in_numpy(problem, 50, numbers[:n, ..., 0]) for n in (taken - 1, taken)]
    assert np.isfinite(states[0]["v"]).all()
