"""The work of a worker: theory and simulation at a batch of points, packed into one vector of numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

import teacher_student
from teacher_student.arrays import FloatArray
from teacher_student.errors import Diverged, refuse
from teacher_student.sweeps.design import Sweep, problem_with
from teacher_student.times import whole_steps

# Of a batch: points may turn out to take far longer than those before.
LONGEST = 2.0


@dataclass(frozen=True, eq=False)
class Work:
    """A batch of points, with all that a worker needs to run them: for each its number, its fields and its seed."""

    document: dict[str, Any]
    points: list[tuple[int, dict[str, Any], int]]
    theory: bool
    simulation: str | None
    variables: tuple[str, ...]
    version: str


@dataclass(frozen=True, eq=False)
class Results:
    """The results of a batch: a header a point, all arrays one after the other in `data`, and the seconds it took.

    Points that raised something are in `failed`, with what it was. What is in neither has not been begun.

    A header has the point's ``index``, its ``seed``, the ``status`` of its ``theory`` and ``simulation``, and ``arrays``: pairs
    of a name (that of the variable, after ``theory.`` or ``simulation.``) and a shape, in the order of `data`.
    """

    headers: list[dict[str, Any]]
    data: FloatArray
    failed: dict[int, str]
    seconds: float


def work_at(sweep: Sweep, indices: list[int]) -> Work:
    """Return the work of the points `indices` of `sweep`."""
    points = [(index, sweep.at(index), sweep.seed_at(index)) for index in indices]
    return Work(sweep.problem, points, sweep.theory, sweep.simulation, sweep.variables, teacher_student.__version__)


def run_batch(work: Work) -> Results:
    """Run theory and simulation at every point of `work`; a run that diverges is kept up to there.

    After `LONGEST` seconds it begins no further point. Raises `InvalidInput` on a worker with another version of the package.
    """
    if work.version != teacher_student.__version__:
        refuse("worker", f"version {teacher_student.__version__}", f"version {work.version}, that of whoever sweeps")
    begin = time.perf_counter()
    headers: list[dict[str, Any]] = []
    pieces: list[FloatArray] = [np.zeros(0)]
    failed: dict[int, str] = {}
    with ThreadPoolExecutor(1) as executor:  # the sweep runs points, and not replicas, in parallel
        for index, settings, seed in work.points:
            if (headers or failed) and time.perf_counter() - begin > LONGEST:
                break
            try:
                header, arrays = _run_point(work, settings, seed, executor)
            except Exception as error:  # for example lack of memory: the other points can still be run
                failed[index] = " ".join(f"failed: {type(error).__name__}: {error}".split())
                continue
            shapes = [[name, list(array.shape)] for name, array in arrays.items()]
            headers.append({"index": index, "seed": seed, **header, "arrays": shapes})
            pieces += [array.ravel() for array in arrays.values()]
    return Results(headers, np.concatenate(pieces), failed, time.perf_counter() - begin)


def _run_point(
    work: Work, settings: dict[str, Any], seed: int, executor: ThreadPoolExecutor
) -> tuple[dict[str, str], dict[str, FloatArray]]:
    problem = problem_with(work.document, settings)
    alpha = problem.alpha
    if work.simulation is not None:  # both at the times that N allows
        alpha = whole_steps(alpha, problem.n_inputs) / problem.n_inputs
    arrays = {"alpha": alpha, "T": problem.initial.T, "v_teacher": problem.initial.v_teacher}
    runs = {}
    if work.theory:
        from teacher_student.theory.integrate import integrate

        runs["theory"] = _kept(lambda: integrate(problem, alpha, progress=False))
    if work.simulation is not None:
        from teacher_student.sgd.run import simulate

        options: dict[str, Any] = {"replicas": problem.replicas, "seed": seed, "method": work.simulation, "executor": executor}
        runs["simulation"] = _kept(lambda: simulate(problem, alpha, progress=False, **options))
    for source, trajectory in runs.items():
        if trajectory.attrs["status"] == "interrupted":  # Ctrl-C reached a worker that does not ignore it
            raise KeyboardInterrupt
        arrays.update({f"{source}.{name}": trajectory[name].values for name in work.variables})
    return {source: trajectory.attrs["status"] for source, trajectory in runs.items()}, arrays


def _kept(run: Callable[[], xr.Dataset]) -> xr.Dataset:
    """Return the trajectory of `run`; if it diverges, the part before."""
    try:
        return run()
    except Diverged as error:
        if error.trajectory is None:
            raise
        return error.trajectory
