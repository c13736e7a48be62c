"""Replicas side by side, on threads or on any executor.

Each goes through its output times at its own pace; none waits for another until all have arrived.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

import teacher_student
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bounds import first_out_of_bounds
from teacher_student.errors import Diverged, check_executor, check_flag, warn_of_interruption
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import Problem, check_seed_and_replicas
from teacher_student.progress_bars import hidden, tqdm
from teacher_student.sgd.checkpoint import Checkpoint, Rows
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.memory import check_memory_of_runs
from teacher_student.times import output_times, whole_steps
from teacher_student.trajectory import build_trajectory

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
    replicas: int | None,
    seed: int | None,
    executor: Executor | None,
    checkpoint: str | Path | None,
    progress: bool,
) -> xr.Dataset:
    """Return trajectories of replicas by one `method`; the other arguments are those of `simulate`."""
    check_executor(executor)
    check_flag("progress", progress)
    replicas, seed = check_seed_and_replicas(
        problem.replicas if replicas is None else replicas, problem.seed if seed is None else seed
    )
    times = problem.alpha if alpha is None else output_times(alpha)
    output_steps = whole_steps(times, N)
    check_memory_of_runs(problem, N, replicas, len(times), method.held)

    runs = Replicas(problem, method, N, output_steps, replicas, seed)
    kept = None
    if checkpoint is not None:
        settings = {"version": teacher_student.__version__, "method": method.name, **method.settings}
        settings |= {"n_inputs": N, "seed": seed, "replicas": replicas}
        kept = Checkpoint(checkpoint, {**settings, "alpha": output_steps.tolist(), "problem": problem.to_toml()})
        runs.resume(kept)
    with tqdm(
        total=runs.steps_of_all([int(output_steps[-1])] * len(runs.steps)),
        initial=runs.steps_of_all(runs.steps),
        unit="step",
        unit_scale=True,
        disable=hidden(progress),
        desc=f"{method.name} N={N}",
    ) as bar:
        runs.finish(executor, kept, bar)
    trajectory = runs.trajectory(seed)
    warn_of_interruption(trajectory, stacklevel=3)  # of whoever called `simulate` or `leap`
    return trajectory


class Replicas:
    """Runs of one method side by side: where each has got to, and which of them a job has.

    Parameters
    ----------
    problem, method, N
        As in `run_replicas`.
    output_steps : array
        The steps after which runs are measured.
    replicas, seed : int
    """

    def __init__(self, problem: Problem, method: Method, N: int, output_steps: IntArray, replicas: int, seed: int) -> None:
        generators = replica_generators(seed, replicas)
        self.problem, self.method, self.N, self.output_steps, self.replicas = problem, method, N, output_steps, replicas
        members = [generators[r : r + method.together] for r in range(0, replicas, method.together)]
        self.sizes = [len(rngs) for rngs in members]
        self.runs = [method.start(rngs) for rngs in members]
        self.starts = [method.measure(run) for run in self.runs]
        self.rows: Rows = [[start] if output_steps[0] == 0 else [] for start in self.starts]
        self.steps, self.end = [0] * len(self.runs), int(output_steps[-1])
        self.status = "complete"
        self.failures: list[tuple[int, int, str]] = []
        self.jobs: dict[Any, int] = {}
        self.away: set[int] = set()  # runs that a job has, or may have if Ctrl-C comes before it is in `jobs`
        self.resting: list[int] = []  # runs that wait until all can be kept
        self.finished: SimpleQueue[Any] = SimpleQueue()

    def steps_of_all(self, steps: list[int]) -> int:
        """Return the number of steps that all replicas have taken when their runs have taken `steps`."""
        return sum(size * step for size, step in zip(self.sizes, steps, strict=True))

    def resume(self, kept: Checkpoint) -> None:
        """Go on from what was kept, if anything was."""
        self.rows, self.steps = kept.load(self.runs) or (self.rows, self.steps)

    def finish(self, executor: Executor | None, kept: Checkpoint | None, bar: Any) -> None:
        """Carry all runs to the end, or to the first failure; Ctrl-C leaves them where they are, and kept."""
        threads = min(len(self.runs), os.cpu_count() or 1)
        self.pool = executor or ThreadPoolExecutor(threads)
        self.seconds = _ELSEWHERE if executor else min(_LONGEST, max(_SHORTEST, _ROUND * threads / len(self.runs)))
        try:
            self._send_all(range(len(self.runs)))
            while self.jobs:
                self._wait_for_one(kept, bar)
                if kept is not None and self.resting and not self.jobs:
                    self._keep(kept)
                    resting, self.resting = self.resting, []
                    self._send_all(resting)
            self._keep(kept)
        except KeyboardInterrupt:
            self.status = "interrupted"
            under_way = [job for job in self.jobs if not job.cancel()]
            whole = kept is not None and not self.failures and self.away == set(self.jobs.values())
            if whole and not any([self._land(job) for job in under_way]):
                self._keep(kept)
        finally:
            if executor is None:
                self.pool.shutdown(wait=True, cancel_futures=True)

    def _send_all(self, several: Iterable[int]) -> None:
        """Let runs go on that are not at the end."""
        for r in several:
            if self.steps[r] < self.end:
                self._send(r)

    def _send(self, r: int) -> None:
        """Let run `r` go on for a while."""
        self.away.add(r)
        run, initial = self.runs[r], self.problem.initial
        job = self.pool.submit(_go_on, self.method, run, initial, self.steps[r], self.output_steps, self.seconds)
        self.jobs[job] = r
        job.add_done_callback(self.finished.put)

    def _land(self, job: Any) -> tuple[int, str] | None:
        """Take over what a job has done, and return the failure that ended it, if one did."""
        run, step, passed, failure = job.result()
        r = self.jobs[job]
        self.rows[r], self.runs[r], self.steps[r] = self.rows[r] + passed, run, step
        del self.jobs[job]
        self.away.remove(r)
        return failure

    def _wait_for_one(self, kept: Checkpoint | None, bar: Any) -> None:
        """Wait until a job is done, and let its run go on, or rest if it is time to keep all."""
        job = self.finished.get()
        r = self.jobs[job]
        begin = self.steps[r]
        failure = self._land(job)
        bar.update(self.sizes[r] * (self.steps[r] - begin))
        if failure is not None:
            self.failures.append((self.steps[r], r * self.method.together + failure[0], failure[1]))
            self.end = min(self.end, self.steps[r])  # up to there the others go on, for one of them may fail before
        elif kept is not None and kept.is_due() and self.steps[r] < self.end:
            self.resting.append(r)
        else:
            self._send_all([r])

    def _keep(self, kept: Checkpoint | None) -> None:
        """Write all runs, unless one has failed."""
        if kept is not None and not self.failures:
            kept.save(self.runs, self.rows, self.steps)

    def trajectory(self, seed: int) -> xr.Dataset:
        """Return what was measured at the output times that all have passed; raises `Diverged` if a run has failed."""
        status = self.status
        if self.failures:
            step, r, reason = min(self.failures)
            status = f"diverged at alpha = {step / self.N:.6g}: {reason} in replica {r}"
        attributes = {
            "source": "simulation",
            "method": self.method.name,
            "n_inputs": self.N,
            "seed": seed,
            "status": status,
            "version": teacher_student.__version__,
            **(self.method.describe(self.runs) if self.method.describe else {}),
        }
        n_rows = min(len(row) for row in self.rows)
        factors = {name: self._measured(name, n_rows) for name in self.starts[0]}
        times = self.output_steps[:n_rows] / self.N
        trajectory = build_trajectory(self.problem, times, factors, replicas=True, attributes=attributes)
        if self.failures:
            raise Diverged(f"simulation {status}", trajectory)
        return trajectory

    def _measured(self, name: str, n_rows: int) -> FloatArray:
        """Return a part of the state at the first output times, (replica, alpha, ...)."""
        lanes = [[state[name][i] for state in row[:n_rows]] for row in self.rows for i in range(self.method.together)]
        return np.array(lanes[: self.replicas]).reshape(self.replicas, n_rows, *self.starts[0][name].shape[1:])


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
