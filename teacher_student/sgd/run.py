"""Replicas side by side: SGD from one output time to the next, on threads or on any executor."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm import tqdm

import teacher_student
from teacher_student.activations import get_activations
from teacher_student.bounds import first_out_of_bounds
from teacher_student.errors import Diverged, refuse
from teacher_student.networks import check_n_inputs
from teacher_student.problem import LearningRule, Problem, check_seed_and_replicas, output_times, whole_steps
from teacher_student.sgd import overlaps, velocity_overlaps, velocity_weights, weights
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.momentum import Momentum
from teacher_student.trajectory import build_trajectory
from teacher_student.velocities import at_rest

FloatArray = npt.NDArray[np.float64]

METHODS: dict[str, ModuleType] = {"weights": weights, "overlaps": overlaps}
WITH_VELOCITIES: dict[str, ModuleType] = {"weights": velocity_weights, "overlaps": velocity_overlaps}


def simulate(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    *,
    n_inputs: int | None = None,
    replicas: int = 1,
    seed: int | None = None,
    method: str = "weights",
    executor: Executor | None = None,
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
        For impossible times, sizes, seeds or methods.
    Diverged
        If an order parameter of a replica leaves every bound; carries what was computed before.
    """
    N = check_n_inputs(problem.initial, problem.n_inputs if n_inputs is None else n_inputs, problem.rule.has_velocity)
    replicas, seed = check_seed_and_replicas(replicas, problem.seed if seed is None else seed)
    if not isinstance(method, str) or method not in METHODS:
        refuse("method", method, "one of " + ", ".join(METHODS))
    module = _module(method, problem.rule)
    times = problem.alpha if alpha is None else output_times(alpha)
    output_steps = whole_steps(times, N)
    chunk = _steps_per_call(problem, N, method)

    momentum = _momentum(problem.rule, N)
    begin = (problem.initial,) if momentum is None else (problem.initial, problem.velocity or at_rest(problem.initial), momentum)
    runs = [module.start(*begin, N, rng) for rng in replica_generators(seed, replicas)]
    rows: list[list[dict[str, FloatArray]]] = []
    status, failure, step = "complete", None, 0
    jobs: list[Any] = []
    pool = executor or ThreadPoolExecutor(min(replicas, os.cpu_count() or 1))
    with tqdm(
        total=replicas * int(output_steps[-1]),
        unit="step",
        unit_scale=True,
        disable=None if progress else True,
        desc=f"{method} N={N}",
    ) as bar:
        try:
            for target in output_steps:
                while step < target and failure is None:
                    n_steps = int(min(chunk, target - step))
                    jobs = [pool.submit(_advance, method, run, problem.rule, N, step, n_steps) for run in runs]
                    results = [job.result() for job in jobs]
                    runs = [run for run, _ in results]
                    failure = _failure(problem, module, runs, [taken for _, taken in results], step, n_steps, N)
                    step += n_steps
                    bar.update(replicas * n_steps)
                if failure is not None:
                    break
                rows.append([module.measure(run) for run in runs])
        except KeyboardInterrupt:
            status = "interrupted"
            for job in jobs:
                job.cancel()
        finally:
            if executor is None:
                pool.shutdown(wait=True, cancel_futures=True)
    if failure is not None:
        status = f"diverged {failure}"
    factors = {
        name: np.array([[row[r][name] for row in rows] for r in range(replicas)]).reshape(replicas, len(rows), *array.shape)
        for name, array in module.measure(runs[0]).items()
    }
    attributes = {
        "source": "simulation",
        "method": method,
        "n_inputs": N,
        "seed": seed,
        "status": status,
        "version": teacher_student.__version__,
    }
    trajectory = build_trajectory(problem, output_steps[: len(rows)] / N, factors, replicas=True, attributes=attributes)
    if failure is not None:
        raise Diverged(f"simulation {status}", trajectory)
    return trajectory


def _module(method: str, rule: LearningRule) -> ModuleType:
    return (WITH_VELOCITIES if rule.has_velocity else METHODS)[method]


def _momentum(rule: LearningRule, N: int) -> Momentum | None:
    """Return how velocities step at this N, or None if there are none."""
    if rule.friction is not None:
        if rule.friction > N:
            refuse("friction", rule.friction, f"at most N = {N}, for velocities shrink by 1 - friction / N per step")
        return Momentum(keep=1.0 - rule.friction / N, scale=1.0 / N, slow=True)
    return Momentum(keep=rule.momentum, scale=1.0, slow=False) if rule.momentum > 0 else None


def _advance(method: str, run: Any, rule: LearningRule, N: int, first_step: int, n_steps: int) -> tuple[Any, int]:
    module = _module(method, rule)
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    rescaling = () if rule.has_velocity else (rule.spherical,)
    taken = module.advance(
        run,
        student.g,
        student.g_prime,
        teacher.g,
        rule.schedules,
        rule.noise,
        rule.weight_decay,
        rule.batch_size,
        *rescaling,
        N,
        first_step,
        n_steps,
    )
    return run, taken


def _failure(
    problem: Problem, module: ModuleType, runs: list[Any], taken: list[int], step: int, n_steps: int, N: int
) -> str | None:
    """Return where and how the first replica left every bound within the last `n_steps` steps, or None."""
    for r, run in enumerate(runs):
        if taken[r] < n_steps:
            return f"at alpha = {(step + taken[r]) / N:.6g}: delta of replica {r} is not finite"
        beyond = first_out_of_bounds(module.measure(run), problem.initial)
        if beyond is not None:
            return f"at alpha = {(step + n_steps) / N:.6g}: {beyond[0]} = {beyond[1]:.6g} in replica {r}"
    return None


def _steps_per_call(problem: Problem, N: int, method: str) -> int:
    """Return how many steps take about a tenth of a second, so that Ctrl-C is answered within one."""
    width = problem.initial.n_modes + problem.initial.n_teacher + 3
    nanoseconds = problem.rule.batch_size * (1000.0 + (N * width if method == "weights" else 0.0))
    return max(1, int(1e8 / nanoseconds))
