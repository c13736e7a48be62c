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
from teacher_student.errors import check_choice
from teacher_student.networks import bytes_of_weights
from teacher_student.problem import LearningRule, Problem, check_problem, check_size_of_runs
from teacher_student.sgd import overlaps, velocity_overlaps, velocity_weights, weights
from teacher_student.sgd.lanes import LANES
from teacher_student.sgd.momentum import Momentum
from teacher_student.sgd.replicas import Method, run_replicas
from teacher_student.velocities import at_rest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# The methods, and how many replicas a run of each holds.
METHODS = {"weights": 1, "overlaps": LANES}
WITH_VELOCITIES = {"weights": velocity_weights, "overlaps": velocity_overlaps}


def simulate(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    *,
    n_inputs: int | None = None,
    replicas: int = 1,
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
    replicas : int
        Number of independent runs. Replica r is the same run however many there are, and whatever computes them.
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
        together=1 if problem.rule.has_velocity else METHODS[method],
        start=partial(_start, method, problem, N),
        advance=partial(_advance, method, problem.rule, N),
        measure=partial(_measure, method, problem.rule),
        steps_per_call=_steps_per_call(problem, N, method),
        held=bytes_of_weights(problem.initial, N) if method == "weights" else 0,
    )
    return run_replicas(problem, stepwise, alpha, N, replicas, seed, executor, checkpoint, progress)


def _start(method: str, problem: Problem, N: int, generators: list[np.random.Generator]) -> Any:
    """Return a run of as many replicas as there are generators."""
    momentum = _momentum(problem.rule, N)
    if momentum is not None:
        velocity = problem.velocity or at_rest(problem.initial)
        return WITH_VELOCITIES[method].start(problem.initial, velocity, momentum, N, *generators)
    if method == "weights":
        return weights.start(problem.initial, N, *generators)
    return overlaps.start(problem.initial, N, problem.rule.batch_size, generators)


def _momentum(rule: LearningRule, N: int) -> Momentum | None:
    """Return how velocities step at this N, or None if there are none."""
    if rule.friction is not None:
        return Momentum(keep=1.0 - rule.friction / N, scale=1.0 / N, slow=True)
    return Momentum(keep=rule.momentum, scale=1.0, slow=False) if rule.momentum > 0 else None


def _advance(method: str, rule: LearningRule, N: int, run: Any, first_step: int, n_steps: int) -> IntArray:
    """Take `n_steps` steps and return how many each replica of the run took."""
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    settings = (rule.schedules, rule.noise, rule.weight_decay, rule.batch_size)
    steps = (N, first_step, n_steps)
    if rule.has_velocity:
        module = WITH_VELOCITIES[method]
        return np.array([module.advance(run, student.g, student.g_prime, teacher.g, *settings, *steps)])
    if method == "overlaps":
        return overlaps.advance(run, student, teacher, *settings, rule.spherical, *steps)
    return np.array([weights.advance(run, student.g, student.g_prime, teacher.g, *settings, rule.spherical, *steps)])


def _measure(method: str, rule: LearningRule, run: Any) -> dict[str, FloatArray]:
    """Return the order parameters of a run with the replica as first axis."""
    if method == "overlaps" and not rule.has_velocity:
        return overlaps.measure(run)
    module = WITH_VELOCITIES[method] if rule.has_velocity else weights
    return {name: array[None] for name, array in module.measure(run).items()}


def _steps_per_call(problem: Problem, N: int, method: str) -> int:
    """Return how many steps take a few hundredths of a second."""
    width = problem.initial.n_modes + problem.initial.n_teacher + 8
    nanoseconds = problem.rule.batch_size * (1000.0 + (0.1 * N * width if method == "weights" else 0.0))
    return max(1, int(5e7 / nanoseconds))
