"""Whether two simulations of one problem at the same N are the same process in law: weights against the chain, without theory."""

from __future__ import annotations

import numpy as np
import scipy.stats
import xarray as xr

from teacher_student.analysis.innovations import check_times, whitening
from teacher_student.analysis.verdict import Test
from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse

_LEAST_RUNS = 4
_FACTORS = ("Q_modes", "R_modes", "sigma", "xi_out", "v")


def agreement(first: xr.Dataset, second: xr.Dataset) -> tuple[Test, ...]:
    """Return tests of means, of variances, and of the distribution of eps_g, each the worst of several times.

    The result is empty where there are fewer than four runs on a side, or the runs are so short that no time has the steps that
    a test needs.

    Means are compared by Hotelling's T^2 and variances by their ratio, along the directions in which the runs differ most.

    Raises
    ------
    InvalidInput
        If the problem, N or the times differ.
    """
    for name in ("n_inputs", "problem"):
        if first.attrs[name] != second.attrs[name]:
            refuse("second", f"another {name}", "a simulation of the same problem at the same N")
    n_times = min(first.sizes["alpha"], second.sizes["alpha"])
    first, second = first.isel(alpha=slice(n_times)), second.isel(alpha=slice(n_times))
    if not np.array_equal(first["alpha"], second["alpha"]):
        refuse("second", "other times", "the same times as in the first")
    n_first, n_second = first.sizes["replica"], second.sizes["replica"]
    times = check_times(first["alpha"].values, first.attrs["n_inputs"], min(n_first, n_second))[1:]
    if not times or min(n_first, n_second) < _LEAST_RUNS:
        return ()
    a, b = _states(first)[:, times], _states(second)[:, times]
    means, variances, distributions = [], [], []
    for t, time in enumerate(times):
        means.append(_hotelling(a[:, t], b[:, t]))
        variances.append(_variance_ratio(a[:, t], b[:, t]))
        eps_g = (x["eps_g"].values[:, time] for x in (first, second))
        distributions.append(float(scipy.stats.ks_2samp(*eps_g).pvalue))
    found = (
        ("means", "Hotelling's T^2", means),
        ("spread", "ratio of variances", variances),
        ("eps_g", "Kolmogorov-Smirnov", distributions),
    )
    return tuple(Test(name, f"{what}, worst of {len(times)} times", min(1.0, len(times) * min(p))) for name, what, p in found)


def _states(simulation: xr.Dataset) -> FloatArray:
    leading = simulation["sigma"].shape[:2]
    return np.concatenate([simulation[name].values.reshape(*leading, -1) for name in _FACTORS], axis=2)


def _directions(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both samples along the leading directions of their pooled covariance, at most a quarter as many as runs."""
    pooled = np.concatenate([a - a.mean(axis=0), b - b.mean(axis=0)])
    covariance = pooled.T @ pooled / (len(pooled) - 2)
    floor = 1e-12 * float(np.diagonal(covariance).max())
    matrix = whitening(covariance, floor)[-max(1, len(pooled) // 4) :]
    return a @ matrix.T, b @ matrix.T


def _hotelling(a: FloatArray, b: FloatArray) -> float:
    a, b = _directions(a, b)
    n, p = len(a) + len(b), a.shape[1]
    if p == 0:
        return 1.0
    centred = np.concatenate([a - a.mean(axis=0), b - b.mean(axis=0)])
    difference = a.mean(axis=0) - b.mean(axis=0)
    covariance = centred.T @ centred / (n - 2)
    T_square = len(a) * len(b) / n * difference @ np.linalg.solve(covariance, difference)
    return float(scipy.stats.f.sf(T_square * (n - p - 1) / (p * (n - 2)), p, n - p - 1))


def _variance_ratio(a: FloatArray, b: FloatArray) -> float:
    """Return the p-value of the summed squares of both samples being equal, each run's sum being one observation."""
    a, b = _directions(a, b)
    if a.shape[1] == 0:
        return 1.0
    # Squares are skewed, their logarithm hardly so.
    logarithms = [np.log(((x - x.mean(axis=0)) ** 2).sum(axis=1) * len(x) / (len(x) - 1)) for x in (a, b)]
    return float(scipy.stats.ttest_ind(*logarithms, equal_var=False).pvalue)
