"""The folder of a sweep: what it is a sweep of, and the results of finished points, a file a batch."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import teacher_student
from teacher_student.errors import refuse
from teacher_student.files import output_folder, replacing
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.points import Results
from teacher_student.sweeps.sweep_file import write_sweep

FloatArray = npt.NDArray[np.float64]

SWEEP = "sweep.toml"
_RESULTS = "results"


def claim(sweep: Sweep, folder: Path) -> None:
    """Make `folder` the folder of `sweep`, or see that it is; refuses one that belongs to another sweep or another version.

    A new sweep is refused at its first impossible problem.
    """
    text = f"# teacher_student {teacher_student.__version__}\n{write_sweep(sweep)}"
    path = folder / SWEEP
    if path.is_file():
        stored = path.read_text("utf-8", errors="replace")
        if stored != text:
            old, new = _first_difference(stored, text)
            refuse("sweep", new, f"the sweep whose results are in {folder}, with {old!r}; or another folder")
    else:
        for index in range(sweep.n_points):
            sweep.problem_at(index)
        output_folder(folder)
        output_folder(folder / _RESULTS)
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8")


def store(folder: Path, results: Results) -> None:
    """Write the results of a batch, whole or not at all."""
    header = np.frombuffer(json.dumps(results.headers).encode(), np.uint8)
    path = folder / _RESULTS / f"{results.headers[0]['index']:08d}.npz"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, header=header, data=results.data)


def stored_headers(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    """Return the headers of all finished points by file; a file that cannot be read counts as not there."""
    found = {}
    for path in sorted((folder / _RESULTS).glob("*.npz")):
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), path.open("rb") as file:
            found[path] = json.loads(np.load(file, allow_pickle=False)["header"].tobytes())
    return found


def finished_points(folder: Path) -> set[int]:
    """Return the numbers of all points whose results are stored."""
    return {header["index"] for headers in stored_headers(folder).values() for header in headers}


def stored_points(path: Path, headers: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, FloatArray]]]:
    """Yield every point of a file: its header, and its arrays by name."""
    with np.load(path, allow_pickle=False) as file:
        data = file["data"]
    begin = 0
    for header in headers:
        arrays = {}
        for name, shape in header["arrays"]:
            end = begin + int(np.prod(shape))
            arrays[name] = data[begin:end].reshape(shape)
            begin = end
        yield header, arrays


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left behind."""
    for path in (folder / _RESULTS).glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def _first_difference(old: str, new: str) -> tuple[str, str]:
    lines = zip([*old.splitlines(), ""], [*new.splitlines(), ""], strict=False)
    return next(((a.lstrip("# "), b.lstrip("# ")) for a, b in lines if a != b), (old[-40:], new[-40:]))
