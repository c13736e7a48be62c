"""A place for compiled code if numba finds none, and a second process that compiles at the same time as this one."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Compiled code is the same for all problems, so one step of each method is enough. It takes two replicas, because the chain of a
# single one has code of its own. The diffusion matrix comes first: the theory needs it before the simulations start.
_BESIDE_THE_THEORY = """
import gc
gc.disable()
import numpy as np
import teacher_student as ts
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.diffusion import step_moments
problem = ts.load_problem("staircase")
state, rule = problem.initial, problem.rule
coordinates = coordinates_of(state, rule)
step_moments(coordinates.start, state, rule, coordinates, np.zeros((1, state.n_modes + state.n_teacher + 1)))
for method in ("overlaps", "weights"):
    ts.simulate(problem, [1 / 400], n_inputs=400, replicas=2, method=method, progress=False)
"""
# Which module of `teacher_student.sgd` has the steps of a method.
_MODULES = {"weights": "weights", "overlaps": "chain"}


def ensure_a_place() -> None:
    """Let this process, and those that it starts, keep compiled code in a temporary folder if there is no lasting place for it.

    numba keeps it in NUMBA_CACHE_DIR, or beside the modules, or in the user's cache folder. If none of them can be written, for
    example in a read-only image without a home folder, numba would refuse to import the modules.
    """
    if os.access(Path(__file__).parent, os.W_OK):
        return
    # numba is imported only in this rare case, and has no types.
    caching: Any = importlib.import_module("numba.core.caching")
    config: Any = importlib.import_module("numba.core.config")
    try:
        caching.FunctionCache(ensure_a_place)
    except RuntimeError:
        folder = tempfile.mkdtemp(prefix="teacher_student-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = config.CACHE_DIR = folder
        warnings.warn(
            "no lasting place for compiled code: every run compiles again; set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def compiling_simulations() -> Iterator[Callable[[], object]]:
    """Let another process compile what simulations need, if it never was, and yield a function that waits until it has.

    numba compiles one function at a time; a process can do so on another core while the block compiles the theory. What compiling
    leaves behind is not searched for garbage on the way: there is much of it, and it stays.
    """
    if _is_compiled("weights") and _is_compiled("overlaps"):
        yield lambda: None
        return
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BESIDE_THE_THEORY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # then this process compiles when it needs the code
        yield lambda: None
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        yield process.wait
    finally:
        if collects:
            gc.enable()
        process.kill()
        process.wait()


def _is_compiled(method: str) -> bool:
    """Return whether there is compiled code of a simulation that can still be used; True if numba does not tell."""
    kernel: Any = importlib.import_module(f"teacher_student.sgd.{_MODULES[method]}").run_steps
    try:
        return bool(kernel._cache._cache_file._load_index())
    except Exception:  # these are inner parts of numba
        return True
