"""Fields of teacher and student in the overlap chain, and what the activations make of them; a replica alone or one a lane."""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.bundles import Units
from teacher_student.kernels import njit
from teacher_student.sgd.lane_activations import activate, are_alike
from teacher_student.sgd.lanes import load, store

# What the rows of `units` hold.
_FIELD, VALUE, SLOPE = 0, 1, 2


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
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
    """Write fields of a sample, lambda and rho into units[_FIELD], (K + M,), u and sigma u into `modes`, (2, P)."""
    M = len(F_teacher)
    K, P = xi_out.shape[:2]
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
        store(modes, (1, a), load(sigma, (a, 0)) * u)
    for k in range(K):
        field = load(xi_out, (k, 0, 0)) * load(modes, (1, 0))
        for a in range(1, P):
            field += load(xi_out, (k, a, 0)) * load(modes, (1, a))
        store(units, (_FIELD, k), field)


@njit(cache=True, nogil=True, forceinline=True)
def write_activities(
    functions: Units, student: FloatArray, teacher: FloatArray, K: int, M: int, units: FloatArray, in_lanes: FloatArray
) -> None:
    """Write g of the fields of K + M units in `units` and g' of the student's into its other rows.

    `student` and `teacher` are the `lane_form` of the activations that `functions` has of one number. `in_lanes` is `units` with
    an axis of lanes. That is `units` itself, (3, K + M, LANES), or of a replica alone a view, (3, rows, LANES), in which every
    unit has a lane.
    """
    g, g_prime, g_teacher = functions
    if units.ndim == 3:
        activate(teacher, g_teacher, g_teacher, in_lanes, K + M, M)
        activate(student, g, g_prime, in_lanes, K, K)
    else:
        n_rows = in_lanes.shape[1]
        for i in range(K + M, units.shape[1]):
            units[_FIELD, i] = units[_FIELD, 0]
        activate(teacher, g_teacher, g_teacher, in_lanes, n_rows, n_rows)
        if not are_alike(student, teacher):
            for i in range(K, K + M):
                units[_FIELD, i] = units[VALUE, i]
            activate(student, g, g_prime, in_lanes, n_rows, n_rows)
            for i in range(K, K + M):
                units[VALUE, i] = units[_FIELD, i]
