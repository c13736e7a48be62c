"""How the cost grows with N, K, M, P and replicas: one figure, and the local exponents in words.

A step costs the difference of two simulations, the second of four times as many steps, so that what surrounds the steps does not
count. Times are the least wall clock of five runs after one that compiles. One thread, but for the panel on replicas.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from timing import committee, least_seconds, machine

import teacher_student as ts
from teacher_student.files import save_figure

RULE = ts.LearningRule(eta_xi_in=0.5, eta_sigma=0.2, eta_xi_out=0.2, eta_v=0.2, noise=0.1)
# The shorter of the two simulations lasts at least this long: to start 256 replicas takes a third of it.
SECONDS = 0.3


@dataclass
class Curve:
    """Microseconds against one size."""

    label: str
    sizes: list[int] = field(default_factory=list)
    microseconds: list[float] = field(default_factory=list)

    def exponent(self) -> float:
        """Return the local exponent between the last two sizes."""
        return float(np.log(self.microseconds[-1] / self.microseconds[-2]) / np.log(self.sizes[-1] / self.sizes[-2]))


def microseconds_per_step(state: ts.OrderParameters, method: str, n_inputs: int, replicas: int = 1, threads: int = 1) -> float:
    """Return what one step of one replica costs."""
    problem = ts.Problem(initial=state, rule=RULE, n_inputs=max(n_inputs, state.n_modes + state.n_teacher))
    n_steps = 1000
    with ThreadPoolExecutor(threads) as pool:

        def run(n_steps: int) -> None:
            times = [n_steps / problem.n_inputs]
            ts.simulate(problem, times, replicas=replicas, method=method, executor=pool, progress=False)

        while least_seconds(partial(run, n_steps), runs=1) < SECONDS:
            n_steps *= 2
        short, long = (least_seconds(partial(run, n)) for n in (n_steps, 4 * n_steps))
    return 1e6 * (long - short) / (3 * n_steps * replicas)


def against_size(label: str, what: str, sizes: Sequence[int], cost: Callable[[int], float]) -> Curve:
    """Return `cost` of every size, printed on the way; `what` is the letter of the size."""
    curve = Curve(label)
    for size in sizes:
        curve.sizes.append(size)
        curve.microseconds.append(cost(size))
        exponent = f"   exponent {curve.exponent():.2f}" if len(curve.sizes) > 1 else ""
        print(f"{label:37s} {what:>5s} = {size:9d}   {curve.microseconds[-1]:10.3f} us{exponent}", flush=True)
    return curve


def integration(K: int, M: int) -> float:
    """Return microseconds of a whole integration of the plain committee to alpha = 1000."""
    problem = ts.Problem(initial=committee(K, M), rule=ts.LearningRule(eta_xi_in=0.5))
    return 1e6 * least_seconds(lambda: ts.integrate(problem, 1000.0, progress=False))


def panels() -> dict[str, list[Curve]]:
    """Return the curves of every panel, by the label of its x axis."""
    weights, chain = "SGD on weights, a step", "chain of overlaps, a step"
    small = (2, 4, 8, 16)
    cores = sorted({1, 2, os.cpu_count() or 1})

    def of_units(what: str, units: Callable[[int], tuple[int, int]]) -> list[Curve]:
        def steps(method: str) -> Callable[[int], float]:
            return lambda size: microseconds_per_step(committee(*units(size)), method, 1000)

        return [
            against_size(f"{weights}, N = 1000", what, small, steps("weights")),
            against_size(chain, what, small, steps("overlaps")),
            against_size("theory to alpha = 1000", what, small, lambda size: integration(*units(size))),
        ]

    return {
        "inputs N": [
            against_size(
                weights, "N", (30, 100, 1000, 10_000, 100_000), lambda N: microseconds_per_step(committee(4, 3, 3), "weights", N)
            ),
            against_size(
                chain, "N", (30, 1000, 100_000, 10_000_000), lambda N: microseconds_per_step(committee(4, 3, 3), "overlaps", N)
            ),
        ],
        "units K = M": of_units("K = M", lambda K: (K, K)),
        "student units K (M = 4)": of_units("K", lambda K: (K, 4)),
        "teacher units M (K = 4)": of_units("M", lambda M: (4, M)),
        "modes P (K = M = 4)": [
            against_size(
                f"{weights}, N = 1000", "P", small, lambda P: microseconds_per_step(committee(4, 4, P), "weights", 1000)
            ),
            against_size(chain, "P", small, lambda P: microseconds_per_step(committee(4, 4, P), "overlaps", 1000)),
        ],
        "replicas": [
            against_size(
                f"chain, a step and replica, {n} thread{'s' * (n > 1)}",
                "R",
                (1, 8, 64, 256),
                partial(microseconds_per_step, committee(4, 3, 3), "overlaps", 1000, threads=n),
            )
            for n in cores
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/benchmark_growth.png"), help="where the figure goes")
    arguments = parser.parse_args()
    print(machine())
    curves = panels()
    fig, axes = plt.subplots(3, 2, figsize=(8.0, 9.6), layout="constrained")
    for ax, (label, lines) in zip(axes.flat, curves.items(), strict=True):
        for line, marker, colour in zip(lines, ts.plots.MARKERS, ts.plots.COLOURS, strict=False):
            ax.loglog(line.sizes, line.microseconds, marker=marker, color=colour, label=f"{line.label} ({line.exponent():.1f})")
        ax.set(xlabel=label, ylabel=r"time [$\mu$s]")
        if max(lines[0].sizes) < 1000:
            ax.set_xticks(lines[0].sizes, map(str, lines[0].sizes))
            ax.set_xticks([], minor=True)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** 0.6)  # room for the legend
        ax.legend(fontsize=7, loc="upper left", frameon=False, title="in brackets: last local exponent", title_fontsize=7)
    save_figure(fig, arguments.output)


if __name__ == "__main__":
    main()
