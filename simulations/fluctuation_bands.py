"""Runs at finite N spread around the theory in a band of width N^(-1/2), until a plateau ends at another time in each of them.

Plain committee K = M = 3. Top: the predicted band (mean and two standard deviations of the linear noise) and single runs.
Bottom: measured spread over the predicted one; shaded, twice the sampling error of the measured spread. It is 1 on the way to
the plateau and on it. At the exit the prediction fails, first by overestimating the spread at N = 100. Then runs that leave late
carry the spread, while the predicted one falls with the theory's error: at alpha = 400 it is hundreds of times the predicted one
at N = 100 and 500. At N = 3000 the prediction holds within 20 per cent to the end.
"""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
SIZES, REPLICAS = (100, 500, 3000), 64
LAST_ALPHA = 400.0


problem = ts.load_problem("saad-solla-1995")
problem = dataclasses.replace(problem, alpha=ts.log_spaced_times(1.0, LAST_ALPHA, 41))
theory = ts.integrate(problem, fluctuations=True)
fig, axes = plt.subplots(2, 1, figsize=(6.5, 6.5), sharex=True, layout="constrained")
for N, colour, marker in zip(SIZES, ts.plots.COLOURS, ts.plots.MARKERS, strict=False):
    runs = ts.simulate(problem, n_inputs=N, replicas=REPLICAS, seed=SEED, method="overlaps")["eps_g"]
    alpha, (mean, spread) = theory["alpha"].values[1:], ts.predict(theory, N)["eps_g"].values[:, 1:]
    if SIZES[1] == N:
        label = rf"predicted mean $\pm$ 2 deviations, $N={N}$"
        axes[0].fill_between(alpha, np.maximum(mean - 2 * spread, 1e-9), mean + 2 * spread, color=colour, alpha=0.3, label=label)
        axes[0].loglog(alpha, runs[:12, 1:].T, color="black", linewidth=0.5)
        axes[0].loglog([], [], color="black", linewidth=0.5, label="12 runs of the chain")
    ratio = runs.std("replica", ddof=1).values[1:] / spread
    axes[1].loglog(alpha, ratio, "-" + marker, color=colour, markersize=3.5, label=f"$N={N}$")
    print(f"N = {N}: measured / predicted spread from {ratio.min():.2f} to {ratio.max():.2f}")
sampling = 2.0 / np.sqrt(2.0 * (REPLICAS - 1))
axes[1].axhspan(1 - sampling, 1 + sampling, color="0.85", zorder=0, label=r"1 $\pm$ 2 sampling errors")
axes[0].set(ylabel=r"generalisation error $\epsilon_g$", ylim=(1e-5, 1))
axes[1].set(ylabel=r"spread of $\epsilon_g$: measured / predicted", xlabel=r"time $\alpha$ = steps / $N$")
for ax in axes:
    ax.legend(frameon=False, loc="lower left" if ax is axes[0] else "upper left")
fig.savefig("simulations_fluctuation_bands.png", dpi=200)
