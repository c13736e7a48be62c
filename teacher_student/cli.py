"""The command line: teacher-student presets | ode | simulate | compare | plot | stages | animate | deep."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from teacher_student import __version__
from teacher_student.deep.cli import add_commands
from teacher_student.errors import Diverged, InvalidInput, refuse
from teacher_student.files import replacing

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

    from teacher_student.problem import Problem

OK, REFUSED, DIVERGED, INTERRUPTED = 0, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for refused input, 3 for divergence, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except InvalidInput as error:
        print(f"teacher-student: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("teacher-student: interrupted", file=sys.stderr)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="teacher-student", description="Online learning: SGD at finite N and its theory.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    problem_help = "a TOML file or a preset's name"

    command = commands.add_parser("presets", help="list the presets")
    command.set_defaults(run=_presets)

    command = commands.add_parser("ode", help="integrate the theory")
    command.add_argument("problem", metavar="PROBLEM", help=problem_help)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="trajectory (default: NAME-theory.nc)")
    command.set_defaults(run=_ode)

    command = commands.add_parser("simulate", help="run SGD at finite N")
    command.add_argument("problem", metavar="PROBLEM", help=problem_help)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="trajectory (default: NAME-simulation.nc)")
    _add_simulation_options(command)
    command.set_defaults(run=_simulate)

    command = commands.add_parser("compare", help="theory and simulation, with figure and report (the main job)")
    command.add_argument("problem", metavar="PROBLEM", nargs="?", help=problem_help + " (default: %(default)s)")
    command.add_argument("-o", "--output", type=Path, metavar="FOLDER", default=Path("comparison"), help="(default: %(default)s)")
    _add_simulation_options(command)
    command.set_defaults(run=_compare, problem="staircase")

    command = commands.add_parser("plot", help="draw stored trajectories, each into a PNG beside it")
    command.add_argument("files", metavar="FILE", nargs="+", type=Path)
    command.set_defaults(run=_plot)

    _add_stages(commands)
    _add_animate(commands)
    add_commands(commands.add_parser("deep", help="mode-decomposed networks on data (needs scikit-learn)"))
    return parser


def _add_stages(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("stages", help="print the plateaus and falls of eps_g of a stored trajectory")
    command.add_argument("file", metavar="FILE", type=Path)
    command.set_defaults(run=_stages)


def _add_animate(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("animate", help="a film of eps_g and the overlap matrix of a stored trajectory")
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("-o", "--output", type=Path, metavar="GIF", help="(default: FILE with the suffix .gif)")
    command.set_defaults(run=_animate)


def _add_simulation_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--method", choices=("weights", "overlaps"), default="weights", help="SGD on weights, or the exact chain"
    )
    command.add_argument("--n-inputs", type=int, metavar="N", help="inputs (default: the problem's)")
    command.add_argument("--replicas", type=int, metavar="R", help="independent runs (default: the problem's)")
    command.add_argument("--seed", type=int, metavar="S", help="seed of all random numbers (default: the problem's)")


def _presets(options: argparse.Namespace) -> int:
    from teacher_student.problem_file import presets

    found = presets()
    width = max(map(len, found))
    for name, description in found.items():
        print(f"{name:{width}}  {description}")
    return OK


def _ode(options: argparse.Namespace) -> int:
    from teacher_student.problem_file import load_problem

    problem = load_problem(options.problem)
    path = _output_file(options.output, problem, "theory")
    trajectory, status = _run_theory(problem)
    return _save(trajectory, path, status)


def _simulate(options: argparse.Namespace) -> int:
    from teacher_student.problem_file import load_problem

    problem = load_problem(options.problem)
    path = _output_file(options.output, problem, "simulation")
    trajectory, status = _run_simulation(problem, _simulation_settings(problem, options), options.method)
    return _save(trajectory, path, status)


def _compare(options: argparse.Namespace) -> int:
    from teacher_student.analysis.compare import compare, report
    from teacher_student.problem import whole_steps
    from teacher_student.problem_file import load_problem

    problem = load_problem(options.problem)
    settings = _simulation_settings(problem, options)
    # Where the simulation is measured, so that both files hold the same times.
    alpha = whole_steps(problem.alpha, settings[0]) / settings[0]
    folder = _output_folder(options.output)
    seconds = {}
    begin = time.perf_counter()
    theory, status = _run_theory(problem, alpha)
    seconds["theory"] = time.perf_counter() - begin
    _save(theory, folder / "theory.nc", status)
    if status == INTERRUPTED:
        return status
    begin = time.perf_counter()
    simulation, simulation_status = _run_simulation(problem, settings, options.method)
    seconds["simulation"] = time.perf_counter() - begin
    _save(simulation, folder / "simulation.nc", simulation_status)
    status = simulation_status or status
    if simulation is None or theory is None or min(theory.sizes["alpha"], simulation.sizes["alpha"]) < 2:
        return status
    result = compare(theory, simulation)
    figure, _ = result.plot()
    _save_figure(figure, folder / "comparison.png")
    command = shlex.join(["teacher-student", "compare", options.problem, *_simulation_arguments(options)])
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(report(result, seconds, command), encoding="utf-8")
    print(f"{folder / 'comparison.png'}\n{folder / 'report.md'}")
    return status


def _plot(options: argparse.Namespace) -> int:
    from teacher_student.plots import comparison
    from teacher_student.trajectory import load_trajectory

    trajectories = [load_trajectory(path) for path in options.files]
    for path, trajectory in zip(options.files, trajectories, strict=True):
        kind = "simulation" if "replica" in trajectory.dims else "theory"
        figure, _ = comparison(**{kind: trajectory})
        picture = path.with_suffix(".png")
        _save_figure(figure, picture)
        print(picture)
    return OK


def _stages(options: argparse.Namespace) -> int:
    from teacher_student.analysis.stages import stages, table
    from teacher_student.trajectory import load_trajectory

    print(table(stages(load_trajectory(options.file))))
    return OK


def _animate(options: argparse.Namespace) -> int:
    from teacher_student.animation import animate
    from teacher_student.trajectory import load_trajectory

    path = options.output or options.file.with_suffix(".gif")
    _check_writable(path.parent, path)
    animate(load_trajectory(options.file), path)
    print(path)
    return OK


def _run_theory(problem: Problem, alpha: npt.ArrayLike | None = None) -> tuple[xr.Dataset | None, int]:
    from teacher_student.theory.integrate import integrate

    try:
        trajectory = integrate(problem, alpha)
    except Diverged as error:
        print(f"teacher-student: {error}", file=sys.stderr)
        return error.trajectory, DIVERGED
    return trajectory, _status(trajectory)


def _run_simulation(problem: Problem, settings: tuple[int, int, int], method: str) -> tuple[xr.Dataset | None, int]:
    from teacher_student.sgd.run import simulate

    n_inputs, replicas, seed = settings
    try:
        trajectory = simulate(problem, n_inputs=n_inputs, replicas=replicas, seed=seed, method=method)
    except Diverged as error:
        print(f"teacher-student: {error}", file=sys.stderr)
        return error.trajectory, DIVERGED
    return trajectory, _status(trajectory)


def _simulation_settings(problem: Problem, options: argparse.Namespace) -> tuple[int, int, int]:
    """Return N, replicas and seed, from the command line or else from the problem; refuses impossible ones."""
    from teacher_student.networks import check_n_inputs
    from teacher_student.problem import check_seed_and_replicas

    chosen = {name: getattr(options, name) for name in ("n_inputs", "replicas", "seed")}
    settings = {name: getattr(problem, name) if value is None else value for name, value in chosen.items()}
    n_inputs = check_n_inputs(problem.initial, settings["n_inputs"])
    return n_inputs, *check_seed_and_replicas(settings["replicas"], settings["seed"])


def _simulation_arguments(options: argparse.Namespace) -> list[str]:
    arguments = ["--method", options.method]
    for name in ("n_inputs", "replicas", "seed"):
        value = getattr(options, name)
        if value is not None:
            arguments += ["--" + name.replace("_", "-"), str(value)]
    return arguments


def _status(trajectory: xr.Dataset) -> int:
    if trajectory.attrs["status"] == "interrupted":
        print(f"teacher-student: {trajectory.attrs['source']} interrupted; what was computed is kept", file=sys.stderr)
        return INTERRUPTED
    return OK


def _save(trajectory: xr.Dataset | None, path: Path, status: int) -> int:
    from teacher_student.trajectory import save_trajectory

    if trajectory is not None:
        save_trajectory(trajectory, path)
        print(path)
    return status


def _output_file(path: Path | None, problem: Problem, kind: str) -> Path:
    path = path or Path(f"{problem.name.replace(os.sep, '-')}-{kind}.nc")
    if path.is_dir():
        refuse("output", str(path), "a file, not a folder")
    _check_writable(path.parent, path)
    return path


def _output_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("output", str(folder), f"a folder that can be written ({error.strerror})")
    _check_writable(folder, folder)
    return folder


def _check_writable(folder: Path, path: Path) -> None:
    probe = folder / f".teacher-student-{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse("output", str(path), f"a place that can be written ({error.strerror})")


def _save_figure(figure: object, path: Path) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200, format="png")
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
