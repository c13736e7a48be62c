"""Runs a sweep: batches of points to workers, results to files as they come in, and the dataset at the end."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

import xarray as xr
from tqdm import tqdm

from teacher_student.files import replacing
from teacher_student.sweeps.dataset import assemble
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.points import Results, run_batch, work_at
from teacher_student.sweeps.results import SWEEP, claim, finished_points, remove_leftovers, store
from teacher_student.sweeps.sweep_file import load_sweep
from teacher_student.sweeps.workers import Workers, cluster_workers, local_workers, worker_count

DATASET = "sweep.nc"
# A batch is to take about this long: all that is lost when the sweep is killed is what is in flight.
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

    Finished points are kept in `folder`. If the sweep is interrupted or killed, at any moment, the same call goes on from there
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
        design. Shorter runs (diverged ones, see ``status``) and smaller networks are padded with NaN.

    Raises
    ------
    InvalidInput
        For an impossible sweep, or a folder that has results of another one; before anything runs.
    KeyboardInterrupt
        At Ctrl-C; what is finished is kept.
    """
    plan = source if isinstance(source, Sweep) else load_sweep(source)
    folder = Path(folder)
    count = worker_count(workers)
    claim(plan, folder)
    done = finished_points(folder)
    todo = deque(index for index in range(plan.n_points) if index not in done)
    if todo:
        if executor is not None:
            place: contextlib.AbstractContextManager[Workers] = contextlib.nullcontext((executor, lambda: count))
        else:
            place = local_workers(min(count, len(todo))) if cluster is None else cluster_workers(cluster)
        with (
            place as pool,
            tqdm(
                total=plan.n_points,
                initial=len(done),
                unit="point",
                smoothing=0.05,
                disable=None if progress else True,
                desc="sweep",
            ) as bar,
        ):
            _run(plan, todo, folder, pool, bar)
    dataset = assemble(plan, folder)
    with replacing(folder / DATASET) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")
    remove_leftovers(folder)
    return dataset


def progress_of(folder: Path) -> str:
    """Return how many points of the sweep in `folder` are finished, in words."""
    if not (folder / SWEEP).is_file():
        return "no point was begun"
    return f"{len(finished_points(folder))} of {load_sweep(folder / SWEEP).n_points} points are kept in {folder}"


def _run(plan: Sweep, todo: deque[int], folder: Path, pool: Workers, bar: Any) -> None:
    """Keep two batches a worker in flight, and store what comes back; interrupted, store what has come back."""
    executor, n_workers = pool
    running: set[Future[Results]] = set()
    seconds_per_point = math.inf
    try:
        while todo or running:
            slots = max(1, n_workers())
            while todo and len(running) < 2 * slots:
                size = min(_SECONDS_PER_BATCH / seconds_per_point, len(todo) / (2 * slots))
                batch = [todo.popleft() for _ in range(max(1, int(size)))]
                running.add(executor.submit(run_batch, work_at(plan, batch)))
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                results = job.result()
                store(folder, results)
                running.remove(job)
                bar.update(len(results.headers))
                seconds_per_point = max(1e-6, results.seconds / len(results.headers))
    except BaseException:
        for job in running:
            if not job.cancel() and job.done() and job.exception() is None:
                store(folder, job.result())
        raise
