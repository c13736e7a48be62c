"""The drift between two kicks of the noise: the order-parameter ODEs by the method of Dormand and Prince, compiled.

Dormand and Prince, J. Comput. Appl. Math. 6, 19 (1980): order 5, with an embedded solution of order 4 for the step's length.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.leaps.model import LeapModel, slope_of

NODES = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
STAGES = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1 / 5, 0.0, 0.0, 0.0, 0.0, 0.0],
        [3 / 40, 9 / 40, 0.0, 0.0, 0.0, 0.0],
        [44 / 45, -56 / 15, 32 / 9, 0.0, 0.0, 0.0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0.0, 0.0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0.0],
        [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
ERROR = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
# A leap is short, and takes a few steps; next to a jump of the right-hand side they may stay too short for ever.
_MOST_STEPS = 10_000
# Absolute error over relative error of a step.
_ABSOLUTE = 1e-4


@njit(cache=True, nogil=True)
def carry(model: LeapModel, y: FloatArray, alpha: float, length: float, step: float) -> float:
    """Carry the flat state `y` along the ODEs from `alpha` on for `length`, in place.

    `step` is the first step tried. Returns the step that the error allows next, or 0 if the ODEs cannot be followed.
    """
    equations, n = model.equations, len(y)
    k = np.empty((7, n))
    trial = np.empty(n)
    slope_of(equations, alpha, y, k[0])
    done, tried = 0.0, 0
    while done < length:
        tried += 1
        if tried > _MOST_STEPS:
            return 0.0
        last = step >= length - done
        size = length - done if last else step
        for stage in range(1, 7):
            for i in range(n):
                total = 0.0
                for j in range(stage):
                    total += STAGES[stage, j] * k[j, i]
                trial[i] = y[i] + size * total
            slope_of(equations, alpha + done + NODES[stage] * size, trial, k[stage])
        error = 0.0
        for i in range(n):
            deviation = 0.0
            for j in range(7):
                deviation += ERROR[j] * k[j, i]
            scaled = abs(size * deviation) / (model.tolerance * (_ABSOLUTE + max(abs(y[i]), abs(trial[i]))))
            error = scaled if not scaled <= error else error  # keeps a NaN
        if not np.isfinite(error):
            error = 1e9
        change = 0.9 * max(error, 1e-8) ** -0.2
        if error <= 1.0:
            done = length if last else done + size
            y[:] = trial
            k[0] = k[6]
            # A step that was only cut to the length says nothing against the one before.
            step = max(step, size * min(5.0, change)) if last else size * min(5.0, change)
        else:
            step = size * max(0.2, change)
            if step < 1e-12 * length:
                return 0.0
    return step
