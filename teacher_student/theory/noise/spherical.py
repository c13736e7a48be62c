"""What rescaling every mode to its length after each step makes of the moments of the step (docs/theory.rst: `shift-spherical`).

A step that changes Q_aa by f_aa / N is followed by the factor (1 + phi_a / N)^(-1/2), phi_a = f_aa / Q_aa, of mode a. An overlap
y_i contains two modes (Q_ab) or one (R_am); with s_i half the sum of their phi and f_i its own increment, it changes by

    (f_i - y_i s_i) / N + (y_i (s_i^2 / 2 + sum phi^2 / 4) - s_i f_i) / N^2 + ...
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.layout import Sizes, positions
from teacher_student.theory.coordinates import Coordinates


def moments_at_fixed_lengths(
    mean: FloatArray,
    covariance: FloatArray,
    mean_correction: FloatArray,
    full: FloatArray,
    coordinates: Coordinates,
    decay: float,
    raw: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, covariance and mean correction of a step with rescaling on the `coordinates`, given those without.

    `raw`, the increasing positions of the coordinates without rescaling, has all of Q_modes' upper triangle; `full` is the flat
    state; `decay` is eta_xi_in kappa, which `mean` is without.
    """
    moving, powers = coordinates.moving, powers_of_modes(coordinates.sizes)
    kept = np.searchsorted(raw, moving)
    y = full[moving]
    halves = np.zeros((len(moving), len(raw)))
    lengths = np.diagonal(positions(coordinates.sizes)["Q_modes"])
    halves[:, np.searchsorted(raw, lengths)] = 0.5 * powers[moving] / full[lengths]
    projection = np.eye(len(raw))[kept] - y[:, np.newaxis] * halves
    step = mean - decay * powers[raw].sum(axis=1) * full[raw]
    second = covariance + np.outer(step, step)
    s_square = np.einsum("ij,jk,ik->i", halves, second, halves)
    phi_squares = (2.0 * halves) ** 2 @ np.diagonal(second)
    s_f = (halves @ second)[np.arange(len(moving)), kept]
    correction = projection @ mean_correction + y * (0.5 * s_square + 0.25 * phi_squares) - s_f
    return projection @ mean, projection @ covariance @ projection.T, correction


def powers_of_modes(sizes: Sizes) -> FloatArray:
    """Return how often an entry of the flat state, without velocities, contains each mode as a factor, (n_full, P)."""
    powers = np.zeros((sizes.n_full, sizes.P))
    where = positions(sizes)
    for a in range(sizes.P):
        powers[where["Q_modes"][a], a] += 1.0
        powers[where["Q_modes"][:, a], a] += 1.0
        powers[where["R_modes"][a], a] += 1.0
    return powers
