"""Sweeps as TOML: files, and the text that goes with the results."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from teacher_student.errors import InvalidInput, refuse
from teacher_student.files import check_path
from teacher_student.sweeps.design import Sweep
from teacher_student.toml_files import presets, read_text, tables
from teacher_student.toml_text import toml, toml_key

_KEYS = tuple(f.name for f in fields(Sweep) if f.init)


def load_sweep(path: str | Path) -> Sweep:
    """Return the sweep in a TOML file; its `problem` may be a table, a preset or a file, seen from the folder of this one.

    Raises `InvalidInput` if there is no such file, it is no TOML, or at the first field that is unknown or impossible.
    """
    path = check_path(path, "sweep")
    text = read_text(path, "sweep")
    try:
        return parse_sweep(text, path.parent)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def write_sweep(sweep: Sweep) -> str:
    """Return `sweep` as TOML text that depends on no other file."""
    lines = [
        f"{name} = {toml(getattr(sweep, name))}"
        for name in ("design", "points", "seed", "theory", "simulation")
        if getattr(sweep, name) is not None
    ]
    lines += [f"variables = {toml(list(sweep.variables))}", "", "[vary]"]
    lines += [f"{toml_key(name)} = {toml(spec)}" for name, spec in sweep.vary.items()]
    sections = {name: entry for name, entry in sweep.problem.items() if isinstance(entry, dict)}
    lines += ["", "[problem]"]
    lines += [f"{toml_key(name)} = {toml(entry)}" for name, entry in sweep.problem.items() if name not in sections]
    for name, table in sections.items():
        lines += ["", f"[problem.{toml_key(name)}]"]
        lines += [f"{toml_key(key)} = {toml(entry)}" for key, entry in table.items()]
    return "\n".join(lines) + "\n"


def parse_sweep(text: str, folder: Path = Path()) -> Sweep:
    """Return the sweep that `text` states in TOML; files that it names are seen from `folder`. Raises `InvalidInput`."""
    document = tables(text, "sweep")
    for key, value in document.items():
        if key not in _KEYS:
            refuse(key, value, "no such key; known here: " + ", ".join(_KEYS))
    for key in ("problem", "vary"):
        if key not in document:
            refuse(key, None, "a value; needed here: problem, vary")
    problem = document["problem"]
    if isinstance(problem, str) and problem not in presets():
        document["problem"] = folder / problem
    return Sweep(**document)
