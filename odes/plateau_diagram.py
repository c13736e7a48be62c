"""How long the symmetric plateau lasts, over the learning rate and the correlation of the two teacher units.

Plain committee K = M = 2, erf, sweep of the theory. Colours: length of the longest plateau in alpha; white: level lines. The
plateau shortens as 1 / eta at small rates, and lengthens as the teacher units become alike, which the student has then less to
tell apart by. Black: the boundary beyond which no plateau ends up to the last time; there the rate is too large to learn. Dots:
after the plateau comes a stretch that has not ended, a state in which not all is learnt. Right: the same numbers as curves, with
1 / eta dotted.
"""

from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

ETA, CORRELATION = "rule.eta_xi_in", "initial.T.0.1"
start = ts.plain_committee(
    Q=[[0.2, 0.0], [0.0, 0.25]], R=[[0.02, 0.01], [0.01, 0.02]], T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
)
problem = ts.Problem(initial=start, rule=ts.LearningRule(eta_xi_in=0.5), alpha=ts.log_spaced_times(0.1, 3000.0, 121))
plan = ts.Sweep(
    problem,
    vary={
        ETA: {"logarithmic": [0.2, 6.0, 18]},
        f"{CORRELATION}, initial.T.1.0": {"linear": [0.0, 0.8, 9]},
    },
    variables=["eps_g", "Q", "R"],
)
with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as executor:
    dataset = ts.sweep(plan, folder, executor=executor)
dataset[ETA].attrs["long_name"] = r"learning rate $\eta$"
dataset[CORRELATION].attrs["long_name"] = r"correlation $T_{01}$ of the teacher units"
plateau = ts.sweep_values(dataset, "plateau")

fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(5, 4))
ts.plots.phase_diagram(dataset, ETA, CORRELATION, plateau, axes[0], levels=[50, 100, 200, 400])
chosen = {CORRELATION: [0, 4, 6, 8]}
ts.plots.family(dataset.isel(chosen), CORRELATION, plateau.isel(chosen), axes[1])
rates = dataset[ETA].values
axes[1].plot(rates[:9], float(plateau["value"][0, 0]) * rates[0] / rates[:9], ":", color="black")
slow = plateau["value"].isel({ETA: slice(0, 6)})
print("eta times length of the plateau at small rates, by correlation:")
for correlation, row in zip(dataset[CORRELATION].values, (slow * slow[ETA]).transpose(CORRELATION, ETA).values, strict=True):
    print(f"T_01 = {correlation:.1f}: {row.min():.1f} to {row.max():.1f}")
reasons, counts = np.unique(plateau["reason"].values.astype(str), return_counts=True)
print("; ".join(f"{count} points: {reason or 'a plateau that ends'}" for reason, count in zip(reasons, counts, strict=True)))
fig.savefig("odes_plateau_diagram.png", dpi=200)
