"""The usual work beside NumPy, PyTorch and JAX: right-hand side, theory to alpha = 1000, SGD steps a second.

A plain committee with erf, K = M, first layer learning, one thread. Right-hand sides and theory are processor time, the least
of several runs; steps a second are the best by the wall clock of several runs, ours and the others' in turn. NumPy's theory
is that of LSODA in SciPy with the right-hand side in NumPy, at the same tolerances. Libraries that are not installed are left
out with a word.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from right_hand_side import SIZES, errors, plain_problem, time_integration, time_right_hand_side
from timing import least_seconds, machine

import teacher_student as ts

STEPS = {1_000: 10_000, 10_000: 2_000}
ROUNDS = 3
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def package_steps_per_second(n_inputs: int) -> float:
    """Return what `simulate` does with one replica, what surrounds the steps included."""
    problem = ts.Problem(initial=plain_problem(4).initial, rule=ts.LearningRule(eta_xi_in=0.5), n_inputs=n_inputs)
    times = [40 * STEPS[n_inputs] / n_inputs]
    return 40 * STEPS[n_inputs] / least_seconds(lambda: ts.simulate(problem, times, progress=False))


def baseline_steps_per_second(n_inputs: int) -> dict[str, float | None]:
    """Return steps a second of the other libraries, measured in a process of their own that has one thread."""
    code = f"import json, baselines; print(json.dumps(baselines.measure({n_inputs}, {STEPS[n_inputs]})))"
    settings = {"cwd": Path(__file__).parent, "env": {**os.environ, **ONE_THREAD}, "check": True, "text": True}
    printed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, **settings).stdout
    return json.loads(printed.splitlines()[-1])


def show_theory() -> None:
    """Print right-hand sides and integration, compiled and in NumPy."""
    timed = {K: time_right_hand_side(K) for K in SIZES}
    print("right-hand side [us], K = M =      " + "".join(f"{K:>10d}" for K in SIZES))
    print("this package                       " + "".join(f"{1e6 * timed[K][0]:10.2f}" for K in SIZES))
    print("NumPy                              " + "".join(f"{1e6 * timed[K][1]:10.0f}" for K in SIZES))
    print("ratio                              " + "".join(f"{timed[K][1] / timed[K][0]:10.0f}" for K in SIZES))
    print()
    print("theory                             this package [ms]   NumPy and SciPy [ms]   ratio   error of overlaps, of eps_g")
    for problem in (plain_problem(4), ts.load_problem("li-huang-2023")):
        ours, theirs = time_integration(problem)
        label = f"{problem.name} to alpha = {problem.alpha[-1]:g}"
        found = "{:.0e}, {:.0e}".format(*errors(problem))
        print(f"{label:35s}{1e3 * ours:17.1f}{1e3 * theirs:23.0f}{theirs / ours:8.0f}   {found:>27s}", flush=True)


def show_simulation() -> None:
    """Print steps a second of SGD on weights."""
    ours, others = dict.fromkeys(STEPS, 0.0), {N: dict[str, float | None]() for N in STEPS}
    for N in list(STEPS) * ROUNDS:
        ours[N] = max(ours[N], package_steps_per_second(N))
        for name, speed in baseline_steps_per_second(N).items():
            others[N][name] = max(others[N].get(name) or 0.0, speed) if speed else None
    print("SGD on weights, steps a second     " + "".join(f"{f'N = {N}':>12s}{'ratio':>8s}" for N in STEPS))
    print("this package, float64              " + "".join(f"{ours[N]:12.0f}{1:8.1f}" for N in STEPS))
    for name in others[1_000]:
        speeds = {N: others[N][name] for N in STEPS}
        cells = "".join(
            f"{speed:12.0f}{ours[N] / speed:8.1f}" if speed else "  not installed     " for N, speed in speeds.items()
        )
        print(f"{name:35s}{cells}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(machine())
    print()
    show_theory()
    print()
    show_simulation()


if __name__ == "__main__":
    main()
