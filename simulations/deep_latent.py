"""Claim: activity gets more compact from layer to layer, and classes are better separated than under standard training.

Held for compactness: with modes the participation ratio falls from 12.9 at the input to 7.7(2) in the second hidden layer,
earlier than under standard training (8.6(2) there), and to 7.2(2) in the last, where standard training has 6.9(5). Did not hold
for separation: the mean principal angle between class subspaces is smaller with modes, 71(1) against 76(1) degrees in the
second hidden layer and 68(1) against 70(1) in the last. Angles with permuted labels, 37 to 46 degrees, show what no classes
would give. In brackets the standard error of the last digit, over six networks.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 0  # of the first network
WIDTH, MODES, SEEDS = 300, 20, 6


data = ts.deep.load_data("digits")
results = {}
for name, kind in (("modes", {"n_modes": MODES}), ("standard training", {"decomposition": "none"})):
    for seed in range(SEED, SEED + SEEDS):
        model = ts.deep.ModeMLPClassifier((WIDTH, WIDTH, WIDTH), max_iter=20, random_state=seed, **kind)
        ts.deep.uninterrupted(model.fit(data.X_train, data.y_train))
        results.setdefault(name, []).append(ts.deep.latent_geometry(model, data.X_test, data.y_test))
for quantity in ("dimension", "angle", "permuted_angle"):
    for name, runs in results.items():
        values = np.array([getattr(run, quantity) for run in runs])
        error = values.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        shown = ", ".join(f"{mean:.2f} +- {spread:.2f}" for mean, spread in zip(values.mean(axis=0), error, strict=True))
        print(f"{quantity} by layer, {name}: {shown}")
fig, axes = plt.subplots(2, 1, figsize=(6.5, 7), layout="constrained")
ts.deep.figures.dimension(results, ax=axes[0])
ts.deep.figures.separation(results, ax=axes[1])
fig.savefig("simulations_deep_latent.png", dpi=200)
