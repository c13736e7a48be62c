"""Linear noise beside the ODEs: seconds of `integrate` without and with fluctuations, and their ratio.

Wall clock, the least of several runs after one that compiles: of presets, and of two units of each kind to alpha = 20.
"""

from __future__ import annotations

import argparse

import numpy as np
from timing import least_seconds, machine

import teacher_student as ts

PRESETS = ("all-factors", "both-layers", "saad-solla-1995", "staircase", "li-huang-2023")
ACTIVATIONS = ("erf", "linear", "quadratic", "relu", "leaky_relu")


def two_units(activation: str) -> ts.Problem:
    """Return two units under a teacher of two."""
    state = ts.plain_committee(
        Q=[[0.5, 0.1], [0.1, 0.4]], R=[[0.2, 0.1], [0.0, 0.1]], T=np.eye(2), v=[1.0, 0.8], v_teacher=[1.0, 1.0]
    )
    eta = 0.1 if activation == "quadratic" else 0.5
    return ts.Problem(state, ts.LearningRule(activation, eta_xi_in=eta, noise=0.1), alpha=[0.0, 1.0, 2.0, 5.0, 10.0, 20.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of which the fastest counts (default: %(default)s)")
    runs = parser.parse_args().runs
    print(machine())
    print("                     coordinates   ODEs [ms]   with noise [ms]   ratio")
    problems = {name: ts.load_problem(name) for name in PRESETS} | {f"two {name}": two_units(name) for name in ACTIVATIONS}
    for name, problem in problems.items():
        n = ts.integrate(problem, fluctuations=True, progress=False).sizes["coordinate"]
        alone = least_seconds(lambda problem=problem: ts.integrate(problem, progress=False), runs)
        both = least_seconds(lambda problem=problem: ts.integrate(problem, fluctuations=True, progress=False), runs)
        print(f"{name:20s} {n:11d}   {1e3 * alone:9.1f}   {1e3 * both:15.1f}   {both / alone:5.1f}", flush=True)


if __name__ == "__main__":
    main()
