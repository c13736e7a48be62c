"""The average of four signs, J_0 = <s_0 s_1 s_2 s_3> with s_i = sign(psi_i), and what belongs to it.

It is the one average of piecewise linear activations without an elementary form (the orthant probability of four Gaussian
fields). Price's theorem gives its derivatives, since d s(x)/dx = 2 delta(x):

    dJ_0/dC_xy = 4 <delta(x) delta(y) s_z s_w> = (4 / pi^2) angle_xy / sqrt(1 - C_xy^2),
    angle_xy = asin(correlation of z and w at given x and y),                 {x, y, z, w} = {0, 1, 2, 3}.

With the correlations of one field d to the three others multiplied by t, J_0 goes from 0 at t = 0, where s_d is independent,
to its value at t = 1: a one-dimensional integral of a sum of three such terms, even in t. All its singularities lie on the
real axis at |t| >= 1: nearest where the determinant of all four vanishes, at t = 1/r with r the multiple correlation of d with
the three others; then at 1/r' with r' that with two of the others, or one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]

_FOUR_OVER_PI_SQUARED = 4.0 / math.pi**2

# Below it the determinant of four correlations is rounding. As long as one value is used throughout, averages depend on it only
# to first order in the determinant, while angles of fields that are linearly dependent do in its square root.
_SMALLEST_DETERMINANT = 1e-15

# t = sin(theta) / r is smooth where the determinant vanishes. Gauss-Legendre points on (-asin r, asin r), one half by symmetry,
# converge as 1.45^-80 or faster for r' below this.
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
def conditional_covariance(C: FloatArray, x: int, y: int, z: int, w: int) -> float:
    """Return (1 - C_xy^2) times the covariance of fields z and w at given x and y, for correlations `C`."""
    return (
        (1.0 - C[x, y] ** 2) * C[z, w] - C[z, x] * C[w, x] - C[z, y] * C[w, y] + C[x, y] * (C[z, x] * C[w, y] + C[z, y] * C[w, x])
    )


@njit(cache=True)
def _determinant_of_three(C: FloatArray, a: int, b: int, c: int) -> float:
    return 1.0 + 2.0 * C[a, b] * C[b, c] * C[a, c] - C[a, b] ** 2 - C[b, c] ** 2 - C[a, c] ** 2


@njit(cache=True)
def _pair_correlation(C: FloatArray, d: int) -> float:
    """Return the square of r', the largest multiple correlation of field d with two of the three others."""
    largest = 0.0
    for x in range(4):
        for z in range(x):
            if x != d and z != d:
                rest = 1.0 - C[x, z] ** 2
                square = 1.0 - _determinant_of_three(C, x, z, d) / rest if rest > 1e-12 else C[x, d] ** 2
                largest = max(largest, square)
    return largest


@njit(cache=True)
def determinant_of_four(C: FloatArray) -> float:
    """Return the determinant of the correlations `C` (4, 4), or, where that is zero up to rounding, a number as small."""
    scaled = 0.0
    for x in range(3):
        y, z = (x + 1) % 3, (x + 2) % 3
        scaled += C[x, 3] * (C[x, 3] * (1.0 - C[y, z] ** 2) + 2.0 * C[y, 3] * (C[x, z] * C[y, z] - C[x, y]))
    return max(_SMALLEST_DETERMINANT, _determinant_of_three(C, 0, 1, 2) - scaled)


@njit(cache=True)
def angle(C: FloatArray, x: int, y: int, z: int, w: int, determinant: float) -> float:
    """Return asin(correlation of fields z and w at given x and y); `determinant` is that of `C` (4, 4)."""
    covariance = conditional_covariance(C, x, y, z, w)
    return math.atan2(covariance, math.sqrt(max(0.0, 1.0 - C[x, y] ** 2) * determinant))


@njit(cache=True)
def _derivative(tau: float, C: FloatArray, d: int, end: FloatArray, slope: FloatArray, determinant: float, drop: float) -> float:
    """Return pi^2 / 4 dJ_0/dt at tau = 1 - t^2, where covariances are end + tau slope and the determinant grows by tau drop."""
    total = 0.0
    for i in range(3):
        x = i if i < d else i + 1
        rest = max(0.0, 1.0 - C[x, d] ** 2) + tau * C[x, d] ** 2
        root = math.sqrt(rest)
        if root > 0.0:
            total += C[x, d] / root * math.atan2(end[i] + tau * slope[i], root * math.sqrt(determinant + tau * drop))
    return total


@njit(cache=True)
def four_signs(C: FloatArray, determinant: float, end: FloatArray, slope: FloatArray) -> float:
    """Return <s_0 s_1 s_2 s_3> of fields with correlations `C` (4, 4); `end` and `slope` (3,) are work space.

    `determinant` is that of `C`, from `determinant_of_four`. The field d is the one furthest from being determined by two of
    the others.
    """
    d, smallest = 0, 2.0
    for candidate in range(4):
        square = _pair_correlation(C, candidate)
        if square < smallest:
            d, smallest = candidate, square
    for i in range(3):
        x = i if i < d else i + 1
        j, k = (i + 1) % 3, (i + 2) % 3
        z, w = j if j < d else j + 1, k if k < d else k + 1
        end[i] = conditional_covariance(C, x, d, z, w)
        slope[i] = C[z, w] - C[z, x] * C[w, x] - end[i]
    others = _determinant_of_three(C, 0 if d > 0 else 1, 1 if d > 1 else 2, 2 if d > 2 else 3)
    drop = max(0.0, others - determinant)
    total = 0.0
    if smallest < _LARGEST_PAIR_CORRELATION**2:
        r = max(0.1, math.sqrt(drop / (drop + determinant)))  # r below 0.1 leaves the singularity beyond t = 10
        last = math.asin(min(1.0, r))
        for i in range(len(_ANGLES)):
            theta = last * _ANGLES[i]
            t = math.sin(theta) / r
            weight = _ANGLE_WEIGHTS[i] * last * math.cos(theta) / r
            total += weight * _derivative(1.0 - t * t, C, d, end, slope, determinant, drop)
    else:
        for i in range(len(_TANH_TAU)):
            total += _TANH_WEIGHTS[i] * _derivative(_TANH_TAU[i], C, d, end, slope, determinant, drop)
    return _FOUR_OVER_PI_SQUARED * total
