"""The noise of many SGD steps at once, as a kick: a Gaussian vector with the covariance of their increments.

With increments f_i of the state at quasi-random fields i = 1 ... m and independent weights w_i of N(0, 1), the vector

    sqrt(length / (N m b)) sum_i w_i (f_i - mean f)

is Gaussian of covariance (length / N) D, D the covariance of one step times N as `teacher_student.theory.diffusion` has it. No
matrix is factored: whatever combination of order parameters no step changes, no kick changes either, beyond rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.leaps.dynamics import Dynamics, velocity
from teacher_student.schedules import rates_at
from teacher_student.theory.diffusion import increment

FloatArray = npt.NDArray[np.float64]

# A pivot this small relative to its diagonal entry is rounding.
_ROUNDING = 1e-13


@njit(cache=True, nogil=True)
def gram_factor(dynamics: Dynamics, y: FloatArray, factor: FloatArray) -> float:
    """Write the triangular factor (M + P, M + P) of the Gram matrix of teacher and modes; return its smallest relative pivot.

    Cholesky's, with a column of zeros at a pivot of zero or below, so that fields that are combinations of others are so exactly.
    """
    P = dynamics.P
    M = len(dynamics.v_teacher)
    smallest = 1.0
    for i in range(M + P):
        for j in range(i + 1):
            if i < M:
                entry = dynamics.T[i, j]
            elif j < M:
                entry = y[P * P + (i - M) * M + j]
            else:
                entry = y[(i - M) * P + j - M]
            rest = entry
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            if j < i:
                factor[i, j] = rest / factor[j, j] if factor[j, j] > 0.0 else 0.0
                continue
            if i >= M and entry > 0.0:
                smallest = min(smallest, rest / entry)
            factor[i, i] = np.sqrt(rest) if rest > _ROUNDING * entry else 0.0
        for j in range(i + 1, M + P):
            factor[i, j] = 0.0
    return smallest


@njit(cache=True, nogil=True)
def restore_gram(dynamics: Dynamics, y: FloatArray, factor: FloatArray) -> float:
    """Replace Q_modes by that of the `factor` if overlaps in `y` are none of vectors; return how far they were from it.

    That is the most negative pivot relative to its diagonal entry, or 0. Writes the factor.
    """
    P = dynamics.P
    M = len(dynamics.v_teacher)
    smallest = gram_factor(dynamics, y, factor)
    if smallest >= -_ROUNDING:
        return 0.0
    for a in range(P):
        for b in range(P):
            total = 0.0
            for i in range(M + P):
                total += factor[M + a, i] * factor[M + b, i]
            y[a * P + b] = total
    return -smallest


@njit(cache=True, nogil=True)
def kick(
    dynamics: Dynamics, alpha: float, y: FloatArray, points: FloatArray, weights: FloatArray, length: float, n_inputs: float
) -> tuple[float, float]:
    """Add to the full state `y` at the time `alpha` the noise of `length` of alpha at `n_inputs`, and the correction of the mean at order 1/N.

    `points` (m, M + P + 1) are Gaussian, quasi-random, and `weights` (m,) independent of N(0, 1). The correction is length / N
    times f_1 - f' / 2, f' the derivative of f along the flow: the exact mean step has f_1 / N beyond the drift f, and steps are
    no continuous time.
    Returns the trace of the diffusion matrix, and how far the overlaps had left those of vectors before they were brought back.
    """
    K, P = dynamics.K, dynamics.P
    M, n, b = len(dynamics.v_teacher), len(y), dynamics.batch_size
    end_R = P * P + P * M
    factor = np.empty((M + P, M + P))
    restore_gram(dynamics, y, factor)
    sigma = y[end_R : end_R + P]
    xi_out = y[end_R + P : end_R + P + K * P].reshape((K, P))
    v = y[end_R + P + K * P :]
    fields, h, work = np.empty(M + P), np.empty(P), np.empty((2, K))
    rates = np.empty(4)
    rates_at(dynamics.schedules, alpha, rates)
    f, mean, weighted = np.zeros(n), np.zeros(n), np.zeros(n)
    hh, hz, hu = np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P))
    squares, weight = 0.0, 0.0
    for point, w in zip(points, weights):
        excess = -float(M + P)
        for i in range(M + P):
            excess += point[i] ** 2
            fields[i] = 0.0
            for j in range(i + 1):
                fields[i] += factor[i, j] * point[j]
        increment(
            dynamics.g,
            dynamics.g_prime,
            dynamics.g_teacher,
            fields[:M],
            fields[M:],
            dynamics.noise * point[M + P],
            sigma,
            xi_out,
            v,
            dynamics.v_teacher,
            rates,
            b,
            work,
            f,
            h,
        )
        weight += w
        for i in range(n):
            mean[i] += f[i]
            weighted[i] += w * f[i]
            squares += f[i] * f[i]
        for a in range(P):
            for c in range(P):
                hh[a, c] += h[a] * h[c] * excess
                hu[a, c] += h[a] * fields[M + c]
            for i in range(M + P):
                hz[a, i] += h[a] * point[i]
    m = len(points)
    trace = squares / m
    for i in range(n):
        mean[i] /= m
        trace -= mean[i] * mean[i]

    here, before = np.empty(n), np.empty(n)
    half_step = 0.5 / n_inputs
    velocity(dynamics, alpha, y, here)
    velocity(dynamics, alpha - half_step, y - half_step * here, before)
    decay = rates[0] * dynamics.weight_decay
    correction = before - here
    for a in range(P):
        for c in range(P):
            pairs = 0.0
            for i in range(M + P):
                pairs += hz[a, i] * hz[c, i]
            f_1 = hh[a, c] / (m * b) + (1.0 - 1.0 / b) * pairs / m**2
            f_1 += decay**2 * y[a * P + c] - decay * (hu[a, c] + hu[c, a]) / m
            correction[a * P + c] += f_1 / n_inputs
    scale = np.sqrt(length / (n_inputs * m * b))
    for i in range(n):
        y[i] += scale * (weighted[i] - weight * mean[i]) + length * correction[i]
    return trace / b, restore_gram(dynamics, y, factor)
