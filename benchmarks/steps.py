"""Microseconds a step against N: SGD on weights beside the exact chain of the overlaps, as ratios within the same run.

K = 4, P = M = 3, erf, every factor learning; one thread; the median of five runs after one that compiles.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import numpy as np

import teacher_student as ts

RULE = ts.LearningRule(eta_xi_in=0.5, eta_sigma=0.2, eta_xi_out=0.2, eta_v=0.2, noise=0.1)
N_INPUTS = (100, 1_000, 10_000)
RUNS = 5


def problem() -> ts.Problem:
    """Return a problem with K = 4, P = M = 3."""
    rng = np.random.default_rng(0)
    state = ts.OrderParameters(
        Q_modes=0.5 * np.eye(3),
        R_modes=0.1 * np.eye(3),
        T=np.eye(3),
        sigma=np.ones(3),
        xi_out=0.5 * rng.standard_normal((4, 3)),
        v=np.full(4, 0.5),
        v_teacher=np.ones(3),
    )
    return ts.Problem(initial=state, rule=RULE)


def microseconds_per_step(method: str, n_inputs: int, n_steps: int) -> float:
    """Return the median over `RUNS` runs of one replica."""
    seconds = []
    for _ in range(RUNS + 1):
        begin = time.perf_counter()
        ts.simulate(problem(), [n_steps / n_inputs], n_inputs=n_inputs, method=method, progress=False)
        seconds.append(time.perf_counter() - begin)
    return 1e6 * statistics.median(seconds[1:]) / n_steps


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    print("      N   weights [us/step]   overlaps [us/step]   ratio")
    for n_inputs in N_INPUTS:
        weights = microseconds_per_step("weights", n_inputs, max(10_000, 20_000_000 // n_inputs))
        overlaps = microseconds_per_step("overlaps", n_inputs, 500_000)
        print(f"{n_inputs:7d}   {weights:17.2f}   {overlaps:18.3f}   {weights / overlaps:5.0f}")


if __name__ == "__main__":
    main()
