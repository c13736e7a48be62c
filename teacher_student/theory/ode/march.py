"""The march along a solution: through compiled code, and back in Python every so often."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.theory.equations import Equations
from teacher_student.theory.ode.advance import PAUSED, Limits, Methods, Output, advance, begin
from teacher_student.theory.ode.stepper import DONE, EVALUATIONS, PIECES, STEPS, Walk, interpolate, new_walk
from teacher_student.theory.ode.tableaux import DOP853, RODAS5P

METHOD = "DOP853+Rodas5P"

# A call of compiled code cannot be interrupted; it lasts about as long, in seconds.
_CALL = 0.1
_PIECES = 256
_PAIR = Methods(DOP853, RODAS5P)


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
    equations : Equations
    y : (n,) array
        State at alpha = 0.
    times : (m,) array
        Output times.
    limits : Limits
        Tolerances, and bounds beyond which the march ends.
    keep_pieces : bool
        Keep the interpolants for `solution`.
    rows : (m, n) array
        States at the output times, of which the first `done` have been passed.
    """

    equations: Equations
    y: FloatArray
    times: FloatArray
    limits: Limits
    keep_pieces: bool = False
    methods: Methods = _PAIR
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
    def n_steps(self) -> int:
        """Steps taken."""
        return int(self.walk.counts[STEPS])

    @property
    def solution(self) -> Solution:
        """The solution so far, if `keep_pieces`."""
        return Solution(np.concatenate(self.ends), np.concatenate(self.pieces))

    def go(self, end: float, window: tuple[float, float], report: Callable[[float], None]) -> int:
        """Go on to the time `end`, with rates asked for within `window`; return how it ended: REACHED, BEYOND or STUCK.

        `report` is called every so often with the time reached; what it raises leaves the march as it is then.
        """
        self.equations.window[:] = window
        begin(self.equations, self.limits, self.walk, end)
        capacity = _PIECES if self.keep_pieces else 0
        ends, pieces = np.empty(capacity), np.empty((capacity, 8, len(self.y)))
        output, outcome = Output(self.times, self.rows, ends, pieces), PAUSED
        while outcome == PAUSED:
            started, evaluated = time.perf_counter(), int(self.walk.counts[EVALUATIONS])
            outcome = advance(self.equations, self.methods, self.limits, self.walk, output, end, self.budget)
            # What is left of the last call's speed decides how much the next one may do.
            speed = (int(self.walk.counts[EVALUATIONS]) - evaluated) / max(1e-9, time.perf_counter() - started)
            self.budget = max(20, min(4 * self.budget, int(_CALL * speed)))
            stored = int(self.walk.counts[PIECES])
            self.ends.append(ends[:stored].copy())
            self.pieces.append(pieces[:stored].copy())
            self.walk.counts[PIECES] = 0
            report(float(self.walk.alpha[0]))
        return outcome
