"""Momentum at fixed beta is a rescaled learning rate; with 1 - beta = gamma / N it has inertia, rings and lengthens the plateau.

Two erf units on an orthogonal teacher. Left: runs at the same eta / (1 - beta) lie on the curve of plain SGD at that rate, for a
velocity forgets within 1 / (1 - beta) steps, which is no time on the scale of N steps. Right: at the same eta / gamma the memory
is a time 1 / gamma like those of learning itself. The velocity carries the student past the symmetric plateau, so that the error
rises again before it settles, and what leaves the plateau at a rate lambda without inertia does so at
sqrt(gamma^2 / 4 + gamma lambda) - gamma / 2 with it. Much friction is plain SGD at the rate eta / gamma.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
RATE, N_INPUTS, REPLICAS = 1.0, 500, 16
BETAS, FRICTIONS = (0.0, 0.5, 0.9), (1.0, 0.3, 0.1)
TIMES = np.concatenate([[0.0], np.geomspace(1.0, 150.0, 100)])


def problem(**rule: float) -> ts.Problem:
    """Return the problem, whose start breaks the symmetry between the units slightly."""
    initial = ts.plain_committee(
        Q=[[0.2, 0.0], [0.0, 0.3]], R=[[0.06, 0.03], [0.02, 0.05]], T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
    )
    return ts.Problem(initial=initial, rule=ts.LearningRule("erf", **rule), alpha=TIMES)


plain = ts.integrate(problem(eta_xi_in=RATE))["eps_g"]
fixed = {rf"$\beta={beta:g}$": problem(eta_xi_in=RATE * (1 - beta), momentum=beta) for beta in BETAS}
slow = {rf"$\gamma={gamma:g}$": problem(eta_xi_in=RATE * gamma, friction=gamma) for gamma in FRICTIONS}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True, layout="constrained")
panels = ((axes[0], fixed, "-", "plain SGD, theory"), (axes[1], slow, "--", r"plain SGD, $\gamma\to\infty$"))
for ax, problems, dash, limit in panels:
    for i, (label, stated) in enumerate(problems.items()):
        colour, marker = ts.plots.COLOURS[i], ts.plots.MARKERS[i]
        runs = ts.simulate(stated, n_inputs=N_INPUTS, replicas=REPLICAS, seed=SEED + i, method="overlaps")["eps_g"]
        mean, error = runs.mean("replica"), runs.std("replica", ddof=1) / np.sqrt(REPLICAS)
        theory = ts.integrate(stated, runs["alpha"].values)["eps_g"]
        if problems is slow:
            ax.loglog(theory["alpha"][1:], theory[1:], color=colour)
        shown = slice(1 + 2 * i, None, 6)
        style = {"fmt": marker, "color": colour, "markersize": 4, "capsize": 2, "elinewidth": 0.8}
        ax.errorbar(runs["alpha"][shown], mean[shown], yerr=error[shown], label=label, **style)
        deviation = float(np.sqrt((((mean - theory) / error)[1:] ** 2).mean()))
        print(f"{label.strip('$')}: runs deviate from the theory by {deviation:.2f} standard errors (root mean square)")
    ax.loglog(TIMES[1:], plain[1:], dash, color="black", linewidth=1.2, label=limit, zorder=1)
    ax.set_xlabel(r"time $\alpha$ = steps / $N$")
    ax.legend(frameon=False, loc="lower left", title=f"lines: theory; points: {REPLICAS} runs, $N={N_INPUTS}$", alignment="left")
axes[0].set(title=r"fixed $\beta$, $\eta/(1-\beta)=1$", ylabel=r"generalisation error $\epsilon_g$")
axes[1].set(title=r"friction $\gamma$, $1-\beta=\gamma/N$, $\eta/\gamma=1$")
fig.savefig("simulations_heavy_ball.png", dpi=200)
