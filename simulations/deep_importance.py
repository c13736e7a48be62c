"""Claim: importances of trained modes, ranked, follow two power laws. On the digits the verdict is printed, with its control.

Did not hold. A bend is seen in every network, before any training too, but sorted random numbers bend as much: two power
laws gain more in BIC than in 95 of 100 sorted samples of log-normal numbers in none of 10 trained networks with unit fields
and in 1 of 10 before training, and in none of 10 before or after with the paper's initial weights. BIC alone, for which ranked
numbers are independent, would claim them in four of five such samples. tau spans a factor of only 1.2 from the largest to the
smallest of 40 modes after training from unit fields, where "power law" says little, and 3.3 with the paper's initial weights.
"""

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

SEED = 0  # of the first network
WIDTH, MODES, SEEDS, MATRIX = 300, 40, 10, 1


data = ts.deep.load_data("digits")
fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
for row, initialisation in zip(axes, ("unit-fields", "li-huang"), strict=True):
    for ax, trained in zip(row, (False, True), strict=True):
        supported, ranges = 0, []
        for seed in range(SEED, SEED + SEEDS):
            model = ts.deep.ModeMLPClassifier(
                (WIDTH, WIDTH), MODES, initialisation=initialisation, max_iter=30 if trained else 1, random_state=seed
            )
            if not trained:
                model.set_params(learning_rate=1e-30)
            ts.deep.uninterrupted(model.fit(data.X_train, data.y_train))
            laws = ts.deep.fit_power_laws(ts.deep.mode_importance(model.layers_[MATRIX]))
            supported += laws.two_supported
            ranges.append(laws.tau[0] / laws.tau[-1])
        when = "after training" if trained else "before training"
        print(
            f"{initialisation}, {when}: two power laws supported in {supported} of {SEEDS} networks, "
            f"largest / smallest tau {np.mean(ranges):.2f}"
        )
        ts.deep.figures.importance(laws, ax=ax)
        ax.set_title(f"{initialisation}, {when}, one of {SEEDS} networks", fontsize=9)
fig.savefig("simulations_deep_importance.png", dpi=200)
