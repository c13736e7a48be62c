"""The command line: teacher-student presets | ode | simulate | compare | sweep | plot | stages | animate | deep."""

from __future__ import annotations

import argparse
import os
import traceback
import warnings
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import NoReturn

from teacher_student import __version__
from teacher_student.cli.jobs import output_file, report_status, run_simulation, run_theory, save, simulation_settings
from teacher_student.cli.main_job import run_comparison
from teacher_student.cli.requests import add_problem_options, number_of_inputs, requested_problem
from teacher_student.cli.surroundings import figures_without_a_screen, sigterm_as_ctrl_c, steady_output
from teacher_student.deep.cli import add_commands
from teacher_student.errors import InvalidInput, one_line, refuse
from teacher_student.files import path_argument, save_figure
from teacher_student.outcome import FAILED, INTERRUPTED, OK, REFUSED, TERMINATED, tell
from teacher_student.own_process import leave_out_dask


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0, 1 if `compare` finds more than finite N between theory and simulation, 2 for refused input, 3 for divergence, 70 for an
    internal error, 130 if interrupted, 143 if interrupted by SIGTERM.
    """
    with steady_output() as written, figures_without_a_screen(), sigterm_as_ctrl_c() as terminated:
        status = _run(arguments)
        if status == OK and not written():
            return REFUSED
        return TERMINATED if status == INTERRUPTED and terminated() else status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
        if arguments is None and getattr(options, "cluster", None) is None:  # the process runs this command and nothing else
            leave_out_dask()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(theory|simulation) interrupted", UserWarning)  # commands say so themselves
            return int(options.run(options))
    except InvalidInput as error:
        tell(error)
        return REFUSED
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except MemoryError as error:
        tell(f"not enough memory: {error}")
        return FAILED
    except Exception:  # a mistake of the package, whose status may not be that of a comparison that differs
        traceback.print_exc()
        tell("an internal error; what was saved before it is whole")
        return FAILED


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: {one_line(message)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="teacher-student", description="Online learning: SGD at finite N and its theory.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("presets", help="list the presets, or print one")
    command.add_argument("name", metavar="NAME", nargs="?", help="print the TOML of this preset")
    command.set_defaults(run=_presets)

    command = commands.add_parser("ode", help="integrate the theory")
    add_problem_options(command)
    command.add_argument("-o", "--output", type=path_argument, metavar="FILE", help="trajectory (default: NAME-theory.nc)")
    command.add_argument("--fluctuations", action="store_true", help="also the linear noise: spread and mean shift at finite N")
    command.set_defaults(run=_ode)

    command = commands.add_parser("simulate", help="run SGD at finite N")
    add_problem_options(command)
    command.add_argument("-o", "--output", type=path_argument, metavar="FILE", help="trajectory (default: NAME-simulation.nc)")
    command.add_argument("--n-inputs", metavar="N", help="inputs, as 1000 or 1e3 (default: the problem's)")
    _add_simulation_options(command, ("weights", "overlaps", "leap"), "weights")
    command.add_argument(
        "--checkpoint", type=path_argument, metavar="FILE", help="keep the state there; the same command goes on from it"
    )
    command.set_defaults(run=_simulate)

    command = commands.add_parser("compare", help="theory and simulation, with figure and report (the main job)")
    add_problem_options(command, default="staircase")
    command.add_argument(
        "-o", "--output", type=path_argument, metavar="FOLDER", default=Path("comparison"), help="(default: %(default)s)"
    )
    several = "inputs (default: the problem's); several with commas between show how finite-N effects fall with N"
    command.add_argument("--n-inputs", metavar="N[,N...]", help=several)
    _add_simulation_options(command, ("both", "weights", "overlaps"), "both")
    command.set_defaults(run=run_comparison)

    _add_sweep(commands)

    _add_plot(commands)

    _add_stages(commands)
    _add_animate(commands)
    add_commands(commands.add_parser("deep", help="mode-decomposed networks on data (needs scikit-learn)"))
    return parser


def _add_plot(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("plot", help="draw stored trajectories and sweeps, each as a PNG beside it, or one figure")
    command.add_argument("files", metavar="FILE", nargs="+", type=path_argument)
    name = "one figure: a .png, .pdf or .svg of one file, or of a theory and one or two simulations of it"
    command.add_argument("-o", "--output", type=path_argument, metavar="FIGURE", help=name)
    values = ("final", "stationary", "passage", "plateau", "onset")
    text = "what of a sweep (default: eps_g against alpha for one field, final for two)"
    command.add_argument("--of", choices=values, help=text)
    command.add_argument("--level", type=float, metavar="E", help="the eps_g that is passed, for --of passage")
    command.set_defaults(run=_plot)


def _add_sweep(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("sweep", help="many problems that differ in some fields, into one dataset; resumable")
    command.add_argument("sweep", metavar="SWEEP", type=path_argument, help="a TOML file")
    command.add_argument("-o", "--output", type=path_argument, metavar="FOLDER", help="(default: SWEEP without its suffix)")
    command.add_argument("--workers", type=int, metavar="W", help="processes on this machine (default: one a core)")
    command.add_argument("--cluster", metavar="ADDRESS", help="run on this dask.distributed scheduler instead")
    command.set_defaults(run=_sweep)


def _add_stages(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("stages", help="print the plateaus and falls of eps_g of a stored trajectory or sweep")
    command.add_argument("file", metavar="FILE", type=path_argument)
    least = "end where eps_g falls to this level (default: where it is no longer resolved)"
    command.add_argument("--least", type=float, metavar="E", help=least)
    command.set_defaults(run=_stages)


def _add_animate(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("animate", help="a film of eps_g and the overlap matrix of a stored trajectory")
    command.add_argument("file", metavar="FILE", type=path_argument)
    command.add_argument("-o", "--output", type=path_argument, metavar="GIF", help="(default: FILE with the suffix .gif)")
    command.set_defaults(run=_animate)


def _add_simulation_options(command: argparse.ArgumentParser, methods: tuple[str, ...], default: str) -> None:
    text = "SGD on weights, the exact chain of their overlaps" + (
        ", or both (fewer runs on weights)" if "both" in methods else "; for N above a million leaps, made of the theory"
    )
    command.add_argument("--method", choices=methods, default=default, help=f"{text} (default: {default})")
    of_runs = "independent runs (default: the problem's number; that of ts.simulate is 1)"
    command.add_argument("--replicas", type=int, metavar="R", help=of_runs)
    command.add_argument("--seed", type=int, metavar="S", help="seed of all random numbers (default: the problem's)")


def _presets(options: argparse.Namespace) -> int:
    from teacher_student.toml_files import presets, text_of_problem

    if options.name is not None:
        if options.name not in presets():
            refuse("preset", options.name, "one of " + ", ".join(presets()))
        print(text_of_problem(options.name), end="")
        return OK
    found = presets()
    width = max(map(len, found))
    for name, description in found.items():
        print(f"{name:{width}}  {description}")
    return OK


def _ode(options: argparse.Namespace) -> int:
    problem = requested_problem(options)
    output = output_file(options.output, problem, "theory")
    trajectory, status = run_theory(problem, fluctuations=options.fluctuations)
    return save(trajectory, output, status)


def _simulate(options: argparse.Namespace) -> int:
    problem = requested_problem(options)
    output = output_file(options.output, problem, "simulation")
    if options.checkpoint is not None and os.path.realpath(options.checkpoint) == os.path.realpath(output):
        refuse("checkpoint", str(output), "another file than the output")
    settings = simulation_settings(problem, number_of_inputs(options.n_inputs, problem), options)
    trajectory, status = run_simulation(problem, settings, options.method, options.checkpoint)
    return save(trajectory, output, status)


def _sweep(options: argparse.Namespace) -> int:
    from teacher_student.sweeps.results import DATASET
    from teacher_student.sweeps.run import progress_of, sweep

    folder = options.output or options.sweep.parent / options.sweep.stem
    try:
        dataset = sweep(options.sweep, folder, workers=options.workers, cluster=options.cluster)
    except (KeyboardInterrupt, BrokenExecutor) as error:
        cause = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        tell(f"{cause}; {progress_of(folder)}; the same command goes on from there")
        return INTERRUPTED
    print(folder / DATASET)
    return report_status(dataset)


def _plot(options: argparse.Namespace) -> int:
    from teacher_student.cli.pictures import figures_of_files

    for figure, path in figures_of_files(options.files, options.output, options.of, options.level):
        save_figure(figure, path)
        print(path)
    return OK


def _stages(options: argparse.Namespace) -> int:
    from teacher_student.cli.pictures import stages_of_file

    print(stages_of_file(options.file, options.least))
    return OK


def _animate(options: argparse.Namespace) -> int:
    from teacher_student.animation import animate
    from teacher_student.trajectory import load_trajectory

    trajectory = load_trajectory(options.file)  # which refuses a path without a name, such as that of a folder
    output = options.output or options.file.with_suffix(".gif")
    animate(trajectory, output)
    print(output)
    return OK
