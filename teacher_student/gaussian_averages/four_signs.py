"""The average of four signs, <s_0 s_1 s_2 s_3> with s_i = sign(psi_i), and the angles of four fields that belong to it
(docs/theory.rst: `four-signs`).

It is the one average of piecewise linear activations without an elementary form (the orthant probability of four Gaussian
fields). Price's theorem gives its derivatives by the correlations C_xy, since ds/dx = 2 delta(x):

    d<s_0 s_1 s_2 s_3>/dC_xy = 4 <delta(x) delta(y) s_z s_w> = (4 / pi^2) angle_xy / sqrt(1 - C_xy^2),
    angle_xy = asin(correlation of z and w at given x and y),                 {x, y, z, w} = {0, 1, 2, 3}.

With the correlations of field 3 to the others multiplied by t, the average goes from 0 at t = 0, where s_3 is independent, to
its value at t = 1: an integral of three such terms, even in t. All singularities of the integrand lie on the real axis at
|t| >= 1: first at 1/r, r the multiple correlation of field 3 with the others, then at 1/r' with r' that with two or one of them.

Angles of fields that are linearly dependent, as those of more units than modes are, hang on rounding errors, but averages do
not, as long as all angles are those of one set of four vectors. So all are computed from a triangular factor,

    field 3 = sum_i b_i (field i) + f (unit field independent of the others),     P = inverse correlations of fields 0, 1, 2.
"""

from __future__ import annotations

import math

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit

_FOUR_OVER_PI_SQUARED = 4.0 / math.pi**2
_ROUNDING = 1e-15
_SMALLEST = 1e-24

# t = sin(theta) / r is smooth where the four fields become dependent. Gauss-Legendre points on (-asin r, asin r), one half by
# symmetry, converge as 1.45^-80 or faster for r' below this.
_LARGEST_PAIR_CORRELATION = 0.97
_points, _weights = np.polynomial.legendre.leggauss(40)
_ANGLES, _ANGLE_WEIGHTS = _points[20:].copy(), _weights[20:].copy()

# t = tanh(y) sends all singularities, wherever they are, to |Im y| = pi/2, so that the trapezoidal rule in y has an error of
# exp(-pi^2 / step), and its last points, of size exp(-y) at worst, are negligible. tau = 1 - t^2.
_STEP = 0.35
_y = _STEP * np.arange(93)
_TANH_TAU = np.cosh(_y) ** -2.0
_TANH_WEIGHTS = _STEP * _TANH_TAU
_TANH_WEIGHTS[0] *= 0.5


@njit(cache=True)
def pair_correlation(C: FloatArray, d: int) -> float:
    """Return the square of r', the largest multiple correlation of field d with two of the three others; `C` is (4, 4)."""
    largest = 0.0
    for x in range(4):
        for z in range(x):
            if x != d and z != d:
                rest = 1.0 - C[x, z] ** 2
                square = C[x, d] ** 2
                if rest > 1e-12:
                    square += (C[z, d] - C[x, z] * C[x, d]) ** 2 / rest
                largest = max(largest, square)
    return largest


@njit(cache=True)
def choose_path(C: FloatArray, order: IntArray) -> float:
    """Write into `order` (4,) the fields of correlations `C` with the one of least r' last; return the square of its r'."""
    last, smallest = 0, 2.0
    for d in range(4):
        square = pair_correlation(C, d)
        if square < smallest:
            last, smallest = d, square
    for i in range(3):
        order[i] = i if i < last else i + 1
    order[3] = last
    return smallest


@njit(cache=True)
def fill_factor(C: FloatArray, order: IntArray, F: FloatArray) -> None:
    """Write rows `F` (4, 4), lower triangular, with F F^T = C up to rounding, for the fields in the order `order`.

    Reorders the first three by pivoting. No diagonal entry is zero: what vanishes becomes 1e-12, whose square is below rounding.
    """
    F[:] = 0.0
    rest = np.ones(4)
    for j in range(4):
        pivot = j
        for i in range(j + 1, 3):
            if rest[i] > rest[pivot]:
                pivot = i
        order[j], order[pivot] = order[pivot], order[j]
        rest[j], rest[pivot] = rest[pivot], rest[j]
        for m in range(j):
            F[j, m], F[pivot, m] = F[pivot, m], F[j, m]
        F[j, j] = math.sqrt(max(rest[j], _SMALLEST))
        for i in range(j + 1, 4):
            entry = C[order[i], order[j]]
            for m in range(j):
                entry -= F[i, m] * F[j, m]
            bound = math.sqrt(rest[i])
            F[i, j] = min(bound, max(-bound, entry / F[j, j]))
            rest[i] -= F[i, j] ** 2
            if rest[i] < _ROUNDING:
                rest[i] = 0.0


@njit(cache=True)
def regress(F: FloatArray, P: FloatArray, b: FloatArray) -> float:
    """Write `P` (3, 3) and `b` (3,) of the module's text for the factor `F`; return the determinant of fields 0, 1, 2."""
    inverse = np.zeros((3, 3))
    for j in range(3):
        inverse[j, j] = 1.0 / F[j, j]
        for i in range(j + 1, 3):
            for m in range(j, i):
                inverse[i, j] -= F[i, m] * inverse[m, j] / F[i, i]
    for i in range(3):
        b[i] = 0.0
        for m in range(i, 3):
            b[i] += F[3, m] * inverse[m, i]
        for j in range(3):
            P[i, j] = 0.0
            for m in range(max(i, j), 3):
                P[i, j] += inverse[m, i] * inverse[m, j]
    return (F[0, 0] * F[1, 1] * F[2, 2]) ** 2


@njit(cache=True)
def fill_angles(P: FloatArray, b: FloatArray, f: float, determinant: float, sine: FloatArray, angles: FloatArray) -> None:
    """Write angle_xy into the upper triangle of `angles` (4, 4); `sine` (4, 4) is sqrt(1 - C_xy^2), in the same order."""
    root = math.sqrt(determinant)
    for x in range(3):
        z, w = (x + 1) % 3, (x + 2) % 3
        # z and w at given x and 3, then x and 3 at given z and w, times 1 / determinant.
        angles[x, 3] = math.atan2(-(f * f * P[z, w] + b[z] * b[w]), f * sine[x, 3] / root)
        angles[min(z, w), max(z, w)] = math.atan2(b[x], f * sine[z, w] / root)


@njit(cache=True)
def four_signs(
    C: FloatArray, sine: FloatArray, P: FloatArray, b: FloatArray, F: FloatArray, determinant: float, pair: float
) -> float:
    """Return <s_0 s_1 s_2 s_3>; `C` and `sine` (4, 4) are in the order of the factor `F`, `pair` is the square of r'."""
    r_squared = F[3, 0] ** 2 + F[3, 1] ** 2 + F[3, 2] ** 2
    f_squared = F[3, 3] ** 2 / determinant
    f_slope = r_squared / determinant
    correlation, sine_squared, covariance, slope = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for x in range(3):
        z, w = (x + 1) % 3, (x + 2) % 3
        correlation[x] = C[x, 3]
        sine_squared[x] = sine[x, 3] ** 2
        covariance[x] = -(F[3, 3] ** 2 * P[z, w] + b[z] * b[w])
        slope[x] = b[z] * b[w] - r_squared * P[z, w]
    total = 0.0
    if pair < _LARGEST_PAIR_CORRELATION**2:
        r = min(1.0, max(0.1, math.sqrt(r_squared)))  # r below 0.1 leaves the singularity beyond t = 10
        last = math.asin(r)
        for i in range(len(_ANGLES)):
            theta = last * _ANGLES[i]
            t = math.sin(theta) / r
            weight = _ANGLE_WEIGHTS[i] * last * math.sqrt(1.0 - (r * t) ** 2) / r
            tau = 1.0 - t * t
            total += weight * _derivative(tau, correlation, sine_squared, covariance, slope, f_squared + tau * f_slope)
    else:
        for i in range(len(_TANH_TAU)):
            tau = _TANH_TAU[i]
            weight = _TANH_WEIGHTS[i]
            total += weight * _derivative(tau, correlation, sine_squared, covariance, slope, f_squared + tau * f_slope)
    return _FOUR_OVER_PI_SQUARED * total


@njit(cache=True)
def _derivative(
    tau: float,
    correlation: FloatArray,
    sine_squared: FloatArray,
    covariance: FloatArray,
    slope: FloatArray,
    f_squared: float,
) -> float:
    """Return pi^2 / 4 times the derivative by t at tau = 1 - t^2: `fill_angles` with b^2 -> t^2 b^2, f^2 -> 1 - t^2 r^2."""
    total = 0.0
    for x in range(3):
        square = sine_squared[x] + tau * correlation[x] ** 2
        if square > 0.0:
            root = math.sqrt(square)
            angle = math.atan2(covariance[x] + tau * slope[x], root * math.sqrt(f_squared))
            total += correlation[x] / root * angle
    return total
