"""At finite N noise drives runs off a plateau that the infinite-N equations never leave; the time this takes grows as ln N.

Two erf units start at their symmetric plateau, one unit with x^2 outputs orthogonal to the teacher. Both are fixed points, where
the ODE stays for ever. Left: mean time until eps_g is half its value there, with standard errors. Filled: runs of the exact
chain, here up to N = 10^5; those at 10^6 and 10^7 take long and are from the table in docs/theory/escape.rst. Open:
leaps, with drift and noise of the theory. Lines: the prediction (ln N + constant) / (2 mu) from rate and noise at the
fixed point. Right: single runs at the smallest and the largest N. The times' standard deviation does not depend on N.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
CHAIN, LEAPS = {100: 32, 1000: 32, 10_000: 16, 100_000: 8}, {10**6: 12, 10**7: 12, 10**8: 16}  # N: replicas
# Two erf units at N = 10^6 and 10^7, drawn a little to the left: copied from docs/theory/escape.rst, where
# the lines of code are that repeat it.
LONG_CHAIN, LABEL = ([0.75e6, 0.75e7], [79.9, 92.5], [2.9, 2.2]), "two erf units, chain, 12 and 20 runs\n(docs/theory/escape.rst)"

SYMMETRIC = dict(Q=[[1.27, 0.72], [0.72, 1.27]], R=np.full((2, 2), 1.376), T=4.0 * np.eye(2), v=np.ones(2), v_teacher=np.ones(2))
BLIND = dict(Q=[[0.4]], R=[[0.0]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
STUDIES = {
    "two erf units": ts.Problem(initial=ts.plain_committee(**SYMMETRIC), rule=ts.LearningRule(eta_xi_in=1.0)),
    "one $x^2$ unit": ts.Problem(initial=ts.plain_committee(**BLIND), rule=ts.LearningRule("quadratic", eta_xi_in=0.07)),
}


fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for (name, problem), colour, marker in zip(STUDIES.items(), ts.plots.COLOURS, ts.plots.MARKERS, strict=False):
    point = ts.fixed_point(problem)
    for i, (N, replicas) in enumerate((CHAIN | LEAPS).items()):
        length, method = ts.plateau_length(point, N), "leaps" if N in LEAPS else "chain"
        grid = np.linspace(0.0, length.mean[0] + 4.0 * length.deviation, 100)
        run, how = (ts.leap, {}) if N in LEAPS else (ts.simulate, {"method": "overlaps"})
        trajectory = run(point.problem, grid, n_inputs=N, replicas=replicas, seed=SEED + i, **how)
        times = ts.passage_times(trajectory, 0.5 * point.eps_g).values
        times = np.where(np.isnan(times), grid[-1], times)  # a lower bound for a run that is still there
        mean, error = times.mean(), times.std(ddof=1) / np.sqrt(replicas)
        print(f"{name}, {method}, N = {N:.0e}: {mean:.1f} +- {error:.1f}, predicted {length.mean[0]:.1f}")
        style = {"fmt": marker, "color": colour, "mfc": "white" if N in LEAPS else colour, "markersize": 5, "capsize": 2}
        label = f"{name}, {method}" if N in (min(CHAIN), min(LEAPS)) else None
        left.errorbar(N, mean, yerr=error, label=label, **style)
        if N in (min(CHAIN), max(LEAPS)):
            parts, dash = np.arange(1, replicas + 1) / replicas, "-" if N in LEAPS else "--"
            label = f"{name}, {method}, $N=10^{len(str(N)) - 1}$"
            right.step(np.sort(times), parts, dash, where="post", color=colour, label=label)
            right.plot(grid, ts.escape_probability(length, grid)[0], color="black", linewidth=0.8)
    left.semilogx([*CHAIN, *LEAPS], ts.plateau_length(point, [*CHAIN, *LEAPS]).mean, color="black", linewidth=0.8)
left.errorbar(*LONG_CHAIN, fmt="D", color="black", markersize=4, capsize=2, label=LABEL)
left.set(xlabel="inputs $N$", ylabel=r"mean escape time $\alpha$", ylim=(0, 170))
right.set(xlabel=r"time $\alpha$ = steps / $N$", ylabel="part of the runs that has escaped", ylim=(-0.02, 1.5))
right.set_yticks(np.linspace(0.0, 1.0, 6))
for ax in (left, right):
    ax.plot([], [], color="black", linewidth=0.8, label="prediction, no fit")
    ax.legend(frameon=False, fontsize=8, loc="upper left")
fig.savefig("simulations_plateau_escape.png", dpi=200)
