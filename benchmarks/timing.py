"""What every benchmark shares: the machine in one line, times, and problems of a given size."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import teacher_student as ts

RUNS = 5
Clock = Callable[[], Any]


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


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> Any:
    """Return how far `clock` goes during one call: the wall clock, `time.thread_time`, or several clocks as an array."""
    begin = clock()
    work()
    return clock() - begin


def least_in_turn(works: Sequence[Callable[[], object]], runs: int = RUNS, clock: Clock = time.perf_counter) -> list[Any]:
    """Return the least time of each of `works` over `runs` rounds, after one that compiles and warms up.

    What else runs on a machine only adds to a time, and in turn it adds to all of them.
    """
    for work in works:
        work()
    rounds = [[seconds(work, clock) for work in works] for _ in range(runs)]
    return list(np.min(rounds, axis=0))


def least_seconds(work: Callable[[], object], runs: int = RUNS, clock: Clock = time.perf_counter) -> Any:
    """Return the least time of `runs` calls after one that compiles and warms up."""
    return least_in_turn([work], runs, clock)[0]


def seconds_per_step(work: Callable[[int], object], n_steps: int, runs: int) -> float:
    """Return the least time of this thread over `runs` runs of `n_steps` after one that compiles, a step."""
    return least_seconds(lambda: work(n_steps), runs, time.thread_time) / n_steps


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
