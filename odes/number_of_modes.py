"""A student needs as many modes as the teacher's weight matrix has rank, and no more.

M = 4 teacher units whose weights span 1, 2 or 3 directions; K = 4 student units with P modes, every factor learns. Points are
draws of teacher and start, the line joins the best draw of each P. Below P = rank no draw gets rid of its error: modes that
are missing cannot be made up for. From P = rank on, the best draw gets as far as the time or the integrator allows, while others
still rest on a plateau at the last time: enough modes make perfect learning possible, not certain.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 0  # of the first draw
RANKS, MODES, UNITS, N_DRAWS = (1, 2, 3), (1, 2, 3, 4, 5), 4, 4
LAST_ALPHA = 3e4
RULE = ts.LearningRule(eta_xi_in=0.2, eta_sigma=0.2, eta_xi_out=0.2, eta_v=0.2)


def final_error(rank: int, n_modes: int, seed: int) -> float:
    """Return eps_g at LAST_ALPHA for one draw, or what the integrator resolves of it; the teacher does not depend on n_modes."""
    N, rng = 1000, np.random.default_rng([seed, rank])
    directions = np.sqrt(N) * np.linalg.qr(rng.standard_normal((N, rank)))[0].T
    W_teacher = np.linalg.qr(rng.standard_normal((UNITS, rank)))[0] @ directions * np.sqrt(UNITS / rank)
    rng = np.random.default_rng([seed, rank, n_modes])
    weights = ts.networks.Weights(
        xi_in=rng.standard_normal((n_modes, N)),
        sigma=np.full(n_modes, 0.5),
        xi_out=rng.standard_normal((UNITS, n_modes)) / np.sqrt(n_modes),
        v=rng.standard_normal(UNITS),
        W_teacher=W_teacher,
        v_teacher=np.ones(UNITS),
    )
    problem = ts.Problem(initial=ts.networks.overlaps(weights), rule=RULE)
    theory = ts.integrate(problem, [0.0, LAST_ALPHA])
    return max(float(theory["eps_g"].values[-1]), ts.resolved_eps_g(theory))


fig, axes = plt.subplots(1, len(RANKS), figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, rank, colour in zip(axes, RANKS, ts.plots.COLOURS, strict=False):
    draws = product([rank], MODES, range(SEED, SEED + N_DRAWS))
    with ThreadPoolExecutor(2) as pool:
        left = np.reshape(list(pool.map(final_error, *zip(*draws, strict=True))), (len(MODES), N_DRAWS))
    ax.semilogy(np.repeat(MODES, N_DRAWS), left.ravel(), "o", color=colour, markersize=4, alpha=0.5, label="draws")
    ax.semilogy(MODES, left.min(axis=1), color=colour, label="best draw")
    ax.axvline(rank, color="black", linewidth=1.2, linestyle=":", label="$P$ = rank")
    ax.set(title=f"teacher of rank {rank}", xlabel="modes $P$ of the student", xticks=MODES)
    print(f"rank {rank}: least eps_g " + ", ".join(f"P = {P}: {e:.1e}" for P, e in zip(MODES, left.min(axis=1), strict=True)))
axes[0].set_ylabel(r"generalisation error $\epsilon_g$ at $\alpha=3\cdot10^4$")
axes[0].legend(frameon=False, fontsize=9)
fig.savefig("odes_number_of_modes.png", dpi=200)
