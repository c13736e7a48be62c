"""Systems of linear equations in compiled code: a triangular factorisation to be used again and again."""

from __future__ import annotations

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def factorise(A: FloatArray, pivots: IntArray) -> None:
    """Overwrite `A` (n, n) by its triangular factors, rows exchanged as `pivots` (n,) tells, for `solve`."""
    n = len(A)
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[pivot, k]):
                pivot = i
        pivots[k] = pivot
        if pivot != k:
            for j in range(n):
                A[k, j], A[pivot, j] = A[pivot, j], A[k, j]
        for i in range(k + 1, n):
            factor = A[i, k] / A[k, k]
            A[i, k] = factor
            if factor != 0.0:
                own, other = A[i, k + 1 :], A[k, k + 1 :]
                for j in range(n - k - 1):
                    own[j] -= factor * other[j]


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def solve(factors: FloatArray, pivots: IntArray, b: FloatArray) -> None:
    """Overwrite `b` (n,) by the solution x of A x = b; `factors` and `pivots` are those of `factorise`."""
    n = len(b)
    for k in range(n):
        pivot = pivots[k]
        b[k], b[pivot] = b[pivot], b[k]
    for i in range(n):
        total = b[i]
        for j in range(i):
            total -= factors[i, j] * b[j]
        b[i] = total
    for i in range(n - 1, -1, -1):
        total = b[i]
        for j in range(i + 1, n):
            total -= factors[i, j] * b[j]
        b[i] = total / factors[i, i]
