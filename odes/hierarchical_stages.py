"""Li and Huang's on-line setting in theory: the error falls in steps, hidden units align with the teacher one after another.

Only the P = int(ln N) input modes learn (K = M = 8); three sizes N, each with its own random teacher.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

N_INPUTS = (30, 100, 1000)
N_UNITS = 8
RULE = ts.LearningRule(eta_xi_in=5.0)


def theory(n_inputs: int, seed: int):
    """Return the solution of the ODEs from the overlaps of weights drawn as in the paper."""
    rng = np.random.default_rng(seed)
    weights = ts.networks.li_huang_weights(n_inputs, N_UNITS, int(np.log(n_inputs)), rng)
    times = ts.log_spaced_times(0.1, 1e5)
    return ts.integrate(ts.Problem(initial=ts.networks.overlaps(weights), rule=RULE, alpha=times, n_inputs=n_inputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the figure (default: here)")
    parser.add_argument("--seed", type=int, default=1, help="of the random teachers and students (default: 1)")
    options = parser.parse_args()

    trajectories = {n_inputs: theory(n_inputs, options.seed) for n_inputs in N_INPUTS}
    fig, axes = plt.subplots(2, 1, figsize=(6.5, 6.5), sharex=True, layout="constrained")
    for (n_inputs, trajectory), colour, dash in zip(trajectories.items(), ts.plots.COLOURS, ts.plots.DASHES, strict=False):
        late = trajectory.isel(alpha=slice(1, None))
        label = f"$N={n_inputs}$, $P={late.sizes['mode']}$"
        axes[0].loglog(late["alpha"], late["eps_g"], dash, color=colour, label=label)
    axes[0].set_ylabel(r"generalisation error $\epsilon_g$")
    axes[0].set_ylim(bottom=1e-13)  # below, eps_g is a difference lost in rounding
    axes[0].legend(frameon=False)
    ts.plots.student_teacher_overlaps(theory=trajectories[N_INPUTS[0]], ax=axes[1])
    axes[1].set_title(f"$N={N_INPUTS[0]}$: each unit with the teacher unit it is closest to in the end", fontsize=9)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "odes_hierarchical_stages.png"
    fig.savefig(path, dpi=200)
    print(path)


if __name__ == "__main__":
    main()
