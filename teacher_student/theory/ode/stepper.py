"""Steps of the ODEs in compiled code: an explicit method of order 8 while it pays, a linearly implicit one where stability rules.

A problem can be stiff and not stiff in turn: a plateau or the end of learning changes slowly while perturbations die out
fast, and the escape from it is as fast as they are. The explicit method notices by its own stages when stability and not accuracy
keeps its steps short (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.2); the implicit one knows the
Jacobian's spectral radius, and gives way when as much time takes no more evaluations explicitly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit
from teacher_student.theory.equations import Equations, slope
from teacher_student.theory.ode.linear_equations import factorise, solve
from teacher_student.theory.ode.tableaux import Explicit, Rosenbrock

# Entries of `Walk.counts`.
EVALUATIONS, JACOBIANS, STEPS, REJECTED, IMPLICIT, SUSPICIONS, PATIENCE, DONE, PIECES, MARK, N_COUNTS = range(11)
# The explicit method is stable for abs(h lambda) up to this on the negative axis.
_STABLE = 6.1
# The implicit method's estimate is the error of an embedded one of order 4: at tolerances from 1e-7 to 1e-9 the errors of
# trajectories, of order 5, stay ten times below the tolerance, while those of the explicit method exceed it.
_OVERSTATED = 0.1


class Walk(NamedTuple):
    """An integration in progress, which every step changes.

    `alpha` (3,) holds the time, the length of the next step and the time when progress was last judged, `y` and `f` (n,) state
    and slope there, `counts` what the names above say (`IMPLICIT` is 1 while the implicit method steps, `DONE` the number of
    output times passed, `PIECES` that of the interpolants stored, `MARK` the attempts when progress was last judged), `J` (n, n)
    and `change` (n,) the derivatives of the slope by y and alpha. The others are work space: `new` (n,), `stages` (16, n),
    `interpolant` (8, n), `W` (n, n), `pivots` (n,) and `mode` (n,), of the fastest direction.
    """

    alpha: FloatArray
    y: FloatArray
    f: FloatArray
    counts: IntArray
    J: FloatArray
    change: FloatArray
    new: FloatArray
    stages: FloatArray
    interpolant: FloatArray
    W: FloatArray
    pivots: IntArray
    mode: FloatArray


def new_walk(y: FloatArray) -> Walk:
    """Return a walk that starts at the state `y` (n,) at alpha = 0, explicitly."""
    n = len(y)
    counts = np.zeros(N_COUNTS, dtype=np.int64)
    counts[PATIENCE] = 5
    return Walk(
        alpha=np.zeros(3),
        y=y.copy(),
        f=np.empty(n),
        counts=counts,
        J=np.empty((n, n)),
        change=np.zeros(n),
        new=np.empty(n),
        stages=np.empty((16, n)),
        interpolant=np.empty((8, n)),
        W=np.empty((n, n)),
        pivots=np.empty(n, dtype=np.int64),
        mode=np.cos(np.arange(n, dtype=np.float64)),  # along no direction in particular
    )


@njit(cache=True)
def in_units(numbers: FloatArray, y: FloatArray, new: FloatArray, rtol: float, atol: float) -> float:
    """Return the root mean square of `numbers` in units of the tolerance of each component; infinite if one is not finite."""
    total = 0.0
    for i in range(len(numbers)):
        total += (numbers[i] / (atol + rtol * max(abs(y[i]), abs(new[i])))) ** 2
    return np.sqrt(total / len(numbers)) if np.isfinite(total) else np.inf


@njit(cache=True)
def copy_numbers(source: FloatArray, out: FloatArray) -> None:
    """Write `source` (n,) into `out`."""
    for i in range(len(out)):
        out[i] = source[i]


@njit(cache=True, fastmath={"contract"})
def combine(base: FloatArray, factor: float, weights: FloatArray, rows: FloatArray, n_rows: int, out: FloatArray) -> None:
    """Write base + factor sum_j weights_j rows_j over the first `n_rows` into `out`."""
    n = len(out)
    for i in range(n):
        out[i] = base[i]
    for j in range(n_rows):
        weight = factor * weights[j]
        if weight != 0.0:
            for i in range(n):
                out[i] += weight * rows[j, i]


@njit(cache=True, inline="always")
def explicit_step(equations: Equations, tableau: Explicit, walk: Walk, h: float, rtol: float, atol: float) -> float:
    """Write the state after `h` into `walk.new` and return the error in units of the tolerance."""
    alpha, y, stages, n = walk.alpha[0], walk.y, walk.stages, len(walk.y)
    n_stages = len(tableau.fifth)
    copy_numbers(walk.f, stages[0])
    for i in range(1, n_stages):
        combine(y, h, tableau.a[i], stages, i, walk.new)
        slope(equations, alpha + tableau.c[i] * h, walk.new, stages[i])
    walk.counts[EVALUATIONS] += 11
    copy_numbers(walk.new, walk.interpolant[0])  # where stage 11 was evaluated, at the end of the step
    combine(y, h, tableau.a[12], stages, n_stages, walk.new)
    zero = np.zeros(n)
    error = np.empty(n)
    combine(zero, h, tableau.fifth, stages, n_stages, error)
    fifth = in_units(error, y, walk.new, rtol, atol)
    combine(zero, h, tableau.third, stages, n_stages, error)
    third = in_units(error, y, walk.new, rtol, atol)
    if fifth == 0.0 or not np.isfinite(fifth):
        return fifth
    return fifth**2 / np.sqrt(fifth**2 + 0.01 * third**2)


@njit(cache=True, inline="always")
def stability(walk: Walk, h: float) -> float:
    """Return abs(h lambda) of the fastest direction, from the last two stages of an explicit step, both at its end."""
    numerator, denominator = 0.0, 0.0
    for i in range(len(walk.y)):
        numerator += (walk.stages[12, i] - walk.stages[11, i]) ** 2
        denominator += (walk.new[i] - walk.interpolant[0, i]) ** 2
    return h * np.sqrt(numerator / denominator) if denominator > 0.0 else 0.0


@njit(cache=True, inline="always")
def explicit_interpolant(equations: Equations, tableau: Explicit, walk: Walk, h: float) -> None:
    """Write the coefficients of `interpolate` for the explicit step just made."""
    y, stages, out = walk.y, walk.stages, walk.interpolant
    work = np.empty(len(y))
    for i in range(13, 16):
        combine(y, h, tableau.a[i], stages, i, work)
        slope(equations, walk.alpha[0] + tableau.c[i] * h, work, stages[i])
    walk.counts[EVALUATIONS] += 3
    for i in range(len(y)):
        change = walk.new[i] - y[i]
        out[0, i] = y[i]
        out[1, i] = change
        out[2, i] = h * stages[0, i] - change
        out[3, i] = 2.0 * change - h * (stages[12, i] + stages[0, i])
    zero = np.zeros(len(y))
    for j in range(4):
        combine(zero, h, tableau.dense[j], stages, len(stages), out[4 + j])


@njit(cache=True, inline="always")
def rosenbrock_step(equations: Equations, tableau: Rosenbrock, walk: Walk, h: float, rtol: float, atol: float) -> float:
    """Write the state after `h` into `walk.new` and return the error in units of the tolerance.

    `walk.J` and `walk.change` are the derivatives at its beginning.
    """
    alpha, y, stages, n = walk.alpha[0], walk.y, walk.stages, len(walk.y)
    for i in range(n):
        for j in range(n):
            walk.W[i, j] = -walk.J[i, j]
        walk.W[i, i] += 1.0 / (tableau.d[0] * h)
    factorise(walk.W, walk.pivots)
    work = np.empty(n)
    for i in range(8):
        if i == 0:
            copy_numbers(walk.f, work)
        else:
            combine(y, 1.0, tableau.a[i], stages, i, walk.new)
            slope(equations, alpha + tableau.c[i] * h, walk.new, work)
        combine(work, 1.0 / h, tableau.m[i], stages, i, stages[i])
        for j in range(n):
            stages[i, j] += h * tableau.d[i] * walk.change[j]
        solve(walk.W, walk.pivots, stages[i])
    walk.counts[EVALUATIONS] += 7
    for i in range(n):
        walk.new[i] += stages[7, i]
    return _OVERSTATED * in_units(stages[7], y, walk.new, rtol, atol)


@njit(cache=True, inline="always")
def rosenbrock_interpolant(tableau: Rosenbrock, walk: Walk) -> None:
    """Write the coefficients of `interpolate` for the implicit step just made.

    The method's y + x (change + (1 - x) (k_1 + x k_2 + x^2 k_3)) with x^2 = x - x (1 - x).
    """
    out, zero = walk.interpolant, np.zeros(len(walk.y))
    n_stages = len(tableau.d)
    k_1, k_2, k_3 = np.empty(len(zero)), np.empty(len(zero)), np.empty(len(zero))
    combine(zero, 1.0, tableau.dense[0], walk.stages, n_stages, k_1)
    combine(zero, 1.0, tableau.dense[1], walk.stages, n_stages, k_2)
    combine(zero, 1.0, tableau.dense[2], walk.stages, n_stages, k_3)
    for i in range(len(zero)):
        out[0, i] = walk.y[i]
        out[1, i] = walk.new[i] - walk.y[i]
        out[2, i] = k_1[i]
        out[3, i] = k_2[i] + k_3[i]
        out[4, i] = -k_3[i]
        for j in range(5, 8):
            out[j, i] = 0.0


@njit(cache=True)
def interpolate(interpolant: FloatArray, x: float, out: FloatArray) -> None:
    """Write c_0 + x (c_1 + (1 - x) (c_2 + x (c_3 + ...))) into `out` (n,), x from 0 to 1 along the step."""
    for i in range(len(out)):
        total = 0.0
        for j in range(7, 0, -1):
            total = (interpolant[j, i] + total) * (x if j % 2 == 1 else 1.0 - x)
        out[i] = interpolant[0, i] + total


@njit(cache=True, inline="always")
def spectral_radius(J: FloatArray, mode: FloatArray) -> float:
    """Return an estimate of the spectral radius of `J` by five power iterations that start from, and improve, `mode`."""
    n = len(mode)
    norm = 0.0
    image = np.empty(n)
    for _ in range(5):
        norm = 0.0
        for i in range(n):
            image[i] = 0.0
            for j in range(n):
                image[i] += J[i, j] * mode[j]
            norm += image[i] ** 2
        norm = np.sqrt(norm)
        if not norm > 0.0:
            return 0.0
        for i in range(n):
            mode[i] = image[i] / norm
    return norm


@njit(cache=True, inline="always")
def choose_method(walk: Walk, h: float) -> None:
    """Decide after an accepted step of length `h` which method makes the next one."""
    counts, n = walk.counts, len(walk.y)
    if counts[IMPLICIT] == 0:
        limited = stability(walk, h) > 0.8 * _STABLE
        counts[SUSPICIONS] = counts[SUSPICIONS] + 1 if limited else max(0, counts[SUSPICIONS] - 1)
        if counts[SUSPICIONS] >= counts[PATIENCE]:
            counts[IMPLICIT], counts[SUSPICIONS] = 1, 0
    else:
        # The evaluations that the explicit method needs at its stability limit, against those of a step and its Jacobian.
        explicit = 12.0 * h * spectral_radius(walk.J, walk.mode) / _STABLE
        counts[SUSPICIONS] = counts[SUSPICIONS] + 1 if explicit < 2 * n + 8 else 0
        if counts[SUSPICIONS] >= 5:
            counts[IMPLICIT], counts[SUSPICIONS] = 0, 0
            counts[PATIENCE] = min(2 * counts[PATIENCE], 100)
