"""How far the mean of runs is from the theory, in standard errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

ORDER_PARAMETERS = ("Q_modes", "R_modes", "sigma", "xi_out", "v", "eps_g")


def z_scores(runs: xr.Dataset, theory: xr.Dataset, names: Sequence[str] = ORDER_PARAMETERS) -> np.ndarray:
    """Return z of the runs' mean, of all that moves in the variables `names` and at every time at which it has a spread."""
    scores = []
    for name in names:
        deviation = (runs[name] - theory[name]).values.reshape(runs.sizes["replica"], -1)
        error = deviation.std(axis=0, ddof=1) / np.sqrt(len(deviation))
        moves = error > 1e-9
        scores.append(deviation.mean(axis=0)[moves] / error[moves])
    return np.concatenate(scores)
