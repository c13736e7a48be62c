"""Li and Huang's on-line setting in theory: the error falls in steps, hidden units align with the teacher one after another.

Only the P input modes learn (K = M = 8); every curve has its own random student and teacher. Top: three sizes N with
P = int(ln N) modes, as in the paper. Middle: several P at N = 1000. Falls and plateaus are there for all of them; their number
and their times differ from draw to draw and show no simple order in N or P. Bottom: the cosines of student units with teacher
units at N = 30. Circles: the onsets of `ts.specialization`, after which a unit keeps half of the degree of specialisation it can
attain. One is before the first fall, none within it, one between the falls, four are within the second; two units have none.
Units 1, 2 and 7 can attain little, 0.02 to 0.06, since their teacher units are almost parallel to others.
"""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the random teachers and students
N_INPUTS = (30, 100, 1000)
MODES, N_OF_MODES = (2, 4, 6, 10), 1000
N_UNITS = 8
RULE = ts.LearningRule(eta_xi_in=5.0)


@cache
def theory(n_inputs: int, n_modes: int, seed: int):
    """Return the solution of the ODEs from the overlaps of weights drawn as in the paper."""
    rng = np.random.default_rng(seed)
    weights = ts.networks.li_huang_weights(n_inputs, N_UNITS, n_modes, rng)
    times = ts.log_spaced_times(0.1, 1e5)
    problem = ts.Problem(initial=ts.networks.overlaps(weights), rule=RULE, alpha=times, n_inputs=n_inputs)
    return ts.integrate(problem, rtol=1e-12, atol=1e-15)


by_size = {n_inputs: theory(n_inputs, int(np.log(n_inputs)), SEED) for n_inputs in N_INPUTS}
by_modes = {n_modes: theory(N_OF_MODES, n_modes, SEED) for n_modes in MODES}
fig, axes = plt.subplots(3, 1, figsize=(6.5, 9), sharex=True, layout="constrained")
for ax, trajectories, fixed in ((axes[0], by_size, None), (axes[1], by_modes, N_OF_MODES)):
    for (key, trajectory), colour, dash in zip(trajectories.items(), ts.plots.COLOURS, ts.plots.DASHES, strict=False):
        late = trajectory.isel(alpha=slice(1, None))
        label = f"$N={fixed or key}$, $P={late.sizes['mode']}$"
        ax.loglog(late["alpha"], late["eps_g"], dash, color=colour, label=label)
        stages = ts.stages(trajectory)
        print(label.replace("$", "") + ": " + ", ".join(f"{s.kind} to {s.alpha_end:.3g}" for s in stages))
    ax.set_ylabel(r"generalisation error $\epsilon_g$")
    ax.set_ylim(bottom=1e-12)  # the tolerance of the integrator
    ax.legend(frameon=False, loc="lower left")
smallest = by_size[N_INPUTS[0]]
ts.plots.student_teacher_overlaps(theory=smallest, ax=axes[2])
for stage in ts.stages(smallest):
    if stage.kind == "fall":
        axes[2].axvspan(stage.alpha_start, stage.alpha_end, color="0.9", zorder=0)
found = ts.specialization(smallest)
for k, (onset, m) in enumerate(zip(found["onset"].values, found["closest"].values, strict=True)):
    cosine = np.interp(onset, smallest["alpha"], found["normalized_overlaps"][:, k, m])
    axes[2].plot(onset, cosine, "o", color=ts.plots.COLOURS[k], markeredgecolor="black", zorder=3)
    since = "never" if np.isnan(onset) else f"from alpha = {onset:.4g} on"
    print(f"N = {N_INPUTS[0]}: student {k} specialised on teacher {m} {since}")
axes[2].set_ylim(0.0, 1.05)
title = f"$N={N_INPUTS[0]}$: each unit with the teacher unit it is closest to in the end\n"
axes[2].set_title(title + r"circles: onset of specialisation; grey: falls of $\epsilon_g$", fontsize=9)
fig.savefig("odes_hierarchical_stages.png", dpi=200)
