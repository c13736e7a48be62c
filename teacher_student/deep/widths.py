"""The least number of modes that reach a given part of the accuracy of standard training, against width."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_student.arrays import Array
from teacher_student.deep.checks import check_number
from teacher_student.deep.data import Data
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.parameters import check_modes
from teacher_student.deep.training import uninterrupted
from teacher_student.errors import check_whole, refuse
from teacher_student.progress_bars import hidden, tqdm


@dataclass(frozen=True, eq=False)
class LeastModes:
    """Test accuracies over widths N, seeds and numbers of modes P, and the least P of each width and seed.

    `accuracy` (width, seed, mode number), `standard` (width, seed) under standard training, `least` (width, seed): where
    accuracy first reaches `fraction` of standard, linearly between the numbers tried; NaN where it never does.
    """

    widths: Array
    n_modes: Array
    fraction: float
    accuracy: Array
    standard: Array
    least: Array

    @property
    def mean(self) -> Array:
        """Mean of `least` over seeds, (width,)."""
        return self.least.mean(axis=1)

    @property
    def error(self) -> Array:
        """Standard error of `mean` from the spread of all widths together, (width,): few seeds give no good spread each."""
        variance = self.least.var(axis=1, ddof=1).mean()
        return np.full(len(self.widths), np.sqrt(variance / self.least.shape[1]))

    @property
    def bounded(self) -> Array:
        """Widths at which a seed reaches the accuracy with the fewest modes tried already: its number is an upper bound."""
        return self.widths[(self.least == self.n_modes[0]).any(axis=1)]

    @property
    def obstacle(self) -> str | None:
        """Why no law can be fitted, or None if one can."""
        missed = self.widths[~np.isfinite(self.mean)]
        if len(self.widths) < 4:
            return f"it needs four widths, not {len(self.widths)}"
        if len(missed):
            return f"at N = {', '.join(map(str, missed))} not every seed reaches that accuracy with the modes tried"
        if self.error[0] == 0:
            return "all seeds need the same number of modes, so that its error is unknown"
        return None


def least_modes(
    data: Data,
    widths: Sequence[int],
    n_modes: Sequence[int],
    *,
    fraction: float = 0.97,
    seeds: int = 3,
    first_seed: int = 0,
    n_hidden: int = 2,
    progress: bool = True,
    **settings: Any,
) -> LeastModes:
    """Train networks of `n_hidden` layers of each width with each number of modes and standardly, once a seed.

    Seeds count up from `first_seed`; `settings` are further parameters of `ModeMLPClassifier`. Raises `InvalidInput` for numbers
    that are impossible or not increasing.
    """
    for name, values in (("widths", widths), ("n_modes", n_modes)):
        for value in values:
            check_whole(name, value)
        if len(values) < 2 or any(a >= b for a, b in itertools.pairwise(values)):
            refuse(name, list(values), "at least two increasing whole numbers")
    check_modes(settings)
    check_number("fraction", fraction, 0.0, above=True)
    if fraction > 1:
        refuse("fraction", fraction, "a part of standard accuracy, above 0 and at most 1")
    check_whole("seeds", seeds, 2)
    check_whole("first_seed", first_seed, 0)
    check_whole("n_hidden", n_hidden)
    accuracy = np.empty((len(widths), seeds, len(n_modes)))
    standard = np.empty((len(widths), seeds))
    jobs = [(i, seed, j) for i in range(len(widths)) for seed in range(seeds) for j in range(-1, len(n_modes))]
    shown = tqdm(jobs, desc="networks", disable=hidden(progress))
    for i, seed, j in shown:
        kind = {"decomposition": "none"} if j < 0 else {"n_modes": int(n_modes[j])}
        model = ModeMLPClassifier((int(widths[i]),) * n_hidden, **{**settings, **kind, "random_state": first_seed + seed})
        score = uninterrupted(model.fit(data.X_train, data.y_train)).score(data.X_test, data.y_test)
        shown.set_postfix(N=widths[i], loss=f"{model.loss_:.4f}", accuracy=f"{score:.4f}")
        if j < 0:
            standard[i, seed] = score
        else:
            accuracy[i, seed, j] = score
    least = np.array(
        [[crossing(n_modes, accuracy[i, s], fraction * standard[i, s]) for s in range(seeds)] for i in range(len(widths))]
    )
    return LeastModes(np.array(widths), np.array(n_modes), fraction, accuracy, standard, least)


def crossing(x: npt.ArrayLike, y: npt.ArrayLike, level: float) -> float:
    """Return where the broken line through (x, y) first reaches `level`: x[0] if it begins there, NaN if it never does."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    above = np.flatnonzero(y >= level)
    if len(above) == 0:
        return float("nan")
    i = above[0]
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (level - y[i - 1]) / (y[i] - y[i - 1]))
