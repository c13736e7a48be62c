"""The march along a solution: compiled from step to step, with output at given times, back in Python every so often."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

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
    new_walk,
    rosenbrock_interpolant,
    rosenbrock_step,
)
from teacher_student.theory.tableaux import DOP853, RODAS5P, Explicit, Rosenbrock

FloatArray = npt.NDArray[np.float64]

METHOD = "DOP853+Rodas5P"

# How `advance` ended.
REACHED, PAUSED, BEYOND, STUCK = range(4)
# Central differences of a right-hand side of order one: truncation and rounding are both about 1e-10.
_JACOBIAN_STEP = 1e-5
# A call of compiled code cannot be interrupted; it lasts about as long, in seconds.
_CALL = 0.1
_PIECES = 256


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
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
        if counts[EVALUATIONS] >= last_evaluation or (len(ends) > 0 and counts[PIECES] == len(ends)):
            return PAUSED
        alpha, h = walk.alpha[0], walk.alpha[1]
        arrives = alpha + 1.01 * h >= end
        if arrives:
            h = end - alpha
        if h < 1e-14 * alpha or h < 1e-200:
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


@dataclass(frozen=True, eq=False)
class Solution:
    """A solution as a function of alpha: the interpolants `pieces` (m, 8, n) of m steps between the times `ends` (m + 1,)."""

    ends: FloatArray
    pieces: FloatArray

    def __call__(self, alpha: float) -> FloatArray:
        """Return the moving coordinates at the time `alpha`, (n,)."""
        i = min(max(int(np.searchsorted(self.ends, alpha)) - 1, 0), len(self.pieces) - 1)
        out = np.empty(self.pieces.shape[2])
        interpolate(self.pieces[i], (alpha - self.ends[i]) / (self.ends[i + 1] - self.ends[i]), out)
        return out


@dataclass(eq=False)
class March:
    """A solution in progress, from one piece between jumps of the rates to the next.

    Attributes
    ----------
    flow : Flow
    y : (n,) array
        State at alpha = 0.
    times : (m,) array
        Output times.
    rtol, atol, largest_Q, largest_v : float
        Tolerances, and bounds beyond which the march ends.
    keep_pieces : bool
        Keep the interpolants for `solution`.
    rows : (m, n) array
        States at the output times, of which the first `done` have been passed.
    """

    flow: Flow
    y: FloatArray
    times: FloatArray
    rtol: float
    atol: float
    largest_Q: float
    largest_v: float
    keep_pieces: bool = False
    explicit: Explicit = DOP853
    rosenbrock: Rosenbrock = RODAS5P
    rows: FloatArray = field(init=False)
    walk: Walk = field(init=False)
    ends: list[FloatArray] = field(init=False, default_factory=lambda: [np.zeros(1)])
    pieces: list[FloatArray] = field(init=False, default_factory=list)
    budget: int = field(init=False, default=1000)

    def __post_init__(self) -> None:
        self.rows = np.empty((len(self.times), len(self.y)))
        self.walk = new_walk(self.y)
        if self.times[0] == 0.0:
            self.rows[0] = self.y
            self.walk.counts[DONE] = 1

    @property
    def done(self) -> int:
        """Number of output times passed."""
        return int(self.walk.counts[DONE])

    @property
    def n_evaluations(self) -> int:
        """Evaluations of the right-hand side."""
        return int(self.walk.counts[EVALUATIONS])

    @property
    def solution(self) -> Solution:
        """The solution so far, if `keep_pieces`."""
        return Solution(np.concatenate(self.ends), np.concatenate(self.pieces))

    def go(self, end: float, window: tuple[float, float], report: Callable[[float], None]) -> int:
        """Go on to the time `end`, with rates asked for within `window`; return how it ended: REACHED, BEYOND or STUCK.

        `report` is called every so often with the time reached; what it raises leaves the march as it is then.
        """
        self.flow.window[:] = window
        begin(self.flow, self.walk, end, self.rtol, self.atol)
        capacity = _PIECES if self.keep_pieces else 0
        ends, pieces = np.empty(capacity), np.empty((capacity, 8, len(self.y)))
        outcome = PAUSED
        while outcome == PAUSED:
            started, evaluated = time.perf_counter(), int(self.walk.counts[EVALUATIONS])
            outcome = advance(
                self.flow,
                self.explicit,
                self.rosenbrock,
                self.walk,
                end,
                self.rtol,
                self.atol,
                self.largest_Q,
                self.largest_v,
                self.times,
                self.rows,
                ends,
                pieces,
                self.budget,
            )
            # What is left of the last call's speed decides how much the next one may do.
            speed = (int(self.walk.counts[EVALUATIONS]) - evaluated) / max(1e-9, time.perf_counter() - started)
            self.budget = max(20, min(4 * self.budget, int(_CALL * speed)))
            stored = int(self.walk.counts[PIECES])
            self.ends.append(ends[:stored].copy())
            self.pieces.append(pieces[:stored].copy())
            self.walk.counts[PIECES] = 0
            report(float(self.walk.alpha[0]))
        return outcome
