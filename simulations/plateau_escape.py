"""At finite N noise drives runs off a plateau that the infinite-N equations never leave; the time this takes grows as ln N.

Both problems start exactly at an unstable fixed point, where the ODE stays for ever. Left: mean time until eps_g is half its
value there, with standard errors, over six decades of N: runs of the exact chain (filled), and at large N leaps, with the drift
and the noise of the theory (open); both at one N between. The lines are the prediction (ln N + constant) / (2 lambda) from rate
and noise at the fixed point, without a fitted parameter. Right: the times of single runs spread with a standard deviation that
does not depend on N; their distribution at the smallest and the largest N against the predicted one (black).
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts
from teacher_student.analysis.stages import passage_times
from teacher_student.theory.plateau import escape_probability

CHAIN, LEAPS = [100, 1000, 10_000, 100_000], [10**5, 10**6, 10**7, 10**8]
REPLICAS = 24


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
        runs = [("chain", N) for N in CHAIN] + [("leaps", N) for N in LEAPS]
        for i, (method, N) in enumerate(runs):
            length = ts.plateau_length(point, N)
            grid = np.linspace(0.0, length.mean[0] + 5.0 * length.deviation, 100)
            run = ts.leap if method == "leaps" else lambda *args, **given: ts.simulate(*args, **given, method="overlaps")
            trajectory = run(point.problem, grid, n_inputs=N, replicas=REPLICAS, seed=options.seed + i)
            times = passage_times(trajectory, 0.5 * point.eps_g).values
            times = np.where(np.isnan(times), grid[-1], times)  # a lower bound for a run that is still there
            mean, error = times.mean(), times.std(ddof=1) / np.sqrt(REPLICAS)
            print(f"{name}, {method}, N = {N:.0e}: {mean:.1f} +- {error:.1f}, predicted {length.mean[0]:.1f}")
            style = {"fmt": marker, "color": colour, "mfc": "white" if method == "leaps" else colour, "markersize": 5}
            label = f"{name}, {method}" if N in (CHAIN[0], LEAPS[1]) else None
            beside = (1.25 if method == "leaps" else 0.8) if N in CHAIN and N in LEAPS else 1.0
            axes[0].errorbar(beside * N, mean, yerr=error, capsize=2, label=label, **style)
            if i in (0, len(runs) - 1):
                parts, label = np.arange(1, REPLICAS + 1) / REPLICAS, name if i == 0 else None
                axes[1].step(np.sort(times), parts, where="post", color=colour, label=label, linestyle="-" if i else "--")
                axes[1].plot(grid, escape_probability(length, grid)[0], color="black", linewidth=0.8)
        axes[0].semilogx(CHAIN + LEAPS, ts.plateau_length(point, CHAIN + LEAPS).mean, color=colour)
    axes[0].set(xlabel="inputs $N$", ylabel=r"mean escape time $\alpha$")
    axes[1].set(xlabel=r"time $\alpha$ = steps / $N$", ylabel="part of the runs that has escaped")
    axes[0].legend(frameon=False, fontsize=9)
    axes[1].legend(frameon=False, fontsize=9, loc="lower right", title="dashed: $N=10^2$\nsolid: $N=10^8$", title_fontsize=9)
    options.output.mkdir(parents=True, exist_ok=True)
    fig.savefig(options.output / "simulations_plateau_escape.png", dpi=200)
    print(options.output / "simulations_plateau_escape.png")


if __name__ == "__main__":
    main()
