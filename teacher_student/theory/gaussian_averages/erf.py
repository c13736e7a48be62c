"""Gaussian averages of g(x) = erf(x / sqrt 2) in closed form.

All of them follow from one fact. Since g'(x) = sqrt(2/pi) exp(-x^2/2) is itself Gaussian, a factor g'(lambda_k) only
reweights the fields to another Gaussian measure of smaller covariance and a known norm. What then remains is
<g(x) g(y)> = (2/pi) asin(C_xy / sqrt((1 + C_xx)(1 + C_yy))) (Williams 1998; Saad and Solla 1995).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.theory.gaussian_averages.pointers import pointers

FloatArray = npt.NDArray[np.float64]

_TWO_OVER_PI = 2.0 / math.pi


@njit(cache=True)
def activation_covariance(parameters: FloatArray, S: FloatArray, K: int, L: FloatArray) -> None:
    """Write L_ij = <g(psi_i) g(psi_j)> for fields of covariance `S`, both (n, n), into `L` (Saad and Solla 1995)."""
    n = S.shape[0]
    for i in range(n):
        for j in range(i, n):
            correlation = S[i, j] / math.sqrt((1.0 + S[i, i]) * (1.0 + S[j, j]))
            L[i, j] = _TWO_OVER_PI * math.asin(min(1.0, max(-1.0, correlation)))
            L[j, i] = L[i, j]


@njit(cache=True)
def squared_error_average(S: FloatArray, c: FloatArray, k: int, m: int, C: FloatArray, scale: FloatArray) -> float:
    """Return <(sum_j c_j g(psi_j))^2 g'(psi_k) g'(psi_m)>; `C` (n, n) and `scale` (n,) are work space.

    g'(psi_k) g'(psi_m) multiplies the Gaussian density by (2/pi) exp(-(psi_k^2 + psi_m^2)/2). The product is a Gaussian
    of covariance C = S - S_:k,m (1 + S_km,km)^-1 S_km,: and of norm (2/pi) / sqrt(det(1 + S_km,km)). With it the
    four-index average of Saad and Solla, Phys. Rev. E 52, 4225 (1995), is the arcsine of `C`.
    """
    n = S.shape[0]
    # The inverse of [[1 + S_kk, S_km], [S_km, 1 + S_mm]]; for k = m it is the two-fold factor g'(psi_k)^2.
    determinant = (1.0 + S[k, k]) * (1.0 + S[m, m]) - S[k, m] ** 2
    inverse_kk = (1.0 + S[m, m]) / determinant
    inverse_mm = (1.0 + S[k, k]) / determinant
    inverse_km = -S[k, m] / determinant
    for i in range(n):
        to_k = S[i, k] * inverse_kk + S[i, m] * inverse_km
        to_m = S[i, k] * inverse_km + S[i, m] * inverse_mm
        for j in range(i, n):
            C[i, j] = S[i, j] - to_k * S[k, j] - to_m * S[m, j]
    for i in range(n):
        scale[i] = 1.0 / math.sqrt(1.0 + C[i, i])
    total = 0.0
    for i in range(n):
        total += c[i] ** 2 * math.asin(min(1.0, C[i, i] * scale[i] ** 2))
        for j in range(i + 1, n):
            correlation = C[i, j] * scale[i] * scale[j]
            total += 2.0 * c[i] * c[j] * math.asin(min(1.0, max(-1.0, correlation)))
    return _TWO_OVER_PI**2 / math.sqrt(determinant) * total


@njit(cache=True)
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
    n = S.shape[0]
    activation_covariance(parameters, S, K, L)
    for k in range(K):
        for j in range(n):
            root = math.sqrt((1.0 + S[k, k]) * (1.0 + S[j, j]) - S[k, j] ** 2)
            E[k, j] = _TWO_OVER_PI / root
            A[k, j] = -_TWO_OVER_PI * S[k, j] / ((1.0 + S[k, k]) * root)
    C = np.empty((n, n))
    scale = np.empty(n)
    for k in range(K):
        for m in range(k, K):
            G[k, m] = squared_error_average(S, c, k, m, C, scale)
            G[m, k] = G[k, m]


activation_covariance_pointer, averages_pointer = pointers(activation_covariance, averages)
