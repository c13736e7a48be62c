"""SGD on weights against the step formulas, written out once more in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import erf

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.networks import Weights, draw_weights
from teacher_student.sgd import weights as sgd_on_weights

N_INPUTS = 40
N_STEPS = 30
TOLERANCE = 1e-12
TRAINED = ("xi_in", "sigma", "xi_out", "v")


def plain_sgd(w: Weights, rule: ts.LearningRule, n_steps: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the student after `n_steps` steps: down the mean gradient of delta^2 / 2, with decay."""
    xi_in, sigma, xi_out, v = w.xi_in.copy(), w.sigma.copy(), w.xi_out.copy(), w.v.copy()
    N = xi_in.shape[1]
    for _ in range(n_steps):
        gradients = [np.zeros_like(factor) for factor in (xi_in, sigma, xi_out, v)]
        for _ in range(rule.batch_size):
            x = rng.standard_normal(N)
            label = w.v_teacher @ erf(w.W_teacher @ x / np.sqrt(2 * N))
            if rule.noise > 0:
                label += rule.noise * rng.standard_normal()
            u = xi_in @ x / np.sqrt(N)
            field = xi_out @ (sigma * u)
            activity, slope = erf(field / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(field**2) / 2)
            delta = v @ activity - label
            back = (v * slope) @ xi_out
            gradients[0] += delta * np.outer(back * sigma, x) * np.sqrt(N)
            gradients[1] += delta * u * back
            gradients[2] += delta * np.outer(v * slope, u * sigma)
            gradients[3] += delta * activity
        shrunk_and_moved = [
            factor - rate / N * (gradient / rule.batch_size + rule.weight_decay * factor)
            for factor, rate, gradient in zip((xi_in, sigma, xi_out, v), rule.rates, gradients, strict=True)
        ]
        lengths = np.linalg.norm(xi_in, axis=1, keepdims=True)
        xi_in, sigma, xi_out, v = shrunk_and_moved
        if rule.spherical:
            xi_in = xi_in * lengths / np.linalg.norm(xi_in, axis=1, keepdims=True)
    return dict(zip(TRAINED, (xi_in, sigma, xi_out, v), strict=True))


def compiled_sgd(w: Weights, rule: ts.LearningRule, calls: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the student after one compiled call for each number of steps in `calls`."""
    copies = {name: getattr(w, name).copy() for name in TRAINED}
    lengths = np.linalg.norm(w.xi_in, axis=1) / np.sqrt(w.xi_in.shape[1])
    run = sgd_on_weights.WeightsReplica(Weights(**copies, W_teacher=w.W_teacher, v_teacher=w.v_teacher), lengths, rng)
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    for n_steps in calls:
        taken = sgd_on_weights.advance(
            run,
            student.g,
            student.g_prime,
            teacher.g,
            rule.schedules,
            rule.noise,
            rule.weight_decay,
            rule.batch_size,
            rule.spherical,
            w.xi_in.shape[1],
            0,
            n_steps,
        )
        assert taken == n_steps
    return copies


def largest_difference(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in TRAINED)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("sizes", [(4, 3, 2), (2, 3, 4)])
def test_steps_equal_plain_numpy(
    make_problem: Callable[..., ts.Problem],
    batch_size: int,
    noise: float,
    weight_decay: float,
    sizes: tuple[int, int, int],
    record_check: Callable[..., None],
) -> None:
    problem = make_problem(*sizes, batch_size=batch_size, noise=noise, weight_decay=weight_decay)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    expected = plain_sgd(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    error = largest_difference(expected, got)
    record_check("compiled SGD on weights: difference", "plain NumPy, same random numbers", error, TOLERANCE)
    for name in TRAINED:
        assert np.abs(got[name] - getattr(w, name)).max() > 1e-3, f"{name} did not learn"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_rows_keep_their_lengths(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    problem = make_problem(batch_size=batch_size, weight_decay=0.5, spherical=True)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    expected = plain_sgd(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    assert largest_difference(expected, got) < TOLERANCE
    lengths = np.linalg.norm(got["xi_in"], axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(w.xi_in, axis=1), rtol=1e-14)
    free = make_problem(batch_size=batch_size, weight_decay=0.5)
    assert largest_difference(expected, compiled_sgd(w, free.rule, (N_STEPS,), np.random.default_rng(2))) > 1e-3


@pytest.mark.parametrize(
    "mistake",
    [
        {"eta_xi_in": 1.05},
        {"eta_sigma": 0.525},
        {"eta_xi_out": 0.735},
        {"eta_v": 0.42},
        {"noise": 0.3**2},
        {"weight_decay": 0.525},
        {"eta_xi_in": 3.0, "eta_sigma": 1.5, "eta_xi_out": 2.1, "eta_v": 1.2, "weight_decay": 0.5 / 3},  # 1/b missing
    ],
    ids=lambda mistake: "+".join(mistake),
)
def test_comparison_finds_mistakes(make_problem: Callable[..., ts.Problem], mistake: dict[str, float]) -> None:
    """Negative control: the comparison above fails by many orders of magnitude if one argument is wrong."""
    right = {"batch_size": 3, "noise": 0.3, "weight_decay": 0.5}
    problem, wrong = make_problem(**right), make_problem(**{**right, **mistake})
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    expected = plain_sgd(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, wrong.rule, (N_STEPS,), np.random.default_rng(2))
    assert largest_difference(expected, got) > 1e6 * TOLERANCE


@pytest.mark.parametrize("frozen", TRAINED)
def test_factor_of_rate_zero_never_moves(make_problem: Callable[..., ts.Problem], frozen: str) -> None:
    """A rate of zero freezes its factor bit for bit, weight decay or not, and the others go on learning."""
    problem = make_problem(**{f"eta_{frozen}": 0.0})
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    assert {name for name in TRAINED if np.array_equal(got[name], getattr(w, name))} == {frozen}
    expected = plain_sgd(w, problem.rule, N_STEPS, np.random.default_rng(2))
    assert largest_difference(expected, got) < TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 3])
def test_steps_do_not_depend_on_the_number_of_calls(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    problem = make_problem(batch_size=batch_size)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    at_once = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    split = compiled_sgd(w, problem.rule, (1, 7, 0, N_STEPS - 8), np.random.default_rng(2))
    assert all(np.array_equal(at_once[name], split[name]) for name in TRAINED)


def test_steps_stop_before_an_error_that_is_not_finite(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem()
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    w.v[0] = np.inf
    run = sgd_on_weights.WeightsReplica(w, np.ones(len(w.xi_in)), np.random.default_rng(2))
    erf, _ = get_activations("erf")
    taken = sgd_on_weights.advance(
        run, erf.g, erf.g_prime, erf.g, problem.rule.schedules, 0.0, 0.0, 1, False, N_INPUTS, 0, N_STEPS
    )
    assert taken == 0
