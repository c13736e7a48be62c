"""At finite N noise drives runs off a plateau that the infinite-N equations never leave; the time this takes grows as ln N.

Both problems start exactly at an unstable fixed point, where the ODE stays for ever. Left: mean time until eps_g is half its
value there, with standard errors, over six decades of N: runs of the exact chain (filled) and, where its steps are too many, leaps
with the drift and noise of the theory (open), both at N = 10,000. The lines are the prediction (ln N + constant) / (2 lambda) from
the rate lambda and the noise at the fixed point, which has no fitted parameter. Right: the times of single runs spread with a
standard deviation that does not depend on N; their distribution at the smallest and the largest N against the predicted one.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts
from teacher_student.analysis.stages import passage_times
from teacher_student.theory.plateau import escape_probability

CHAIN, LEAP = [100, 1000, 10_000], [10_000, 10**5, 10**6, 10**7, 10**8]
REPLICAS = 40


def committee() -> ts.Problem:
    """Two erf units on an orthogonal teacher: the symmetric plateau."""
    one, v = np.eye(2), np.ones(2)
    initial = ts.plain_committee(Q=0.3 * one, R=np.full((2, 2), 0.01), T=3.0 * one, v=v, v_teacher=v)
    return ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.5))


def phase_retrieval() -> ts.Problem:
    """One unit with x^2 outputs, blind to the sign of its field: it has to find the teacher's direction."""
    initial = ts.plain_committee(Q=[[0.4]], R=[[0.0]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    return ts.Problem(initial=initial, rule=ts.LearningRule("quadratic", eta_xi_in=0.07))


STUDIES = {"two erf units": (committee(), 40.0), "one $x^2$ unit": (phase_retrieval(), None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the figure (default: here)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulations (default: 1)")
    options = parser.parse_args()

    fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for (name, (problem, near)), colour, marker in zip(STUDIES.items(), ts.plots.COLOURS, ts.plots.MARKERS, strict=False):
        point = ts.fixed_point(problem, near=near)
        sizes = CHAIN + LEAP
        length = ts.plateau_length(point, sizes)
        for i, (N, mean) in enumerate(zip(sizes, length.mean, strict=True)):
            grid = np.linspace(0.0, mean + 5.0 * length.deviation, 100)
            settings = {"n_inputs": N, "replicas": REPLICAS, "seed": options.seed + i}
            leaps = i >= len(CHAIN)
            run = ts.leap(point.problem, grid, **settings) if leaps else ts.simulate(point.problem, grid, method="overlaps", **settings)
            times = passage_times(run, 0.5 * point.eps_g).values
            late = np.isnan(times).sum()
            times = np.where(np.isnan(times), grid[-1], times)  # a lower bound for the few runs that are still there
            error = times.std(ddof=1) / np.sqrt(REPLICAS)
            label = f"{'leaps' if leaps else 'chain'}, {name}" if i in (0, len(CHAIN)) else None
            style = {"fmt": marker, "color": colour, "mfc": "white" if leaps else colour, "markersize": 5, "capsize": 2}
            axes[0].errorbar(N * (1.15 if leaps else 0.87), times.mean(), yerr=error, label=label, **style)
            how = "leaps" if leaps else "chain"
            print(f"{name}, {how} at N = {N:.0e}: {times.mean():.1f} +- {error:.1f}, predicted {mean:.1f}, {late} still there")
            if N in (sizes[0], sizes[-1]):
                label = f"{name}, $N=10^{{{np.log10(N):.0f}}}$"
                axes[1].step(np.sort(times), np.arange(1, REPLICAS + 1) / REPLICAS, where="post", color=colour, label=label)
                fine = np.linspace(0.0, grid[-1], 400)
                axes[1].plot(fine, escape_probability(ts.plateau_length(point, N), fine)[0], color="black", linewidth=0.8)
        axes[0].semilogx(sizes, length.mean, color=colour)
    axes[0].set(xlabel="inputs $N$", ylabel=r"mean escape time $\alpha$")
    axes[1].set(xlabel=r"time $\alpha$ = steps / $N$", ylabel="part of the runs that has escaped")
    for ax in axes:
        ax.legend(frameon=False, fontsize=9)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "simulations_plateau_escape.png"
    fig.savefig(path, dpi=200)
    print(path)


if __name__ == "__main__":
    main()
