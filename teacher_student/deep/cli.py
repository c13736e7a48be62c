"""The deep commands: teacher-student deep presets | train | importance | ablate | widths | latent | cost | reproduce."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

from teacher_student.errors import Diverged, InvalidInput
from teacher_student.files import check_writable, path_argument
from teacher_student.outcome import DIVERGED, INTERRUPTED, OK, tell

_DEFAULT, _OF_THE_PAPER = "digits", "mnist-li-huang"


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `teacher-student deep`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("presets", help="list the presets of the deep commands, or print one")
    command.add_argument("name", metavar="NAME", nargs="?", help="print the TOML of this preset")
    command.set_defaults(run=_guarded(_presets))

    problem_help = f"a TOML file or a preset's name (default: {_DEFAULT})"
    command = commands.add_parser("train", help="train a network and save it")
    command.add_argument("problem", metavar="PROBLEM", nargs="?", default=_DEFAULT, help=problem_help)
    command.add_argument("-o", "--output", type=path_argument, metavar="FILE", help="model (default: NAME.npz)")
    _add_data_options(command)
    command.set_defaults(run=_guarded(_train))

    analyses = {
        "importance": ("importance tau of the modes, with power laws fitted", True),
        "ablate": ("test accuracy when modes are removed", True),
        "latent": ("dimension and class separation of each layer, modes against standard training", False),
        "widths": ("least number of modes against width", False),
        "cost": ("accuracy against parameters, operations and seconds", False),
    }
    for name, (help_text, takes_model) in analyses.items():
        command = commands.add_parser(name, help=help_text)
        help_here = problem_help.replace("a TOML", "a saved model, a TOML") if takes_model else problem_help
        command.add_argument("problem", metavar="PROBLEM", nargs="?", default=_DEFAULT, help=help_here)
        _add_output_folder(command, "deep")
        if takes_model:
            command.add_argument(
                "--matrix", type=int, metavar="L", help="weight matrix, 0 for the input's (default: the problem's)"
            )
        _add_data_options(command)
        command.set_defaults(run=_guarded(_analysis(name)))

    command = commands.add_parser("reproduce", help="Li and Huang's claims, each with nulls, a verdict and its uncertainty")
    command.add_argument(
        "problem", metavar="PROBLEM", nargs="?", default=_OF_THE_PAPER, help=problem_help.replace(_DEFAULT, _OF_THE_PAPER)
    )
    _add_output_folder(command, "reproduction")
    _add_data_options(command)
    command.set_defaults(run=_guarded(_analysis("reproduce")))


def _add_output_folder(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "-o", "--output", type=path_argument, metavar="FOLDER", default=Path(name), help="(default: %(default)s)"
    )


def _add_data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="NAME", help="data set (default: the problem's)")
    command.add_argument("--folder", type=path_argument, metavar="FOLDER", help="where the files of the data set are")
    text = "replace a field of the problem, as model.n_modes=5; may be repeated"
    command.add_argument("--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE", help=text)
    command.add_argument("--seed", type=int, metavar="S", help="seed of the initial weights and batches (default: the problem's)")


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return `run` with a missing scikit-learn refused before any work, and with training that diverges told in one line."""

    def checked(options: argparse.Namespace) -> int:
        try:
            import teacher_student.deep.estimators  # noqa: F401
        except ImportError as error:
            raise InvalidInput(str(error)) from None
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "training interrupted", UserWarning)  # commands say so themselves
                return run(options)
        except Diverged as error:
            tell(error)
            return DIVERGED

    return checked


def _presets(options: argparse.Namespace) -> int:
    from teacher_student.deep.problem_file import deep_presets, text_of_preset

    if options.name is not None:
        print(text_of_preset(options.name), end="")
        return OK
    found = deep_presets()
    width = max(map(len, found))
    for name, description in found.items():
        print(f"{name:{width}}  {description}")
    return OK


def _train(options: argparse.Namespace) -> int:
    from teacher_student.deep.model_file import save_model
    from teacher_student.deep.requests import requested_data, requested_problem, untrained

    problem = requested_problem(options)
    path = options.output or Path(f"{problem.name}.npz")
    check_writable(path.parent, path)
    data = requested_data(problem)
    model, diverged = untrained(problem), None
    try:
        model.fit(data.X_train, data.y_train)
    except Diverged as error:
        diverged = Diverged(f"{error}; the best network so far is kept")
        if model.n_iter_ == 0:
            raise
    if model.interrupted_ and model.n_iter_ == 0:
        tell("training interrupted in its first epoch; nothing is saved")
        return INTERRUPTED
    # A relative folder would mean another one when the model is looked at from elsewhere.
    where = {"folder": str(Path(problem.data["folder"]).resolve())} if "folder" in problem.data else {}
    save_model(model, path, {"data": {**problem.data, **where}})
    print(f"test accuracy {model.score(data.X_test, data.y_test):.4f} after {model.n_iter_} epochs")
    print(path)
    if diverged:
        raise diverged
    if model.interrupted_:
        tell("training interrupted; the best network so far is kept")
        return INTERRUPTED
    return OK


def _analysis(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        from teacher_student.deep.analyses import COMMANDS

        return COMMANDS[name](options)

    return run
