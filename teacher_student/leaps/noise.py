"""The noise of many SGD steps at once (docs/theory.rst: `kick`): a Gaussian vector with the covariance of their increments.

With increments f_i of the state at quasi-random fields i = 1 ... m and independent weights w_i of N(0, 1), the vector

    sqrt(length / (N m b)) sum_i w_i (f_i - mean f)

is Gaussian of covariance (length / N) D, D the covariance of one step times N (`teacher_student.theory.noise.diffusion`). No
matrix is factored: whatever combination of order parameters no step changes, no kick changes either, beyond rounding.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import njit
from teacher_student.layout import Eta, State, state_at
from teacher_student.leaps.model import LeapModel, slope_of
from teacher_student.theory.drift import keep_lengths
from teacher_student.theory.equations import within
from teacher_student.theory.model import Model
from teacher_student.theory.noise.diffusion import add_products, empty_products, square_of_step
from teacher_student.theory.step import step_at, step_size, write_increment, write_step

# A pivot this small relative to its diagonal entry is rounding.
_ROUNDING = 1e-13


@njit(cache=True, nogil=True)
def write_factor(T: FloatArray, R_modes: FloatArray, Q_modes: FloatArray, factor: FloatArray) -> float:
    """Write the triangular factor (M + P, M + P) of the Gram matrix of teacher and modes; return its smallest relative pivot.

    Cholesky's, with a column of zeros at a pivot of zero or below, so that fields that are combinations of others are so exactly.
    """
    P, M = R_modes.shape
    smallest = 1.0
    for i in range(M + P):
        for j in range(i + 1):
            if i < M:
                entry = T[i, j]
            elif j < M:
                entry = R_modes[i - M, j]
            else:
                entry = Q_modes[i - M, j - M]
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
def restore_gram(T: FloatArray, state: State, factor: FloatArray) -> float:
    """Replace Q_modes by that of the `factor` if overlaps in `state` are none of vectors; return how far they were from it.

    That is the most negative pivot relative to its diagonal entry, or 0. Writes the factor.
    """
    Q_modes, R_modes = state.gram[0], state.with_teacher[0]
    P, M = R_modes.shape
    smallest = write_factor(T, R_modes, Q_modes, factor)
    if smallest >= -_ROUNDING:
        return 0.0
    for a in range(P):
        for b in range(P):
            total = 0.0
            for i in range(M + P):
                total += factor[M + a, i] * factor[M + b, i]
            Q_modes[a, b] = total
    return -smallest


@njit(cache=True, nogil=True)
def kick(
    leap_model: LeapModel, alpha: float, y: FloatArray, points: FloatArray, weights: FloatArray, length: float, n_inputs: float
) -> tuple[float, float]:
    """Add the noise of `length` of alpha at `n_inputs` to the flat state `y` at the time `alpha`, and the mean's correction.

    `points` (m, M + P + 1) are Gaussian, quasi-random, and `weights` (m,) independent of N(0, 1). The correction is length / N
    times f_1 - f' / 2, f' the derivative of f along the flow: the exact mean step has f_1 / N beyond the drift f, and steps are
    no continuous time.
    Returns the trace of the diffusion matrix, and how far the overlaps had left those of vectors before they were brought back.
    """
    model, n = leap_model.equations.model, len(y)
    P, T, state = model.sizes.P, model.teacher.T[0], state_at(y, model.sizes)
    factor = np.zeros((model.sizes.M + P, model.sizes.M + P))
    restore_gram(T, state, factor)
    eta = eta_at(model.rule.schedules, within(leap_model.equations, alpha))
    noise, f_1 = np.zeros(n), np.empty((P, P))
    trace = sum_increments(model, eta, y, factor, points, weights, noise, f_1)
    noise *= np.sqrt(length / n_inputs)

    here, before = np.empty(n), np.empty(n)
    half_step = 0.5 / n_inputs
    slope_of(leap_model.equations, alpha, y, here)
    slope_of(leap_model.equations, alpha - half_step, y - half_step * here, before)
    correction = before - here
    of_Q_modes = state_at(correction, model.sizes).gram[0]
    for a in range(P):
        for c in range(P):
            of_Q_modes[a, c] += f_1[a, c] / n_inputs
    if model.rule.spherical:
        slope_of(leap_model.free, alpha, y, here)
        rescale_modes(model, y, noise, here, correction, length, n_inputs)
    else:
        for i in range(n):
            y[i] += noise[i] + length * correction[i]
    return trace, restore_gram(T, state, factor)


@njit(cache=True, nogil=True)
def sum_increments(
    model: Model,
    eta: Eta,
    y: FloatArray,
    factor: FloatArray,
    points: FloatArray,
    weights: FloatArray,
    noise: FloatArray,
    f_1: FloatArray,
) -> float:
    """Write a vector with the covariance of a step times N into `noise` (n_full,) and the f_1 of Q_modes into `f_1` (P, P).

    `factor` is that of `write_factor` at the flat state `y`. Returns the trace of the covariance. For f_1 see
    `teacher_student.theory.noise.diffusion.square_of_step`.
    """
    P, M, b, n, m = model.sizes.P, model.sizes.M, model.rule.batch_size, len(y), len(points)
    fields, f, mean, work = np.empty(M + P), np.empty(n), np.zeros(n), np.empty(step_size(model.sizes))
    state, increment, step = state_at(y, model.sizes), state_at(f, model.sizes), step_at(work, model.sizes)
    products = empty_products(P, M)
    squares, weight = 0.0, 0.0
    noise[:] = 0.0
    for p in range(m):
        point, w = points[p], weights[p]
        for i in range(M + P):
            fields[i] = 0.0
            for j in range(i + 1):
                fields[i] += factor[i, j] * point[j]
        write_step(model, eta, state, fields, model.rule.noise * point[M + P], step)
        write_increment(step, fields, M, b, increment)
        weight += w
        for i in range(n):
            mean[i] += f[i] / m
            noise[i] += w * f[i]
            squares += f[i] * f[i] / m
        add_products(step, point, fields, 1.0 / m, products)
    for i in range(n):
        noise[i] = (noise[i] - weight * mean[i]) / np.sqrt(m * b)
        squares -= mean[i] ** 2
    f_1[:] = square_of_step(products, b, eta.xi_in * model.rule.weight_decay, state.gram[0])
    return squares / b


@njit(cache=True, nogil=True)
def rescale_modes(
    model: Model,
    y: FloatArray,
    noise: FloatArray,
    step: FloatArray,
    correction: FloatArray,
    length: float,
    n_inputs: float,
) -> None:
    """Add `noise` and `length` times `correction` to the flat state `y` and rescale every mode to its length.

    Rescaling after the noise gives what rescaling after each step makes of the squares of random parts. What it makes of the
    squares of the mean `step` is, as in `teacher_student.theory.noise.spherical`, (y_i (s^2 / 2 + sum phi^2 / 4) - s f_i) / N.
    """
    P, M = model.sizes.P, model.sizes.M
    state, of_step, of_correction = state_at(y, model.sizes), state_at(step, model.sizes), state_at(correction, model.sizes)
    Q, R = state.gram[0], state.with_teacher[0]
    phi, lengths = np.empty(P), np.empty(P)
    for a in range(P):
        lengths[a] = Q[a, a]
        phi[a] = of_step.gram[0, a, a] / lengths[a]
    keep_lengths(state, of_correction)
    for a in range(P):
        for c in range(P):
            s = 0.5 * (phi[a] + phi[c])
            squares = Q[a, c] * (0.5 * s * s + 0.25 * (phi[a] ** 2 + phi[c] ** 2)) - s * of_step.gram[0, a, c]
            of_correction.gram[0, a, c] += squares / n_inputs
        for m in range(M):
            squares = 0.375 * R[a, m] * phi[a] ** 2 - 0.5 * phi[a] * of_step.with_teacher[0, a, m]
            of_correction.with_teacher[0, a, m] += squares / n_inputs
    for i in range(len(y)):
        y[i] += noise[i] + length * correction[i]
    for a in range(P):
        phi[a] = np.sqrt(lengths[a] / Q[a, a])
    for a in range(P):
        for c in range(P):
            Q[a, c] *= phi[a] * phi[c]
        for m in range(M):
            R[a, m] *= phi[a]
