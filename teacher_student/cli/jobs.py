"""The jobs of the command line: run theory or simulation, tell how it ended, and write what was computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher_student.errors import Diverged
from teacher_student.files import check_writable
from teacher_student.outcome import DIVERGED, INTERRUPTED, OK, tell

if TYPE_CHECKING:
    import argparse

    import numpy.typing as npt
    import xarray as xr

    from teacher_student.problem import Problem


def run_theory(problem: Problem, alpha: npt.ArrayLike | None = None, fluctuations: bool = False) -> tuple[xr.Dataset | None, int]:
    """Return the trajectory of the theory, or what there is of it, and an exit status."""
    from teacher_student.theory.integrate import integrate

    try:
        trajectory = integrate(problem, alpha, fluctuations)
    except Diverged as error:
        tell(error)
        return error.trajectory, DIVERGED
    return trajectory, _status(trajectory)


def run_simulation(
    problem: Problem, settings: tuple[int, int, int], method: str, checkpoint: Path | None = None
) -> tuple[xr.Dataset | None, int]:
    """Return the simulation of `settings` (N, replicas, seed), or what there is of it, and an exit status."""
    n_inputs, replicas, seed = settings
    given: dict[str, Any] = {"n_inputs": n_inputs, "replicas": replicas, "seed": seed, "checkpoint": checkpoint}
    try:
        if method == "leap":
            from teacher_student.leaps.run import leap

            trajectory = leap(problem, **given)
        else:
            from teacher_student.sgd.run import simulate

            trajectory = simulate(problem, method=method, **given)
    except Diverged as error:
        tell(error)
        return error.trajectory, DIVERGED
    return trajectory, _status(trajectory)


def simulation_settings(problem: Problem, n_inputs: int | None, options: argparse.Namespace) -> tuple[int, int, int]:
    """Return N, replicas and seed, from the command line or else from the problem; refuses impossible ones."""
    from teacher_student.problem import check_seed_and_replicas, check_size_of_runs

    chosen = {"n_inputs": n_inputs, "replicas": options.replicas, "seed": options.seed}
    settings = {name: getattr(problem, name) if value is None else value for name, value in chosen.items()}
    N = check_size_of_runs(problem, settings["n_inputs"])
    return N, *check_seed_and_replicas(settings["replicas"], settings["seed"])


def _status(trajectory: xr.Dataset) -> int:
    if trajectory.attrs["status"] == "interrupted":
        tell(f"{trajectory.attrs['source']} interrupted; what was computed is kept")
        return INTERRUPTED
    if ended := trajectory.attrs.get("fluctuations_ended"):
        tell(f"the linear noise ends {ended}; what was computed is kept")
    return OK


def report_status(dataset: xr.Dataset) -> int:
    """Say how many points of a sweep diverged or failed, if any did, and return an exit status."""
    names = [name for name in ("status", "simulated_status") if name in dataset]
    status = dataset[names].to_dataarray()
    ended = OK
    for what, then in (("diverged", "what was computed is kept"), ("failed", "the same command tries them again")):
        found = status.str.startswith(what).any("variable")
        if found.any():
            count = f"{int(found.sum())} of {found.size} points"
            tell(f"{count} {what}, see {' and '.join(names)}; {then}")
            ended = DIVERGED
    return ended


def save(trajectory: xr.Dataset | None, path: Path, status: int) -> int:
    """Write a trajectory, if there is one, print where, and return `status`."""
    from teacher_student.trajectory import save_trajectory

    if trajectory is not None:
        save_trajectory(trajectory, path)
        print(path)
    return status


def output_file(path: Path | None, problem: Problem, kind: str) -> Path:
    """Return where to write a trajectory; refuses what cannot be written, before any work starts."""
    path = path or Path(f"{problem.name.replace(os.sep, '-')}-{kind}.nc")
    check_writable(path.parent, path)
    return path
