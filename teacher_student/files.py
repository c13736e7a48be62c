"""Where results go: places checked before the work, files that are whole or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from teacher_student.errors import InvalidInput, refuse


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
    if path.is_dir():
        refuse(name, str(path), "a file, not a folder")
    _try_to_write(folder, path, name)


def _try_to_write(folder: Path, path: Path, name: str) -> None:
    probe = folder / f".teacher-student-{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        refuse(name, str(path), f"a place that can be written ({error.strerror})")


def save_figure(figure: object, path: Path) -> None:
    """Write a figure as PNG and close it."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=200, format="png")
    plt.close(figure)
