"""Leaps to alpha = 100: seconds of one replica at N from a million to 1e12, beside the exact chain's time for as many steps.

Wall clock on one thread, the least of several runs after one that compiles; a sampled drift is followed for a shorter time. The
chain's time is that of a step in a run to alpha = 1 at N = 1e6, times N alpha.
"""

from __future__ import annotations

import argparse
import dataclasses
from concurrent.futures import ThreadPoolExecutor

from timing import least_seconds, machine

import teacher_student as ts

PRESETS = ("staircase", "all-factors", "saad-solla-1995")
N_INPUTS = (10**6, 10**9, 10**12)
ALPHA = 100.0


def seconds_of_leaps(problem: ts.Problem, alpha: float, n_inputs: int, runs: int) -> tuple[float, float]:
    """Return the seconds of one replica, and its number of leaps."""
    with ThreadPoolExecutor(1) as pool:
        given = {"n_inputs": n_inputs, "executor": pool, "progress": False}
        n_leaps = ts.leap(problem, [alpha], **given).attrs["leaps"]
        return least_seconds(lambda: ts.leap(problem, [alpha], **given), runs), n_leaps


def seconds_of_a_step(problem: ts.Problem) -> float:
    """Return what a step of the chain takes one replica."""
    with ThreadPoolExecutor(1) as pool:
        given = {"n_inputs": 10**6, "method": "overlaps", "executor": pool, "progress": False}
        return least_seconds(lambda: ts.simulate(problem, [1.0], **given), 2) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of which the fastest counts (default: %(default)s)")
    runs = parser.parse_args().runs
    print(machine())
    print(f"to alpha = {ALPHA:g}                 N   leaps [s]   number   chain [h]   chain / leaps")
    for name in PRESETS:
        problem = ts.load_problem(name)
        step = seconds_of_a_step(problem)
        for n_inputs in N_INPUTS:
            seconds, n_leaps = seconds_of_leaps(problem, ALPHA, n_inputs, runs)
            chain = step * ALPHA * n_inputs
            print(
                f"{name:20s} {n_inputs:13d}   {seconds:9.2f}   {n_leaps:6.0f}   {chain / 3600:9.3g}   {chain / seconds:13.2g}",
                flush=True,
            )
    problem = ts.load_problem("all-factors")
    closed, n_closed = seconds_of_leaps(problem, 1.0, 10**9, runs)
    sampled = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, activation="tanh"))
    seconds, n_leaps = seconds_of_leaps(sampled, 1.0, 10**9, 1)
    per_leap = seconds / n_leaps
    print(f"all-factors with tanh, whose Gaussian averages are sampled: {per_leap:.2f} s a leap, ", end="")
    print(f"{per_leap / (closed / n_closed):.0f} times that of erf (start included)")


if __name__ == "__main__":
    main()
