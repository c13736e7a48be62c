"""Products of long rows with few modes: compiled where that is faster than BLAS, and by BLAS elsewhere.

BLAS copies both matrices into an order of its own first. Where one has only P rows every number is used P times, and the copies
take as long as the product.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import RealArray
from teacher_student.deep.tiles import COLUMNS_OF_BYTES, ROWS, write_tile
from teacher_student.kernels import njit

# Beyond so many modes, and below so many neurons, BLAS is as fast or faster for some size of the batch.
_MOST_MODES, _LEAST_NEURONS = 32, 32
# Rows a multiple of these bytes apart compete for the same places of the caches where no copy is made.
_PAGE = 4096
_COLUMNS_AT_ONCE = 2048  # seven rows of float32 that stay in the cache next to the processor, or nearly


def overlaps(A: RealArray, modes: RealArray, result: RealArray) -> None:
    """Write A modes^T, (samples, P), into `result`, with `A` (samples, N) and `modes` (P, N)."""
    if _few_and_long(modes):
        _overlaps(A, modes, result)
    else:
        np.matmul(A, modes.T, out=result)


def mix_modes(C: RealArray, modes: RealArray, result: RealArray) -> None:
    """Write C modes, (samples, N), into `result`, with `C` (samples, P) and `modes` (P, N)."""
    if _few_and_long(modes) and modes.strides[0] % _PAGE:
        _combinations(C, modes, result)
    else:
        np.matmul(C, modes, out=result)


def mix_samples(C: RealArray, A: RealArray, result: RealArray) -> None:
    """Write C^T A, (P, N), into `result`, with `C` (samples, P) and `A` (samples, N)."""
    if _few_and_long(result) and result.strides[0] % _PAGE:
        _combinations(C.T, A, result)
    else:
        np.matmul(C.T, A, out=result)


def _few_and_long(modes: RealArray) -> bool:
    P, N = modes.shape
    return P <= _MOST_MODES and N >= _LEAST_NEURONS and modes.flags.c_contiguous


# Twelve sums, three modes and a sample at a time are what fits sixteen registers, in this order. Beyond the last row of a matrix
# the last one is taken again, and its sums are written again. Sums may be reordered into vector lanes; NaN and infinity keep
# their meaning, for divergence is seen in them. A sample's numbers do not depend on its neighbours, to the bit.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _overlaps(A: RealArray, X: RealArray, result: RealArray) -> None:
    n_samples, n_modes, N = len(A), len(X), A.shape[1]
    result[:] = 0
    for begin in range(0, N, _COLUMNS_AT_ONCE):
        end = min(begin + _COLUMNS_AT_ONCE, N)
        for n in range(0, n_samples, 4):
            n1, n2, n3 = min(n + 1, n_samples - 1), min(n + 2, n_samples - 1), min(n + 3, n_samples - 1)
            for a in range(0, n_modes, 3):
                b, c = min(a + 1, n_modes - 1), min(a + 2, n_modes - 1)
                x0, x1, x2, x3 = result[n, a], result[n1, a], result[n2, a], result[n3, a]
                y0, y1, y2, y3 = result[n, b], result[n1, b], result[n2, b], result[n3, b]
                z0, z1, z2, z3 = result[n, c], result[n1, c], result[n2, c], result[n3, c]
                for k in range(begin, end):
                    x0 += A[n, k] * X[a, k]
                    y0 += A[n, k] * X[b, k]
                    z0 += A[n, k] * X[c, k]
                    x1 += A[n1, k] * X[a, k]
                    y1 += A[n1, k] * X[b, k]
                    z1 += A[n1, k] * X[c, k]
                    x2 += A[n2, k] * X[a, k]
                    y2 += A[n2, k] * X[b, k]
                    z2 += A[n2, k] * X[c, k]
                    x3 += A[n3, k] * X[a, k]
                    y3 += A[n3, k] * X[b, k]
                    z3 += A[n3, k] * X[c, k]
                result[n, a], result[n1, a], result[n2, a], result[n3, a] = x0, x1, x2, x3
                result[n, b], result[n1, b], result[n2, b], result[n3, b] = y0, y1, y2, y3
                result[n, c], result[n1, c], result[n2, c], result[n3, c] = z0, z1, z2, z3


# The larger of the two matrices is gone through in the order in which it is stored. Beyond the last row the last one is written
# again, and the last tile of a row overlaps the one before. A row of the result does not depend on other rows of C, to the bit.
@njit(cache=True, nogil=True)
def _combinations(C: RealArray, X: RealArray, result: RealArray) -> None:
    """Write C X, rows that combine the rows of `X`; `X` and `result` are contiguous and have a tile's columns or more."""
    n_rows, n_columns = result.shape
    tile = COLUMNS_OF_BYTES // result.itemsize
    if n_rows > len(X):
        for i in range(0, n_rows, ROWS):
            rows = (i, min(i + 1, n_rows - 1), min(i + 2, n_rows - 1), min(i + 3, n_rows - 1))
            for column in range(0, n_columns, tile):
                write_tile(C, rows, X, result, min(column, n_columns - tile))
    else:
        for column in range(0, n_columns, tile):
            for i in range(0, n_rows, ROWS):
                rows = (i, min(i + 1, n_rows - 1), min(i + 2, n_rows - 1), min(i + 3, n_rows - 1))
                write_tile(C, rows, X, result, min(column, n_columns - tile))


@njit(cache=True, nogil=True)
def back_through_sigma(d_weighted: RealArray, u: RealArray, sigma: RealArray, d_sigma: RealArray) -> None:
    """Write the gradient of `sigma`, (P,), and turn the gradient of diag(sigma) u, (samples, P), into that of u in place."""
    d_sigma[:] = 0
    for n in range(len(u)):
        for a in range(len(sigma)):
            d_sigma[a] += d_weighted[n, a] * u[n, a]
            d_weighted[n, a] *= sigma[a]


@njit(cache=True, nogil=True)
def sum_samples(d: RealArray, result: RealArray) -> None:
    """Write the sum of the rows of `d`, (samples, N), into `result`."""
    result[:] = 0
    for n in range(len(d)):
        for k in range(len(result)):
            result[k] += d[n, k]
