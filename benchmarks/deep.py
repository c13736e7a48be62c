"""Training by modes beside standard training, ours and scikit-learn's, as ratios within the same run on the digits.

Networks 64-N-N-10 with ReLU, Adam of rate 0.001 and no weight decay, the same batch and 5 epochs; one BLAS thread for all; the
least processor time of fits in turn, since what else runs on a machine only adds to it. Then the accuracy of 64-300-300-10
after 30 epochs, mean and standard error over seeds that draw another test part each.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from timing import least_in_turn, machine

import teacher_student as ts
from teacher_student.deep.threads import one_blas_thread

P, EPOCHS, FITS, SEEDS = 12, 5, 3, 16


def show_times(data: ts.deep.data.Data) -> None:
    """Print processor times of three kinds of training and their ratios to training by modes."""
    print("     N  batch   modes [s]   none [s]   scikit-learn [s]   none/modes   scikit-learn/modes")
    for N in (1000, 2000):
        for batch in (200, 32, 8):
            same = {"max_iter": EPOCHS, "batch_size": batch, "random_state": 0}
            ours = {**same, "learning_rate": 0.001, "weight_decay": 0.0}
            by_modes = ts.deep.ModeMLPClassifier((N, N), P, **ours)
            standard = ts.deep.ModeMLPClassifier((N, N), decomposition="none", **ours)
            models = (by_modes, standard, MLPClassifier((N, N), alpha=0.0, **same))
            fits = [partial(model.fit, data.X_train, data.y_train) for model in models]
            modes, none, theirs = least_in_turn(fits, FITS, time.process_time)
            times = f"{modes:9.3f}   {none:8.2f}   {theirs:16.2f}"
            print(f"{N:6d}  {batch:5d}   {times}   {none / modes:10.1f}   {theirs / modes:18.1f}", flush=True)


def show_accuracies() -> None:
    """Print the test accuracy against P at N = 300, and how far it is from that of standard training with the same options."""
    print("64-300-300-10, 30 epochs, rate 0.01 that falls as half a cosine; each seed draws another test part of 450")
    print("P    test accuracy        less than standard   (one test part's standard error: sqrt(p (1 - p) / 450))")
    standard = accuracies(decomposition="none")
    for n_modes, decomposition in (*((P, "modes") for P in (2, 4, 8, 12, 20, 64)), (20, "svd")):
        scores = accuracies(n_modes=n_modes, decomposition=decomposition)
        print(f"{n_modes:<3}  {mean_and_error(scores)}   {mean_and_error(standard - scores)}   {decomposition}", flush=True)
    p = float(standard.mean())
    print(f"W    {mean_and_error(standard)}   one test part: {np.sqrt(p * (1 - p) / 450):.4f}")


def accuracies(**kind: object) -> np.ndarray:
    """Return the test accuracy for every seed."""
    options = {"max_iter": 30, "schedule": "cosine", "learning_rate": 0.01, **kind}
    scores = []
    for seed in range(SEEDS):
        data = ts.deep.load_data("digits", seed=seed)
        model = ts.deep.ModeMLPClassifier((300, 300), random_state=seed, **options)
        scores.append(model.fit(data.X_train, data.y_train).score(data.X_test, data.y_test))
    return np.array(scores)


def mean_and_error(values: np.ndarray) -> str:
    """Return mean and standard error over seeds."""
    return f"{values.mean():.4f} +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(machine())
    with one_blas_thread():
        show_times(ts.deep.load_data("digits"))
        show_accuracies()


if __name__ == "__main__":
    main()
