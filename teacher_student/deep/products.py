"""Products of long rows with few modes, in compiled code.

BLAS copies both matrices into an order of its own first. Where one has only P rows every number is used P times, and the copies
take as long as the product.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.deep.tiles import COLUMNS_OF_BYTES, ROWS, write_tile

Array = npt.NDArray[np.floating]

_COLUMNS_AT_ONCE = 2048  # seven rows of float32 that stay in the cache next to the processor, or nearly


# Twelve sums, three modes and a sample at a time are what fits sixteen registers, in this order. Beyond the last row of a matrix the last one is taken again, and its sums
# are written again. Sums may be reordered into vector lanes; NaN and infinity keep their meaning, divergence is seen in them.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def overlaps(A: Array, X: Array, result: Array) -> None:
    """Write A X^T, (samples, modes), into `result`, with `A` (samples, N) and `X` (modes, N) contiguous.

    A sample's numbers do not depend on its neighbours, to the bit.
    """
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


@njit(cache=True, nogil=True, fastmath={"contract"})
def combinations(C: Array, X: Array, result: Array) -> None:
    """Write C X, rows that combine the rows of `X` (modes, N), into `result`; `X` and `result` are contiguous.

    A row of the result does not depend on the other rows of `C`, to the bit.
    """
    n_rows, n_columns = result.shape
    tile = COLUMNS_OF_BYTES // result.itemsize
    if n_columns < tile:
        result[:] = 0
        for i in range(n_rows):
            for a in range(len(X)):
                for k in range(n_columns):
                    result[i, k] += C[i, a] * X[a, k]
    elif n_rows > len(X):  # the larger of the two is gone through in the order in which it is stored
        for i in range(0, n_rows, ROWS):
            for column in range(0, n_columns, tile):
                _write_tile(C, i, X, result, min(column, n_columns - tile))
    else:
        for column in range(0, n_columns, tile):
            for i in range(0, n_rows, ROWS):
                _write_tile(C, i, X, result, min(column, n_columns - tile))


# As above: the last row is written again where there are no more, and the last tile of a row overlaps the one before.
@njit(nogil=True, inline="always")
def _write_tile(C: Array, i: int, X: Array, result: Array, column: int) -> None:
    last = len(result) - 1
    write_tile(C, (i, min(i + 1, last), min(i + 2, last), min(i + 3, last)), X, result, column)


@njit(cache=True, nogil=True)
def through_modes(h: Array, xi_in: Array, sigma: Array, xi_out: Array, u: Array, weighted: Array, z: Array) -> None:
    """Write u = h xi_in^T, diag(sigma) u and z = xi_out diag(sigma) u of all samples; all modes are rows, `xi_out` is (P, N_out)."""
    overlaps(h, xi_in, u)
    for n in range(len(u)):
        for a in range(len(sigma)):
            weighted[n, a] = sigma[a] * u[n, a]
    combinations(weighted, xi_out, z)


@njit(cache=True, nogil=True)
def back_through_modes(dz: Array, xi_in: Array, sigma: Array, xi_out: Array, u: Array, d_sigma: Array, du: Array, dh: Array) -> None:
    """Write the gradient of sigma, and dLoss / du and dLoss / dh of all samples; without rows `dh` is not wanted."""
    overlaps(dz, xi_out, du)
    d_sigma[:] = 0
    for n in range(len(u)):
        for a in range(len(sigma)):
            d_sigma[a] += du[n, a] * u[n, a]
            du[n, a] *= sigma[a]
    if len(dh) > 0:
        combinations(du, xi_in, dh)


@njit(cache=True, nogil=True)
def sum_samples(d: Array, result: Array) -> None:
    """Write the sum of the rows of `d`, (samples, N), into `result`."""
    result[:] = 0
    for n in range(len(d)):
        for k in range(len(result)):
            result[k] += d[n, k]
