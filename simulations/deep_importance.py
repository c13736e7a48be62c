"""Claim: importances of trained modes, ranked, follow two power laws. On the digits the verdict is printed, with its control.

Held in form only, and weakly. tau spans a factor of 1.2 from the largest to the smallest of 40 modes, so that "power law"
says little. Two power laws are supported in 4 or 5 of 5 trained networks with unit fields (rounding decides), but in 3 of 5
before any training, and in 2 of 5 before and after with the paper's initial weights, where tau spans 4.0 before and 3.2 after.
The two regimes are therefore no sign of learning here: sorted random numbers look the same.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import teacher_student as ts

WIDTH, MODES, SEEDS, MATRIX = 300, 40, 5, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the figure (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="of the first network (default: 0)")
    options = parser.parse_args()

    data = ts.deep.load_data("digits")
    fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for row, initialisation in zip(axes, ("unit-fields", "li-huang"), strict=True):
        for ax, trained in zip(row, (False, True), strict=True):
            supported, ranges = 0, []
            for seed in range(options.seed, options.seed + SEEDS):
                model = ts.deep.ModeMLPClassifier(
                    (WIDTH, WIDTH), MODES, initialisation=initialisation, max_iter=30 if trained else 1, random_state=seed
                )
                if not trained:
                    model.set_params(learning_rate=1e-30)
                model.fit(data.X_train, data.y_train)
                if model.interrupted_:
                    raise KeyboardInterrupt
                laws = ts.deep.fits.fit_power_laws(ts.deep.importance.mode_importance(model.layers_[MATRIX]))
                supported += laws.two_supported
                ranges.append(laws.tau[0] / laws.tau[-1])
            when = "after training" if trained else "before training"
            print(
                f"{initialisation}, {when}: two power laws supported in {supported} of {SEEDS} networks, "
                f"largest / smallest tau {np.mean(ranges):.2f}"
            )
            ts.deep.figures.importance(laws, ax=ax)
            ax.set_title(f"{initialisation}, {when}", fontsize=9)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "simulations_deep_importance.png"
    fig.savefig(path, dpi=200)
    print(path)


if __name__ == "__main__":
    main()
