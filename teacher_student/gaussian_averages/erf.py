"""Gaussian averages of g(x) = erf(x / (w sqrt 2)) of any width w in closed form: erf is w = 1, sign the limit w = 0
(docs/theory.rst: `erf-E`, `arcsine`, `erf-A`, `erf-I4`).

All of them follow from one fact. Since g'(x) = sqrt(2/pi) exp(-x^2 / (2 w^2)) / w is itself Gaussian, a factor g'(lambda_k) only
reweights the fields to another Gaussian measure of smaller covariance and a known norm. What then remains is
<g(x) g(y)> = (2/pi) asin(C_xy / sqrt((w_x^2 + C_xx)(w_y^2 + C_yy))) (Williams 1998; Saad and Solla 1995).

Student and teacher have widths of their own. A student of sign units gets no gradient through them: its g' is 0, as in SGD.
"""

from __future__ import annotations

import math

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.arcsine import take_arcsines
from teacher_student.gaussian_averages.pointers import pointers
from teacher_student.kernels import njit

_TWO_OVER_PI = 2.0 / math.pi
# Added to the variances: a sign unit without a norm, which nothing is correlated with, then gives 0 and not 0 / 0.
_SMALLEST = 1e-200


@njit(cache=True)
def padded_pairs(n: int) -> int:
    """Return the number of pairs i <= j of `n` indices, up to the next multiple of 8: vectors of 8 leave no remainder."""
    return (n * (n + 1) // 2 + 7) // 8 * 8


@njit(cache=True, error_model="numpy")
def fill_squared_widths(parameters: FloatArray, K: int, squared_widths: FloatArray) -> None:
    """Write w^2 of every field into `squared_widths` (n,); `parameters` are the widths of student and teacher."""
    for i in range(len(squared_widths)):
        width = parameters[0] if i < K else parameters[1]
        squared_widths[i] = width * width + _SMALLEST


@njit(cache=True, error_model="numpy")
def correct_signs(C: FloatArray, squared_widths: FloatArray, arguments: FloatArray) -> None:
    """Write the correlations of the sign units, of width 0, into the `arguments` of arcsines (n (n + 1) / 2,), row after row.

    They may be 1, where the arcsine loses half the digits of a rounding error: here they are then exactly 1.
    """
    n = len(C)
    position = 0
    for i in range(n):
        for j in range(i, n):
            if squared_widths[i] == _SMALLEST and squared_widths[j] == _SMALLEST:
                product = C[i, i] * C[j, j]
                arguments[position + j - i] = C[i, j] / math.sqrt(product) if product > 0.0 else 0.0
        position += n - i


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def fill_arcsines(S: FloatArray, squared_widths: FloatArray, scale: FloatArray, arcs: FloatArray) -> None:
    """Write asin(S_ij scale_i scale_j) of all i <= j, row after row, into `arcs` (n (n + 1) / 2,)."""
    n = len(S)
    position = 0
    for i in range(n):
        row, factors, out = S[i, i:], scale[i:], arcs[position : position + n - i]
        for j in range(n - i):
            out[j] = row[j] * (scale[i] * factors[j])
        position += n - i
    if squared_widths[0] == _SMALLEST or squared_widths[n - 1] == _SMALLEST:
        correct_signs(S, squared_widths, arcs)
    take_arcsines(arcs)


@njit(cache=True, error_model="numpy", inline="always")
def fill_activation_covariance(
    S: FloatArray, squared_widths: FloatArray, scale: FloatArray, arcs: FloatArray, L: FloatArray
) -> None:
    """Write L_ij = <g_i(psi_i) g_j(psi_j)> into `L` (n, n); `scale` (n,) and `arcs` (n (n + 1) / 2,) are work space."""
    n = len(S)
    for i in range(n):
        scale[i] = 1.0 / math.sqrt(squared_widths[i] + S[i, i])
    fill_arcsines(S, squared_widths, scale, arcs)
    position = 0
    for i in range(n):
        for j in range(i, n):
            L[i, j] = L[j, i] = _TWO_OVER_PI * arcs[position + j - i]
        position += n - i


@njit(cache=True, error_model="numpy")
def activation_covariance(parameters: FloatArray, S: FloatArray, K: int, L: FloatArray) -> None:
    """Write L_ij = <g_i(psi_i) g_j(psi_j)> for fields of covariance `S`, both (n, n), into `L` (Saad and Solla 1995)."""
    n = len(S)
    squared_widths = np.empty(n)
    fill_squared_widths(parameters, K, squared_widths)
    fill_activation_covariance(S, squared_widths, np.empty(n), np.zeros(padded_pairs(n)), L)


@njit(cache=True, fastmath={"contract", "reassoc"})
def weighted_sum(weights: FloatArray, numbers: FloatArray) -> float:
    """Return sum_p weights_p numbers_p, added in the order of vectors."""
    total = 0.0
    for p in range(len(numbers)):
        total += weights[p] * numbers[p]
    return total


@njit(cache=True, error_model="numpy")
def tilted(S: FloatArray, k: int, m: int, inverse_kk: float, inverse_km: float, inverse_mm: float) -> FloatArray:
    """Return the covariance C (n, n) of `squared_error_average`, with the inverse of its docstring."""
    C = np.empty_like(S)
    for i in range(len(S)):
        to_k = S[i, k] * inverse_kk + S[i, m] * inverse_km
        to_m = S[i, k] * inverse_km + S[i, m] * inverse_mm
        for j in range(len(S)):
            C[i, j] = S[i, j] - to_k * S[k, j] - to_m * S[m, j]
    return C


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def squared_error_average(
    S: FloatArray, squared_widths: FloatArray, pair_weights: FloatArray, k: int, m: int, scale: FloatArray, arcs: FloatArray
) -> float:
    """Return <(sum_j c_j g_j(psi_j))^2 g'(psi_k) g'(psi_m)>; `scale` (n,) and `arcs` (n (n + 1) / 2,) are work space.

    `pair_weights` are c_i c_j, and twice that where i < j, in the order of `arcs`.

    g'(psi_k) g'(psi_m) multiplies the Gaussian density by (2/pi) exp(-(psi_k^2 + psi_m^2) / (2 w^2)) / w^2. The product is a
    Gaussian of covariance C = S - S_:k,m (w^2 + S_km,km)^-1 S_km,: and of norm (2/pi) / sqrt(det(w^2 + S_km,km)). With it the
    four-index average of Saad and Solla, Phys. Rev. E 52, 4225 (1995), is the arcsine of `C`.
    """
    n = len(S)
    of_k, of_m = squared_widths[k] + S[k, k], squared_widths[m] + S[m, m]
    # The inverse of [[w^2 + S_kk, S_km], [S_km, w^2 + S_mm]]; for k = m it is the two-fold factor g'(psi_k)^2.
    determinant = of_k * of_m - S[k, m] * S[k, m]
    inverse_kk = of_m / determinant
    inverse_mm = of_k / determinant
    inverse_km = -S[k, m] / determinant
    S_k, S_m = S[k], S[m]
    for i in range(n):
        reduction = inverse_kk * S_k[i] ** 2 + 2.0 * inverse_km * S_k[i] * S_m[i] + inverse_mm * S_m[i] ** 2
        scale[i] = 1.0 / math.sqrt(squared_widths[i] + (S[i, i] - reduction))
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
    if squared_widths[n - 1] == _SMALLEST:
        correct_signs(tilted(S, k, m, inverse_kk, inverse_km, inverse_mm), squared_widths, arcs)
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
    (v, -v_teacher), and `parameters` the widths of student and teacher.
    """
    n = len(S)
    squared_widths, scale, arcs, pair_weights = np.empty(n), np.empty(n), np.zeros(padded_pairs(n)), np.zeros(padded_pairs(n))
    fill_squared_widths(parameters, K, squared_widths)
    fill_activation_covariance(S, squared_widths, scale, arcs, L)
    if parameters[0] == 0.0:
        E[:] = 0.0
        A[:] = 0.0
        G[:] = 0.0
        return
    for k in range(K):
        of_k = squared_widths[k] + S[k, k]
        for j in range(n):
            root = math.sqrt(of_k * (squared_widths[j] + S[j, j]) - S[k, j] ** 2)
            E[k, j] = _TWO_OVER_PI / root
            A[k, j] = -_TWO_OVER_PI * S[k, j] / (of_k * root)
    position = 0
    for i in range(n):
        for j in range(i, n):
            pair_weights[position] = (1.0 if i == j else 2.0) * c[i] * c[j]
            position += 1
    for k in range(K):
        for m in range(k, K):
            G[k, m] = G[m, k] = squared_error_average(S, squared_widths, pair_weights, k, m, scale, arcs)


activation_covariance_pointer, averages_pointer = pointers(activation_covariance, averages)
