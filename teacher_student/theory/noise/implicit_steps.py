"""A step of the linear noise by an implicit Runge-Kutta method of order 4 with an embedded one of order 3, and its propagator
(docs/theory.rst: `stage`).

It is Hairer and Wanner's SDIRK method (Solving Ordinary Differential Equations II, 2nd ed., Table 6.5), L-stable. Stage i solves

    V_i = C_i + gamma h (J_i V_i + V_i J_i^T),      C_i = V + h sum_j a_ij (slope of stage j) + gamma h D_i,

for the covariance. With B = 1 - gamma h J and U = B^-1 gamma h J this is V_i = B^-1 C_i B^-T + U V_i U^T, the sum of all
U^k B^-1 C_i B^-T U^kT. It is added up by doubling: 2^m terms in m products.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit
from teacher_student.theory.ode.linear_equations import factorise, solve

GAMMA = 0.25
# Times of the stages, their coefficients, and those of the error; the last stage is the end of the step.
TIMES = np.array([1 / 4, 3 / 4, 11 / 20, 1 / 2, 1.0])
_A = np.zeros((5, 5))
_A[1, :1] = 1 / 2
_A[2, :2] = 17 / 50, -1 / 25
_A[3, :3] = 371 / 1360, -137 / 2720, 15 / 544
_A[4, :4] = 25 / 24, -49 / 48, 125 / 16, -85 / 12
_E = np.array([25 / 24 - 59 / 48, -49 / 48 + 17 / 96, 125 / 16 - 225 / 32, 0.0, 1 / 4])
# Gauss points of a step, and the factor of the commutator in Magnus' expansion.
GAUSS = np.array([0.5 - np.sqrt(3.0) / 6.0, 0.5 + np.sqrt(3.0) / 6.0])
_MAGNUS = np.sqrt(3.0) / 12.0
# Powers of U are negligible below, and grow without bound above. A stiff direction takes log2(36 h abs(lambda)) doublings.
_NEGLIGIBLE, _LARGEST, _MOST_DOUBLINGS = 1e-7, 1e6, 60
# Products of matrices from this size on are left to BLAS.
_LARGE = 16


class Stages(NamedTuple):
    """Factors of B (5, n, n) with `pivots` (5, n), and covariances `V` (5, m, n, n) at the stages with their `slopes`."""

    factors: FloatArray
    pivots: IntArray
    V: FloatArray
    slopes: FloatArray


def empty_stages(m: int, n: int) -> Stages:
    """Return stages for `m` covariances of `n` coordinates, to be written."""
    return Stages(np.empty((5, n, n)), np.empty((5, n), dtype=np.int64), np.empty((5, m, n, n)), np.empty((5, m, n, n)))


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def multiply(A: FloatArray, B: FloatArray, out: FloatArray) -> None:
    """Write the product of `A` and `B`, (n, n) each, into `out`."""
    n = len(A)
    if n >= _LARGE:
        np.dot(A, B, out)
        return
    for i in range(n):
        row = out[i]
        for j in range(n):
            row[j] = 0.0
        for k in range(n):
            factor, other = A[i, k], B[k]
            for j in range(n):
                row[j] += factor * other[j]


@njit(cache=True, error_model="numpy")
def solve_columns(factors: FloatArray, pivots: IntArray, B: FloatArray) -> None:
    """Overwrite the columns of `B` (n, m) by the solutions of the equations with `factors` and `pivots` by `factorise`."""
    column = np.empty(len(B))
    for j in range(B.shape[1]):
        for i in range(len(B)):
            column[i] = B[i, j]
        solve(factors, pivots, column)
        for i in range(len(B)):
            B[i, j] = column[i]


@njit(cache=True, error_model="numpy")
def solve_stage(J: FloatArray, h: float, C: FloatArray, factors: FloatArray, pivots: IntArray, V: FloatArray) -> bool:
    """Write the solutions of V = C + h (J V + V J^T) for a stack of symmetric `C` (m, n, n) into `V`, and factors of 1 - h J.

    Returns whether they are found: where h times a growth rate is 1/2 or more there is no covariance.
    """
    n = len(J)
    U, product, transposed, power = h * J, np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    for i in range(n):
        for j in range(n):
            factors[i, j] = (1.0 if i == j else 0.0) - U[i, j]
    factorise(factors, pivots)
    solve_columns(factors, pivots, U)
    for m in range(len(C)):
        V[m] = C[m]
        solve_columns(factors, pivots, V[m])
        transposed[:] = V[m].T
        solve_columns(factors, pivots, transposed)
        V[m] = transposed
    for _ in range(_MOST_DOUBLINGS):
        largest = 0.0
        for i in range(n):
            for j in range(n):
                largest = max(largest, abs(U[i, j]))
        if largest < _NEGLIGIBLE:
            return True
        if not largest < _LARGEST:
            return False
        transposed[:] = U.T
        for m in range(len(C)):
            multiply(U, V[m], product)
            multiply(product, transposed, power)
            V[m] += power
        multiply(U, U, power)
        U[:] = power
    return False


@njit(cache=True, error_model="numpy")
def covariance_stages(J: FloatArray, D: FloatArray, V: FloatArray, h: float, out: Stages) -> bool:
    """Write the stages of a step of length `h` from the covariances `V` (m, n, n); return whether there are any.

    `J` (5, n, n) and `D` (5, m, n, n) are those at the times of the stages.
    """
    n = V.shape[1]
    known, product = np.empty_like(V), np.empty((n, n))
    for i in range(5):
        known[:] = V + h * GAMMA * D[i]
        for j in range(i):
            known += h * _A[i, j] * out.slopes[j]
        if not solve_stage(J[i], GAMMA * h, known, out.factors[i], out.pivots[i], out.V[i]):
            return False
        for m in range(len(V)):
            multiply(J[i], out.V[i, m], product)
            out.slopes[i, m] = product + product.T + D[i, m]
    return True


@njit(cache=True, error_model="numpy")
def mean_after(J: FloatArray, source: FloatArray, m: FloatArray, h: float, stages: Stages) -> FloatArray:
    """Return what becomes of `m` (n,) in a step of length `h`, dm/dalpha = J m + `source` (5, n) at the times of the stages.

    The factors are those of `covariance_stages`.
    """
    slopes, known = np.empty((5, len(m))), np.empty(len(m))
    for i in range(5):
        known[:] = m + h * GAMMA * source[i]
        for j in range(i):
            known += h * _A[i, j] * slopes[j]
        solve(stages.factors[i], stages.pivots[i], known)
        for a in range(len(m)):
            slopes[i, a] = source[i, a]
            for b in range(len(m)):
                slopes[i, a] += J[i, a, b] * known[b]
    return known


@njit(cache=True, error_model="numpy")
def propagator(J: FloatArray, h: float) -> FloatArray:
    """Return the propagator (n, n) of dx/dalpha = J x over a step of length `h`, `J` (2, n, n) being that at its Gauss points.

    It is exp(h (J_0 + J_1) / 2 + sqrt(3) h^2 [J_1, J_0] / 12), Magnus' expansion to order 4, and exact for constant J however
    fast directions decay: by the series of exp of a 2^s-th part, squared s times.
    """
    n = J.shape[1]
    exponent, product, power = 0.5 * h * (J[0] + J[1]), np.empty((n, n)), np.eye(n)
    multiply(J[1], J[0], product)
    exponent += _MAGNUS * h * h * product
    multiply(J[0], J[1], product)
    exponent -= _MAGNUS * h * h * product
    size, squarings = np.abs(exponent).sum(axis=1).max(), 0
    while size > 0.5 and squarings < 100:
        size, squarings = 0.5 * size, squarings + 1
    exponent *= 0.5**squarings
    for term in range(14, 0, -1):
        multiply(exponent, power, product)
        power[:] = product / term
        for i in range(n):
            power[i, i] += 1.0
    for _ in range(squarings):
        multiply(power, power, product)
        power[:] = product
    return power


def error_of(slopes: FloatArray, h: float) -> FloatArray:
    """Return by how much the methods of order 4 and 3 differ after a step of length `h`, of stages with `slopes` (5, n, n)."""
    return np.asarray(h * np.tensordot(_E, slopes, 1))
