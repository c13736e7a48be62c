"""With label noise, excess units of the student cost accuracy if the first layer learns alone, and gain it if both layers do.

Erf units, M = 2, after Goldt et al. (2019); points are medians over random starts, bars their range. Left: the error against
time. Right: against K. With both layers it falls with K, as they found. With the first layer alone it grows with every
excess unit at alpha = 2512, as they found to first order in the rate; but this is not the end. Excess units pair: two become
opposite to each other, so that they cancel, and grow slowly, so that they saturate and fluctuate less (at K = 4, Q of both is
28 at the last time). So the late error is smaller for K = 4 than for K = 3, smaller for 6 than for 5, and K = 4 and 6 are still
falling. The black line is their formula eta noise^2 (K - M + M / sqrt(3)) / (2 pi) for the first layer, to first order in the
rate; at this rate the error at alpha = 2512 is larger, by 9 % at K = 2 and 56 % at K = 7. ReLU units differ (see the page on
the theory): with the first layer alone their error still grows with K at 1e5; with both layers it falls as M noise /
(8 sqrt(alpha)), at last at every K alike.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 0  # of the first start
UNITS, M, N_STARTS = (2, 3, 4, 5, 6, 7), 2, 3
ETA, NOISE = 0.2, 0.1
TIMES = np.concatenate([[0.0], np.geomspace(1.0, 1e6, 61)])
EARLY = 35


def errors(n_units: int, both: bool, seed: int):
    """Return eps_g at TIMES from random weights of the student and an orthonormal teacher."""
    rng = np.random.default_rng(seed)
    weights = np.sqrt(0.1) * rng.standard_normal((n_units, 500))
    teacher = np.sqrt(500) * np.linalg.qr(rng.standard_normal((500, M)))[0].T
    v = 0.5 * rng.standard_normal(n_units) if both else np.ones(n_units)
    Q, R, T = weights @ weights.T / 500, weights @ teacher.T / 500, teacher @ teacher.T / 500
    initial = ts.plain_committee(Q=Q, R=R, T=T, v=v, v_teacher=np.ones(M))
    rule = ts.LearningRule(eta_xi_in=ETA, eta_v=ETA if both else 0.0, noise=NOISE)
    return ts.integrate(ts.Problem(initial=initial, rule=rule), TIMES, rtol=1e-7, atol=1e-10)["eps_g"].values


fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
seeds = range(SEED, SEED + N_STARTS)
for both, dash, name in ((False, "-", "first layer"), (True, "--", "both layers")):
    runs = np.array([[errors(K, both, seed) for seed in seeds] for K in UNITS])
    for K, colour in ((2, ts.plots.COLOURS[6]), (3, ts.plots.COLOURS[1]), (4, ts.plots.COLOURS[0])):
        axes[0].loglog(TIMES[1:], runs[UNITS.index(K), 0, 1:], dash, color=colour, label=f"$K={K}$, {name}")
    shown = [(-1, "o", ts.plots.COLOURS[2 if both else 3])] + ([] if both else [(EARLY, "s", ts.plots.COLOURS[4])])
    for time, marker, colour in shown:
        middle = np.median(runs[:, :, time], axis=1)
        bars = np.abs(np.array([runs[:, :, time].min(axis=1), runs[:, :, time].max(axis=1)]) - middle)
        label = rf"{name}, $\alpha={TIMES[time]:,.0f}$"
        axes[1].errorbar(UNITS, middle, yerr=bars, fmt=dash + marker, color=colour, capsize=2, label=label)
        print(
            f"erf, {name}, alpha = {TIMES[time]:.0f}: "
            + ", ".join(f"K = {K}: {e:.2e}" for K, e in zip(UNITS, middle, strict=True))
        )
first_order = ETA * NOISE**2 / (2 * np.pi) * (np.array(UNITS) - M + M / np.sqrt(3))
axes[1].plot(UNITS, first_order, color="black", linewidth=0.8, label=r"first layer, first order in $\eta$")
axes[0].set(xlabel=r"time $\alpha$ = steps / $N$", ylabel=r"generalisation error $\epsilon_g$")
axes[0].legend(frameon=False, fontsize=8)
axes[1].set(xlabel=f"student units $K$ ($M={M}$)", ylabel=r"generalisation error $\epsilon_g$", yscale="log")
axes[1].legend(frameon=False, fontsize=8)
fig.savefig("odes_overparameterised_student.png", dpi=200)
