"""The noise of many SGD steps at once, as a kick: a Gaussian vector with the covariance of their increments.

With increments f_i of the state at quasi-random fields i = 1 ... m and independent weights w_i of N(0, 1), the vector

    sqrt(length / (N m b)) sum_i w_i (f_i - mean f)

is Gaussian of covariance (length / N) D, D the covariance of one step times N as `teacher_student.theory.diffusion` has it. No
matrix is factored: whatever combination of order parameters no step changes, no kick changes either, beyond rounding.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.leaps.dynamics import Dynamics, free_velocity, rates_within, velocity
from teacher_student.theory.diffusion import increment
from teacher_student.theory.drift import keep_lengths

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
    """Add the noise of `length` of alpha at `n_inputs` to the full state `y` at the time `alpha`, and the mean's correction.

    `points` (m, M + P + 1) are Gaussian, quasi-random, and `weights` (m,) independent of N(0, 1). The correction is length / N
    times f_1 - f' / 2, f' the derivative of f along the flow: the exact mean step has f_1 / N beyond the drift f, and steps are
    no continuous time.
    Returns the trace of the diffusion matrix, and how far the overlaps had left those of vectors before they were brought back.
    """
    P, n = dynamics.P, len(y)
    r = len(dynamics.v_teacher) + P
    factor = np.empty((r, r))
    restore_gram(dynamics, y, factor)
    rates = np.empty(4)
    rates_within(dynamics, alpha, rates)
    noise, f_1 = np.empty(n), np.empty((P, P))
    trace = sum_increments(dynamics, rates, y, factor, points, weights, noise, f_1)
    noise *= np.sqrt(length / n_inputs)

    here, before = np.empty(n), np.empty(n)
    half_step = 0.5 / n_inputs
    velocity(dynamics, alpha, y, here)
    velocity(dynamics, alpha - half_step, y - half_step * here, before)
    correction = before - here
    for a in range(P):
        for c in range(P):
            correction[a * P + c] += f_1[a, c] / n_inputs
    if dynamics.spherical:
        free_velocity(dynamics, alpha, y, here)
        rescale_modes(dynamics, y, noise, here, correction, length, n_inputs)
    else:
        for i in range(n):
            y[i] += noise[i] + length * correction[i]
    return trace, restore_gram(dynamics, y, factor)


@njit(cache=True, nogil=True)
def sum_increments(
    dynamics: Dynamics,
    rates: FloatArray,
    y: FloatArray,
    factor: FloatArray,
    points: FloatArray,
    weights: FloatArray,
    noise: FloatArray,
    f_1: FloatArray,
) -> float:
    """Write a vector with the covariance of a step times N into `noise` (n_full,) and the f_1 of Q_modes into `f_1` (P, P).

    `factor` is that of `gram_factor` at the full state `y`. Returns the trace of the covariance. For f_1 see
    `teacher_student.theory.diffusion.step_moments`.
    """
    K, P, b = dynamics.K, dynamics.P, dynamics.batch_size
    M, n, m = len(dynamics.v_teacher), len(y), len(points)
    end_R = P * P + P * M
    sigma = y[end_R : end_R + P]
    xi_out = y[end_R + P : end_R + P + K * P].reshape((K, P))
    v = y[end_R + P + K * P :]
    fields, h, work, f, mean = np.empty(M + P), np.empty(P), np.empty((2, K)), np.zeros(n), np.zeros(n)
    hh, hz, hu = np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P))
    squares, weight = 0.0, 0.0
    noise[:] = 0.0
    for point, w in zip(points, weights):  # noqa: B905
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
            mean[i] += f[i] / m
            noise[i] += w * f[i]
            squares += f[i] * f[i] / m
        for a in range(P):
            for c in range(P):
                hh[a, c] += h[a] * h[c] * excess / m
                hu[a, c] += h[a] * fields[M + c] / m
            for i in range(M + P):
                hz[a, i] += h[a] * point[i] / m
    for i in range(n):
        noise[i] = (noise[i] - weight * mean[i]) / np.sqrt(m * b)
        squares -= mean[i] ** 2
    decay = rates[0] * dynamics.weight_decay
    for a in range(P):
        for c in range(P):
            pairs = 0.0
            for i in range(M + P):
                pairs += hz[a, i] * hz[c, i]
            f_1[a, c] = hh[a, c] / b + (1.0 - 1.0 / b) * pairs + decay**2 * y[a * P + c] - decay * (hu[a, c] + hu[c, a])
    return squares / b


@njit(cache=True, nogil=True)
def rescale_modes(
    dynamics: Dynamics,
    y: FloatArray,
    noise: FloatArray,
    step: FloatArray,
    correction: FloatArray,
    length: float,
    n_inputs: float,
) -> None:
    """Add `noise` and `length` times `correction` to the full state `y` and rescale every mode to its length.

    Rescaling after the noise gives what rescaling after each step makes of the squares of random parts. What it makes of the
    squares of the mean `step` is, as in `teacher_student.theory.spherical`, (y_i (s^2 / 2 + sum phi^2 / 4) - s f_i) / N.
    """
    P = dynamics.P
    M = len(dynamics.v_teacher)
    phi, lengths = np.empty(P), np.empty(P)
    for a in range(P):
        lengths[a] = y[a * P + a]
        phi[a] = step[a * P + a] / lengths[a]
    keep_lengths(y, P, M, correction)
    for a in range(P):
        for c in range(P):
            s = 0.5 * (phi[a] + phi[c])
            i = a * P + c
            correction[i] += (y[i] * (0.5 * s * s + 0.25 * (phi[a] ** 2 + phi[c] ** 2)) - s * step[i]) / n_inputs
        for m in range(M):
            i = P * P + a * M + m
            correction[i] += (0.375 * y[i] * phi[a] ** 2 - 0.5 * phi[a] * step[i]) / n_inputs
    y += noise + length * correction
    for a in range(P):
        phi[a] = np.sqrt(lengths[a] / y[a * P + a])
    for a in range(P):
        for c in range(P):
            y[a * P + c] *= phi[a] * phi[c]
        for m in range(M):
            y[P * P + a * M + m] *= phi[a]
