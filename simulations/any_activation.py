"""Whatever the activation, SGD follows the order-parameter equations, also one of the user's own; the plateau's length differs.

Runs leave the plateau at slightly different times, so that their geometric mean is compared with the theory.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
N_INPUTS, REPLICAS = 1000, 16


def snake(x: float) -> float:
    """The activation x + sin(x)^2 of Ziyin, Hartwig and Ueda (2020)."""
    return x + math.sin(x) ** 2


def snake_prime(x: float) -> float:
    return 1.0 + math.sin(2.0 * x)


# A rate of the first layer well below the largest stable one of each.
RATES = {"erf": 1.0, "tanh": 1.0, "gelu": 0.8, "snake": 0.15}
LAST_ALPHA = {"erf": 200.0, "tanh": 130.0, "gelu": 75.0, "snake": 150.0}


def problem_of(activation: str) -> ts.Problem:
    initial = ts.plain_committee(
        Q=[[0.25, 0.0], [0.0, 0.2]],
        R=[[0.05, 0.02], [0.03, 0.04]],
        T=[[1.0, 0.0], [0.0, 1.0]],
        v=[1.0, 1.0],
        v_teacher=[1.0, 1.0],
    )
    rule = ts.LearningRule(activation, eta_xi_in=RATES[activation])
    return ts.Problem(initial=initial, rule=rule, alpha=ts.log_spaced_times(0.1, LAST_ALPHA[activation], 36), name=activation)


ts.register_activation("snake", snake, snake_prime)
fig, ax = plt.subplots(figsize=(5.5, 4.0), layout="constrained")
problems = [problem_of(activation) for activation in RATES]
with ThreadPoolExecutor(2) as pool:  # sampled averages take seconds
    theories = list(pool.map(ts.integrate, problems))
styles = zip(RATES, problems, theories, ts.plots.COLOURS, ts.plots.MARKERS, strict=False)
for activation, problem, theory, colour, marker in styles:
    theory = theory.isel(alpha=slice(1, None))
    runs = ts.simulate(problem, n_inputs=N_INPUTS, replicas=REPLICAS, seed=SEED, method="overlaps")
    runs = runs["eps_g"].isel(alpha=slice(1, None))
    logarithm = np.log(runs)
    mean = np.exp(logarithm.mean("replica"))
    error = mean * logarithm.std("replica", ddof=1) / np.sqrt(REPLICAS)
    ax.loglog(theory["alpha"], theory["eps_g"], color=colour)
    style = {"color": colour, "marker": marker, "markersize": 3.5, "linestyle": "none", "capsize": 2}
    ax.errorbar(runs["alpha"], mean, yerr=error, label=rf"{activation}, $\eta={RATES[activation]:g}$", **style)
    average_error = theory.attrs.get("average_error", 0.0)
    print(f"{activation}: largest standard error of the right-hand side {average_error:.1e}, eps_g {float(mean[-1]):.2e}")
ax.set_xlabel(r"time $\alpha$ = steps / $N$")
ax.set_ylabel(r"generalisation error $\epsilon_g$")
ax.set_ylim(1e-6, 3.0)
ax.legend(frameon=False, title=rf"lines: theory; points: {REPLICAS} runs, $N={N_INPUTS}$", alignment="left")
fig.savefig("simulations_any_activation.png", dpi=200)
