"""What a command was asked for: its problem, with what the command line replaces in it, and numbers of inputs."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from teacher_student.errors import refuse

if TYPE_CHECKING:
    from teacher_student.problem import Problem

_HELP = "a TOML file or a preset's name"


def add_problem_options(command: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add PROBLEM, which may be left out if there is a `default`, and the options that replace fields of it."""
    if default is None:
        command.add_argument("problem", metavar="PROBLEM", help=_HELP)
    else:
        command.add_argument("problem", metavar="PROBLEM", nargs="?", default=default, help=f"{_HELP} (default: {default})")
    add_set_option(command)
    command.add_argument("--alpha", type=float, metavar="A", help="last output time (default: the problem's)")


def add_set_option(command: argparse.ArgumentParser) -> None:
    """Add --set, which replaces a field of the problem and may be given several times."""
    text = "replace a field of the problem, as rule.eta_xi_in=0.3 or initial.R.0.1=0.2; may be repeated"
    command.add_argument("--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE", help=text)


def requested_problem(options: argparse.Namespace) -> Problem:
    """Return the problem of a command with the fields and the last time that its options give."""
    from teacher_student.dotted_fields import settings_of
    from teacher_student.problem_file import load_problem

    return _until(load_problem(options.problem, settings_of(options.changes)), options.alpha)


def _until(problem: Problem, last: float | None) -> Problem:
    """Return the problem with output times up to `last`, by default its own."""
    from teacher_student.times import output_times

    if last is None:
        return problem
    times = problem.alpha[problem.alpha < last * (1.0 - 1e-12)]
    return problem.replace(alpha=output_times([*times.tolist(), last] if len(times) > 1 else last))


def numbers_of_inputs(text: str | None, problem: Problem) -> list[int]:
    """Return the N of `text`, whole numbers such as 1000 or 1e3 with commas between, or the problem's."""
    if text is None:
        return [problem.n_inputs]
    try:
        sizes = [_whole(part) for part in text.split(",")]
    except (ValueError, OverflowError):
        refuse("n_inputs", text, "whole numbers N with commas between")
    if len(sizes) == 2 or len(set(sizes)) < len(sizes):
        refuse("n_inputs", text, "one N, or at least three different ones")
    return sizes


def number_of_inputs(text: str | None, problem: Problem) -> int:
    """Return the one N of `text`, such as 1000 or 1e3, or the problem's."""
    sizes = numbers_of_inputs(text, problem)
    if len(sizes) > 1:
        refuse("n_inputs", text, "one N; compare takes several")
    return sizes[0]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError
    return int(number)


def command_line(options: argparse.Namespace, names: tuple[str, ...]) -> str:
    """Return the command `compare` of `options` with those of `names` that were given, as a shell takes it."""
    arguments = ["--method", options.method]
    for name in names:
        value = getattr(options, name)
        if value is not None:
            arguments += ["--" + name.replace("_", "-"), str(value)]
    for change in options.changes:
        arguments += ["--set", change]
    return shlex.join(["teacher-student", "compare", options.problem, *arguments])
