"""Learning rates at a time, in compiled code: what SGD, theory and leaps make of the rows of `teacher_student.schedules`."""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit

# The first entry of a row of `LearningRule.schedules`; the second is `elapsed`, and what follows is in `Piecewise.row` and so on.
CONSTANT, PIECEWISE, POWER_LAW, COSINE, EXPONENTIAL, RAMP = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0
# Relative to the schedule's clock: a step is at a jump if it is so up to the rounding of steps / N and of elapsed + alpha.
ROUNDING = 1e-14


@njit(cache=True, nogil=True)
def is_constant(schedules: FloatArray) -> bool:
    """Return whether all rates of `schedules` are plain numbers."""
    return (schedules[:, 0] == CONSTANT).all()


@njit(cache=True, nogil=True)
def rate_at(row: FloatArray, alpha: float) -> float:
    """Return the rate at the time `alpha` of one row of `schedule_rows`."""
    clock = row[1] + alpha
    if row[0] == CONSTANT:
        return row[2]
    if row[0] == PIECEWISE:
        rate = row[3]
        for j in range(4, 4 + 2 * int(row[2]), 2):
            if clock * (1.0 + ROUNDING) >= row[j]:
                rate = row[j + 1]
        return rate
    if row[0] == POWER_LAW:
        start, fall, exponent = row[2], row[3], row[4]
        return start * (1.0 + clock / fall) ** -exponent
    if row[0] == EXPONENTIAL:
        start, fall, end = row[2], row[3], row[4]
        return end + (start - end) * np.exp(-clock / fall)
    if row[0] == RAMP:
        before, rate = 0.0, row[3]
        for j in range(4, 4 + 2 * int(row[2]), 2):
            if clock < row[j]:
                return rate + (row[j + 1] - rate) * (clock - before) / (row[j] - before)
            before, rate = row[j], row[j + 1]
        return rate
    start, end, period, repeats = row[2], row[3], row[4], row[5]
    done = np.floor(clock / period * (1.0 + ROUNDING))
    if done >= repeats:
        return end
    return end + 0.5 * (start - end) * (1.0 + np.cos(np.pi * (clock / period - done)))


@njit(cache=True, nogil=True)
def rates_at(schedules: FloatArray, alpha: float, out: FloatArray) -> None:
    """Write the rates at the time `alpha` into `out`, (n,); `schedules` (n, width) is `LearningRule.schedules`."""
    for i in range(len(schedules)):
        out[i] = rate_at(schedules[i], alpha)
