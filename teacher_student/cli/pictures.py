"""The figures of stored files: a trajectory by itself, or a theory with its simulations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher_student.errors import refuse
from teacher_student.files import check_figure_name, check_writable

if TYPE_CHECKING:
    import xarray as xr


def figures_of_files(files: list[Path], output: Path | None) -> Iterator[tuple[Any, Path]]:
    """Yield figures with the paths they belong to: one of all `files` at `output`, or a PNG beside each.

    All files are read and all paths checked before the first figure is drawn.
    """
    from teacher_student.trajectory import load_trajectory

    trajectories = [load_trajectory(file) for file in files]
    pictures = [file.with_suffix(".png") for file in files] if output is None else [output]
    for picture in pictures:
        check_figure_name(picture)
        check_writable(picture.parent, picture)
    groups = [[trajectory] for trajectory in trajectories] if output is None else [trajectories]
    for group, picture in zip([_together(group) for group in groups], pictures, strict=True):
        yield _figure(*group), picture


def _together(trajectories: list[xr.Dataset]) -> tuple[xr.Dataset | None, list[xr.Dataset]]:
    """Return the theory, if there is one, and the simulations, which have to be of its problem."""
    from teacher_student.analysis.agreement import check_same_runs
    from teacher_student.problem import difference_of
    from teacher_student.trajectory_form import kind_of, problem_of

    kinds = [kind_of(trajectory) for trajectory in trajectories]
    if kinds.count("theory") > 1 or kinds.count("simulation") > 2:
        expected = "one theory and two simulations at most, for one figure"
        refuse("files", f"{kinds.count('theory')} theories and {kinds.count('simulation')} simulations", expected)
    theory = next((each for each, kind in zip(trajectories, kinds, strict=True) if kind == "theory"), None)
    simulations = [each for each, kind in zip(trajectories, kinds, strict=True) if kind == "simulation"]
    if theory is not None and simulations:
        difference = difference_of(problem_of(theory), problem_of(simulations[0]))
        if difference is not None:
            refuse("files", f"another {difference}", "a theory and simulations of the same problem")
    if len(simulations) == 2:
        check_same_runs(simulations[0], simulations[1], ("files", "files"))
    return theory, simulations


def _figure(theory: xr.Dataset | None, simulations: list[xr.Dataset]) -> Any:
    """Return the figure of `comparison`, with the predicted band if the theory has the linear noise."""
    from teacher_student.plots import comparison
    from teacher_student.theory.noise.predictions import predict

    prediction = None
    if theory is not None and "covariance" in theory and simulations:
        prediction = predict(theory, simulations[0].attrs["n_inputs"])
    first, second = [*simulations, None, None][:2]
    return comparison(theory, first, prediction, second)[0]
