"""Files that are whole or absent: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from teacher_student.errors import InvalidInput


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which becomes `path` if the block succeeds and is removed if it does not.

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
