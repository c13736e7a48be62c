"""The largest learning rate falls with the number of hidden units: what is left of the error, over the rate and K.

Committees K = M with orthonormal teacher units, erf, sweep of the theory over both. Colours: eps_g at a late time. The line is
sqrt(3) pi / (K - 1 + 3 / sqrt(5)), above which perfect learning is unstable. For K of 7 and 8 runs from this start end in another
state a little below it. Dots: eps_g still changes at the last time; crosses: the student has outgrown all bounds before.
"""

from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

import numpy as np

import teacher_student as ts

ETA, UNITS = "rule.eta_xi_in", range(1, 9)


def start(K: int) -> dict[str, object]:
    """Return the table of K orthonormal teacher units, and a student that is a little specialised."""
    one = np.eye(K)
    return {"kind": "plain", "Q": 0.5 * one, "R": 0.1 * one, "T": one, "v": np.ones(K), "v_teacher": np.ones(K)}


plan = ts.Sweep(
    {"rule": {"eta_xi_in": 1.0}, "run": {"alpha": {"first": 1.0, "last": 2000.0, "points": 67}}},
    vary={"initial": [start(K) for K in UNITS], ETA: {"logarithmic": [0.4, 5.0, 31]}},
    variables=["eps_g"],
)
with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as executor:
    dataset = ts.sweep(plan, folder, executor=executor)
dataset = dataset.assign_coords(initial=("initial", list(UNITS), {"long_name": "units $K=M$"}))
dataset[ETA].attrs["long_name"] = r"learning rate $\eta$"
final = ts.sweep_values(dataset, "final")
fig, ax = ts.plots.phase_diagram(dataset, ETA, "initial", final)
units = np.linspace(0.6, 8.4, 200)
ax.plot(np.sqrt(3.0) * np.pi / (units - 1.0 + 3.0 / np.sqrt(5.0)), units, color="white")
ax.set(xlim=(0.385, 5.2), ylim=(0.5, 8.5))
learnt = (final["value"] < 1e-6).values
for K, row in zip(UNITS, learnt, strict=True):
    rates = dataset[ETA].values
    exact = np.sqrt(3.0) * np.pi / (K - 1.0 + 3.0 / np.sqrt(5.0))
    lost = rates[rates > rates[row].max()].min()
    print(f"K = {K}: learnt up to a rate of {rates[row].max():.2f}, not at {lost:.2f}; closed form {exact:.2f}")
fig.savefig("odes_largest_rate.png", dpi=200)
