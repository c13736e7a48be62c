"""The triangular factor of the overlap chain, a replica alone or one a lane: back to a triangle, and to given lengths."""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.sgd.lanes import choose, load, square_root, store

# Rows whose squared length is below it are zero: the squares of their entries lose their digits.
_SMALLEST_SQUARE = 1e-280


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", inline="always")
def fold(F: FloatArray, M: int) -> None:
    """Make F[0], (rows, columns), lower triangular after its first M columns, the diagonal not negative, keeping F F^T.

    The Householder reflection of row a turns what it has from column M + a on into one entry, of the sign opposite to the first
    of them so that nothing cancels; then the column is given the sign that makes it positive. A row of zeros, a student within
    the teacher's span, stays.
    """
    _, n_rows, columns = F.shape[:3]
    for a in range(n_rows):
        c = M + a
        head = load(F, (0, a, c))
        squared = head * head
        for j in range(c + 1, columns):
            squared += load(F, (0, a, j)) * load(F, (0, a, j))
        length = square_root(squared)
        sign = choose(head, 0.0, -1.0, 1.0)
        reflected = sign * length
        factor = choose(squared, _SMALLEST_SQUARE, 1.0 / (squared - head * reflected), 0.0)
        for b in range(a + 1, n_rows):
            below = load(F, (0, b, c))
            product = head * below
            for j in range(c + 1, columns):
                product += load(F, (0, a, j)) * load(F, (0, b, j))
            product = factor * (product - reflected * below)
            store(F, (0, b, c), sign * (below - product * (head - reflected)))
            for j in range(c + 1, columns):
                store(F, (0, b, j), load(F, (0, b, j)) - product * load(F, (0, a, j)))
        store(F, (0, a, c), length)
        for j in range(c + 1, columns):
            store(F, (0, a, j), 0.0)


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy", inline="always")
def rescale(F: FloatArray, M: int, lengths: FloatArray) -> None:
    """Give the rows of the first modes of the triangle F[0], (rows, columns), the `lengths`, (P,)."""
    for a in range(len(lengths)):
        squared = load(F, (0, a, 0)) * load(F, (0, a, 0))
        for j in range(1, M + a + 1):
            squared += load(F, (0, a, j)) * load(F, (0, a, j))
        scale = lengths[a] / square_root(squared)
        for j in range(M + a + 1):
            store(F, (0, a, j), scale * load(F, (0, a, j)))
