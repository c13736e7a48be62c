"""SGD with momentum on weights against the step formulas in plain NumPy, and against plain SGD where it is that."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from plain_sgd import plain_sgd
from scipy.special import erf

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.sgd import velocity_weights
from teacher_student.sgd.momentum import Momentum
from teacher_student.velocities import Velocities, at_rest

N = 40
N_STEPS = 25
TOLERANCE = 1e-12
FACTORS = ("xi_in", "sigma", "xi_out", "v")
FIRST_STEP = 10
Start = velocity_weights.VelocityWeightsReplica


def moving_start(state: ts.OrderParameters) -> Velocities:
    """Return velocities of order one in every factor: p = xi_in / 2 in the input modes."""
    return Velocities(
        Q_velocities=0.25 * state.Q_modes,
        R_velocities=0.5 * state.R_modes,
        sigma_velocity=0.3 * state.sigma,
        xi_out_velocity=-0.2 * state.xi_out,
        v_velocity=0.1 * state.v,
        C_velocities=0.5 * state.Q_modes,
    )


def numpy_sgd(start: Start, rule: ts.LearningRule, rates: Callable[[float], np.ndarray]) -> dict[str, np.ndarray]:
    """Return the student after `N_STEPS` steps of the textbook's heavy ball, a velocity a factor."""
    w = start.weights
    theta = [getattr(w, name).copy() for name in FACTORS]
    P, K = start.p.shape[0], len(w.v)
    s = start.slow_velocity.copy()
    velocity = [start.p.copy(), s[:P], s[P : P + K * P].reshape(K, P), s[P + K * P :]]
    x = np.empty(N)
    for step in range(N_STEPS):
        gradients = [np.zeros_like(factor) for factor in theta]
        xi_in, sigma, xi_out, v = theta
        for _ in range(rule.batch_size):
            velocity_weights.draw_input(start.rng, x)
            label = w.v_teacher @ erf(w.W_teacher @ x / np.sqrt(2 * N)) + rule.noise * start.rng.standard_normal()
            u = xi_in @ x / np.sqrt(N)
            field = xi_out @ (sigma * u)
            activity, slope = erf(field / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(field**2) / 2)
            delta = v @ activity - label
            back = (v * slope) @ xi_out
            gradients[0] += delta * np.outer(back * sigma, x) * np.sqrt(N)
            gradients[1] += delta * u * back
            gradients[2] += delta * np.outer(v * slope, u * sigma)
            gradients[3] += delta * activity
        for i, rate in enumerate(rates((FIRST_STEP + step) / N)):
            push = gradients[i] / rule.batch_size + rule.weight_decay * theta[i]
            velocity[i] = start.momentum.keep * velocity[i] - rate / N * push
            theta[i] = theta[i] + start.momentum.scale * velocity[i]
    return dict(zip(FACTORS, theta, strict=True))


def compiled_sgd(start: Start, rule: ts.LearningRule) -> dict[str, np.ndarray]:
    """Return the student after `N_STEPS` compiled steps, in two calls."""
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    options = (rule.schedules, rule.noise, rule.weight_decay, rule.batch_size)
    for first, n_steps in ((FIRST_STEP, 7), (FIRST_STEP + 7, N_STEPS - 7)):
        arguments = (student.g, student.g_prime, teacher.g, *options, N, first, n_steps)
        assert velocity_weights.advance(start, *arguments) == n_steps
    return {name: getattr(start.weights, name) for name in FACTORS}


def largest_difference(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in FACTORS)


@pytest.mark.parametrize("momentum", [Momentum(0.8, 1.0, False), Momentum(1.0 - 3.0 / N, 1.0 / N, True)], ids=["beta", "gamma"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_compiled_steps_are_those_of_the_formulas(
    make_problem: Callable[..., ts.Problem], momentum: Momentum, batch_size: int, record_check: Callable[..., None]
) -> None:
    problem = make_problem(
        4, 3, 2, batch_size=batch_size, weight_decay=0.5, noise=0.3, eta_v=ts.PowerLaw(start=0.6, alpha=0.3, exponent=1.0)
    )

    def rates(alpha: float) -> np.ndarray:
        return np.array([1.0, 0.5, 0.7, 0.6 / (1.0 + alpha / 0.3)])

    velocity = moving_start(problem.initial)
    first, second, wrong = (
        velocity_weights.start(problem.initial, velocity, momentum, N, np.random.default_rng(2)) for _ in range(3)
    )
    compiled = compiled_sgd(first, problem.rule)
    error = largest_difference(compiled, numpy_sgd(second, problem.rule, rates))
    record_check("momentum on weights: difference after 25 steps", "the step formulas in NumPy", error, TOLERANCE)
    assert largest_difference(compiled, numpy_sgd(wrong, problem.rule, lambda alpha: rates(0.0))) > 1e-6


def test_without_memory_it_is_plain_sgd(make_problem: Callable[..., ts.Problem]) -> None:
    """keep = 0 and scale = 1 from rest, on the same weights and inputs."""
    problem = make_problem(4, 3, 2, batch_size=2)
    rule = problem.rule
    run = velocity_weights.start(
        problem.initial, at_rest(problem.initial), Momentum(0.0, 1.0, False), N, np.random.default_rng(3)
    )
    w, rng = run.weights, np.random.default_rng(5)
    inputs = (rng.standard_normal(N) for _ in itertools.count())
    plain = plain_sgd(w, rule, 30, inputs, rng)
    run = dataclasses.replace(run, rng=np.random.default_rng(5))
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    arguments = (student.g, student.g_prime, teacher.g, rule.schedules, rule.noise, rule.weight_decay, rule.batch_size)
    velocity_weights.advance(run, *arguments, N, 0, 30)
    assert largest_difference(plain, {name: getattr(w, name) for name in FACTORS}) < TOLERANCE


def test_start_has_the_overlaps_asked_for(make_problem: Callable[..., ts.Problem]) -> None:
    state = make_problem(4, 3, 2).initial
    velocity = moving_start(state)
    run = velocity_weights.start(state, velocity, Momentum(0.9, 0.1, True), N, np.random.default_rng(5))
    measured = velocity_weights.measure(run)
    expected = {"Q_modes": state.Q_modes, "R_modes": state.R_modes, "sigma": state.sigma, "xi_out": state.xi_out, "v": state.v}
    expected |= {name: getattr(velocity, name) for name in measured if name.endswith(("velocities", "velocity"))}
    assert measured.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(measured[name], array, atol=1e-12)
