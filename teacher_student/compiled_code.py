"""A place for compiled code where numba finds none."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any


def ensure_a_place() -> None:
    """Let this process, and those that it starts, keep compiled code in a temporary folder if there is no lasting place for it.

    numba keeps it in NUMBA_CACHE_DIR, or beside the modules, or in the user's cache folder. Where none of them can be written, a
    package in a read-only image without a home say, it would refuse to import the modules.
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
