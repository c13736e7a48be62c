"""Output times alpha = steps / N, and the steps nearest to them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.errors import check_positive, check_whole, refuse

POINTS_PER_DECADE = 20
MOST_STEPS = 10**18
_MOST_TIMES = 1_000_000


def output_times(alpha: float | npt.ArrayLike) -> FloatArray:
    """Return output times alpha as a strictly increasing array.

    A number is the last time of a grid that starts with 0 and goes on with `POINTS_PER_DECADE` logarithmic steps a decade
    from 0.01 (or from a thousandth of a last time below 10). Raises `InvalidInput` for anything but increasing, finite times
    of at least 0.
    """
    try:
        raw = np.asarray(alpha)
        listed = alpha if isinstance(alpha, (list, tuple)) else ()
        if (raw.size and raw.dtype.kind not in "fiu") or any(isinstance(time, bool) for time in listed):
            raise TypeError("text and truth values are no times")
        times = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        refuse("alpha", alpha, "a time or an increasing sequence of times")
    if times.ndim == 0:
        last = float(times)
        if not (math.isfinite(last) and last > 0):
            refuse("alpha", last, "a finite last time above 0")
        if not 1e-100 < last < 1e100:
            refuse("alpha", last, "a last time between 1e-100 and 1e100")
        return log_spaced_times(min(0.01, last / 1000.0), last)
    if times.ndim != 1 or len(times) == 0:
        refuse("alpha", f"shape {times.shape}", "a time or a sequence of at least one time")
    if not np.isfinite(times).all() or times[0] < 0:
        refuse("alpha", times[~np.isfinite(times) | (times < 0)][0].item(), "finite times of at least 0")
    if 0 < times[-1] < 1e-100:
        refuse("alpha", times[-1].item(), "a last time of at least 1e-100")
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        refuse(f"alpha[{late[0] + 1}]", times[late[0] + 1].item(), f"a time after the one before, {times[late[0]]}")
    times.flags.writeable = False
    return times


def whole_steps(times: FloatArray, n_inputs: int) -> IntArray:
    """Return the steps nearest to `times` at N = `n_inputs`, each once; raises `InvalidInput` beyond 1e18 steps."""
    if float(times[-1]) * n_inputs > MOST_STEPS:
        refuse("alpha", times[-1].item(), f"at most 1e18 steps, that is alpha of {MOST_STEPS / n_inputs:.3g}")
    return np.unique(np.rint(times * n_inputs).astype(np.int64))


def log_spaced_times(first: float, last: float, points: int | None = None) -> FloatArray:
    """Return 0 and then `points` logarithmically spaced times from `first` to `last` (20 a decade by default).

    Raises `InvalidInput` unless 0 < first < last <= 1e300 and there are from 2 to 1,000,000 points.
    """
    first, last = check_positive("first", first), check_positive("last", last)
    if not first < last <= 1e300:
        refuse("last", last, f"a time after first, {first}, and at most 1e300")
    if points is not None and check_whole("points", points, 2) > _MOST_TIMES:
        refuse("points", points, f"a whole number from 2 to {_MOST_TIMES}")
    if points is None:
        points = math.ceil(POINTS_PER_DECADE * math.log10(last / first)) + 1
    times = np.concatenate([[0.0], np.geomspace(first, last, points)])
    times.flags.writeable = False
    return times
