"""All students look alike on the symmetric plateau; it ends when the unstable directions of its fixed point have grown.

Plain committee K = M = 3 after Saad and Solla (1995). Top: the error for three learning rates, thin lines the fixed point; the
overlaps R_km for the middle rate split into one large and two small a unit when the plateau ends. Bottom left: the plateau ends
(eps_g at half its fixed point) soonest near a rate of 1. The line is a constant over the escape rate lambda, with the constant
of the smallest rate. It has the right shape but is up to 50 % too high at large rates: how close a run comes to
the fixed point also depends on the rate. Bottom right: the spectrum of the Jacobian at the fixed point. The largest eigenvalue
belongs to four directions (x4); from a rate of about 1.2 there are two more unstable ones (x2).
"""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

RATES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5)
SHOWN = (0.2, 0.5, 1.3)


preset = ts.load_problem("saad-solla-1995")
times = ts.log_spaced_times(0.5, 3000.0, 181)
problems = {eta: dataclasses.replace(preset, rule=ts.LearningRule(eta_xi_in=eta), alpha=times) for eta in RATES}
runs = {eta: ts.integrate(problem) for eta, problem in problems.items()}
near = ts.fixed_point(preset, near=30.0).state
down = ts.continuation(preset, "eta_xi_in", RATES[3::-1], near=near)
up = ts.continuation(preset, "eta_xi_in", RATES[3:], near=near)
points = {**dict(zip(down.values, down.points, strict=True)), **dict(zip(up.values, up.points, strict=True))}

fig, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
for eta, colour, dash in zip(SHOWN, ts.plots.COLOURS, ts.plots.DASHES, strict=False):
    axes[0, 0].loglog(times[1:], runs[eta]["eps_g"][1:], dash, color=colour, label=rf"$\eta={eta}$")
    axes[0, 0].axhline(points[eta].eps_g, color=colour, linewidth=0.6)
axes[0, 0].set(ylim=(1e-8, 2), xlabel=r"time $\alpha$ = steps / $N$", ylabel=r"generalisation error $\epsilon_g$")
axes[0, 0].legend(frameon=False, loc="lower left")
R = runs[SHOWN[1]]["R"].values
for k, m in np.ndindex(3, 3):
    label = f"student {k}" if m == 0 else None
    axes[0, 1].semilogx(times[1:], R[1:, k, m], ts.plots.DASHES[m], color=ts.plots.COLOURS[k], label=label)
axes[0, 1].set(xlabel=r"time $\alpha$ = steps / $N$", ylabel=rf"overlaps $R_{{km}}$ at $\eta={SHOWN[1]}$")
for m in range(3):
    axes[0, 1].plot([], [], ts.plots.DASHES[m], color="0.4", label=f"teacher {m}")
axes[0, 1].legend(frameon=False)
rates = np.array(sorted(points))
escape = np.array([points[eta].escape_rates[0] for eta in rates])
ends = np.array([float(ts.passage_times(runs[eta], 0.5 * points[eta].eps_g)) for eta in rates])
axes[1, 0].semilogy(rates, ends, "o", color=ts.plots.COLOURS[0], label="ODE, end of the plateau")
axes[1, 0].semilogy(rates, ends[0] * escape[0] / escape, color="black", label=r"constant / $\lambda(\eta)$")
axes[1, 0].set(xlabel=r"learning rate $\eta$", ylabel=r"time $\alpha$")
axes[1, 0].set_yticks([50, 100, 200, 500, 1000], labels=["50", "100", "200", "500", "1000"])
axes[1, 0].legend(frameon=False)
for eta, point in points.items():
    axes[1, 1].plot(np.full(len(point.eigenvalues), eta), point.eigenvalues.real, "_", color=ts.plots.COLOURS[1])
unstable = points[RATES[-1]].escape_rates
for value in np.unique(unstable.round(6)):
    axes[1, 1].text(RATES[-1] + 0.05, value, rf"$\times{np.isclose(unstable, value, rtol=1e-3).sum()}$", va="center")
axes[1, 1].set_xlim(right=RATES[-1] + 0.2)
axes[1, 1].axhline(0.0, color="black", linewidth=0.8)
axes[1, 1].set_yscale("symlog", linthresh=0.01)
axes[1, 1].set(xlabel=r"learning rate $\eta$", ylabel="eigenvalues at the plateau (real parts)")
for eta, end, rate in zip(rates, ends, escape, strict=True):
    print(f"eta = {eta:g}: escape rate {rate:.4f}, end at alpha = {end:.1f}, product {end * rate:.2f}")
fig.savefig("odes_symmetric_plateau.png", dpi=200)
