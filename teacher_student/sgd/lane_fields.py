"""Fields of teacher and student in the overlap chain, one replica a lane, and what the activations make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.sgd.lane_activations import activate, are_alike
from teacher_student.sgd.lanes import LANES, load, store

FloatArray = npt.NDArray[np.float64]

# What the rows of `units` hold.
_FIELD, VALUE, SLOPE = 0, 1, 2


@njit(cache=True, nogil=True)
def n_rows_of(n: int) -> int:
    """Return how many rows `units` has for `n` = K + M units: one a unit, and those into which `_gather` puts them."""
    return n + -(-n // LANES)


@njit(cache=True, nogil=True, fastmath={"contract"}, forceinline=True)
def write_fields(
    F_teacher: FloatArray,
    F: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    draws: FloatArray,
    now: int,
    sample: int,
    units: FloatArray,
    modes: FloatArray,
) -> None:
    """Write fields of a sample, lambda and rho into units[_FIELD], (K + M, LANES), u and sigma u into `modes`, (2, P, LANES)."""
    M = len(F_teacher)
    _, K, P, _ = xi_out.shape
    for m in range(M):
        rho = F_teacher[m, 0] * load(draws, (now, sample, 0))
        for j in range(1, m + 1):
            rho += F_teacher[m, j] * load(draws, (now, sample, j))
        store(units, (_FIELD, K + m), rho)
    for a in range(P):
        u = load(F, (0, a, 0)) * load(draws, (now, sample, 0))
        for j in range(1, M + a + 1):
            u += load(F, (0, a, j)) * load(draws, (now, sample, j))
        store(modes, (0, a), u)
        store(modes, (1, a), load(sigma, (0, a)) * u)
    for k in range(K):
        field = load(xi_out, (0, k, 0)) * load(modes, (1, 0))
        for a in range(1, P):
            field += load(xi_out, (0, k, a)) * load(modes, (1, a))
        store(units, (_FIELD, k), field)


@njit(cache=True, nogil=True, forceinline=True)
def write_activities(
    student: FloatArray,
    g: Any,
    g_prime: Any,
    teacher: FloatArray,
    g_teacher: Any,
    K: int,
    M: int,
    units: FloatArray,
    alone: bool,
) -> None:
    """Write g of all fields in `units` and g' of the student's into its other rows.

    `student` and `teacher` are the `lane_form` of their activations. If one replica is `alone` in all lanes, its units take a
    lane each instead, to the same bits.
    """
    teacher_end, n_teacher, student_end, n_student = K + M, M, K, K
    if alone:
        _gather(units, K + M)
        teacher_end = student_end = n_rows_of(K + M)
        n_teacher = n_student = teacher_end - K - M
    activate(teacher, g_teacher, g_teacher, units, teacher_end, n_teacher)
    if alone:
        _scatter(units, K + M, K, K + M)
    if not (alone and are_alike(student, teacher)):
        activate(student, g, g_prime, units, student_end, n_student)
    if alone:
        _scatter(units, K + M, 0, K)


@njit(cache=True, nogil=True, forceinline=True)
def _gather(units: FloatArray, n: int) -> None:
    """Write the fields of one replica's `n` units, one a lane, into the rows after theirs; lanes left over repeat the last."""
    for i in range((n_rows_of(n) - n) * LANES):
        units[_FIELD, n + i // LANES, i % LANES] = units[_FIELD, min(i, n - 1), 0]


@njit(cache=True, nogil=True, forceinline=True)
def _scatter(units: FloatArray, n: int, first: int, end: int) -> None:
    """Write g and g' of the units from `first` to before `end`, of `n` that `_gather` took, into every lane of their rows."""
    for i in range(first, end):
        for row in (VALUE, SLOPE):
            store(units, (row, i), units[row, n + i // LANES, i % LANES])
