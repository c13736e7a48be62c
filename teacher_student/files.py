"""Files of results: their places are checked before the work, and a file is written whole or left out."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from teacher_student.errors import InvalidInput, refuse

if TYPE_CHECKING:
    from teacher_student.arrays import Array

# The formats of figures: pixels, and two of lines that papers take.
FIGURES = (".png", ".pdf", ".svg")

_COUNT = itertools.count()


def check_path(path: object, name: str) -> Path:
    """Return `path` as a `Path`; refuses what is neither that nor text, or can name no file; `name` is what it was given for."""
    if not isinstance(path, (str, os.PathLike)):
        refuse(name, path, "a path")
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # the system's names of files are in another encoding
        possible = False
    if not possible:
        refuse(name, str(path), "a path that the system can have")
    return Path(path)


def path_argument(text: str) -> Path:
    """Return an argument of the command line as a path."""
    try:
        return check_path(text, "path")
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, which becomes `path` if the block succeeds and is removed if it does not.

    Raises `InvalidInput` if the place cannot be written.
    """
    path = check_path(path, "output")
    if not path.name:
        refuse("output", str(path), "the name of a file")
    temporary = path.with_name(f"{_temporary_prefix(path.name)}.{os.getpid()}.{next(_COUNT)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InvalidInput(f"output: got {str(path)!r} ({error.strerror}), expected a place to write to") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _temporary_prefix(name: str) -> str:
    """Return how temporary names for the file `name` begin: by what tells the file and the machine, and short."""
    return f".{_digest(name)}.{_digest(platform.node())}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed while `replacing` the file `name` in `folder`, or any, have left there.

    What a process writes that still runs, or runs on another machine, stays.
    """
    for leftover in folder.glob(f".{'*' if name is None else _digest(name)}.{_digest(platform.node())}.*.tmp"):
        process = leftover.name.split(".")[3]
        if process.isdecimal() and not _is_running(int(process)):
            with contextlib.suppress(OSError):
                leftover.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to somebody else
        return True
    return True


def output_folder(folder: Path) -> Path:
    """Return the folder to write into, made if it is not there; refuses what cannot be written."""
    check_path(folder, "output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("output", str(folder), f"a folder that can be written ({error.strerror})")
    _try_to_write(folder, folder, "output")
    return folder


def check_writable(folder: Path, path: Path, name: str = "output") -> None:
    """Refuse `path`, a file in `folder`, if it is a folder or nothing can be written there; `name` is what it was given for."""
    check_path(path, name)
    with contextlib.suppress(OSError):  # such as of a name that is too long, of which the attempt to write tells
        if path.is_dir():
            refuse(name, str(path), "a file, not a folder")
    _try_to_write(folder, path, name)


def _try_to_write(folder: Path, path: Path, name: str) -> None:
    probe = folder / f"{_temporary_prefix('')}.{os.getpid()}.{next(_COUNT)}.tmp"
    try:
        path.exists()
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse(name, str(path), f"a place that can be written ({error.strerror})")


@contextlib.contextmanager
def alone(folder: Path, lock: Path, expected: str) -> Iterator[None]:
    """Hold the lock that is the file `lock` for the block; refuses `folder`, by what was `expected`, if another process holds it.

    The lock is the operating system's: it ends with the process, however that ends. Where there are no locks nothing is locked.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield
        return
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse("output", str(folder), expected)
        except OSError:  # not in this file system
            pass
        yield


def load_arrays(path: Path) -> dict[str, Array] | None:
    """Return the arrays in a file of `numpy.savez` by name, or None if it is no such file or is not whole."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
    except Exception:  # NumPy and zipfile raise many kinds for files that are damaged or foreign
        return None
    return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else None


def check_figure_name(path: Path) -> None:
    """Refuse `path` unless its suffix names a format of figures."""
    if path.suffix.lower() not in FIGURES:
        refuse("output", str(path), f"a name that ends in {', '.join(FIGURES[:-1])} or {FIGURES[-1]}")


def save_figure(figure: object, path: Path) -> None:
    """Write a figure in the format that its name ends in, and close it; raises `InvalidInput` for another name."""
    check_figure_name(path)
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200, format=path.suffix[1:].lower())
    plt.close(figure)
