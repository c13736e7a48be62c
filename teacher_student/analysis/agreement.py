"""Whether two simulations of one problem at the same N, on weights and by the chain, have the same law: tests without theory."""

from __future__ import annotations

import numpy as np
import scipy.stats
import xarray as xr

from teacher_student.analysis.innovations import check_times, whitening
from teacher_student.analysis.verdict import Test, worst_of
from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.layout import FACTORS
from teacher_student.problem import difference_of
from teacher_student.trajectory_form import as_trajectory, problem_of, seeds_of

_LEAST_RUNS = 4


def agreement(first: xr.Dataset, second: xr.Dataset) -> tuple[Test, ...]:
    """Return tests of means, of variances, and of the distribution of eps_g, each the worst of several times.

    The result is empty where there are fewer than four runs on a side, or the runs are so short that no time has the steps that
    a test needs.

    Means are compared by Hotelling's T^2 and variances by their ratio, along the directions in which the runs differ most.

    Raises
    ------
    InvalidInput
        If they are no simulations, hold numbers that are not finite, the problem, N or the times differ, or runs are in both.
    """
    first = as_trajectory(first, "first", kind="simulation")
    second = as_trajectory(second, "second", kind="simulation")
    check_same_runs(first, second, ("first", "second"))
    check_other_runs(first, second, ("first", "second"))
    n_times = min(first.sizes["alpha"], second.sizes["alpha"])
    first, second = first.isel(alpha=slice(n_times)), second.isel(alpha=slice(n_times))
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
    return tuple(Test(name, f"{what}, worst of {len(times)} times", worst_of(p)) for name, what, p in found)


def check_same_runs(first: xr.Dataset, second: xr.Dataset, arguments: tuple[str, str]) -> None:
    """Raise `InvalidInput`, naming the second of `arguments`, unless both simulate one problem at one N and the same times.

    Times count as far as the shorter of the two goes.
    """
    difference = difference_of(problem_of(first, arguments[0]), problem_of(second, arguments[1]))
    if difference is not None:
        refuse(arguments[1], f"another {difference}", f"a simulation of the same problem as {arguments[0]}")
    if first.attrs["n_inputs"] != second.attrs["n_inputs"]:
        refuse(arguments[1], f"N = {second.attrs['n_inputs']}", f"{first.attrs['n_inputs']}, as in {arguments[0]}")
    n_times = min(first.sizes["alpha"], second.sizes["alpha"])
    if not np.array_equal(first["alpha"].values[:n_times], second["alpha"].values[:n_times]):
        refuse(arguments[1], "other times", f"the same times as in {arguments[0]}")


def check_other_runs(first: xr.Dataset, second: xr.Dataset, arguments: tuple[str, str]) -> None:
    """Raise `InvalidInput`, naming the second of `arguments`, if both have runs of one method and seed: the same runs."""
    again = sorted(set(seeds_of(first)) & set(seeds_of(second)))
    if again and first.attrs.get("method") == second.attrs.get("method"):
        refuse(arguments[1], f"seed {again[0]} again", f"other runs than those of {arguments[0]}")


def _states(simulation: xr.Dataset) -> FloatArray:
    leading = simulation["sigma"].shape[:2]
    return np.concatenate([simulation[name].values.reshape(*leading, -1) for name in FACTORS], axis=2)


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
    # Squares are skewed; their logarithms are nearly symmetric.
    logarithms = [np.log(((x - x.mean(axis=0)) ** 2).sum(axis=1) * len(x) / (len(x) - 1)) for x in (a, b)]
    return float(scipy.stats.ttest_ind(*logarithms, equal_var=False).pvalue)
