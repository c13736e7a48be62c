"""The memory of this machine."""

from __future__ import annotations

import os


def bytes_of_memory() -> int | None:
    """Return the size of this machine's memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
