"""What rescaling every mode to its length after each step makes of the moments of the step.

A step that changes Q_aa by f_aa / N is followed by the factor (1 + phi_a / N)^(-1/2), phi_a = f_aa / Q_aa, of mode a. An overlap
y_i contains two modes (Q_ab) or one (R_am); with s_i half the sum of their phi and f_i its own increment, it changes by

    (f_i - y_i s_i) / N + (y_i (s_i^2 / 2 + sum phi^2 / 4) - s_i f_i) / N^2 + ...
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray, IntArray


def moments_at_fixed_lengths(
    mean: FloatArray,
    covariance: FloatArray,
    mean_correction: FloatArray,
    full: FloatArray,
    P: int,
    M: int,
    decay: float,
    raw: IntArray,
    moving: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, covariance and mean correction of a step with rescaling on the coordinates `moving`, given those without.

    `moving` and `raw`, those without rescaling, are positions in the full state vector `full`, `raw` with all of Q_modes' upper
    triangle; `decay` is eta_xi_in kappa, which `mean` is without.
    """
    kept = np.searchsorted(raw, moving)
    y = full[moving]
    halves = _half_sums(full, P, M, raw, moving)
    projection = np.eye(len(raw))[kept] - y[:, np.newaxis] * halves
    power = np.where(raw < P * P, 2.0, np.where(raw < P * P + P * M, 1.0, 0.0))
    step = mean - decay * power * full[raw]
    second = covariance + np.outer(step, step)
    s_square = np.einsum("ij,jk,ik->i", halves, second, halves)
    phi_squares = (2.0 * halves) ** 2 @ np.diagonal(second)
    s_f = (halves @ second)[np.arange(len(moving)), kept]
    correction = projection @ mean_correction + y * (0.5 * s_square + 0.25 * phi_squares) - s_f
    return projection @ mean, projection @ covariance @ projection.T, correction


def _half_sums(full: FloatArray, P: int, M: int, raw: IntArray, moving: IntArray) -> FloatArray:
    """Return the matrix (len(moving), len(raw)) that makes s of the increments on the coordinates `raw`."""
    halves = np.zeros((len(moving), len(raw)))
    for row, position in zip(halves, moving, strict=True):
        modes: tuple[int, ...] = ()
        if position < P * P:
            modes = divmod(int(position), P)
        elif position < P * P + P * M:
            modes = ((int(position) - P * P) // M,)
        for a in modes:
            row[np.searchsorted(raw, a * P + a)] += 0.5 / full[a * P + a]
    return halves
