"""Replicas side by side, on threads or on any executor.

Each goes through its output times at its own pace; none waits for another until all have arrived.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from queue import SimpleQueue
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
from teacher_student.problem import Problem, check_seed_and_replicas, output_times, whole_steps
from teacher_student.sgd import overlaps, weights
from teacher_student.sgd.inputs import replica_generators
from teacher_student.trajectory import build_trajectory

FloatArray = npt.NDArray[np.float64]

# How long a replica goes on by itself: on threads, all have their turn within _ROUND, and Ctrl-C waits for one turn; what runs
# elsewhere is sent to and fro.
_ROUND, _SHORTEST, _LONGEST, _ELSEWHERE = 1.0, 0.02, 0.25, 1.0
# Order parameters are measured every so many steps at least to see whether they diverge; that costs as much as some ten steps.
_STEPS_UNSEEN = 200

METHODS: dict[str, ModuleType] = {"weights": weights, "overlaps": overlaps}


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
    N = check_n_inputs(problem.initial, problem.n_inputs if n_inputs is None else n_inputs)
    replicas, seed = check_seed_and_replicas(replicas, problem.seed if seed is None else seed)
    if not isinstance(method, str) or method not in METHODS:
        refuse("method", method, "one of " + ", ".join(METHODS))
    module = METHODS[method]
    times = problem.alpha if alpha is None else output_times(alpha)
    output_steps = whole_steps(times, N)
    chunk = _steps_per_call(problem, N, method)

    runs = [module.start(problem.initial, N, rng) for rng in replica_generators(seed, replicas)]
    starts = [module.measure(run) for run in runs]
    rows: list[list[dict[str, FloatArray]]] = [[start] if output_steps[0] == 0 else [] for start in starts]
    steps, end = [0] * replicas, int(output_steps[-1])
    status, failures = "complete", []
    jobs: dict[Any, int] = {}
    finished: SimpleQueue[Any] = SimpleQueue()
    threads = min(replicas, os.cpu_count() or 1)
    pool = executor or ThreadPoolExecutor(threads)
    seconds = _ELSEWHERE if executor else min(_LONGEST, max(_SHORTEST, _ROUND * threads / replicas))

    def send(r: int) -> None:
        job = pool.submit(_go_on, method, runs[r], problem, N, steps[r], output_steps, chunk, seconds)
        jobs[job] = r
        job.add_done_callback(finished.put)

    with tqdm(
        total=replicas * end, unit="step", unit_scale=True, disable=None if progress else True, desc=f"{method} N={N}"
    ) as bar:
        try:
            for r in range(replicas):
                send(r)
            while jobs:
                job = finished.get()
                r = jobs.pop(job)
                begin = steps[r]
                runs[r], steps[r], passed, failure = job.result()
                rows[r] += passed
                bar.update(steps[r] - begin)
                if failure is not None:
                    failures.append((steps[r], r, failure))
                    end = min(end, steps[r])  # up to there the others go on, for one of them may fail before
                elif steps[r] < end:
                    send(r)
        except KeyboardInterrupt:
            status = "interrupted"
            for job in jobs:
                job.cancel()
        finally:
            if executor is None:
                pool.shutdown(wait=True, cancel_futures=True)
    if failures:
        step, r, failure = min(failures)
        status = f"diverged at alpha = {step / N:.6g}: {failure} in replica {r}"
    n_rows = min(len(row) for row in rows)
    factors = {
        name: np.array([[row[i][name] for i in range(n_rows)] for row in rows]).reshape(replicas, n_rows, *array.shape)
        for name, array in starts[0].items()
    }
    attributes = {
        "source": "simulation",
        "method": method,
        "n_inputs": N,
        "seed": seed,
        "status": status,
        "version": teacher_student.__version__,
    }
    trajectory = build_trajectory(problem, output_steps[:n_rows] / N, factors, replicas=True, attributes=attributes)
    if failures:
        raise Diverged(f"simulation {status}", trajectory)
    return trajectory


def _go_on(
    method: str,
    run: Any,
    problem: Problem,
    N: int,
    step: int,
    output_steps: npt.NDArray[np.int64],
    chunk: int,
    seconds: float,
) -> tuple[Any, int, list[dict[str, FloatArray]], str | None]:
    """Advance one replica from `step` for `seconds`, or to the last of `output_steps`.

    Returns it, its step, what was measured at the output times on the way, and how it left every bound, if it did. That is
    looked for at output times and at multiples of a number of steps, however long they take.
    """
    module, rule = METHODS[method], problem.rule
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    constants = (rule.schedules, rule.noise, rule.weight_decay, rule.batch_size, rule.spherical, N)
    rows: list[dict[str, FloatArray]] = []
    deadline, unseen = time.monotonic() + seconds, chunk * max(1, _STEPS_UNSEEN // chunk)
    for output in output_steps[np.searchsorted(output_steps, step, side="right") :].tolist():
        while step < output:
            n_steps = min(output, (step // chunk + 1) * chunk) - step
            taken = module.advance(run, student.g, student.g_prime, teacher.g, *constants, step, n_steps)
            step += taken
            if taken < n_steps:
                return run, step, rows, "delta is not finite"
            if step == output or step % unseen == 0:
                with np.errstate(over="ignore", invalid="ignore"):  # overflow is what is looked for
                    state = module.measure(run)
                    beyond = first_out_of_bounds(state, problem.initial)
                if beyond is not None:
                    return run, step, rows, f"{beyond[0]} = {beyond[1]:.6g}"
                if step == output:
                    rows.append(state)
            if time.monotonic() > deadline:
                return run, step, rows, None
    return run, step, rows, None


def _steps_per_call(problem: Problem, N: int, method: str) -> int:
    """Return how many steps take a few hundredths of a second."""
    width = problem.initial.n_modes + problem.initial.n_teacher + 8
    nanoseconds = problem.rule.batch_size * (1000.0 + (0.1 * N * width if method == "weights" else 0.0))
    return max(1, int(5e7 / nanoseconds))
