"""How a command ends: with an exit status, and with one line on stderr if something was wrong."""

from __future__ import annotations

import sys

from teacher_student.errors import one_line

OK, DIFFERS, REFUSED, DIVERGED = 0, 1, 2, 3
FAILED = 70  # an internal error: EX_SOFTWARE of sysexits.h
INTERRUPTED, TERMINATED = 130, 143  # 128 + SIGINT, 128 + SIGTERM, as shells have it


def tell(message: object) -> None:
    """Print `message` on stderr, in one line."""
    print(f"teacher-student: {one_line(str(message))}", file=sys.stderr)
