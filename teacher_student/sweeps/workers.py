"""The workers of a sweep: processes on this machine, or a dask.distributed cluster."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from teacher_student.errors import check_whole, refuse
from teacher_student.own_process import leave_out_dask
from teacher_student.progress_bars import tqdm

SECONDS_TO_CONNECT = 10.0
# The exceptions of a pool and of distributed for a worker that died, of distributed after it has tried others.
DIED = ("BrokenProcessPool", "KilledWorker")

# An executor, and how many workers it has at the moment.
Workers = tuple[Executor, Callable[[], int]]


@contextlib.contextmanager
def local_workers(count: int) -> Iterator[Workers]:
    """Yield a pool of `count` processes; they end at once if the block fails, or if this process is killed."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = _Pool(count, context, initializer=_prepare, initargs=(reader,))
    try:
        yield pool, lambda: count
    except BaseException:
        writer.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        writer.close()
        reader.close()


def worker_count(workers: int | None) -> int:
    """Return the number of processes, by default one a core; raises `InvalidInput` for less than 1."""
    if workers is None:
        return os.cpu_count() or 1
    return check_whole("workers", workers, 1)


def check_script(count: int) -> None:
    """Refuse `count` processes where they cannot import what has started this one, for it came from no file."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and not os.path.exists(script):
        refuse(
            "workers", count, f"a script in a file, which processes import; {script} is none (python FILE instead of python -)"
        )


@contextlib.contextmanager
def cluster_workers(address: str) -> Iterator[Workers]:
    """Yield the executor of the dask.distributed scheduler at `address`; raises `InvalidInput` if there is none.

    Batches of a worker that dies are run again by another one.
    """
    try:
        Client: Any = importlib.import_module("distributed").Client  # an extra, and without types
    except ImportError:
        refuse("cluster", address, "the package distributed (pip install 'teacher_student[cluster]')")
    try:  # not as the default, which a client that fails would stay, for all that xarray loads after it
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (
        OSError,
        ValueError,
        TypeError,
        AssertionError,
    ) as error:  # of types if what an address needs is not there, such as certificates
        refuse("cluster", address, f"the address of a dask scheduler that answers ({error or type(error).__name__})")
    with client:
        yield client.get_executor(pure=False), lambda: sum(client.nthreads().values())


class _Pool(ProcessPoolExecutor):
    """Processes that Ctrl-C and SIGTERM do not reach, not even while they start (where the system can block these).

    A terminal or a batch system sends them to all processes of a command; what they mean is the parent's to say.
    """

    def submit(self, *arguments: Any, **named: Any) -> Any:
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(*arguments, **named)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # processes inherit it
        try:
            return super().submit(*arguments, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(reader: Connection) -> None:
    """Leave Ctrl-C and SIGTERM to the parent, do without dask, and end when it closes its end of the pipe or is no more."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    leave_out_dask()
    tqdm.set_lock(threading.RLock())  # its own lock, shared between processes, would be reported as leaked

    def watch() -> None:
        reader.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
