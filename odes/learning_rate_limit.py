"""Above a maximal learning rate perfect learning is unstable and a committee keeps a finite error, without any label noise.

Left: where the fixed point Q = R = T = 1 of K = M units loses its stability, from the spectrum of the Jacobian. The dashed
curve sqrt(3) pi / (K - 1 + 3 / sqrt(5)) is exact for K = 1 and within 1 % for the others. Right: the error that is left at a
late time, against the rate in units of this maximal rate. The error sets in continuously.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

UNITS = (1, 2, 3, 4, 5, 6, 8)
UNITS_OF_TRANSITION = (1, 2, 3)
REDUCED_RATES = np.concatenate([[0.7, 0.8, 0.9, 0.95], np.linspace(0.99, 1.01, 3), [1.03, 1.06], np.linspace(1.1, 1.3, 5)])
LAST_ALPHA = 2000.0


def problem(n_units: int, eta: float, q: float, r: float) -> ts.Problem:
    """Return the problem of `n_units` orthonormal teacher units, with Q = q and R = r times the identity to begin with."""
    one, v = np.eye(n_units), np.ones(n_units)
    initial = ts.plain_committee(Q=q * one, R=r * one, T=one, v=v, v_teacher=v)
    return ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=eta), alpha=[0.0, LAST_ALPHA])


def closed_form(n_units):
    """Return the dashed curve."""
    return np.sqrt(3.0) * np.pi / (n_units - 1.0 + 3.0 / np.sqrt(5.0))


limits = {}
for K in UNITS:
    rates = closed_form(K) * np.array([0.9, 1.1])
    limits[K] = ts.continuation(problem(K, rates[0], 1.0, 1.0), "eta_xi_in", rates, xtol=1e-5).stability_lost
    print(f"K = {K}: maximal rate {limits[K]:.4f}, closed form {closed_form(K):.4f}")
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
axes[0].loglog(list(limits), list(limits.values()), "o", color=ts.plots.COLOURS[0], label="spectrum at perfect learning")
fine = np.linspace(1.0, UNITS[-1], 200)
label = r"$\sqrt{3}\,\pi\,/\,(K-1+3/\sqrt{5})$"
axes[0].loglog(fine, closed_form(fine), "--", color="black", label=label)
axes[0].set_xticks(UNITS, [str(K) for K in UNITS])
axes[0].set_xticks([], minor=True)
axes[0].set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
axes[0].set_yticks([], minor=True)
axes[0].set(xlabel="units $K=M$", ylabel=r"maximal learning rate $\eta_{\max}$")
axes[0].legend(frameon=False)
for K, colour, marker in zip(UNITS_OF_TRANSITION, ts.plots.COLOURS, ts.plots.MARKERS, strict=False):
    left = [ts.integrate(problem(K, x * limits[K], 0.5, 0.1))["eps_g"].values[-1] for x in REDUCED_RATES]
    axes[1].plot(REDUCED_RATES, left, "-" + marker, color=colour, markersize=4, label=f"$K=M={K}$")
axes[1].axvline(1.0, color="black", linewidth=0.8)
axes[1].set(xlabel=r"learning rate $\eta/\eta_{\max}$", ylabel=rf"$\epsilon_g$ at $\alpha={LAST_ALPHA:g}$")
axes[1].legend(frameon=False)
fig.savefig("odes_learning_rate_limit.png", dpi=200)
