"""Momentum on weights and in the chain against the textbook's heavy ball in plain NumPy, on the same random numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from plain_sgd import drawn_inputs, plain_sgd
from scipy.special import erf

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.bundles import rule_bundle
from teacher_student.sgd import chain, weights
from teacher_student.sgd.blocks import TILE
from teacher_student.sgd.draws import refill
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.sgd.inputs import replica_generators
from teacher_student.velocities import Velocities, at_rest, joint_gram

N = 40
N_STEPS = 25
TOLERANCE = 1e-12
FACTORS = ("xi_in", "sigma", "xi_out", "v")
FIRST_STEP = 10
BALLS = {"beta": HeavyBall(0.8, 1.0, True), "gamma": HeavyBall(1.0 - 3.0 / N, 1.0 / N, True)}
EVERY_BALL = pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)


def moving_start(state: ts.OrderParameters, outside: float = 0.0) -> Velocities:
    """Return velocities of order one in every factor: p = xi_in / 2 in input modes, and `outside` orthogonal to all rows."""
    return Velocities(
        Q_velocities=0.25 * state.Q_modes + outside**2 * np.eye(state.n_modes),
        R_velocities=0.5 * state.R_modes,
        sigma_velocity=0.3 * state.sigma,
        xi_out_velocity=-0.2 * state.xi_out,
        v_velocity=0.1 * state.v,
        C_velocities=0.5 * state.Q_modes,
    )


def scheduled(make_problem: Callable[..., ts.Problem], batch_size: int, **changes: Any) -> ts.Problem:
    schedule = ts.PowerLaw(start=0.6, alpha=0.3, exponent=1.0)
    return make_problem(4, 3, 2, **{"batch_size": batch_size, "weight_decay": 0.5, "noise": 0.3, "eta_v": schedule, **changes})


def rates(alpha: float) -> np.ndarray:
    """Return the rates of `scheduled`."""
    return np.array([1.0, 0.5, 0.7, 0.6 / (1.0 + alpha / 0.3)])


# On weights


def start(problem: ts.Problem, seed: int, velocity: Velocities | None = None, n_inputs: int = N) -> weights.WeightsReplica:
    velocity = velocity or moving_start(problem.initial)
    return weights.start(problem.initial, velocity, n_inputs, np.random.default_rng(seed))


def numpy_sgd(
    run: weights.WeightsReplica,
    rule: ts.LearningRule,
    ball: HeavyBall,
    rates: Callable[[float], np.ndarray] = rates,
    n_steps: int = N_STEPS,
) -> dict[str, np.ndarray]:
    """Return the student after `n_steps` steps of the textbook's heavy ball, a velocity a factor."""
    w, slow = run.weights, run.arrays.slow[1].copy()
    theta = [getattr(w, name).copy() for name in FACTORS]
    P, K, n_inputs = len(w.sigma), len(w.v), w.xi_in.shape[1]
    velocity = [run.arrays.rows[P:].copy(), slow[:P], slow[P : P + K * P].reshape(K, P), slow[P + K * P :]]
    inputs = drawn_inputs(run.arrays.stream, n_inputs, rule.batch_size)
    for step in range(n_steps):
        gradients = [np.zeros_like(factor) for factor in theta]
        xi_in, sigma, xi_out, v = theta
        for _ in range(rule.batch_size):
            x = next(inputs)
            label = w.v_teacher @ erf(w.W_teacher @ x / np.sqrt(2 * n_inputs)) + rule.noise * run.rng.standard_normal()
            u = xi_in @ x / np.sqrt(n_inputs)
            field = xi_out @ (sigma * u)
            activity, slope = erf(field / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(field**2) / 2)
            delta = v @ activity - label
            back = (v * slope) @ xi_out
            gradients[0] += delta * np.outer(back * sigma, x) * np.sqrt(n_inputs)
            gradients[1] += delta * u * back
            gradients[2] += delta * np.outer(v * slope, u * sigma)
            gradients[3] += delta * activity
        for i, rate in enumerate(rates((FIRST_STEP + step) / n_inputs)):
            push = gradients[i] / rule.batch_size + rule.weight_decay * theta[i]
            velocity[i] = ball.keep * velocity[i] - rate / n_inputs * push
            theta[i] = theta[i] + ball.scale * velocity[i]
    return dict(zip(FACTORS, theta, strict=True))


def compiled_sgd(
    run: weights.WeightsReplica, rule: ts.LearningRule, ball: HeavyBall, calls: tuple[int, ...] = (7, N_STEPS - 7)
) -> dict[str, np.ndarray]:
    """Return the student after one compiled call for each number of steps in `calls`."""
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    n_inputs, first = run.arrays.rows.shape[1], FIRST_STEP
    for n_steps in calls:
        assert weights.advance(run, student, teacher, rule_bundle(rule), ball, n_inputs, first, n_steps) == n_steps
        first += n_steps
    return {name: getattr(run.weights, name) for name in FACTORS}


def largest_difference(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in FACTORS)


@EVERY_BALL
@pytest.mark.parametrize(("batch_size", "n_inputs"), [(1, N), (2, N), (3, N), (4, 8), (5, N), (11, N), (1, TILE + 77)])
def test_compiled_steps_are_those_of_the_formulas(
    make_problem: Callable[..., ts.Problem], ball: HeavyBall, batch_size: int, n_inputs: int, record_check: Callable[..., None]
) -> None:
    """Negative controls: rates of the first step throughout, and velocities that decay by a hundredth more."""
    problem = scheduled(make_problem, batch_size)
    runs = [start(problem, 2, n_inputs=n_inputs) for _ in range(4)]
    compiled = compiled_sgd(runs[0], problem.rule, ball)
    error = largest_difference(compiled, numpy_sgd(runs[1], problem.rule, ball))
    record_check("momentum on weights: difference after 25 steps", "the step formulas in NumPy", error, TOLERANCE)
    assert largest_difference(compiled, numpy_sgd(runs[2], problem.rule, ball, lambda alpha: rates(0.0))) > 1e-6
    assert largest_difference(compiled, numpy_sgd(runs[3], problem.rule, ball._replace(keep=0.99 * ball.keep))) > 1e-6


@EVERY_BALL
@pytest.mark.parametrize("batch_size", [1, 2, 3, 9])
def test_steps_do_not_depend_on_the_number_of_calls(
    make_problem: Callable[..., ts.Problem], ball: HeavyBall, batch_size: int
) -> None:
    """Calls end anywhere in a block: every bit is the same, and the weights are those after the last step."""
    problem = scheduled(make_problem, batch_size)
    at_once = compiled_sgd(start(problem, 2), problem.rule, ball, (N_STEPS,))
    for calls in ((1, 7, 0, N_STEPS - 8), (1,) * N_STEPS):
        split = compiled_sgd(start(problem, 2), problem.rule, ball, calls)
        assert all(np.array_equal(at_once[name], split[name]) for name in FACTORS)
    for n_steps in (1, 2, 3, 6):
        expected = numpy_sgd(start(problem, 2), problem.rule, ball, n_steps=n_steps)
        assert largest_difference(expected, compiled_sgd(start(problem, 2), problem.rule, ball, (n_steps,))) < TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_without_memory_it_is_plain_sgd(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    """keep = 0 and scale = 1 from rest, on the same weights and inputs."""
    problem = make_problem(4, 3, 2, batch_size=batch_size)
    run, copy = (start(problem, 3, at_rest(problem.initial)) for _ in range(2))
    inputs = drawn_inputs(copy.arrays.stream, N, batch_size)
    plain = plain_sgd(copy.weights, problem.rule, 30, inputs, copy.rng)
    assert largest_difference(plain, compiled_sgd(run, problem.rule, HeavyBall(0.0, 1.0, True), (30,))) < TOLERANCE


@pytest.mark.parametrize("frozen", FACTORS)
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("method", ["weights", "overlaps"])
def test_factor_of_rate_zero_at_rest_never_moves(
    make_problem: Callable[..., ts.Problem], frozen: str, batch_size: int, method: str
) -> None:
    """A rate of zero freezes its factor bit for bit; with a velocity of its own it moves."""
    problem = make_problem(4, 3, 2, **{f"eta_{frozen}": 0.0, "batch_size": batch_size, "friction": 2.0})
    of_factor = {"xi_in": ("Q_modes", "R_modes")}.get(frozen, (frozen,))
    for velocity in (None, moving_start(problem.initial)):
        moving = ts.Problem(problem.initial, problem.rule, velocity=velocity)
        result = ts.simulate(moving, [0.0, 0.5], n_inputs=N, replicas=1, method=method, progress=False)
        still = {name for name in ("Q_modes", "R_modes", *FACTORS[1:]) if np.ptp(result[name].values, axis=1).max() == 0.0}
        assert still == (set(of_factor) if velocity is None else set())


@pytest.mark.parametrize("method", [weights, chain], ids=["weights", "overlaps"])
def test_start_has_the_overlaps_asked_for(make_problem: Callable[..., ts.Problem], method: Any) -> None:
    state = make_problem(4, 3, 2).initial
    velocity = moving_start(state)
    if method is weights:
        run: Any = weights.start(state, velocity, N, np.random.default_rng(5))
    else:
        run = chain.start(state, velocity, N, 2, replica_generators(5, 3))
    measured = {name: array[-1] for name, array in method.measure(run).items()}
    expected = {"Q_modes": state.Q_modes, "R_modes": state.R_modes, "sigma": state.sigma, "xi_out": state.xi_out, "v": state.v}
    expected |= {name: getattr(velocity, name) for name in measured if name.endswith(("velocities", "velocity"))}
    assert measured.keys() == expected.keys()
    assert len(expected) == 11
    for name, array in expected.items():
        np.testing.assert_allclose(measured[name], array, atol=1e-12)


# In the chain


def samples_of(run: chain.ChainReplicas, n_inputs: int, lane: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the next steps of one lane of a run that has just started, (batch, columns + 2)."""
    ahead, streams, spares = run.draws.copy(), run.streams.copy(), run.spares.copy()
    while True:
        refill(ahead, streams, spares, np.empty(int(np.prod(ahead.shape[:3]))), n_inputs, len(run.v_teacher) + run.F.shape[1])
        yield from ahead.reshape(*ahead.shape[:3], -1)[..., lane].copy()


def chain_in_numpy(
    problem: ts.Problem, ball: HeavyBall, numbers: Iterator[np.ndarray], n_inputs: int, mistake: str = ""
) -> dict[str, np.ndarray]:
    """Return the named parts of the state after `N_STEPS` steps, by a Gram matrix and its Cholesky factor, new at every step.

    `mistake` leaves something out.
    """
    state, rule, velocity = problem.initial, problem.rule, moving_start(problem.initial, 0.7)
    M, P = state.n_teacher, state.n_modes
    gram = joint_gram(state, velocity)
    sigma, xi_out, v = state.sigma, state.xi_out, state.v
    slow_velocity = [velocity.sigma_velocity, velocity.xi_out_velocity, velocity.v_velocity]
    for step, batch in enumerate(itertools.islice(numbers, N_STEPS)):
        # Any factor gives the law; that of Cholesky gives the chain's own fields from its own numbers.
        factor = np.linalg.cholesky(gram)
        z, outside = batch[:, : len(factor)], np.tril(batch[:, len(factor) : -2])
        rows = np.hstack([factor, np.zeros((len(factor), outside.shape[1]))])
        rho, u = z @ factor[:M].T, z @ factor[M : M + P].T
        field = (u * sigma) @ xi_out.T
        activity, slope = erf(field / np.sqrt(2)), v * np.sqrt(2 / np.pi) * np.exp(-(field**2) / 2)
        delta = activity @ v - erf(rho / np.sqrt(2)) @ state.v_teacher - rule.noise * batch[:, -1]
        eta, *eta_slow = rates((FIRST_STEP + step) / n_inputs) / n_inputs
        back = slope @ xi_out
        inputs = np.hstack([z, 0.0 * outside if mistake == "outside" else outside])
        push = (delta[:, None] * back * sigma).T @ inputs / len(batch) + rule.weight_decay * rows[M : M + P]
        keep = 1.0 if mistake == "keep" else ball.keep
        rows[M + P :] = keep * rows[M + P :] - eta * push
        rows[M : M + P] += ball.scale * rows[M + P :]
        gram = rows @ rows.T
        gradients = (delta @ (u * back), np.einsum("s,sk,sa->ka", delta, slope, u) * sigma, delta @ activity)
        values = []
        for i, (value, gradient) in enumerate(zip((sigma, xi_out, v), gradients, strict=True)):
            slow_push = gradient / len(batch) + rule.weight_decay * value
            slow_velocity[i] = keep * slow_velocity[i] - eta_slow[i] * slow_push
            values.append(value + ball.scale * slow_velocity[i])
        sigma, xi_out, v = values
    names = ("sigma_velocity", "xi_out_velocity", "v_velocity")
    modes, velocities = slice(M, M + P), slice(M + P, None)
    return {
        "Q_modes": gram[modes, modes],
        "R_modes": gram[modes, :M],
        "Q_velocities": gram[velocities, velocities],
        "R_velocities": gram[velocities, :M],
        "C_velocities": gram[modes, velocities],
        **{"sigma": sigma, "xi_out": xi_out, "v": v},
        **dict(zip(names, slow_velocity, strict=True)),
    }


def advanced_chain(problem: ts.Problem, ball: HeavyBall, n_inputs: int, replicas: int) -> tuple[Any, Any]:
    """Return a run in the chain before and after `N_STEPS` steps in two calls."""
    velocity, rule = moving_start(problem.initial, 0.7), problem.rule
    runs = [chain.start(problem.initial, velocity, n_inputs, rule.batch_size, replica_generators(3, replicas)) for _ in range(2)]
    functions = get_activations(rule.activation, rule.teacher_activation)
    for first, n_steps in ((FIRST_STEP, 7), (FIRST_STEP + 7, N_STEPS - 7)):
        taken = chain.advance(runs[1], *functions, rule_bundle(rule), ball, n_inputs, first, n_steps)
        assert (taken == n_steps).all()
    return runs[0], runs[1]


def relative_difference(measured: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert measured.keys() == expected.keys()
    return max(float(np.abs(measured[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in expected)


@EVERY_BALL
@pytest.mark.parametrize(("batch_size", "n_inputs"), [(1, 50), (3, 50), (1, 9), (4, 10)])
@pytest.mark.parametrize("replicas", [1, 3])
def test_chain_is_that_of_plain_numpy(
    make_problem: Callable[..., ts.Problem],
    ball: HeavyBall,
    batch_size: int,
    n_inputs: int,
    replicas: int,
    record_check: Callable[..., None],
) -> None:
    """Every lane, velocities included; negative controls leave out what is outside the space, and the velocities' decay."""
    problem = scheduled(make_problem, batch_size)
    before, after = advanced_chain(problem, ball, n_inputs, replicas)
    measured = chain.measure(after)
    for lane in range(replicas):
        state = {name: array[lane] for name, array in measured.items()}
        expected = chain_in_numpy(problem, ball, samples_of(before, n_inputs, lane), n_inputs)
        worst = relative_difference(state, expected)
        record_check("momentum in the chain, relative difference", "plain NumPy, same random numbers", worst, 1e-11)
        for mistake in ("keep", "outside")[: 2 if n_inputs > 9 else 1]:
            wrong = chain_in_numpy(problem, ball, samples_of(before, n_inputs, lane), n_inputs, mistake)
            assert relative_difference(state, wrong) > 1e-4
