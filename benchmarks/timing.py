"""What every benchmark shares: the machine in one line, times, and problems of a given size."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import teacher_student as ts

RUNS = 5


def machine() -> str:
    """Return processor, cores, system and Python version.

    Virtual machines hide the processor's name, so that its family, model and clock are told where the system knows them.
    """
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        told = {name.strip(): value.strip() for name, _, value in pairs}
        details = [f"{name} {told[name]}" for name in ("cpu family", "model", "cpu MHz") if name in told]
        processor = told.get("model name", processor) + (f", {', '.join(details)}" if details else "")
    return f"{processor} ({platform.machine()}), {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def least_seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the least wall time of `runs` calls after one that compiles and warms up: what else runs only adds to it."""
    work()
    shortest = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest


def committee(K: int, M: int, P: int | None = None) -> ts.OrderParameters:
    """Return a plain committee machine (no `P`) or a student of `P` modes, some way on from a random start."""
    rng = np.random.default_rng(0)
    rows = K if P is None else P
    R = 0.4 / max(rows, M) * rng.random((rows, M))  # small enough to be overlaps at any size
    if P is None:
        return ts.plain_committee(Q=0.5 * np.eye(K), R=R, T=np.eye(M), v=np.ones(K), v_teacher=np.ones(M))
    return ts.OrderParameters(
        Q_modes=0.5 * np.eye(P),
        R_modes=R,
        T=np.eye(M),
        sigma=np.ones(P),
        xi_out=rng.standard_normal((K, P)) / np.sqrt(P),
        v=np.full(K, 0.5),
        v_teacher=np.ones(M),
    )
