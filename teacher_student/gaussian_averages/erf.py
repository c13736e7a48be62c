"""Gaussian averages of g(x) = erf(x / sqrt 2) in closed form
(docs/theory.rst: `erf-E`, `arcsine`, `erf-A`, `erf-I4`).

All of them follow from one fact. Since g'(x) = sqrt(2/pi) exp(-x^2/2) is itself Gaussian, a factor g'(lambda_k) only
reweights the fields to another Gaussian measure of smaller covariance and a known norm. What then remains is
<g(x) g(y)> = (2/pi) asin(C_xy / sqrt((1 + C_xx)(1 + C_yy))) (Williams 1998; Saad and Solla 1995).
"""

from __future__ import annotations

import math

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.arcsine import take_arcsines
from teacher_student.gaussian_averages.pointers import pointers
from teacher_student.kernels import njit

_TWO_OVER_PI = 2.0 / math.pi


@njit(cache=True)
def padded_pairs(n: int) -> int:
    """Return the number of pairs i <= j of `n` indices, up to the next multiple of 8: vectors of 8 leave no remainder."""
    return (n * (n + 1) // 2 + 7) // 8 * 8


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def fill_arcsines(S: FloatArray, scale: FloatArray, arcs: FloatArray) -> None:
    """Write asin(S_ij scale_i scale_j) of all i <= j, row after row, into `arcs` (n (n + 1) / 2,)."""
    n = len(S)
    position = 0
    for i in range(n):
        row, factors, out = S[i, i:], scale[i:], arcs[position : position + n - i]
        for j in range(n - i):
            out[j] = row[j] * (scale[i] * factors[j])
        position += n - i
    take_arcsines(arcs)


@njit(cache=True, error_model="numpy")
def activation_covariance(parameters: FloatArray, S: FloatArray, K: int, L: FloatArray) -> None:
    """Write L_ij = <g(psi_i) g(psi_j)> for fields of covariance `S`, both (n, n), into `L` (Saad and Solla 1995)."""
    n = len(S)
    scale, arcs = np.empty(n), np.zeros(padded_pairs(n))
    for i in range(n):
        scale[i] = 1.0 / math.sqrt(1.0 + S[i, i])
    fill_arcsines(S, scale, arcs)
    position = 0
    for i in range(n):
        for j in range(i, n):
            L[i, j] = L[j, i] = _TWO_OVER_PI * arcs[position + j - i]
        position += n - i


@njit(cache=True, fastmath={"contract", "reassoc"})
def weighted_sum(weights: FloatArray, numbers: FloatArray) -> float:
    """Return sum_p weights_p numbers_p, added in the order of vectors."""
    total = 0.0
    for p in range(len(numbers)):
        total += weights[p] * numbers[p]
    return total


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def squared_error_average(S: FloatArray, pair_weights: FloatArray, k: int, m: int, scale: FloatArray, arcs: FloatArray) -> float:
    """Return <(sum_j c_j g(psi_j))^2 g'(psi_k) g'(psi_m)>; `scale` (n,) and `arcs` (n (n + 1) / 2,) are work space.

    `pair_weights` are c_i c_j, and twice that where i < j, in the order of `arcs`.

    g'(psi_k) g'(psi_m) multiplies the Gaussian density by (2/pi) exp(-(psi_k^2 + psi_m^2)/2). The product is a Gaussian
    of covariance C = S - S_:k,m (1 + S_km,km)^-1 S_km,: and of norm (2/pi) / sqrt(det(1 + S_km,km)). With it the
    four-index average of Saad and Solla, Phys. Rev. E 52, 4225 (1995), is the arcsine of `C`.
    """
    n = len(S)
    # The inverse of [[1 + S_kk, S_km], [S_km, 1 + S_mm]]; for k = m it is the two-fold factor g'(psi_k)^2.
    determinant = (1.0 + S[k, k]) * (1.0 + S[m, m]) - S[k, m] * S[k, m]
    inverse_kk = (1.0 + S[m, m]) / determinant
    inverse_mm = (1.0 + S[k, k]) / determinant
    inverse_km = -S[k, m] / determinant
    S_k, S_m = S[k], S[m]
    for i in range(n):
        reduction = inverse_kk * S_k[i] ** 2 + 2.0 * inverse_km * S_k[i] * S_m[i] + inverse_mm * S_m[i] ** 2
        scale[i] = 1.0 / math.sqrt(1.0 + (S[i, i] - reduction))
    position = 0
    for i in range(n):
        to_k = S_k[i] * inverse_kk + S_m[i] * inverse_km
        to_m = S_k[i] * inverse_km + S_m[i] * inverse_mm
        # Views that begin at the diagonal let the compiler see that no index is negative, and use vectors.
        row, row_k, row_m, factors, out = S[i, i:], S_k[i:], S_m[i:], scale[i:], arcs[position : position + n - i]
        own = scale[i]
        for j in range(n - i):
            out[j] = (row[j] - to_k * row_k[j] - to_m * row_m[j]) * (own * factors[j])
        position += n - i
    take_arcsines(arcs)
    return _TWO_OVER_PI**2 / math.sqrt(determinant) * weighted_sum(pair_weights, arcs)


@njit(cache=True, error_model="numpy")
def averages(
    parameters: FloatArray,
    S: FloatArray,
    c: FloatArray,
    K: int,
    L: FloatArray,
    E: FloatArray,
    A: FloatArray,
    G: FloatArray,
) -> None:
    """Write the averages of the right-hand side for n = K + M fields of covariance `S`.

    `L` (n, n), `E` (K, n), `A` (K, n) and `G` (K, K) are as in the package's docstring; `c` (n,) are the output weights
    (v, -v_teacher). The family has one member and no `parameters`.
    """
    n = len(S)
    activation_covariance(parameters, S, K, L)
    for k in range(K):
        for j in range(n):
            root = math.sqrt((1.0 + S[k, k]) * (1.0 + S[j, j]) - S[k, j] ** 2)
            E[k, j] = _TWO_OVER_PI / root
            A[k, j] = -_TWO_OVER_PI * S[k, j] / ((1.0 + S[k, k]) * root)
    scale, arcs, pair_weights = np.empty(n), np.zeros(padded_pairs(n)), np.zeros(padded_pairs(n))
    position = 0
    for i in range(n):
        for j in range(i, n):
            pair_weights[position] = (1.0 if i == j else 2.0) * c[i] * c[j]
            position += 1
    for k in range(K):
        for m in range(k, K):
            G[k, m] = G[m, k] = squared_error_average(S, pair_weights, k, m, scale, arcs)


activation_covariance_pointer, averages_pointer = pointers(activation_covariance, averages)
