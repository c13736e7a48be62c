"""A simulation under way, on disk: the state of every replica, bit for bit, and the rows measured so far.

One file holds arrays and a JSON text, nothing that could run as code. A replica is a dataclass of arrays, numbers, generators of
random numbers and further dataclasses, or a tuple with names of arrays, generators and constants; it is restored into a replica
that has just been started for the same problem.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.files import check_path, check_writable, load_arrays, remove_leftovers, replacing

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[list[dict[str, FloatArray]]]

_FORMAT = "teacher_student checkpoint 2"
SECONDS_BETWEEN = 30.0
# Writing is to take at most this part of the time.
_LARGEST_PART = 0.05


class Checkpoint:
    """Where one simulation is kept, and when it was last.

    Parameters
    ----------
    path : str or Path
        The file.
    settings : dict
        All that decides the simulation's numbers, in the types of JSON; a file with other settings is refused.

    Raises
    ------
    InvalidInput
        If it is no path, or the place cannot be written.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any]) -> None:
        self.path = check_path(path, "checkpoint")
        check_writable(self.path.parent, self.path, "checkpoint")
        self.settings = {"format": _FORMAT, **settings}
        self._due = time.monotonic() + SECONDS_BETWEEN

    def load(self, runs: list[Any]) -> tuple[Rows, list[int]] | None:
        """Bring `runs`, just started, to where they were last kept; return the rows measured until then and the step of each.

        Returns None if there is no file. Raises `InvalidInput` for one of another simulation.
        """
        remove_leftovers(self.path.parent, self.path.name)
        if not self.path.exists():
            return None
        arrays = load_arrays(self.path)
        if arrays is None or "about" not in arrays:
            self._refuse()
        try:
            about = json.loads(arrays.pop("about").tobytes(), object_hook=_from_json)
            settings = dict(about["settings"])
        except (ValueError, KeyError, TypeError):
            self._refuse()
        for name, value in self.settings.items():
            stored_value = settings.get(name)
            if stored_value != value:
                old, new = _shortest_difference(stored_value, value)
                refuse("checkpoint", str(self.path), f"one of a simulation with {name} {new}, not {old}; or another file")
        try:
            for r, run in enumerate(runs):
                _restore(run, f"run {r}", arrays, about["states"])
            names = [name for name in arrays if name.startswith("row ")]
            ends = np.cumsum(about["rows"]).tolist()
            spans = zip([0, *ends], ends, strict=False)
            rows = [[{name[4:]: arrays[name][i] for name in names} for i in range(begin, end)] for begin, end in spans]
            steps = [int(step) for _, _, step in zip(runs, rows, about["steps"], strict=True)]
        except (ValueError, KeyError, TypeError, IndexError):  # of another state of the code with the same version
            self._refuse()
        return rows, steps

    def save(self, runs: list[Any], rows: Rows, steps: list[int]) -> None:
        """Write everything, whole or not at all: every one of `runs`, its rows and how many steps it has taken."""
        begin = time.monotonic()
        arrays: dict[str, Any] = {}
        states: dict[str, Any] = {}
        for r, run in enumerate(runs):
            for name, value in _leaves(run, f"run {r}"):
                if isinstance(value, np.ndarray):
                    arrays[name] = value
                else:
                    states[name] = value
        measured = [row for of_run in rows for row in of_run]
        for name in measured[0] if measured else ():
            arrays[f"row {name}"] = np.array([row[name] for row in measured])
        about = {"settings": self.settings, "steps": steps, "rows": [len(of_run) for of_run in rows], "states": states}
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=np.frombuffer(json.dumps(about, default=_as_json).encode(), np.uint8), **arrays)
        end = time.monotonic()
        self._due = end + max(SECONDS_BETWEEN, (end - begin) / _LARGEST_PART)

    def _refuse(self) -> NoReturn:
        refuse("checkpoint", str(self.path), "a checkpoint of a simulation, or a file that is not there yet")

    def is_due(self) -> bool:
        """Return whether the last time was long ago."""
        return time.monotonic() >= self._due


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the arrays, generators and numbers within `value`, by name; what is in a tuple, but for these, is a constant."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, tuple):
        for part, entry in _entries(value):
            yield from _leaves(entry, f"{name}.{part}")
    else:
        yield name, value


def _entries(value: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Return what may move in a tuple with names by name: arrays, generators and further tuples."""
    named = zip(value._fields, value, strict=True)  # type: ignore[attr-defined]  # of a NamedTuple
    return [(field, entry) for field, entry in named if isinstance(entry, np.ndarray | np.random.Generator | tuple)]


def _restore(run: Any, name: str, arrays: dict[str, Any], states: dict[str, Any]) -> None:
    """Write what is stored under `name` into `run`, arrays and generators in place."""
    named = _entries(run) if isinstance(run, tuple) else [(field.name, getattr(run, field.name)) for field in fields(run)]
    for field, value in named:
        entry = f"{name}.{field}"
        if is_dataclass(value) or isinstance(value, tuple):
            _restore(value, entry, arrays, states)
        elif isinstance(value, np.ndarray):
            if value.flags.writeable:  # what is not is a constant of the problem
                np.copyto(value, arrays[entry], casting="no")
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = states[entry]
        else:
            object.__setattr__(run, field, states[entry])


def _as_json(value: Any) -> Any:
    """Return what JSON does not know, arrays and generators, in its types."""
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a replica with a {type(value).__name__} cannot be stored")


def _from_json(table: dict[str, Any]) -> Any:
    return np.array(table["array"], dtype=table["dtype"]) if set(table) == {"array", "dtype"} else table


def _shortest_difference(old: Any, new: Any) -> tuple[str, str]:
    """Return both as text; of texts of several lines the first that differs, of long ones the part where they do."""
    if isinstance(old, str) and isinstance(new, str) and "\n" in new:
        pairs = zip([*old.splitlines(), ""], [*new.splitlines(), ""], strict=False)
        old, new = next((pair for pair in pairs if pair[0] != pair[1]), (old[-60:], new[-60:]))
    first, second = repr(old), repr(new)
    same = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    begin = same - 20 if same > 40 else 0
    return _part(first, begin), _part(second, begin)


def _part(text: str, begin: int) -> str:
    return ("..." if begin else "") + (text[begin:] if len(text) <= begin + 60 else text[begin : begin + 57] + "...")
