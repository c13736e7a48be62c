"""Gaussian averages of g(x) = x for x > 0, s x for x < 0: ReLU (s = 0), leaky ReLU and the linear unit (s = 1).

With p = (1 + s) / 2 and q = (1 - s) / 2, g(x) = p x + q |x|, g'(x) = p + q sign(x) and g''(x) = 2 q delta(x), so that averages
of an odd number of odd factors vanish. All that remain follow from Stein's lemma and

    <s_x s_y> = (2/pi) asin C,    <|x| |y|> = (2/pi) (sqrt(1 - C^2) + C asin C),    <delta(x) |y|> = sqrt(1 - C^2) / pi

for fields of unit variance and correlation C (the second is the arc-cosine kernel of Cho and Saul 2009), save <s_a s_b |c| |d|>
of four different fields, which the average of four signs reduces to (see `four_signs`).

A field of zero variance is zero, and sign(0) = 0 here and in SGD: g'(0) = p.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from teacher_student.theory.gaussian_averages.four_signs import angle, determinant_of_four, four_signs

FloatArray = npt.NDArray[np.float64]

_TWO_OVER_PI = 2.0 / math.pi
_FOUR_OVER_PI_SQUARED = 4.0 / math.pi**2


@njit(cache=True)
def fill_coefficients(parameters: FloatArray, K: int, p: FloatArray, q: FloatArray) -> None:
    """Write g_i(x) = p_i x + q_i |x| for `parameters` (slope of the student, slope of the teacher)."""
    for i in range(len(p)):
        slope = parameters[0] if i < K else parameters[1]
        p[i] = 0.5 * (1.0 + slope)
        q[i] = 0.5 * (1.0 - slope)


@njit(cache=True)
def fill_correlations(S: FloatArray, deviation: FloatArray, C: FloatArray, sine: FloatArray, arc: FloatArray) -> None:
    """Write standard deviations, correlations C_ij, sqrt(1 - C_ij^2) and asin C_ij; a field of zero variance has C_ii = 0."""
    n = len(S)
    for i in range(n):
        deviation[i] = math.sqrt(max(0.0, S[i, i]))
    for i in range(n):
        for j in range(i, n):
            positive = deviation[i] > 0.0 and deviation[j] > 0.0
            correlation = 0.0
            if positive:
                correlation = 1.0 if i == j else min(1.0, max(-1.0, S[i, j] / (deviation[i] * deviation[j])))
            C[i, j] = C[j, i] = correlation
            sine[i, j] = sine[j, i] = math.sqrt((1.0 - correlation) * (1.0 + correlation))
            arc[i, j] = arc[j, i] = math.asin(correlation)


@njit(cache=True)
def fill_activation_covariance(
    S: FloatArray,
    p: FloatArray,
    q: FloatArray,
    deviation: FloatArray,
    C: FloatArray,
    sine: FloatArray,
    arc: FloatArray,
    L: FloatArray,
) -> None:
    """Write L_ij = p_i p_j S_ij + q_i q_j <|psi_i| |psi_j|>."""
    n = len(S)
    for i in range(n):
        for j in range(i, n):
            kernel = _TWO_OVER_PI * (sine[i, j] + C[i, j] * arc[i, j])
            L[i, j] = p[i] * p[j] * S[i, j] + q[i] * q[j] * deviation[i] * deviation[j] * kernel
            L[j, i] = L[i, j]


@njit(cache=True)
def activation_covariance(parameters: FloatArray, S: FloatArray, K: int, L: FloatArray) -> None:
    """Write L_ij = <g_i(psi_i) g_j(psi_j)> for fields of covariance `S`, both (n, n), into `L`."""
    n = len(S)
    p, q, deviation = np.empty(n), np.empty(n), np.empty(n)
    C, sine, arc = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    fill_coefficients(parameters, K, p, q)
    fill_correlations(S, deviation, C, sine, arc)
    fill_activation_covariance(S, p, q, deviation, C, sine, arc, L)


@njit(cache=True)
def add_distinct_fields(C: FloatArray, sine: FloatArray, weights: FloatArray, K: int, factor: float, G: FloatArray) -> None:
    """Add factor sum_cd w_c w_d <s_a s_b |c| |d|> to G_ab, a < b < K, over ordered pairs of c and d with a, b, c, d different.

    With |x| = x s_x, Stein's lemma for c and then d turns <c d s_a s_b s_c s_d> into C_cd <s_a s_b s_c s_d> and averages with
    two delta functions, one a pair of fields, each (1/pi^2) angle_xy / sqrt(1 - C_xy^2). `weights` (n,) belong to fields of
    unit variance.
    """
    n = len(C)
    D = np.empty((4, 4))
    index = np.empty(4, np.int64)
    angles = np.zeros((4, 4))
    work = np.empty((2, 3))
    for index[0] in range(K):
        for index[1] in range(index[0] + 1, K):
            for index[2] in range(index[1] + 1, n):
                for index[3] in range(index[2] + 1, n):
                    needed = False
                    for a in range(4):
                        for b in range(a + 1, 4):
                            c, d = complement(a, b)
                            needed |= index[b] < K and weights[index[c]] * weights[index[d]] != 0.0
                    if not needed or C[index[0], index[0]] * C[index[1], index[1]] == 0.0:
                        continue
                    for x in range(4):
                        for y in range(4):
                            D[x, y] = C[index[x], index[y]]
                    determinant = determinant_of_four(D)
                    signs = four_signs(D, determinant, work[0], work[1])
                    for x in range(4):
                        for y in range(x + 1, 4):
                            z, w = complement(x, y)
                            angles[x, y] = angles[y, x] = angle(D, x, y, z, w, determinant)
                    for a in range(4):
                        for b in range(a + 1, 4):
                            i, j = index[a], index[b]
                            if j >= K:
                                continue
                            c, d = complement(a, b)
                            k, m = index[c], index[d]
                            total = sine[k, m] * angles[c, d]
                            total += D[a, d] * sine[i, k] * angles[a, c] + D[b, d] * sine[j, k] * angles[b, c]
                            total += D[a, c] * sine[i, m] * angles[a, d] + D[b, c] * sine[j, m] * angles[b, d]
                            if sine[i, j] > 0.0:
                                both = D[a, c] * (D[b, d] - D[a, b] * D[a, d]) + D[b, c] * (D[a, d] - D[a, b] * D[b, d])
                                total += both / sine[i, j] * angles[a, b]
                            average = D[c, d] * signs + _FOUR_OVER_PI_SQUARED * total
                            G[i, j] += 2.0 * factor * weights[k] * weights[m] * average


@njit(cache=True)
def complement(x: int, y: int) -> tuple[int, int]:
    """Return the two of 0, 1, 2, 3 that are neither x nor y > x."""
    z = 0 if x > 0 else (1 if y > 1 else 2)
    return z, 6 - x - y - z


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
    (v, -v_teacher).
    """
    n = len(S)
    p, q, deviation = np.empty(n), np.empty(n), np.empty(n)
    C, sine, arc = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    fill_coefficients(parameters, K, p, q)
    fill_correlations(S, deviation, C, sine, arc)
    fill_activation_covariance(S, p, q, deviation, C, sine, arc, L)
    for k in range(K):
        for j in range(n):
            E[k, j] = p[k] * p[j] + q[k] * q[j] * _TWO_OVER_PI * arc[k, j]
            A[k, j] = 0.0
            if deviation[k] > 0.0:
                A[k, j] = _TWO_OVER_PI * q[k] * q[j] * deviation[j] / deviation[k] * sine[k, j]

    # The student's output minus the teacher's is X + Y, X = sum_j c_j p_j psi_j and Y = sum_j c_j q_j |psi_j|.
    weights = c * q * deviation  # Y = sum_j weights_j |field of unit variance|
    overlap = np.zeros(n)  # of X with the fields of unit variance
    X_squared, Y_squared = 0.0, 0.0
    for i in range(n):
        for j in range(n):
            X_squared += c[i] * c[j] * p[i] * p[j] * S[i, j]
            Y_squared += weights[i] * weights[j] * _TWO_OVER_PI * (sine[i, j] + C[i, j] * arc[i, j])
            if deviation[i] > 0.0:
                overlap[i] += c[j] * p[j] * S[i, j] / deviation[i]
    s_X_Y = np.zeros(K)  # <s_k X Y>
    for k in range(K):
        for j in range(n):
            s_X_Y[k] += weights[j] * _TWO_OVER_PI * (overlap[k] * sine[k, j] + overlap[j] * arc[k, j])
    if K > 0:
        p_student, q_student = p[0], q[0]
    for a in range(K):
        G[a, a] = (p_student**2 + C[a, a] * q_student**2) * (X_squared + Y_squared) + 4.0 * p_student * q_student * s_X_Y[a]
        for b in range(a + 1, K):
            signs_and_squares = signs_and_square(C[a, b], sine[a, b], arc[a, b], overlap[a], overlap[b], X_squared)
            for j in range(n):
                square = signs_and_square(C[a, b], sine[a, b], arc[a, b], C[a, j], C[b, j], 1.0)
                signs_and_squares += weights[j] ** 2 * square
                if j != a and j != b:
                    at_a = C[a, b] * sine[b, j] + C[a, j] * arc[b, j]  # (pi/2) <a s_b |j|>
                    at_b = C[a, b] * sine[a, j] + C[b, j] * arc[a, j]
                    signs_and_squares += 2.0 * _TWO_OVER_PI * weights[j] * (weights[a] * at_a + weights[b] * at_b)
            signs_and_squares += 2.0 * weights[a] * weights[b] * C[a, b]
            G[a, b] = p_student**2 * (X_squared + Y_squared) + 2.0 * p_student * q_student * (s_X_Y[a] + s_X_Y[b])
            G[a, b] += q_student**2 * signs_and_squares
    if q_student != 0.0:
        add_distinct_fields(C, sine, weights, K, q_student**2, G)
    for a in range(K):
        for b in range(a):
            G[a, b] = G[b, a]


@njit(cache=True)
def signs_and_square(C: float, sine: float, arc: float, to_a: float, to_b: float, variance: float) -> float:
    """Return <s_a s_b x^2> for x of `variance` with covariances `to_a` and `to_b`; `C` is the correlation of a and b."""
    total = variance * arc
    if sine > 0.0:
        total += (to_a * (to_b - C * to_a) + to_b * (to_a - C * to_b)) / sine
    return _TWO_OVER_PI * total


activation_covariance_pointer = cfunc("void(float64[::1], float64[:, ::1], int64, float64[:, ::1])", cache=True)(
    activation_covariance.py_func
)
averages_pointer = cfunc(
    "void(float64[::1], float64[:, ::1], float64[::1], int64, "
    "float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])",
    cache=True,
)(averages.py_func)
