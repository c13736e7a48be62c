"""Li and Huang's setting against SGD: the stages of the theory are there at N = 30 already, their edges a few per cent off.

The overlaps of the paper's student and teacher at N = 30 are kept while N grows, so that one ODE stands for all sizes. Runs are
of the exact chain of overlaps, which has the law of SGD. Top: the mean error; thin vertical lines are the edges of the stages
that `ts.stages` finds in the theory: three plateaus and two falls between; the last plateau goes on beyond the times shown.
Bottom: the relative gap between the mean of runs and the theory, with standard errors. The printed lists compare the edges.
"""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
N_INPUTS = (30, 80, 200)
LAST_ALPHA = 5000.0
REPLICAS = 16


problem = ts.load_problem("li-huang-2023")
problem = dataclasses.replace(problem, alpha=ts.log_spaced_times(0.2, LAST_ALPHA, 41))
theory = ts.integrate(problem)
expected_stages = ts.stages(theory)
fig, axes = plt.subplots(2, 1, figsize=(6.5, 6.5), sharex=True, layout="constrained")
late = theory.isel(alpha=slice(1, None))
axes[0].loglog(late["alpha"], late["eps_g"], color="black", label=r"theory, $N\to\infty$")
for i, stage in enumerate(expected_stages[1:]):
    for ax in axes:
        label = "edges of stages, theory" if i == 0 else None
        ax.axvline(stage.alpha_start, color="0.6", linewidth=0.8, label=label)
print("theory: " + ", ".join(f"{stage.kind} to {stage.alpha_end:.4g}" for stage in expected_stages))
for n_inputs, colour, marker in zip(N_INPUTS, ts.plots.COLOURS, ts.plots.MARKERS, strict=False):
    simulation = ts.simulate(problem, n_inputs=n_inputs, replicas=REPLICAS, seed=SEED, method="overlaps")
    runs = simulation["eps_g"].isel(alpha=slice(1, None))
    mean, error = runs.mean("replica"), runs.std("replica", ddof=1) / np.sqrt(REPLICAS)
    style = {"color": colour, "marker": marker, "markersize": 3.5, "linestyle": "none", "capsize": 2}
    label = f"chain, $N={n_inputs}$, {REPLICAS} runs"
    axes[0].errorbar(runs["alpha"], mean, yerr=error, label=label, **style)
    # At the simulation's own times, which are whole steps.
    expected = ts.integrate(problem, runs["alpha"].values)["eps_g"]
    gap = (mean - expected) / expected
    axes[1].errorbar(runs["alpha"], gap, yerr=error / expected, label=label, **style)
    found = ts.stages(simulation)
    print(f"N = {n_inputs}: " + ", ".join(f"{s.kind} to {s.alpha_end:.4g} +- {s.alpha_end_error:.2g}" for s in found))
    print(f"N = {n_inputs}: mean |deviation| of eps_g from the theory {float(abs(gap).mean()):.3f} of its value")
axes[1].axhline(0.0, color="black", linewidth=0.8)
axes[0].set_ylabel(r"generalisation error $\epsilon_g$")
axes[1].set_ylabel(r"relative deviation of $\langle\epsilon_g\rangle$")
axes[1].set_xlabel(r"time $\alpha$ = steps / $N$")
axes[0].legend(loc="lower left", framealpha=1.0, edgecolor="white")
fig.savefig("simulations_stages_at_finite_n.png", dpi=200)
