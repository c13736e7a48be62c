"""From step to step along a solution in compiled code, with output at given times."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.layout import state_at
from teacher_student.theory.equations import Equations, fill_change_of_rates, fill_jacobian, place, slope
from teacher_student.theory.ode.progress import WINDOW
from teacher_student.theory.ode.stepper import (
    DONE,
    EVALUATIONS,
    IMPLICIT,
    JACOBIANS,
    MARK,
    PIECES,
    REJECTED,
    STEPS,
    Walk,
    choose_method,
    copy_numbers,
    explicit_interpolant,
    explicit_step,
    in_units,
    interpolate,
    rosenbrock_interpolant,
    rosenbrock_step,
)
from teacher_student.theory.ode.tableaux import Explicit, Rosenbrock

# How `advance` ended.
REACHED, PAUSED, BEYOND, STUCK = range(4)
# The pace that `progress` judges, in attempts at a step. Where the right-hand side jumps and leads back to
# the jump from both sides, attempts stay short for ever.
_MOST_ATTEMPTS = 3e5
# Central differences of a right-hand side of order one: truncation and rounding are both about 1e-10.
_JACOBIAN_STEP = 1e-5


class Limits(NamedTuple):
    """Tolerances of a step, and bounds of Q_kk and v_k beyond which an integration ends."""

    rtol: float
    atol: float
    largest_Q: float
    largest_v: float


class Methods(NamedTuple):
    """The explicit method, and the linearly implicit one for where stability rules."""

    explicit: Explicit
    rosenbrock: Rosenbrock


class Output(NamedTuple):
    """Where states go: those at the output `times` to `rows` (times, n), and, if `ends` (m,) has any entries, the ends of the
    steps there and their interpolants to `pieces` (m, 8, n).
    """

    times: Any
    rows: Any
    ends: Any
    pieces: Any


@njit(cache=True, inline="always")
def is_beyond(equations: Equations, limits: Limits, y: FloatArray) -> bool:
    """Return whether the state `y` (n,) is not finite, or has a Q_kk or v_k beyond its bound."""
    place(equations, y)
    for number in equations.full:
        if not np.isfinite(number):
            return True
    sizes = equations.model.sizes
    state = state_at(equations.full, sizes)
    for k in range(sizes.K):
        Q_kk = 0.0
        for d in range(sizes.blocks):
            for a in range(sizes.P):
                weight = state.xi_out[k, a] * state.sigma[a]
                for b in range(sizes.P):
                    Q_kk += weight * state.gram[d, a, b] * state.xi_out[k, b] * state.sigma[b]
        if not Q_kk <= limits.largest_Q or not abs(state.v[k]) <= limits.largest_v:
            return True
    return False


@njit(cache=True, inline="always")
def cut_short(equations: Equations, limits: Limits, walk: Walk) -> float:
    """Write the first state beyond the bounds into `walk.new`, found to 1 % of the step; return its place there, 0 to 1."""
    inside, outside = 0.0, 1.0
    while outside - inside > 0.01:
        middle = 0.5 * (inside + outside)
        interpolate(walk.interpolant, middle, walk.new)
        if is_beyond(equations, limits, walk.new):
            outside = middle
        else:
            inside = middle
    interpolate(walk.interpolant, outside, walk.new)
    return outside


@njit(cache=True, inline="always")
def begin(equations: Equations, limits: Limits, walk: Walk, end: float) -> None:
    """Prepare `walk` to start or go on after a jump: slope and first step (Hairer, Norsett and Wanner, I, section II.4)."""
    alpha, y, f, rtol, atol = walk.alpha[0], walk.y, walk.f, limits.rtol, limits.atol
    slope(equations, alpha, y, f)
    size, speed = in_units(y, y, y, rtol, atol), in_units(f, y, y, rtol, atol)
    h = 0.01 * size / speed if size > 1e-5 and 1e-5 < speed < np.inf else 1e-6
    h = min(h, end - alpha)
    for i in range(len(y)):
        walk.new[i] = y[i] + h * f[i]
    slope(equations, alpha + h, walk.new, walk.stages[0])
    for i in range(len(y)):
        walk.stages[0, i] -= f[i]
    bend = in_units(walk.stages[0], y, y, rtol, atol) / h
    fastest = max(speed, bend)
    walk.alpha[1] = min(100.0 * h, (0.01 / fastest) ** 0.125) if 1e-15 < fastest < np.inf else max(1e-6, 1e-3 * h)
    walk.counts[EVALUATIONS] += 2


@njit(cache=True, inline="always")
def makes_no_progress(walk: Walk, end: float) -> bool:
    """Return whether the attempts since the last mark are too slow a pace to `end`; every `WINDOW` set the next mark."""
    attempts = walk.counts[STEPS] + walk.counts[REJECTED]
    if attempts - walk.counts[MARK] < WINDOW:
        return False
    alpha, marked = walk.alpha[0], walk.alpha[2]
    walk.counts[MARK], walk.alpha[2] = attempts, alpha
    return alpha < 2.0 * marked and (alpha - marked) * _MOST_ATTEMPTS < (end - alpha) * WINDOW


@njit(cache=True)
def advance(equations: Equations, methods: Methods, limits: Limits, walk: Walk, output: Output, end: float, budget: int) -> int:
    """Step to `end` or until `budget` evaluations or the room for interpolants are used up; return how it ended."""
    counts, rtol, atol = walk.counts, limits.rtol, limits.atol
    explicit, rosenbrock = methods.explicit, methods.rosenbrock
    times, rows, ends, pieces = output.times, output.rows, output.ends, output.pieces
    last_evaluation = counts[EVALUATIONS] + budget
    derivatives_known, rejected = False, False
    while walk.alpha[0] < end:
        # Not between attempts at one step, so that the result does not depend on the pauses.
        if not rejected and (counts[EVALUATIONS] >= last_evaluation or (len(ends) > 0 and counts[PIECES] == len(ends))):
            return PAUSED
        alpha, h = walk.alpha[0], walk.alpha[1]
        arrives = alpha + 1.01 * h >= end
        if arrives:
            h = end - alpha
        if not arrives and (h < 1e-14 * alpha or h < 1e-200 or makes_no_progress(walk, end)):
            return STUCK
        implicit = counts[IMPLICIT] == 1
        if implicit:
            if not derivatives_known:
                fill_jacobian(equations, alpha, walk.y, _JACOBIAN_STEP, walk.J)
                fill_change_of_rates(equations, alpha, walk.y, 1e-3 * h, walk.change)
                counts[JACOBIANS] += 1
                counts[EVALUATIONS] += 2 * len(walk.y)
                derivatives_known = True
            error = rosenbrock_step(equations, rosenbrock, walk, h, rtol, atol)
        else:
            error = explicit_step(equations, explicit, walk, h, rtol, atol)
        largest = 1.0 if rejected else 6.0
        factor = largest
        if error > 0.0:
            factor = min(largest, max(0.2, 0.9 * error ** (-0.2 if implicit else -0.125)))
        walk.alpha[1] = h * factor
        rejected = not error <= 1.0
        if rejected:
            counts[REJECTED] += 1
            continue
        counts[STEPS] += 1
        counts[EVALUATIONS] += 1
        derivatives_known = False
        reached = end if arrives else alpha + h
        slope(equations, reached, walk.new, walk.stages[12])
        choose_method(walk, h)
        beyond = is_beyond(equations, limits, walk.new)
        passes = counts[DONE] < len(times) and times[counts[DONE]] <= reached
        if beyond or passes or len(ends) > 0:
            if implicit:
                rosenbrock_interpolant(rosenbrock, walk)
            else:
                explicit_interpolant(equations, explicit, walk, h)
        if beyond:
            reached = alpha + h * cut_short(equations, limits, walk)
        while counts[DONE] < len(times) and times[counts[DONE]] <= reached:
            interpolate(walk.interpolant, (times[counts[DONE]] - alpha) / h, rows[counts[DONE]])
            counts[DONE] += 1
        if len(ends) > 0:
            ends[counts[PIECES]] = reached
            for j in range(8):
                copy_numbers(walk.interpolant[j], pieces[counts[PIECES], j])
            counts[PIECES] += 1
        copy_numbers(walk.new, walk.y)
        copy_numbers(walk.stages[12], walk.f)
        walk.alpha[0] = reached
        if beyond:
            return BEYOND
    return REACHED
