"""SGD on weights against the step formulas, written out once more in plain NumPy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plain_sgd import TRAINED, drawn_inputs, plain_sgd

import teacher_student as ts
from teacher_student.activations import get_activations
from teacher_student.bundles import rule_bundle
from teacher_student.networks import Weights, draw_weights
from teacher_student.sgd import weights as sgd_on_weights
from teacher_student.sgd.blocks import TILE

N_INPUTS = 40
N_STEPS = 30
TOLERANCE = 1e-12


def expected_of(w: Weights, rule: ts.LearningRule, n_steps: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the student after `n_steps` plain steps with the inputs and noise of a compiled run."""
    inputs = drawn_inputs(sgd_on_weights.replica_of(w, rng).arrays.stream, w.xi_in.shape[1], rule.batch_size)
    return plain_sgd(w, rule, n_steps, inputs, rng)


def advance(run: sgd_on_weights.WeightsReplica, rule: ts.LearningRule, first_step: int, n_steps: int) -> int:
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    n_inputs = run.weights.xi_in.shape[1]
    [taken] = sgd_on_weights.advance(run, student, teacher, rule_bundle(rule), None, n_inputs, first_step, n_steps)
    return int(taken)


def compiled_sgd(w: Weights, rule: ts.LearningRule, calls: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the student after one compiled call for each number of steps in `calls`."""
    run = sgd_on_weights.replica_of(w, rng)
    step = 0
    for n_steps in calls:
        assert advance(run, rule, step, n_steps) == n_steps
        step += n_steps
    return {name: getattr(run.weights, name) for name in TRAINED}


def largest_difference(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in TRAINED)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize(("noise", "weight_decay"), [(0.0, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize("sizes", [(4, 3, 2), (2, 3, 4), (3, 2, 2)])
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
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    error = largest_difference(expected, got)
    record_check("compiled SGD on weights: difference", "plain NumPy, same random numbers", error, TOLERANCE)
    for name in TRAINED:
        assert np.abs(got[name] - getattr(w, name)).max() > 1e-3, f"{name} did not learn"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_rows_keep_their_lengths(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    problem = make_problem(batch_size=batch_size, weight_decay=0.5, spherical=True)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    assert largest_difference(expected, got) < TOLERANCE
    lengths = np.linalg.norm(got["xi_in"], axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(w.xi_in, axis=1), rtol=1e-14)
    free = make_problem(batch_size=batch_size, weight_decay=0.5)
    assert largest_difference(expected, compiled_sgd(w, free.rule, (N_STEPS,), np.random.default_rng(2))) > 1e-3


def test_lengths_do_not_drift(make_problem: Callable[..., ts.Problem]) -> None:
    """Within a block lengths follow from scalar products alone; over 200,000 steps nothing adds up."""
    problem = make_problem(batch_size=1, noise=0.1, eta_xi_in=2.0, spherical=True)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    got = compiled_sgd(w, problem.rule, (200_002,), np.random.default_rng(2))
    np.testing.assert_allclose(np.linalg.norm(got["xi_in"], axis=1), np.linalg.norm(w.xi_in, axis=1), rtol=1e-14)


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
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    got = compiled_sgd(w, wrong.rule, (N_STEPS,), np.random.default_rng(2))
    assert largest_difference(expected, got) > 1e6 * TOLERANCE


@pytest.mark.parametrize("frozen", TRAINED)
def test_factor_of_rate_zero_never_moves(make_problem: Callable[..., ts.Problem], frozen: str) -> None:
    """A rate of zero freezes its factor bit for bit, weight decay or not, and the others go on learning."""
    problem = make_problem(**{f"eta_{frozen}": 0.0})
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    got = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    assert {name for name in TRAINED if np.array_equal(got[name], getattr(w, name))} == {frozen}
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    assert largest_difference(expected, got) < TOLERANCE


@pytest.mark.parametrize("n_inputs", [7, 128, TILE, TILE + 1, 2 * TILE + 333])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_any_number_of_tiles(make_problem: Callable[..., ts.Problem], n_inputs: int, batch_size: int) -> None:
    """Inputs of less than a vector, of whole tiles and of a part of the last one."""
    problem = make_problem(batch_size=batch_size, noise=0.3, weight_decay=0.5)
    w = draw_weights(problem.initial, n_inputs, np.random.default_rng(1))
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    assert largest_difference(expected, compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))) < TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_rates_change_within_a_block(make_problem: Callable[..., ts.Problem], batch_size: int) -> None:
    """Each step has its own rates; those of the first step for all of them give something else."""
    problem = make_problem(
        batch_size=batch_size, weight_decay=0.5, eta_xi_in=ts.PowerLaw(1.0, 0.1, 2.0), eta_v=ts.PowerLaw(0.4, 0.2, 1.0)
    )
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(2))
    assert largest_difference(expected, compiled_sgd(w, problem.rule, (5, 25), np.random.default_rng(2))) < TOLERANCE
    frozen_rates = make_problem(batch_size=batch_size, weight_decay=0.5, eta_xi_in=1.0, eta_v=0.4)
    assert largest_difference(expected, compiled_sgd(w, frozen_rates.rule, (30,), np.random.default_rng(2))) > 1e-3


@pytest.mark.parametrize("batch_size", [1, 2, 3, 9])
@pytest.mark.parametrize(("n_inputs", "spherical"), [(40, False), (TILE + 77, False), (40, True)])
def test_steps_do_not_depend_on_the_number_of_calls(
    make_problem: Callable[..., ts.Problem], batch_size: int, n_inputs: int, spherical: bool
) -> None:
    """Calls end anywhere in a block: every bit of the replica is the same, and the weights are those after the last step."""
    problem = make_problem(batch_size=batch_size, weight_decay=0.5, eta_xi_in=ts.PowerLaw(1.0, 0.1, 2.0), spherical=spherical)
    w = draw_weights(problem.initial, n_inputs, np.random.default_rng(1))
    at_once = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    for calls in ((1, 7, 0, N_STEPS - 8), (1,) * N_STEPS):
        split = compiled_sgd(w, problem.rule, calls, np.random.default_rng(2))
        assert all(np.array_equal(at_once[name], split[name]) for name in TRAINED)
    for n_steps in (1, 2, 3, 6):
        expected = expected_of(w, problem.rule, n_steps, np.random.default_rng(2))
        assert largest_difference(expected, compiled_sgd(w, problem.rule, (n_steps,), np.random.default_rng(2))) < TOLERANCE


def test_a_copied_replica_continues(make_problem: Callable[..., ts.Problem]) -> None:
    """All there is to a run is in its replica: pickled within a block it goes on bit for bit, without its block not."""
    problem = make_problem(batch_size=1)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    at_once = compiled_sgd(w, problem.rule, (N_STEPS,), np.random.default_rng(2))
    run = sgd_on_weights.replica_of(w, np.random.default_rng(2))
    advance(run, problem.rule, 0, 6)
    copy = pickle.loads(pickle.dumps(run))
    advance(copy, problem.rule, 6, N_STEPS - 6)
    assert all(np.array_equal(at_once[name], getattr(copy.weights, name)) for name in TRAINED)
    run.arrays.products[:] = 0.0
    advance(run, problem.rule, 6, N_STEPS - 6)
    assert largest_difference(at_once, {name: getattr(run.weights, name) for name in TRAINED}) > 1e-3


def test_steps_stop_before_an_error_that_is_not_finite(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem()
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    w.v[0] = np.inf
    assert advance(sgd_on_weights.replica_of(w, np.random.default_rng(2)), problem.rule, 0, N_STEPS) == 0


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_divergence_is_found_at_its_step(make_problem: Callable[..., ts.Problem], batch_size: int, seed: int) -> None:
    """Where a block overflows, steps end exactly where they do one by one, with the weights before the step.

    Overflow of a quadratic student is so sudden that rounding does not move it.
    """
    problem = make_problem(batch_size=batch_size, activation="quadratic", eta_xi_in=30.0)
    w = draw_weights(problem.initial, N_INPUTS, np.random.default_rng(1))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = expected_of(w, problem.rule, N_STEPS, np.random.default_rng(seed))
    assert 0 < expected["steps"] < N_STEPS
    run = sgd_on_weights.replica_of(w, np.random.default_rng(seed))
    assert advance(run, problem.rule, 0, N_STEPS) == expected["steps"]
    for name in TRAINED:
        np.testing.assert_allclose(getattr(run.weights, name), expected[name], rtol=1e-6)
