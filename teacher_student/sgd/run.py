"""Simulations: SGD on weights and the exact chain of their overlaps, as methods that replicas run by."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import rule_bundle
from teacher_student.errors import check_choice
from teacher_student.layout import VELOCITIES
from teacher_student.networks import bytes_of_weights
from teacher_student.problem import Problem, check_problem, check_size_of_runs
from teacher_student.sgd import chain, weights
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.sgd.lanes import LANES
from teacher_student.sgd.replicas import Method, run_replicas
from teacher_student.velocities import at_rest

# The methods, and how many replicas a run of each holds.
METHODS = {"weights": 1, "overlaps": LANES}
_MODULES: dict[str, Any] = {"weights": weights, "overlaps": chain}


def simulate(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    *,
    n_inputs: int | None = None,
    replicas: int | None = 1,
    seed: int | None = None,
    method: str = "weights",
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Return trajectories of independent SGD runs of `problem` at finite N.

    Parameters
    ----------
    problem : Problem
        Initial state and rule; every replica starts from its own weights with exactly these overlaps.
    alpha : float or increasing sequence, optional
        Output times, rounded to whole steps of 1 / N; by default the problem's own.
    n_inputs, seed : int, optional
        N and the seed of all random numbers; by default the problem's own.
    replicas : int, optional
        Number of independent runs: 1, where ``teacher-student simulate`` takes the problem's number, as ``replicas=None`` does
        here. Replica r is the same run however many there are, and whatever computes them.
    method : str
        "weights": SGD on N-dimensional weights. "overlaps": the exact chain of their overlaps, of the same law.
    executor : concurrent.futures.Executor, optional
        Where replicas run; by default one thread a core.
    checkpoint : str or Path, optional
        A file to keep the state of all replicas in, every half minute and at Ctrl-C. The same call goes on from there, and
        ends in the same numbers, bit for bit, as one that was never interrupted.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        A trajectory with a dimension ``replica``; its ``alpha`` are the exact times steps / N. If interrupted by Ctrl-C it
        ends early, with the attribute ``status`` "interrupted".

    Raises
    ------
    InvalidInput
        For anything but a problem; for impossible times, sizes, seeds or methods, and for a checkpoint of another simulation.
    Diverged
        If an order parameter of a replica leaves every bound; carries what was computed before.
    """
    check_problem(problem)
    N = check_size_of_runs(problem, problem.n_inputs if n_inputs is None else n_inputs)
    check_choice("method", method, METHODS)
    stepwise = Method(
        name=method,
        together=METHODS[method],
        start=partial(_start, method, problem, N),
        advance=partial(_advance, method, problem, N),
        measure=partial(_measure, method, problem.rule.friction is not None),
        steps_per_call=_steps_per_call(problem, N, method),
        held=bytes_of_weights(problem.initial, N) if method == "weights" else 0,
    )
    return run_replicas(problem, stepwise, alpha, N, replicas, seed, executor, checkpoint, progress)


def _start(method: str, problem: Problem, N: int, generators: list[np.random.Generator]) -> Any:
    """Return a run of as many replicas as there are generators."""
    velocity = (problem.velocity or at_rest(problem.initial)) if problem.rule.has_velocity else None
    if method == "weights":
        return weights.start(problem.initial, velocity, N, *generators)
    return chain.start(problem.initial, velocity, N, problem.rule.batch_size, generators)


def _heavy_ball(problem: Problem, N: int) -> HeavyBall | None:
    """Return how velocities step at this N, or None if there are none."""
    rule, velocity = problem.rule, problem.velocity
    moves = bool(rule.largest_rates[0] > 0.0 or (velocity is not None and velocity.of_factors[0]))
    if rule.friction is not None:
        return HeavyBall(1.0 - rule.friction / N, 1.0 / N, moves)
    return HeavyBall(rule.momentum, 1.0, moves) if rule.momentum > 0 else None


def _advance(method: str, problem: Problem, N: int, run: Any, first_step: int, n_steps: int) -> IntArray:
    """Take `n_steps` steps and return how many each replica of the run took."""
    rule = problem.rule
    activations = get_activations(rule.activation, rule.teacher_activation)
    how = (rule_bundle(rule), _heavy_ball(problem, N))
    return _MODULES[method].advance(run, *activations, *how, N, first_step, n_steps)


def _measure(method: str, with_velocities: bool, run: Any) -> dict[str, FloatArray]:
    """Return the state of a run with the replica as first axis; velocities at fixed beta, which live for a few steps, are not."""
    measured = _MODULES[method].measure(run)
    return {name: array for name, array in measured.items() if with_velocities or name not in VELOCITIES}


def _steps_per_call(problem: Problem, N: int, method: str) -> int:
    """Return how many steps take a few hundredths of a second."""
    width = problem.initial.n_modes + problem.initial.n_teacher + 8
    nanoseconds = problem.rule.batch_size * (1000.0 + (0.1 * N * width if method == "weights" else 0.0))
    return max(1, int(5e7 / nanoseconds))
