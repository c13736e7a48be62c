"""The mean forces on all factors from averages over quasi-random fields, for activations without closed Gaussian averages
(docs/theory.rst: `sampled-fields`).

The fields (rho, u) are linear in the points z, and h depends on them alone. So <h z> gives <h times any other field>: with
(rho, u) = F z, F lower triangular by blocks, the part of another field that h can correlate with is c.z with
c F^T = cov(this field, (rho, u)).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.layout import Eta, State
from teacher_student.theory.closed_forces import input_covariance
from teacher_student.theory.model import Forces, Model
from teacher_student.theory.step import step_at, step_size, write_step

# Directions in which fields have less than this, relative to the largest, beside others are none.
_SINGULAR = 1e-7


class FieldMap(NamedTuple):
    """The map F (M + P, M + P) from points to the fields (rho, u), and the pseudoinverses of its two diagonal blocks."""

    F: Any
    of_teacher: Any
    of_modes: Any


@njit(cache=True, nogil=True)
def root_and_inverse(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the symmetric root of a Gram matrix, which may be singular, and its pseudoinverse."""
    eigenvalues, vectors = np.linalg.eigh(gram)
    roots = np.sqrt(np.maximum(eigenvalues, 0.0))
    inverses = np.zeros(len(roots))
    for i in range(len(roots)):
        if roots[i] > _SINGULAR * roots.max():
            inverses[i] = 1.0 / roots[i]
    return (vectors * roots) @ vectors.T, (vectors * inverses) @ vectors.T


@njit(cache=True, nogil=True)
def field_map(C: FloatArray, P: int) -> FieldMap:
    """Return the map for the covariance `C` (P + M, P + M) of (u, rho)."""
    M = len(C) - P
    root, of_teacher = root_and_inverse(C[P:, P:].copy())
    along = C[:P, P:].copy() @ of_teacher
    rest, of_modes = root_and_inverse(C[:P, :P].copy() - along @ along.T)
    F = np.zeros((M + P, M + P))
    F[:M, :M] = root
    F[M:, :M] = along
    F[M:, M:] = rest
    return FieldMap(F, of_teacher, of_modes)


@njit(cache=True, nogil=True)
def sampled_forces(model: Model, eta: Eta, state: State, forces: Forces) -> None:
    """Write the forces at the rates `eta`, without weight decay."""
    P, M, points = model.sizes.P, model.sizes.M, model.points
    C = np.empty((P + M, P + M))
    input_covariance(model, state, C)
    maps = field_map(C, P)
    F, with_points, fields = maps.F, np.zeros((P, M + P)), np.empty(M + P)
    work = np.empty(step_size(model.sizes))
    step, hh, slow = step_at(work, model.sizes), forces.hh, forces.slow.slow
    hh[:], slow[:] = 0.0, 0.0
    n_noises = 1 if model.rule.noise == 0.0 else 2
    for point in range(len(points)):
        for i in range(M + P):
            fields[i] = 0.0
            for j in range(M if i < M else M + P):
                fields[i] += F[i, j] * points[point, j]
        for sign in range(n_noises):
            # The step is quadratic in the label noise: its mean is that over the two values.
            write_step(model, eta, state, fields, model.rule.noise * (1.0 - 2.0 * sign), step)
            for a in range(P):
                for i in range(M + P):
                    with_points[a, i] += step.h[a] * points[point, i]
                for b in range(P):
                    hh[a, b] += step.h[a] * step.h[b] / model.rule.batch_size
            for i in range(len(slow)):
                slow[i] += step.slow.slow[i]
    n = float(len(points) * n_noises)
    with_points /= n
    hh /= n
    slow /= n
    forces_in_blocks(model, state, maps, with_points, forces)


@njit(cache=True, nogil=True)
def forces_in_blocks(model: Model, state: State, maps: FieldMap, with_points: FloatArray, forces: Forces) -> None:
    """Write the averages of h with the fields of rows and teacher in every block, given `with_points`, <h z> (P, M + P)."""
    P, M, F = model.sizes.P, model.sizes.M, maps.F
    # <h_a w> = with_points c for a field w, where c = (c_1, c_2) solves F_11 c_1 = cov(rho, w), F_22 c_2 = cov(u, w) - F_21 c_1.
    per_u = with_points[:, M:].copy() @ maps.of_modes
    per_rho = (with_points[:, :M].copy() - per_u @ F[M:, :M].copy()) @ maps.of_teacher
    for d in range(model.sizes.blocks):
        variance = model.inputs.eigenvalues[d]
        R, G = state.with_teacher[d], state.gram[d]
        forces.with_rows[d][:] = variance * (per_rho @ R.T.copy() + per_u @ G[:P].copy())
        forces.with_teacher[d][:] = variance * (per_rho @ model.teacher.T[d] + per_u @ R[:P].copy())
    if model.sizes.blocks == 1:
        # Modes and teacher are themselves linear in the points, exactly also where F is singular.
        forces.with_rows[0][:, :P] = with_points @ F[M:].T.copy()
        forces.with_teacher[0][:] = with_points @ F[:M].T.copy()
