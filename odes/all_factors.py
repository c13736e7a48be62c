"""When every factor learns, the input modes do most of the work; the output layers lead for a while, late in the last fall.

The preset all-factors, in theory. d eps_g / d alpha is a sum over factors, (d eps_g / d factor) (d factor / d alpha). Top: the
error. Middle: the share of each factor in the sum. The first fall is almost that of the input modes alone, and they lead in the
last one too, until about 320. From there to 1120 (shaded) output weights and output modes together do more; then the input
modes take over again. Bottom: how far each factor has moved, in units of its norm at the start. Weights of input modes are no
order parameters. For them the curve is that of their overlaps Q and R together, Q being quadratic in the weights, and is not
to be compared with the others in size. The input modes have the largest rate here, 0.5 against 0.2.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

FACTORS = {
    r"input modes $\xi_{\rm in}$": ("Q_modes", "R_modes"),
    r"mode strengths $\sigma$": ("sigma",),
    r"output modes $\xi_{\rm out}$": ("xi_out",),
    "output weights $v$": ("v",),
}


def error(problem, values) -> np.ndarray:
    """Return eps_g of the factors `values`, time first."""
    T, v_teacher = problem.initial.T, problem.initial.v_teacher
    states = (dict(zip(values, at, strict=True)) for at in zip(*values.values(), strict=True))
    return np.array([ts.OrderParameters(T=T, v_teacher=v_teacher, **state).eps_g(problem.rule.activation) for state in states])


def changes(problem, theory, names) -> np.ndarray:
    """Return what the factor `names` alone changes eps_g by from each time to the next, the others held midway."""
    values = {name: theory[name].values for names in FACTORS.values() for name in names}
    middle = {name: 0.5 * (value[1:] + value[:-1]) for name, value in values.items()}
    before, after = ({**middle, **{name: values[name][part] for name in names}} for part in (slice(-1), slice(1, None)))
    return error(problem, after) - error(problem, before)


problem = ts.load_problem("all-factors")
theory = ts.integrate(problem, ts.log_spaced_times(0.01, 3000.0, 1201))
alpha, eps_g = theory["alpha"].values[1:], theory["eps_g"].values
fig, axes = plt.subplots(3, 1, figsize=(6.5, 8), sharex=True, layout="constrained")
axes[0].loglog(alpha, eps_g[1:], color="black")
parts = {names: changes(problem, theory, names) for names in FACTORS.values()}
total = sum(parts.values())
print(f"sum of all parts over the fall of eps_g: {total.sum() / (eps_g[-1] - eps_g[0]):.6f}")
outer = (parts["xi_out",] + parts["v",] - parts["Q_modes", "R_modes"]) / total > 0
print(f"output weights and modes lead from alpha = {alpha[outer].min():.0f} to {alpha[outer].max():.0f}, {outer.sum()} times")
for ax in axes:
    ax.axvspan(alpha[outer].min(), alpha[outer].max(), color="0.9", zorder=0, label=r"$\xi_{\rm out}$ and $v$ lead together")
for (label, names), colour, dash in zip(FACTORS.items(), ts.plots.COLOURS, ts.plots.DASHES, strict=False):
    axes[1].semilogx(alpha, parts[names] / total, dash, color=colour, label=label)
    flat = np.concatenate([theory[name].values.reshape(len(eps_g), -1) for name in names], axis=1)
    distance = np.linalg.norm(flat - flat[0], axis=1) / np.linalg.norm(flat[0])
    of = r"overlaps $Q$, $R$ of the input modes" if len(names) > 1 else label
    axes[2].loglog(alpha, distance[1:], dash, color=colour, label=of)
    print(f"{names[0]}: {parts[names].sum() / total.sum():.3f} of the whole fall of eps_g, moved by {distance[-1]:.2f}")
axes[0].set_ylabel(r"generalisation error $\epsilon_g$")
axes[1].set_ylabel(r"share in $\mathrm{d}\epsilon_g/\mathrm{d}\alpha$")
axes[1].legend(frameon=False)
axes[2].set_ylim(1e-4, 500.0)
axes[2].legend(frameon=False, fontsize=9, loc="upper left")
axes[2].set(xlabel=r"time $\alpha$ = steps / $N$", ylabel=r"$|\theta(\alpha)-\theta(0)|\,/\,|\theta(0)|$")
fig.savefig("odes_all_factors.png", dpi=200)
