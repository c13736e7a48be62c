"""What a command can rely on wherever it is started: output that cannot stop it, SIGTERM as Ctrl-C, figures without a screen."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from teacher_student.outcome import tell

# SIGTERM to all processes of a job and to its first one are one request.
_SECONDS_OF_ONE_REQUEST = 5.0


class _Steady:
    """A text stream that goes on without a reader and without the letters that its encoding lacks.

    `error` is what else went wrong: a full disk, for one.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._note(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.error = error
        # Python writes what is left in the stream when it ends.
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextlib.contextmanager
def steady_output() -> Iterator[Callable[[], bool]]:
    """Let writing to stdout and stderr never fail in the block; yield what tells whether all of stdout could be written.

    It could if nobody reads it, as in ``teacher-student presets | true``.
    """
    out, err = (_Steady(stream or io.StringIO()) for stream in (sys.stdout, sys.stderr))  # None if closed

    def written() -> bool:
        out.flush()
        if out.error is not None:
            tell(f"output: got {out.error.strerror}, expected to write to the standard output")
        return out.error is None

    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield written
        finally:
            out.flush()
            err.flush()


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM, which batch systems send before they kill, raise `KeyboardInterrupt`; yield what tells whether it came."""
    last: list[float] = []

    def interrupt(*_: object) -> None:
        if not last or time.monotonic() - last[-1] > _SECONDS_OF_ONE_REQUEST:
            last.append(time.monotonic())
            raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # what is ignored stays ignored
        yield lambda: False
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield lambda: bool(last)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def figures_without_a_screen() -> Iterator[None]:
    """Let matplotlib, which is imported later, draw for files, whatever the user's own settings say."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before
