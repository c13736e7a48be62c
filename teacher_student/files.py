"""Where results go: places checked before the work, files that are whole or absent."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from teacher_student.errors import InvalidInput, refuse

if TYPE_CHECKING:
    from teacher_student.arrays import Array


def check_path(path: object, name: str) -> Path:
    """Return `path` as a `Path`; refuses what is neither that nor text, and `name` is what it was given for."""
    if not isinstance(path, (str, os.PathLike)):
        refuse(name, path, "a path")
    return Path(path)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, which becomes `path` if the block succeeds and is removed if it does not.

    Raises `InvalidInput` if the place cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InvalidInput(f"output: got {str(path)!r} ({error.strerror}), expected a place to write to") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def output_folder(folder: Path) -> Path:
    """Return the folder to write into, made if it is not there; refuses what cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("output", str(folder), f"a folder that can be written ({error.strerror})")
    _try_to_write(folder, folder, "output")
    return folder


def check_writable(folder: Path, path: Path, name: str = "output") -> None:
    """Refuse `path`, a file in `folder`, if it is a folder or nothing can be written there; `name` is what it was given for."""
    with contextlib.suppress(OSError):  # such as of a name that is too long, of which the attempt to write tells
        if path.is_dir():
            refuse(name, str(path), "a file, not a folder")
    _try_to_write(folder, path, name)


def _try_to_write(folder: Path, path: Path, name: str) -> None:
    probe = folder / f".teacher-student-{os.getpid()}.tmp"
    try:
        path.exists()
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse(name, str(path), f"a place that can be written ({error.strerror})")


def load_arrays(path: Path) -> dict[str, Array] | None:
    """Return the arrays in a file of `numpy.savez` by name, or None if it is no such file or is not whole."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
    except Exception:  # NumPy and zipfile raise many kinds for files that are damaged or foreign
        return None
    return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else None


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed while `replacing` the file `name` in `folder`, or any, have left there."""
    for leftover in folder.glob(f".{'*' if name is None else glob.escape(name)}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def save_figure(figure: object, path: Path) -> None:
    """Write a figure as PNG and close it."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200, format="png")
    plt.close(figure)
