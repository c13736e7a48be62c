"""ReLU networks at a finite learning rate follow the ODE with its eta^2 term; the small-rate equations miss the noise of SGD.

Two ReLU units on an orthogonal teacher, time in units of 1 / eta. Straat and Biehl (2019) solved ReLU networks for small rates,
where the eta^2 term drops out. The same equations follow here from batches so large that the term, of order eta^2 / batch, is
gone. At the small rate both curves lie on SGD. At the finite rate SGD follows the full equations, through a plateau of three
times the error and off it. Points are geometric means over runs, which leave the plateau at slightly different times: filled
ones of the exact chain of the overlaps, which has the law of SGD, open ones of SGD on weights at a smaller N.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
RATES = (0.03, 1.0)
TIMES = np.concatenate([[0.0], np.geomspace(0.2, 100.0, 55)])
ALL_INPUTS = 10**12  # a batch so large that its gradient has no noise
# Name, N, number of runs and marker of a method.
ENSEMBLES = {
    "overlaps": ("SGD (exact chain)", 2000, 16, {"marker": "o", "color": "black"}),
    "weights": ("SGD on weights", 500, 4, {"marker": "s", "color": ts.plots.COLOURS[2], "markerfacecolor": "none"}),
}


def problem(eta: float, batch_size: int = 1) -> ts.Problem:
    """Return the problem with the specialisation of its start slightly broken."""
    initial = ts.plain_committee(
        Q=[[0.2, 0.0], [0.0, 0.3]], R=[[0.06, 0.03], [0.02, 0.05]], T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
    )
    rule = ts.LearningRule("relu", eta_xi_in=eta, batch_size=batch_size)
    return ts.Problem(initial=initial, rule=rule, alpha=TIMES / eta)


fig, axes = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True, layout="constrained")
for ax, eta in zip(axes, RATES, strict=True):
    full, small = ts.integrate(problem(eta)), ts.integrate(problem(eta, ALL_INPUTS))
    ax.loglog(TIMES[1:], small["eps_g"][1:], "--", color=ts.plots.COLOURS[1], label=r"theory without the $\eta^2$ term")
    ax.loglog(TIMES[1:], full["eps_g"][1:], color=ts.plots.COLOURS[0], label="theory")
    at = int(np.searchsorted(TIMES, 10.0))
    print(f"eta = {eta:g}, 10 / eta: theory {full['eps_g'].values[at]:.4f}, without {small['eps_g'].values[at]:.4f}")
    for k, (method, (name, N, replicas, style)) in enumerate(ENSEMBLES.items()):
        runs = ts.simulate(problem(eta), n_inputs=N, replicas=replicas, seed=SEED, method=method)
        logarithm = np.log(runs["eps_g"])
        mean = np.exp(logarithm.mean("replica"))
        error = mean * logarithm.std("replica", ddof=1) / np.sqrt(replicas)
        shown = slice(1 + k, None, 3)
        style = {**style, "linestyle": "none", "markersize": 3.5, "capsize": 2, "elinewidth": 0.8}
        label = f"{name}, $N={N}$, {replicas} runs"
        ax.errorbar(eta * runs["alpha"][shown], mean[shown], yerr=error[shown], label=label, **style)
        print(f"  {name}, N = {N}: {mean.values[at]:.4f} +- {error.values[at]:.4f}")
    ax.set(title=rf"$\eta={eta:g}$", xlabel=r"time $\eta\alpha$", ylim=(1e-6, 1))
axes[0].set_ylabel(r"generalisation error $\epsilon_g$")
axes[0].legend(frameon=False, loc="lower left")
fig.savefig("simulations_relu_finite_rate.png", dpi=200)
