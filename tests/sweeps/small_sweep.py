"""A sweep of six points, and how tests run it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import xarray as xr

import teacher_student as ts

SWEEP = """
seed = 3
simulation = "overlaps"
[vary]
rule.eta_xi_in = [0.2, 0.5, 0.8]
rule.noise = [0.0, 0.3]
[problem.initial]
kind = "plain"
Q = [[0.2, 0.0], [0.0, 0.3]]
R = [[0.1, 0.0], [0.0, 0.05]]
T = [[1.0, 0.0], [0.0, 1.0]]
v = [1.0, 1.0]
v_teacher = [1.0, 1.0]
[problem.rule]
eta_xi_in = 0.5
[problem.run]
alpha = [0.0, 1.0, 2.0]
n_inputs = 30
replicas = 3
"""


def sweep(source: Any, folder: str, pool: Executor) -> xr.Dataset:
    return ts.sweep(source, folder, executor=pool, workers=1, progress=False)


class Interrupting(Executor):
    """Runs in this thread what is submitted, notes the points, and is interrupted in place of the batch after `after` batches."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.done: list[int] = []

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        if self.after == 0:
            raise KeyboardInterrupt
        self.after -= 1
        self.done += [index for index, _, _ in arguments[0].points]
        job: Future[Any] = Future()
        job.set_result(function(*arguments, **options))
        return job
