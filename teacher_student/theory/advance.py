"""From step to step along a solution in compiled code, with output at given times."""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.theory.flow import Flow, fill_change_of_rates, fill_jacobian, place, slope
from teacher_student.theory.stepper import (
    DONE,
    EVALUATIONS,
    IMPLICIT,
    JACOBIANS,
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
from teacher_student.theory.tableaux import Explicit, Rosenbrock

# How `advance` ended.
REACHED, PAUSED, BEYOND, STUCK = range(4)
# Central differences of a right-hand side of order one: truncation and rounding are both about 1e-10.
_JACOBIAN_STEP = 1e-5


@njit(cache=True, inline="always")
def is_beyond(flow: Flow, y: FloatArray, largest_Q: float, largest_v: float) -> bool:
    """Return whether the state `y` (n,) is not finite, or has a Q_kk or v_k beyond its bound."""
    place(flow, y)
    K, P, M = flow.n_units, flow.n_modes, len(flow.v_teacher)
    full = flow.full
    for number in full:
        if not np.isfinite(number):
            return True
    sigma = P * P + P * M
    xi_out = sigma + P
    for k in range(K):
        Q_kk = 0.0
        for a in range(P):
            weight = full[xi_out + k * P + a] * full[sigma + a]
            for b in range(P):
                Q_kk += weight * full[a * P + b] * full[xi_out + k * P + b] * full[sigma + b]
        if not Q_kk <= largest_Q or not abs(full[xi_out + K * P + k]) <= largest_v:
            return True
    return False


@njit(cache=True, inline="always")
def cut_short(flow: Flow, walk: Walk, largest_Q: float, largest_v: float) -> float:
    """Write the first state beyond the bounds into `walk.new`, found to 1 % of the step; return its place there, 0 to 1."""
    inside, outside = 0.0, 1.0
    while outside - inside > 0.01:
        middle = 0.5 * (inside + outside)
        interpolate(walk.interpolant, middle, walk.new)
        if is_beyond(flow, walk.new, largest_Q, largest_v):
            outside = middle
        else:
            inside = middle
    interpolate(walk.interpolant, outside, walk.new)
    return outside


@njit(cache=True, inline="always")
def begin(flow: Flow, walk: Walk, end: float, rtol: float, atol: float) -> None:
    """Prepare `walk` to start or go on after a jump: slope and first step (Hairer, Norsett and Wanner, I, section II.4)."""
    alpha, y, f = walk.alpha[0], walk.y, walk.f
    slope(flow, alpha, y, f)
    size, speed = in_units(y, y, y, rtol, atol), in_units(f, y, y, rtol, atol)
    h = 0.01 * size / speed if size > 1e-5 and 1e-5 < speed < np.inf else 1e-6
    h = min(h, end - alpha)
    for i in range(len(y)):
        walk.new[i] = y[i] + h * f[i]
    slope(flow, alpha + h, walk.new, walk.stages[0])
    for i in range(len(y)):
        walk.stages[0, i] -= f[i]
    bend = in_units(walk.stages[0], y, y, rtol, atol) / h
    fastest = max(speed, bend)
    walk.alpha[1] = min(100.0 * h, (0.01 / fastest) ** 0.125) if 1e-15 < fastest < np.inf else max(1e-6, 1e-3 * h)
    walk.counts[EVALUATIONS] += 2


@njit(cache=True)
def advance(
    flow: Flow,
    explicit: Explicit,
    rosenbrock: Rosenbrock,
    walk: Walk,
    end: float,
    rtol: float,
    atol: float,
    largest_Q: float,
    largest_v: float,
    times: FloatArray,
    rows: FloatArray,
    ends: FloatArray,
    pieces: FloatArray,
    budget: int,
) -> int:
    """Step to `end` or until `budget` evaluations or the room for interpolants are used up; return how it ended.

    States at the output `times` go to `rows` (times, n). If `ends` (m,) has any entries, the ends of the steps go there, and the
    interpolants to `pieces` (m, 8, n).
    """
    counts = walk.counts
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
        if not arrives and (h < 1e-14 * alpha or h < 1e-200):
            return STUCK
        implicit = counts[IMPLICIT] == 1
        if implicit:
            if not derivatives_known:
                fill_jacobian(flow, alpha, walk.y, _JACOBIAN_STEP, walk.J)
                fill_change_of_rates(flow, alpha, walk.y, 1e-3 * h, walk.change)
                counts[JACOBIANS] += 1
                counts[EVALUATIONS] += 2 * len(walk.y)
                derivatives_known = True
            error = rosenbrock_step(flow, rosenbrock, walk, h, rtol, atol)
        else:
            error = explicit_step(flow, explicit, walk, h, rtol, atol)
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
        slope(flow, reached, walk.new, walk.stages[12])
        choose_method(walk, h)
        beyond = is_beyond(flow, walk.new, largest_Q, largest_v)
        passes = counts[DONE] < len(times) and times[counts[DONE]] <= reached
        if beyond or passes or len(ends) > 0:
            if implicit:
                rosenbrock_interpolant(rosenbrock, walk)
            else:
                explicit_interpolant(flow, explicit, walk, h)
        if beyond:
            reached = alpha + h * cut_short(flow, walk, largest_Q, largest_v)
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
