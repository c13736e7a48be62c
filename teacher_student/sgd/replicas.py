"""Replicas side by side, on threads or on any executor.

Each goes through its output times at its own pace; none waits for another until all have arrived.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm import tqdm

import teacher_student
from teacher_student.bounds import first_out_of_bounds
from teacher_student.errors import Diverged, check_executor, check_flag
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import Problem, check_seed_and_replicas, output_times, whole_steps
from teacher_student.sgd.checkpoint import Checkpoint
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.memory import check_memory_of_runs
from teacher_student.trajectory import build_trajectory

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# How long a replica goes on by itself: on threads, all have their turn within _ROUND, and Ctrl-C waits for one turn; what runs
# elsewhere is sent to and fro.
_ROUND, _SHORTEST, _LONGEST, _ELSEWHERE = 1.0, 0.02, 0.25, 1.0
# Order parameters are measured every so many steps at least to see whether they diverge; that costs as much as some ten steps.
_STEPS_UNSEEN = 200


@dataclass(frozen=True)
class Method:
    """How runs of one kind, each of a number of replicas, are started, advanced and measured; all of it can be sent elsewhere.

    Attributes
    ----------
    name : str
    together : int
        How many replicas a run holds.
    start : callable
        The run of at most that many random generators.
    advance : callable
        Carries a run on from a first step by a number of steps; returns how many each of its replicas took, fewer if its state
        left the finite numbers.
    measure : callable
        The order parameters of a run by name, with the replica as first axis.
    steps_per_call : int
        Calls end at multiples of it, so that Ctrl-C is answered soon.
    held : int
        Bytes that a replica holds, at least.
    failure : str
        Why a run takes fewer steps than it was asked for.
    describe : callable, optional
        Attributes of a trajectory that tell about the runs it comes from.
    settings : dict, optional
        What decides the numbers besides problem, N and seed.
    """

    name: str
    together: int
    start: Callable[[list[np.random.Generator]], Any]
    advance: Callable[[Any, int, int], IntArray]
    measure: Callable[[Any], dict[str, FloatArray]]
    steps_per_call: int
    held: int = 0
    failure: str = "delta is not finite"
    describe: Callable[[list[Any]], dict[str, Any]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def run_replicas(
    problem: Problem,
    method: Method,
    alpha: float | npt.ArrayLike | None,
    N: int,
    replicas: int,
    seed: int | None,
    executor: Executor | None,
    checkpoint: str | Path | None,
    progress: bool,
) -> xr.Dataset:
    """Return trajectories of replicas by one `method`; the other arguments are those of `simulate`."""
    check_executor(executor)
    check_flag("progress", progress)
    replicas, seed = check_seed_and_replicas(replicas, problem.seed if seed is None else seed)
    times = problem.alpha if alpha is None else output_times(alpha)
    output_steps = whole_steps(times, N)
    check_memory_of_runs(problem, N, replicas, len(times), method.held)

    together, generators = method.together, replica_generators(seed, replicas)
    members = [generators[r : r + together] for r in range(0, replicas, together)]
    runs = [method.start(rngs) for rngs in members]
    starts = [method.measure(run) for run in runs]
    rows: list[list[dict[str, FloatArray]]] = [[start] if output_steps[0] == 0 else [] for start in starts]
    steps, end = [0] * len(runs), int(output_steps[-1])
    kept = None
    if checkpoint is not None:
        settings = {"version": teacher_student.__version__, "method": method.name, **method.settings}
        settings |= {"n_inputs": N, "seed": seed, "replicas": replicas}
        kept = Checkpoint(checkpoint, {**settings, "alpha": output_steps.tolist(), "problem": problem.to_toml()})
        rows, steps = kept.load(runs) or (rows, steps)
    status, failures = "complete", []
    jobs: dict[Any, int] = {}
    away: set[int] = set()  # runs that a job has, or may have if Ctrl-C comes before it is in `jobs`
    resting: list[int] = []  # runs that wait until all can be kept
    finished: SimpleQueue[Any] = SimpleQueue()
    threads = min(len(runs), os.cpu_count() or 1)
    pool = executor or ThreadPoolExecutor(threads)
    seconds = _ELSEWHERE if executor else min(_LONGEST, max(_SHORTEST, _ROUND * threads / len(runs)))

    def send(r: int) -> None:
        away.add(r)
        job = pool.submit(_go_on, method, runs[r], problem.initial, steps[r], output_steps, seconds)
        jobs[job] = r
        job.add_done_callback(finished.put)

    def land(job: Any) -> tuple[int, str] | None:
        run, step, passed, failure = job.result()
        r = jobs[job]
        rows[r], runs[r], steps[r] = rows[r] + passed, run, step
        del jobs[job]
        away.remove(r)
        return failure

    with tqdm(
        total=replicas * end,
        initial=sum(len(rngs) * step for rngs, step in zip(members, steps, strict=True)),
        unit="step",
        unit_scale=True,
        disable=None if progress else True,
        desc=f"{method.name} N={N}",
    ) as bar:
        try:
            for r in range(len(runs)):
                if steps[r] < end:
                    send(r)
            while jobs:
                job = finished.get()
                r = jobs[job]
                begin = steps[r]
                failure = land(job)
                bar.update(len(members[r]) * (steps[r] - begin))
                if failure is not None:
                    failures.append((steps[r], r * together + failure[0], failure[1]))
                    end = min(end, steps[r])  # up to there the others go on, for one of them may fail before
                elif steps[r] < end:
                    if kept is not None and kept.is_due():
                        resting.append(r)
                    else:
                        send(r)
                if kept is not None and resting and not jobs:
                    if not failures:
                        kept.save(runs, rows, steps)
                    for r in resting:
                        if steps[r] < end:
                            send(r)
                    resting = []
            if kept is not None and not failures:
                kept.save(runs, rows, steps)
        except KeyboardInterrupt:
            status = "interrupted"
            under_way = [job for job in jobs if not job.cancel()]
            if kept is not None and not failures and away == set(jobs.values()) and not any([land(job) for job in under_way]):
                kept.save(runs, rows, steps)
        finally:
            if executor is None:
                pool.shutdown(wait=True, cancel_futures=True)
    if failures:
        step, r, reason = min(failures)
        status = f"diverged at alpha = {step / N:.6g}: {reason} in replica {r}"
    n_rows = min(len(row) for row in rows)
    factors = {
        name: np.array([[state[name][i] for state in row[:n_rows]] for row in rows for i in range(together)][:replicas]).reshape(
            replicas, n_rows, *array.shape[1:]
        )
        for name, array in starts[0].items()
    }
    attributes = {
        "source": "simulation",
        "method": method.name,
        "n_inputs": N,
        "seed": seed,
        "status": status,
        "version": teacher_student.__version__,
        **(method.describe(runs) if method.describe else {}),
    }
    trajectory = build_trajectory(problem, output_steps[:n_rows] / N, factors, replicas=True, attributes=attributes)
    if failures:
        raise Diverged(f"simulation {status}", trajectory)
    return trajectory


def _go_on(
    method: Method, run: Any, initial: OrderParameters, step: int, output_steps: IntArray, seconds: float
) -> tuple[Any, int, list[dict[str, FloatArray]], tuple[int, str] | None]:
    """Advance one run from `step` for `seconds`, or to the last of `output_steps`.

    Returns it, its step, what was measured at the output times on the way, and which of its replicas left every bound, and how,
    if one did. That is looked for at output times and at multiples of a number of steps, however long they take.
    """
    rows: list[dict[str, FloatArray]] = []
    chunk = method.steps_per_call
    deadline, unseen = time.monotonic() + seconds, chunk * max(1, _STEPS_UNSEEN // chunk)
    for output in output_steps[np.searchsorted(output_steps, step, side="right") :].tolist():
        while step < output:
            n_steps = min(output, (step // chunk + 1) * chunk) - step
            taken = method.advance(run, step, n_steps)
            step += int(taken.min())
            if taken.min() < n_steps:
                return run, step, rows, (int(taken.argmin()), method.failure)
            if step == output or step % unseen == 0:
                with np.errstate(over="ignore", invalid="ignore"):  # overflow is what is looked for
                    state = method.measure(run)
                    for i in range(len(taken)):
                        beyond = first_out_of_bounds({name: array[i] for name, array in state.items()}, initial)
                        if beyond is not None:
                            return run, step, rows, (i, f"{beyond[0]} = {beyond[1]:.6g}")
                if step == output:
                    rows.append(state)
            if time.monotonic() > deadline:
                return run, step, rows, None
    return run, step, rows, None
