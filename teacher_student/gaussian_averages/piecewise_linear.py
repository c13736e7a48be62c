"""Gaussian averages of g(x) = x for x > 0, s x for x < 0: ReLU (s = 0), leaky ReLU and the linear unit (s = 1)
(docs/theory.rst: `piecewise-pairs`, `piecewise-G`).

With p = (1 + s) / 2 and q = (1 - s) / 2, g(x) = p x + q |x|, g'(x) = p + q sign(x) and g''(x) = 2 q delta(x), so that averages
of an odd number of odd factors vanish. All that remain follow from Stein's lemma and

    <s_x s_y> = (2/pi) asin C,    <|x| |y|> = (2/pi) (sqrt(1 - C^2) + C asin C),    <delta(x) |y|> = sqrt(1 - C^2) / pi

for fields of unit variance and correlation C (the second is the arc-cosine kernel of Cho and Saul 2009), save <s_a s_b |c| |d|>
of four different fields, which reduces to the average of four signs (see `four_signs`).

A field of zero variance is zero, and sign(0) = 0 here and in SGD: g'(0) = p.
"""

from __future__ import annotations

import math

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.gaussian_averages.four_signs import choose_path, fill_angles, fill_factor, four_signs, regress
from teacher_student.gaussian_averages.pointers import pointers
from teacher_student.kernels import njit

_TWO_OVER_PI = 2.0 / math.pi
_FOUR_OVER_PI_SQUARED = 4.0 / math.pi**2
_ROUNDING = 1e-15


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
                correlation = 1.0 if i == j else S[i, j] / (deviation[i] * deviation[j])
            # Directions that differ by rounding are the same: asin would make 1e-8 of 1e-16.
            if abs(correlation) > 1.0 - _ROUNDING:
                correlation = math.copysign(1.0, correlation)
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
def add_distinct_fields(C: FloatArray, weights: FloatArray, K: int, factor: float, G: FloatArray) -> None:
    """Add factor sum_cd w_c w_d <s_a s_b |c| |d|> to G_ab, a < b < K, over ordered pairs of c and d with a, b, c, d different.

    `weights` (n,) belong to fields of unit variance and correlations `C` (n, n). Every set of four fields is visited once.
    """
    n = len(C)
    fields = np.empty(4, np.int64)
    for first in range(K):
        for second in range(first + 1, K):
            for third in range(second + 1, n):
                for fourth in range(third + 1, n):
                    fields[0], fields[1], fields[2], fields[3] = first, second, third, fourth
                    positive, n_weights = True, 0
                    for i in fields:
                        positive &= C[i, i] > 0.0
                        if weights[i] != 0.0:
                            n_weights += 1
                        elif i >= K:  # a and b are students, so every teacher is c or d
                            n_weights -= 4
                    if positive and n_weights >= 2:
                        add_four_fields(C, weights, K, factor, fields, G)


@njit(cache=True)
def add_four_fields(C: FloatArray, weights: FloatArray, K: int, factor: float, fields: IntArray, G: FloatArray) -> None:
    """Add what the four different `fields` contribute to `add_distinct_fields`, for all pairs of students among them.

    With |x| = x s_x, Stein's lemma for c and then d turns <c d s_a s_b s_c s_d> into C_cd <s_a s_b s_c s_d> and averages with
    two delta functions, one a pair of fields, each (1/pi^2) angle_xy / sqrt(1 - C_xy^2).
    """
    D = np.empty((4, 4))
    for x in range(4):
        for y in range(4):
            D[x, y] = C[fields[x], fields[y]]
    order = np.empty(4, np.int64)
    F, P, coefficients = np.empty((4, 4)), np.empty((3, 3)), np.empty(3)
    pair = choose_path(D, order)
    fill_factor(D, order, F)
    determinant = regress(F, P, coefficients)
    for x in range(4):
        order[x] = fields[order[x]]
    sine, angles = np.empty((4, 4)), np.zeros((4, 4))
    for x in range(4):
        for y in range(4):
            D[x, y] = C[order[x], order[y]]
            sine[x, y] = math.sqrt((1.0 - D[x, y]) * (1.0 + D[x, y]))
    fill_angles(P, coefficients, F[3, 3], determinant, sine, angles)
    signs = four_signs(D, sine, P, coefficients, F, determinant, pair)
    angles += angles.T
    for a in range(4):
        for b in range(a + 1, 4):
            k, m = min(order[a], order[b]), max(order[a], order[b])
            if m >= K:
                continue
            c = 0 if a > 0 else (1 if b > 1 else 2)
            d = 6 - a - b - c
            total = sine[c, d] * angles[c, d]
            total += D[a, d] * sine[a, c] * angles[a, c] + D[b, d] * sine[b, c] * angles[b, c]
            total += D[a, c] * sine[a, d] * angles[a, d] + D[b, c] * sine[b, d] * angles[b, d]
            if sine[a, b] > 0.0:
                both = D[a, c] * (D[b, d] - D[a, b] * D[a, d]) + D[b, c] * (D[a, d] - D[a, b] * D[b, d])
                total += both / sine[a, b] * angles[a, b]
            average = D[c, d] * signs + _FOUR_OVER_PI_SQUARED * total
            G[k, m] += 2.0 * factor * weights[order[c]] * weights[order[d]] * average


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
        add_distinct_fields(C, weights, K, q_student**2, G)
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


activation_covariance_pointer, averages_pointer = pointers(activation_covariance, averages)
