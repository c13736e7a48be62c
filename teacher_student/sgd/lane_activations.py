"""Activations of all lanes at once: erf, piecewise linear and quadratic functions in vectors, any other lane by lane.

erf(x / sqrt 2) and its derivative share exp(-x^2 / 2), computed as 2^n times a polynomial of what is left of the exponent. erf
is x p(x^2) for |x| < 1.25 and 1 - exp(-x^2 / 2) q(s) above, s linear in 1 / (|x| + 4); both polynomials are evaluated with
coefficients chosen lane by lane, so that there is no branch. All three are weighted least-squares fits on 120 Chebyshev nodes in
60 digits; the relative errors of erf and exp are below 3e-17.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.sgd.lanes import LANES, absolute, choose, load, shift_exponent, store

# The first entry of a form; what follows it are the parameters that `Activation.families` has for the family.
_FAMILIES = ("any", "erf", "piecewise_linear", "polynomial")
_ANY, _ERF, _PIECEWISE_LINEAR = 0.0, 1.0, 2.0

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_LOG2_E = 1.0 / math.log(2.0)
# log 2 in two parts, the first with zeros at the end, so that small integers times it are exact.
_LOG_2_HIGH, _LOG_2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# Added to a number below 2^51 and subtracted again, it rounds to an integer, left in the lowest bits of the sum.
_ROUND = 1.5 * 2.0**52
_LARGEST_EXPONENT = 708.0
_EDGE = 1.25
_S_SLOPE, _S_OFFSET = 17.612903225806452, -2.3548387096774195
_EXP = (
    1.0,
    1.0,
    0.5000000000000018,
    0.16666666666666144,
    0.04166666666649177,
    0.008333333333570987,
    0.001388888895150575,
    0.00019841269411248282,
    2.4801486206298704e-05,
    2.7557639620621535e-06,
    2.7632413874479083e-07,
    2.498936620405507e-08,
)
_INNER = (
    0.7978845608028653,
    -0.13298076013380755,
    0.019947114019987406,
    -0.002374656430128806,
    0.0002308693710028529,
    -1.888929993731014e-05,
    1.33191528454573e-06,
    -8.242521945029564e-08,
    4.5251942945339805e-09,
    -2.1532364288952494e-10,
    7.168228165724499e-12,
)
_OUTER = (
    0.2137943941720598,
    0.17150626568199112,
    0.05788077091276094,
    0.01512711502354907,
    0.002881453610187216,
    0.0003339039737484411,
    3.0273464643515866e-06,
    -5.854346891615315e-06,
    -5.542231702663158e-07,
    1.0569363654711307e-07,
    1.832179861848896e-08,
    -3.554870698405734e-09,
)


def lane_form(activation: Activation) -> FloatArray:
    """Return what `activate` needs to know of `activation`, (4,): its family, "any" if none, and the family's parameters."""
    form = np.zeros(4)
    for kind, family in enumerate(_FAMILIES):
        if family in activation.families and form[0] == _ANY:
            parameters = activation.families[family]
            if kind == _ERF and parameters == (0.0,):  # sign, which has a jump
                continue
            form[: 1 + len(parameters)] = kind, *parameters
    return form


@njit(nogil=True, fastmath={"contract"}, forceinline=True)
def _exp_minus(y: Any) -> Any:
    """Return exp(-y) of lanes y >= 0, at least exp(-708)."""
    y = choose(y, _LARGEST_EXPONENT, _LARGEST_EXPONENT, y)
    shifted = _ROUND - y * _LOG2_E
    n = shifted - _ROUND
    r = (-1.0 * y - n * _LOG_2_HIGH) - n * _LOG_2_LOW
    s = r * r
    even = ((((_EXP[10] * s + _EXP[8]) * s + _EXP[6]) * s + _EXP[4]) * s + _EXP[2]) * s + _EXP[0]
    odd = ((((_EXP[11] * s + _EXP[9]) * s + _EXP[7]) * s + _EXP[5]) * s + _EXP[3]) * s + _EXP[1]
    return shift_exponent(odd * r + even, shifted)


@njit(nogil=True, fastmath={"contract"}, forceinline=True)
def _erf(x: Any) -> Any:
    """Return erf(x / sqrt 2) of lanes x and its derivative."""
    size, square = absolute(x), x * x
    gauss = _exp_minus(0.5 * square)
    t = choose(size, _EDGE, _S_SLOPE / (size + 4.0) + _S_OFFSET, square)
    s = t * t
    even = choose(size, _EDGE, _OUTER[10], _INNER[10])
    even = even * s + choose(size, _EDGE, _OUTER[8], _INNER[8])
    even = even * s + choose(size, _EDGE, _OUTER[6], _INNER[6])
    even = even * s + choose(size, _EDGE, _OUTER[4], _INNER[4])
    even = even * s + choose(size, _EDGE, _OUTER[2], _INNER[2])
    even = even * s + choose(size, _EDGE, _OUTER[0], _INNER[0])
    odd = choose(size, _EDGE, _OUTER[11], 0.0)
    odd = odd * s + choose(size, _EDGE, _OUTER[9], _INNER[9])
    odd = odd * s + choose(size, _EDGE, _OUTER[7], _INNER[7])
    odd = odd * s + choose(size, _EDGE, _OUTER[5], _INNER[5])
    odd = odd * s + choose(size, _EDGE, _OUTER[3], _INNER[3])
    odd = odd * s + choose(size, _EDGE, _OUTER[1], _INNER[1])
    polynomial = odd * t + even
    outer = 1.0 - gauss * polynomial
    value = choose(size, _EDGE, choose(x, 0.0, outer, -1.0 * outer), x * polynomial)
    return value, _SQRT_2_OVER_PI * gauss


@njit(cache=True, nogil=True, fastmath={"contract"}, forceinline=True)
def activate(form: FloatArray, g: Any, g_prime: Any, units: FloatArray, end: int, n: int) -> None:
    """Write g and g' of the fields `units[0]`, (units, LANES), into `units[1]` and `units[2]`, for the `n` units before `end`.

    `form` is `lane_form` of the activation that has the scalar functions `g` and `g_prime`, which are called lane by lane if it
    belongs to no family.
    """
    if form[0] == _ERF:
        steepness = 1.0 / form[1]
        for i in range(end - n, end):
            value, slope = _erf(steepness * load(units, (0, i)))
            store(units, (1, i), value)
            store(units, (2, i), steepness * slope)
    elif form[0] == _ANY:
        for i in range(end - n, end):
            for lane in range(LANES):
                units[1, i, lane] = g(units[0, i, lane])
                units[2, i, lane] = g_prime(units[0, i, lane])
    elif form[0] == _PIECEWISE_LINEAR:
        left = form[1]
        for i in range(end - n, end):
            x = load(units, (0, i))
            store(units, (1, i), choose(x, 0.0, x, left * x))
            store(units, (2, i), choose(x, 0.0, 1.0, choose(0.0, x, left, 0.5 * (1.0 + left))))
    else:
        c0, c1, c2 = form[1], form[2], form[3]
        for i in range(end - n, end):
            x = load(units, (0, i))
            store(units, (1, i), (c2 * x + c1) * x + c0)
            store(units, (2, i), 2.0 * c2 * x + c1)


@njit(cache=True, nogil=True)
def are_alike(form: FloatArray, other: FloatArray) -> bool:
    """Return whether two forms are the same activation; two that belong to no family may not be."""
    alike = form[0] != _ANY
    for i in range(len(form)):  # an array of truth values takes longer than an activation
        alike &= form[i] == other[i]
    return alike
