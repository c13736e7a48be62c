"""The spread between runs falls as N^(-1/2), the deviation of their mean from the ODE as N^(-1), with the amplitudes of theory.

Four units with three modes learn from a teacher of three units, every factor at its own rate, by the exact chain of the overlaps.
Both effects are shown in units of the theory's own V and m, so that the thin lines, predictions without any free constant, have
amplitude 1. The deviation falls faster than its statistical error: where it is not resolved, an arrow shows an upper bound.
"""

import dataclasses

import numpy as np

import teacher_student as ts

SEED = 1  # of the simulations
N_INPUTS = (50, 200, 1000, 10_000, 100_000)
REPLICAS_AT_LARGEST = 8


problem = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array([0.0, 2.0, 5.0, 10.0, 20.0]))
simulations = [
    ts.simulate(problem, n_inputs=N, replicas=replicas, seed=SEED + i, method="overlaps")
    for i, (N, replicas) in enumerate(zip(N_INPUTS, ts.replicas_for(N_INPUTS, REPLICAS_AT_LARGEST), strict=True))
]
result = ts.scaling(simulations)
fig, _ = ts.plots.finite_size_scaling(result)
for name, fit in (("spread", result.spread_exponent), ("deviation of the mean", result.deviation_exponent)):
    print(f"{name}: exponent {fit.value:.3f} +- {fit.error:.3f}, amplitude {fit.amplitude:.2f}")
fig.savefig("simulations_finite_size_scaling.png", dpi=200)
