"""The driver of a sweep: sends batches of points to workers, stores results as they arrive, and builds the dataset."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from teacher_student.errors import check_executor, check_flag, check_instance, refuse
from teacher_student.files import check_path, replacing
from teacher_student.progress_bars import hidden, tqdm
from teacher_student.sweeps.dataset import assemble
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.points import Results, run_batch, work_at
from teacher_student.sweeps.results import DATASET, SWEEP, claimed, finished_points, store, tidy
from teacher_student.sweeps.sweep_file import load_sweep
from teacher_student.sweeps.workers import DIED, Workers, check_script, cluster_workers, local_workers, worker_count

# A batch should take about this long: if the sweep is killed, the batches at work are lost.
_SECONDS_PER_BATCH = 1.0


def sweep(
    source: Sweep | str | Path,
    folder: str | Path,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Run theory and simulation at all points of a sweep, and return their results as one dataset.

    Finished points are kept in `folder`. If the sweep is interrupted or killed, at any moment, the same call continues it
    and ends in the same dataset, bit for bit.

    Parameters
    ----------
    source : Sweep, str or Path
        The sweep, or a TOML file with one.
    folder : str or Path
        Where the results go; the dataset is its ``sweep.nc``.
    workers : int, optional
        Number of processes on this machine; by default one a core. A script that calls this needs the customary
        ``if __name__ == "__main__":``, for the processes import it.
    cluster : str, optional
        The address of a dask.distributed scheduler to run on instead (needs the extra ``[cluster]``).
    executor : concurrent.futures.Executor, optional
        Where to run instead; it is not shut down.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        Every variable of the trajectories, of simulations with ``simulated_`` before its name, over the dimensions of the
        design. Shorter runs (diverged ones, see ``status``) and smaller networks are padded with NaN. Points that fail in
        another way, of memory for one, are NaN, ``status`` says why, and the same call tries them again.

    Raises
    ------
    InvalidInput
        For an impossible sweep, or a folder that has results of another one; before anything runs. If all points fail.
    BrokenExecutor
        If a worker dies of what it does, or a cluster's scheduler is gone; what is finished is kept.
    KeyboardInterrupt
        At Ctrl-C; what is finished is kept.
    """
    if not isinstance(source, (Sweep, str, Path)):
        refuse("sweep", type(source).__name__, "a Sweep, or a TOML file with one")
    plan = source if isinstance(source, Sweep) else load_sweep(source)
    folder = check_path(folder, "folder")
    check_executor(executor)
    if cluster is not None:
        check_instance("cluster", cluster, str, "the address of a dask scheduler")
    check_flag("progress", progress)
    count = worker_count(workers)
    if executor is None and cluster is None:
        check_script(count)
    with claimed(plan, folder):
        return _finish(plan, folder, partial(_place, executor, cluster, count), progress)


def _place(
    executor: Executor | None, cluster: str | None, count: int, n_points: int
) -> contextlib.AbstractContextManager[Workers]:
    """Return where `n_points` points run."""
    if executor is not None:
        return contextlib.nullcontext((executor, lambda: count))
    return local_workers(min(count, n_points)) if cluster is None else cluster_workers(cluster)


def _finish(
    plan: Sweep, folder: Path, place: Callable[[int], contextlib.AbstractContextManager[Workers]], progress: bool
) -> xr.Dataset:
    """Run what is left of a sweep, write its dataset, and return that."""
    done = finished_points(folder, plan.n_points)
    failed: dict[int, str] = {}
    todo = deque(index for index in range(plan.n_points) if index not in done)
    if todo:
        with (
            place(len(todo)) as pool,
            tqdm(
                total=plan.n_points,
                initial=len(done),
                unit="point",
                smoothing=0.05,
                disable=hidden(progress),
                desc="sweep",
            ) as bar,
        ):
            failed = _run(plan, todo, folder, pool, bar)
    dataset = assemble(plan, folder, failed)
    with replacing(folder / DATASET) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")
    tidy(folder)
    return dataset


def progress_of(folder: Path) -> str:
    """Return how many points of the sweep in `folder` are finished, in words."""
    if not (folder / SWEEP).is_file():
        return "no point was begun"
    n_points = load_sweep(folder / SWEEP).n_points
    return f"{len(finished_points(folder, n_points))} of {n_points} points are kept in {folder}"


def _run(plan: Sweep, todo: deque[int], folder: Path, pool: Workers, bar: Any) -> dict[int, str]:
    """Keep two batches a worker in flight, and store what comes back; interrupted, store what has come back.

    Returns the points that failed, and how.
    """
    executor, n_workers = pool
    running: dict[Future[Results], list[int]] = {}
    failed: dict[int, str] = {}
    seconds_per_point = math.inf
    try:
        while todo or running:
            slots = max(1, n_workers())
            while todo and len(running) < 2 * slots:
                size = min(_SECONDS_PER_BATCH / seconds_per_point, len(todo) / (2 * slots))
                batch = [todo.popleft() for _ in range(max(1, int(size)))]
                running[executor.submit(run_batch, work_at(plan, batch))] = batch
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                results = _result(job)
                store(folder, results)
                failed |= results.failed
                begun = {header["index"] for header in results.headers} | set(results.failed)
                todo.extendleft(index for index in reversed(running.pop(job)) if index not in begun)
                bar.update(len(begun))
                seconds_per_point = max(1e-6, results.seconds / len(begun))
    except BaseException:
        for job in running:
            if not job.cancel() and job.done() and job.exception() is None:
                store(folder, job.result())
        raise
    return failed


def _result(job: Future[Results]) -> Results:
    """Return the results of `job`; raises `BrokenExecutor`, saying why, if it was lost."""
    try:
        return job.result()
    except CancelledError:
        raise BrokenExecutor("the scheduler is gone") from None
    except Exception as error:
        if type(error).__name__ not in DIED:
            raise
        raise BrokenExecutor("a worker process died") from None
