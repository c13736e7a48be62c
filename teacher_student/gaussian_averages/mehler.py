"""The generalisation error of any pair of smooth activations, by Mehler's expansion of averages of two fields
(docs/theory.rst: `mehler`).

eps_g needs averages of two fields only. With he_n the Hermite polynomials of unit norm, z a standard normal variable and C_ij the
correlation of the fields psi_i, of variance S_ii,

    <g_i(psi_i) g_j(psi_j)> = sum_n a_n(i) a_n(j) C_ij^n,    a_n(i) = <g_i(sqrt(S_ii) z) he_n(z)>

(Mehler 1866). The sum is cut off, and what it leaves of sum_n a_n(i)^2 = <g_i^2>, of even and of odd n, is counted as the next
term. It is still the sum of a Gram matrix: eps_g is not negative, and zero for a student equal to its teacher. For polynomials it
is finite and exact. For functions analytic in a strip about the real axis it converges faster than any power. At a jump a_n^2
falls only as n^(-3/2) and at a kink as n^(-5/2), which is no use near perfect learning: see `converges`. The a_n are integrals by
the trapezoidal rule, which for analytic functions converges exponentially in 1 / step.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit

# Terms, and step of the trapezoidal rule; the error is the difference from a quarter of the terms at twice the step.
N_TERMS = 256
STEP = 1.0 / 16.0
# Beyond it the weight times a Hermite polynomial of any order is below rounding.
_LARGEST = 12.0
# Part of <g^2> at unit variance that the terms may miss: 4e-8 for tanh(3 x), 3e-5 for ReLU.
_MISSED = 1e-5


def mehler_generalisation_error(
    student: Activation, teacher: Activation, S: FloatArray, c: FloatArray, K: int
) -> tuple[FloatArray, FloatArray]:
    """Return eps_g and an estimate of its error, (...,), for fields of covariance `S` (..., n, n) and weights `c` (..., n).

    The first `K` of the n = K + M fields are the student's; `c` is (v, -v_teacher).
    """
    leading = S.shape[:-2]
    rows = S.reshape(-1, *S.shape[-2:]), c.reshape(-1, c.shape[-1])
    fine, coarse = np.empty((2, len(rows[0])))
    for out, n_terms, step in ((fine, N_TERMS, STEP), (coarse, N_TERMS // 4, 2.0 * STEP)):
        half_mean_squares(student.g, teacher.g, *hermite_rule(n_terms, step), *rows, K, out)
    return fine.reshape(leading), np.abs(fine - coarse).reshape(leading)


def converges(activation: Activation) -> bool:
    """Return whether the terms have all of <g^2> at unit variance, as for smooth functions they do."""
    return _missed(activation.g) <= _MISSED


@functools.cache
def _missed(g: Any) -> float:
    a = np.empty((2, N_TERMS // 2 + 1))
    expand(g, 1.0, *hermite_rule(N_TERMS, STEP), a)
    square = float((a**2).sum())
    return float((a[:, -1] ** 2).sum()) / square if square > 0.0 else 0.0


@functools.cache
def hermite_rule(n_terms: int, step: float) -> tuple[FloatArray, FloatArray]:
    """Return nodes z >= 0, (m,), and weights times he_n(z), (m, 2, n_terms / 2), even n first, for `expand`."""
    z = np.linspace(0.0, _LARGEST, round(_LARGEST / step) + 1)
    table = np.empty((n_terms, len(z)))
    table[0] = 2.0 * step / math.sqrt(2.0 * math.pi) * np.exp(-0.5 * z**2)
    table[0, 0] *= 0.5  # all other nodes stand for -z too
    table[1] = z * table[0]
    for n in range(2, n_terms):
        table[n] = (z * table[n - 1] - math.sqrt(n - 1.0) * table[n - 2]) / math.sqrt(n)
    return z, np.ascontiguousarray(table.reshape(n_terms // 2, 2, -1).transpose(2, 1, 0))


@njit(cache=True, nogil=True)
def expand(g: Any, deviation: float, z: FloatArray, table: FloatArray, a: FloatArray) -> None:
    """Write a_n of g(deviation z) into `a` (2, n_terms / 2 + 1), even n first; the last entries are the roots of what is left."""
    a[:] = 0.0
    n = a.shape[1] - 1
    square = np.zeros(2)
    part = np.empty(2)
    for k in range(len(z)):
        plus, minus = g(deviation * z[k]), g(-deviation * z[k])
        part[0], part[1] = 0.5 * (plus + minus), 0.5 * (plus - minus)
        for parity in range(2):
            square[parity] += table[k, 0, 0] * part[parity] ** 2
            for i in range(n):
                a[parity, i] += table[k, parity, i] * part[parity]
    for parity in range(2):
        for i in range(n):
            square[parity] -= a[parity, i] ** 2
        a[parity, n] = math.sqrt(max(0.0, square[parity]))


@njit(cache=True, nogil=True)
def half_mean_squares(
    g: Any, g_teacher: Any, z: FloatArray, table: FloatArray, S: FloatArray, c: FloatArray, K: int, out: FloatArray
) -> None:
    """Write eps_g = sum_ij c_i c_j <g_i g_j> / 2 of every covariance `S` (t, n, n) with weights `c` (t, n) into `out` (t,)."""
    n = S.shape[1]
    deviation, a = np.full(n, -1.0), np.empty((n, 2, table.shape[2] + 1))
    for t in range(len(out)):
        for i in range(n):
            new = math.sqrt(max(0.0, S[t, i, i]))
            if new != deviation[i]:  # those of the teacher and of units at rest are the same at all times
                expand(g if i < K else g_teacher, new, z, table, a[i])
                deviation[i] = new
        out[t] = 0.0
        for i in range(n):
            for j in range(i + 1):
                correlation = 0.0
                if deviation[i] > 0.0 and deviation[j] > 0.0:
                    correlation = 1.0 if i == j else S[t, i, j] / (deviation[i] * deviation[j])
                    correlation = min(1.0, max(-1.0, correlation))
                average, power = 0.0, 1.0
                for order in range(a.shape[2]):
                    average += (a[i, 0, order] * a[j, 0, order] + correlation * a[i, 1, order] * a[j, 1, order]) * power
                    power *= correlation * correlation
                out[t] += (0.5 if i == j else 1.0) * c[t, i] * c[t, j] * average
