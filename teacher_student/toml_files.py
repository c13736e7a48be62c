"""TOML files and presets as tables: of problems, of sweeps, and of networks on data."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from teacher_student.errors import InvalidInput, refuse
from teacher_student.files import check_path

_PACKAGE = "teacher_student"


def presets(package: str = _PACKAGE) -> dict[str, str]:
    """Return the names of the presets, each with its description."""
    folder = resources.files(package) / "presets"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name[:-5]: tomllib.loads((folder / name).read_text("utf-8"))["description"] for name in files}


def text_of_problem(source: str | Path, package: str = _PACKAGE, or_else: str = "") -> str:
    """Return the text of the TOML file `source`, or of the preset of that name; refuses what is neither, nor `or_else`."""
    path, names = check_path(source, "problem"), presets(package)
    if str(source) in names:
        return (resources.files(package) / "presets" / f"{source}.toml").read_text("utf-8")
    try:
        if path.is_file():
            return read_text(path, "problem")
    except OSError as error:
        raise InvalidInput(f"problem: got {str(source)!r} ({error.strerror}), expected a readable file") from None
    refuse("problem", str(source), f"a TOML file, {or_else}or one of the presets " + ", ".join(names))


def read_text(path: Path, name: str) -> str:
    """Return the text of a TOML file, without the byte-order mark that some editors write; `name` is what it was given for."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{name}: got {str(path)!r} (no UTF-8), expected a TOML file") from None
    except OSError as error:
        raise InvalidInput(f"{name}: got {str(path)!r} ({error.strerror}), expected a readable TOML file") from None


def tables(text: str, name: str, source: str | Path | None = None) -> dict[str, Any]:
    """Return the tables of `text`; refuses text that is no TOML: `name` is what it should state, `source` its file."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        got = "text that is no TOML" if source is None else repr(str(source))
        raise InvalidInput(f"{name}: got {got} ({error}), expected a {name} in TOML") from None
