"""Replicas side by side, on threads or on any executor.

Each goes through its output times at its own pace; none waits for another until all have arrived.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm import tqdm

import teacher_student
from teacher_student.activations import get_activations
from teacher_student.bounds import first_out_of_bounds
from teacher_student.errors import Diverged, refuse
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule, Problem, check_seed_and_replicas, check_size_of_runs, output_times, whole_steps
from teacher_student.sgd import overlaps, velocity_overlaps, velocity_weights, weights
from teacher_student.sgd.checkpoint import Checkpoint
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.lanes import LANES
from teacher_student.sgd.momentum import Momentum
from teacher_student.trajectory import build_trajectory
from teacher_student.velocities import at_rest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# How long a replica goes on by itself: on threads, all have their turn within _ROUND, and Ctrl-C waits for one turn; what runs
# elsewhere is sent to and fro.
_ROUND, _SHORTEST, _LONGEST, _ELSEWHERE = 1.0, 0.02, 0.25, 1.0
# Order parameters are measured every so many steps at least to see whether they diverge; that costs as much as some ten steps.
_STEPS_UNSEEN = 200

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
        For impossible times, sizes, seeds or methods, and for a checkpoint of another simulation.
    Diverged
        If an order parameter of a replica leaves every bound; carries what was computed before.
    """
    N = check_size_of_runs(problem, problem.n_inputs if n_inputs is None else n_inputs)
    if not isinstance(method, str) or method not in METHODS:
        refuse("method", method, "one of " + ", ".join(METHODS))
    stepwise = Method(
        name=method,
        together=1 if problem.rule.has_velocity else METHODS[method],
        start=partial(_start, method, problem, N),
        advance=partial(_advance, method, problem.rule, N),
        measure=partial(_measure, method, problem.rule),
        steps_per_call=_steps_per_call(problem, N, method),
    )
    return run_replicas(problem, stepwise, alpha, N, replicas, seed, executor, checkpoint, progress)


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
    replicas, seed = check_seed_and_replicas(replicas, problem.seed if seed is None else seed)
    times = problem.alpha if alpha is None else output_times(alpha)
    output_steps = whole_steps(times, N)

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
        kept = Checkpoint(Path(checkpoint), {**settings, "alpha": output_steps.tolist(), "problem": problem.to_toml()})
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
                return run, step, rows, (int(taken.argmin()), "delta is not finite")
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
