"""What commands show of stored files: figures of trajectories and sweeps, and their stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher_student.errors import InvalidInput, refuse
from teacher_student.files import check_figure_name, check_writable

if TYPE_CHECKING:
    import xarray as xr


def figures_of_files(files: list[Path], output: Path | None, of: str | None, level: float | None) -> Iterator[tuple[Any, Path]]:
    """Yield figures with the paths they belong to: one of all `files` at `output`, or a PNG beside each.

    All files are read and all paths checked before the first figure is drawn. Sweeps show `of`, with its `level`; by
    default those over one field curves of eps_g, and those over two its final value.
    """
    from teacher_student.sweeps.dataset import stored_sweep
    from teacher_student.trajectory import load_trajectory

    sweeps = [stored_sweep(file) for file in files]
    trajectories = [load_trajectory(file) for file, sweep in zip(files, sweeps, strict=True) if sweep is None]
    if output is not None and len(files) > 1 and len(trajectories) < len(files):
        refuse("files", f"{len(files)} files, one of them of a sweep", "one sweep, or trajectories, for one figure")
    pictures = [file.with_suffix(".png") for file in files] if output is None else [output]
    for picture in pictures:
        check_figure_name(picture)
        check_writable(picture.parent, picture)
    if output is not None and trajectories:
        yield _figure(*_together(trajectories)), output
        return
    rest = iter(trajectories)
    for sweep, picture in zip(sweeps, pictures, strict=True):
        yield (_figure(*_together([next(rest)])) if sweep is None else _figure_of_sweep(sweep, of, level)), picture


def _figure_of_sweep(dataset: xr.Dataset, of: str | None, level: float | None) -> Any:
    """Return the curves of a sweep over one field, or the diagram of one over two."""
    from teacher_student.plots import family, phase_diagram
    from teacher_student.sweeps.one_point import dimensions_of
    from teacher_student.sweeps.reductions import sweep_values

    simulated = "status" not in dataset
    fields = [name for name in dimensions_of(dataset) if dataset.sizes[name] > 1]
    if fields == ["point"]:
        fields = [str(name) for name, coordinate in dataset.coords.items() if coordinate.dims == ("point",)]
    elif len(fields) == 1:
        curves = "simulated_eps_g" if simulated else "eps_g"
        return family(dataset, fields[0], curves if of is None else sweep_values(dataset, of, level=level, simulated=simulated))[
            0
        ]
    if len(fields) != 2:
        refuse("files", f"a sweep over {len(fields)} fields", "one over one or two; ts.plots shows selections of others")
    x, y = fields
    return phase_diagram(dataset, x, y, sweep_values(dataset, of or "final", level=level, simulated=simulated))[0]


def stages_of_file(file: Path, least: float | None) -> str:
    """Return the table of stages of a trajectory, or of every point of a sweep under its fields."""
    from teacher_student.analysis.stages import stages, table
    from teacher_student.sweeps.dataset import stored_sweep
    from teacher_student.sweeps.one_point import in_words, places, trajectory_at
    from teacher_student.trajectory import load_trajectory

    dataset = stored_sweep(file)
    if dataset is None:
        return table(stages(load_trajectory(file), least=least))
    prefix, lines = "" if "status" in dataset else "simulated_", []
    for place in places(dataset):
        status = str(dataset[f"{prefix}status"].isel(place).item())
        lines.append(in_words(dataset, place) + ("" if status == "complete" else f" ({status})"))
        trajectory = trajectory_at(dataset, place, prefix)
        try:
            lines.append(table(stages(trajectory, least=least)) if trajectory is not None else "no numbers")
        except InvalidInput as error:  # too short a run
            lines.append(str(error))
    return "\n".join(lines)


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
