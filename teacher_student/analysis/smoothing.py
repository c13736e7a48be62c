"""Slopes of noisy curves, and the jackknife over replicas."""

from __future__ import annotations

import math

import numpy as np
import scipy.interpolate
import scipy.signal

from teacher_student.arrays import FloatArray

_WINDOWS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.4)  # decades
_WINDOW_OF_ONE = 0.2


def jackknife_samples(logs: FloatArray) -> FloatArray:
    """Return the means that leave one replica out, (replica, alpha)."""
    if len(logs) == 1:
        return logs
    return (logs.sum(axis=0) - logs) / (len(logs) - 1)


def jackknife_error(samples: FloatArray) -> FloatArray:
    """Return the standard error of what was computed for each jackknife sample, along the first axis."""
    n = len(samples)
    if n < 2:
        return np.full(samples.shape[1:], np.nan)
    return np.asarray(np.sqrt((n - 1) * np.var(samples - samples[0], axis=0)))  # exactly 0 where the samples agree


def resample(x: FloatArray, y: FloatArray, grid: FloatArray) -> FloatArray:
    """Return `y` (..., x), interpolated by cubic splines, on `grid`."""
    return np.asarray(scipy.interpolate.CubicSpline(x, y, axis=-1)(grid))


def local_slope(x: FloatArray, y: FloatArray, window: float) -> FloatArray:
    """Return dy/dx on the uniform grid `x` by quadratic fits over `window` decades, at least five points."""
    step = x[1] - x[0]
    n = max(5, 2 * round(window * math.log(10) / step / 2) + 1)
    n = min(n, len(x) - (len(x) + 1) % 2)
    return np.asarray(scipy.signal.savgol_filter(y, n, 2, deriv=1, delta=step, axis=-1))


def crossing_error(x: FloatArray, s: FloatArray, error: FloatArray, at: float) -> float:
    """Return a quarter of the stretch of `x` around `at` in which the curve `s` is within two standard errors of s(at).

    Where the curve crosses its level steeply, this is the error of the crossing by propagation. It takes two standard errors
    rather than one to follow a curve that wiggles about its level from its first crossing to its last.
    """
    near = np.abs(s - np.interp(at, x, s)) <= 2.0 * error
    middle = int(np.searchsorted(x, at))
    before, after = np.flatnonzero(~near[:middle]), np.flatnonzero(~near[middle:])
    start = x[before[-1]] if len(before) else x[0]
    end = x[middle + after[0]] if len(after) else x[-1]
    return 0.25 * float(end - start)


def chosen_window(x: FloatArray, samples: FloatArray, slope: float) -> float:
    """Return the width in decades of the fit to jackknife samples (sample, x); see `teacher_student.analysis.stages.stages`."""
    if len(samples) == 1:
        return _WINDOW_OF_ONE
    for window in _WINDOWS:
        if np.median(jackknife_error(local_slope(x, samples, window))) <= 0.1 * slope:
            return window
    return _WINDOWS[-1]
