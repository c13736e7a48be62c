"""The folder of a sweep: its definition, and the results of finished points in one file for each batch."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import teacher_student
from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.files import alone, check_writable, load_arrays, output_folder, remove_leftovers, replacing
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.points import Results
from teacher_student.sweeps.sweep_file import write_sweep

SWEEP = "sweep.toml"
DATASET = "sweep.nc"
_RESULTS = "results"
_LOCK = "lock"


@contextlib.contextmanager
def claimed(sweep: Sweep, folder: Path) -> Iterator[None]:
    """Make `folder` the folder of `sweep`, or see that it is, and keep it from others for the block.

    It refuses one that belongs to another sweep or another version, or in which a sweep is running. A new sweep is refused at its
    first impossible problem.
    """
    text = f"# teacher_student {teacher_student.__version__}\n{write_sweep(sweep)}"
    if _is_new(text, folder):
        for index in range(sweep.n_points):
            sweep.problem_at(index)
    output_folder(folder)
    output_folder(folder / _RESULTS)
    check_writable(folder, folder / DATASET)
    with alone(folder, folder / _RESULTS / _LOCK, "a folder in which no sweep is running; wait for that one, or stop it"):
        if _is_new(text, folder):  # nobody else has made it theirs since
            with replacing(folder / SWEEP) as temporary:
                temporary.write_text(text, "utf-8")
        yield


def _is_new(text: str, folder: Path) -> bool:
    """Return whether `folder` belongs to no sweep yet; refuses it if it belongs to another one than that of `text`."""
    stored = _stored_text(folder / SWEEP, folder)
    if stored is None:
        if any((folder / _RESULTS).glob("*.npz")):
            refuse("output", str(folder), f"a folder without results, for there is no {SWEEP} that says what they are of")
    elif stored != text:
        old, new = _first_difference(stored, text)
        refuse("sweep", new, f"the sweep whose results are in {folder}, with {old!r}; or another folder")
    return stored is None


def store(folder: Path, results: Results) -> None:
    """Write the results of a batch, whole or not at all."""
    if not results.headers:
        return
    header = np.frombuffer(json.dumps(results.headers).encode(), np.uint8)
    path = folder / _RESULTS / f"{results.headers[0]['index']:08d}.npz"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, header=header, data=results.data)


def _stored_text(path: Path, folder: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        refuse("output", str(folder), f"a new folder, or one whose {SWEEP} can be read ({error.strerror})")


def stored_headers(folder: Path, n_points: int) -> dict[Path, list[dict[str, Any]]]:
    """Return the headers of all finished points by file; damaged and foreign files are ignored."""
    found = {path: _headers(path, n_points) for path in sorted((folder / _RESULTS).glob("*.npz"))}
    return {path: headers for path, headers in found.items() if headers}


def _headers(path: Path, n_points: int) -> list[dict[str, Any]]:
    """Return the headers of a file of results, or none if it is not whole."""
    arrays = load_arrays(path)
    if arrays is None or not {"header", "data"} <= set(arrays):
        return []
    try:
        headers: list[dict[str, Any]] = json.loads(arrays["header"].tobytes())
        size = sum(math.prod(shape) for header in headers for _, shape in header["arrays"])
        known = all(0 <= header["index"] < n_points for header in headers)
    except (ValueError, KeyError, TypeError):
        return []
    return headers if known and arrays["data"].shape == (size,) else []


def finished_points(folder: Path, n_points: int) -> set[int]:
    """Return the numbers of all points whose results are stored."""
    return {header["index"] for headers in stored_headers(folder, n_points).values() for header in headers}


def stored_points(path: Path, headers: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, FloatArray]]]:
    """Yield every point of a file: its header, and its arrays by name."""
    with np.load(path, allow_pickle=False) as file:
        data = file["data"]
    begin = 0
    for header in headers:
        arrays = {}
        for name, shape in header["arrays"]:
            end = begin + math.prod(shape)
            arrays[name] = data[begin:end].reshape(shape)
            begin = end
        yield header, arrays


def tidy(folder: Path) -> None:
    """Remove the files of processes that were killed while they wrote."""
    remove_leftovers(folder, SWEEP)
    remove_leftovers(folder, DATASET)
    remove_leftovers(folder / _RESULTS)


def _first_difference(old: str, new: str) -> tuple[str, str]:
    lines = zip([*old.splitlines(), ""], [*new.splitlines(), ""], strict=False)
    return next(((a.lstrip("# "), b.lstrip("# ")) for a, b in lines if a != b), (old[-40:], new[-40:]))
