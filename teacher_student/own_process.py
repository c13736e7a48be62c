"""What a process that is this package's alone, such as one of the command line, can do without."""

from __future__ import annotations

import sys


def leave_out_dask() -> None:
    """Let xarray do without dask, which it imports wherever dask is installed, also for data that are in memory.

    Dask then cannot be imported in this process. The import takes longer than most commands.
    """
    sys.modules.setdefault("dask", None)  # type: ignore[arg-type]  # None: "not found", without a search
