"""The solution of the ODEs from piece to piece between the jumps of schedules: by compiled code, or by a solver of SciPy."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.bounds import bounds_of, first_out_of_bounds
from teacher_student.problem import Problem
from teacher_student.theory.advance import REACHED, STUCK
from teacher_student.theory.coordinates import ClosedDrift, Coordinates, Piece, smooth_pieces, unpack
from teacher_student.theory.march import March
from teacher_student.trajectory import COMPLETE

SCIPY_METHODS = ("LSODA", "Radau", "BDF", "DOP853", "RK45", "RK23")


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be solved: the right-hand side `f`, output `times`, tolerances; `report` is called with every time reached."""

    problem: Problem
    coordinates: Coordinates
    f: Any
    times: FloatArray
    rtol: float
    atol: float
    keep_solution: bool
    report: Callable[[float], None]

    @property
    def start(self) -> FloatArray:
        """The moving coordinates at alpha = 0, (n,)."""
        return self.coordinates.start[self.coordinates.moving]

    @property
    def pieces(self) -> list[Piece]:
        """What the jumps of schedules cut the time into."""
        return smooth_pieces(self.problem.rule, float(self.times[-1]))

    def beyond(self, y: FloatArray) -> str | None:
        """Return which order parameter of the state `y` (n,) is out of bounds, with its value, or None."""
        initial = self.problem.initial
        beyond = first_out_of_bounds(unpack(self.coordinates.expand(y), initial), initial)
        return None if beyond is None else f"{beyond[0]} = {beyond[1]:.6g}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """States (m, n) at the output times reached, how the run ended, and, if kept, the solution as a function of alpha."""

    rows: FloatArray
    status: str
    n_evaluations: int
    solution: Callable[[float], FloatArray] | None


def solve_compiled(task: Task) -> Outcome:
    """Solve by `teacher_student.theory.march`; `task.f` is a `ClosedDrift`."""
    f: ClosedDrift = task.f
    march = March(f.flow, task.start, task.times, task.rtol, task.atol, *bounds_of(task.problem.initial), task.keep_solution)
    status = COMPLETE
    try:
        for piece in task.pieces:
            window = piece.within(-np.inf), piece.within(np.inf)
            outcome = march.go(piece.end, window, task.report)
            if outcome != REACHED:
                reason = task.beyond(march.walk.y) or ("the steps become too short" if outcome == STUCK else "out of bounds")
                status = f"diverged at alpha = {march.walk.alpha[0]:.6g}: {reason}"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    f.flow.window[:] = -np.inf, np.inf
    kept = task.keep_solution and len(march.ends) > 1
    return Outcome(march.rows[: march.done], status, march.n_evaluations, march.solution if kept else None)


def solve_with_scipy(task: Task, method: str) -> Outcome:
    """Solve by the solver of SciPy called `method`."""
    import scipy.integrate  # takes a while, and compiled code does not need it

    rows, done, status = np.empty((len(task.times), len(task.start))), 0, COMPLETE
    y, n_evaluations = task.start, 0
    interpolants: list[Any] = []
    if task.times[0] == 0.0:
        rows[0], done = y, 1
    try:
        for piece in task.pieces:
            within = functools.partial(_at, task.f, piece)
            solver = getattr(scipy.integrate, method)(within, piece.start, y, piece.end, rtol=task.rtol, atol=task.atol)
            evaluated_before = n_evaluations
            while solver.status == "running" and status == COMPLETE:
                failure = _step(solver) or task.beyond(solver.y)
                y, n_evaluations = solver.y, evaluated_before + solver.nfev
                if failure is not None:
                    status = f"diverged at alpha = {solver.t:.6g}: {failure}"
                    break
                reached = int(np.searchsorted(task.times, solver.t, side="right"))
                if task.keep_solution or reached > done:
                    interpolant = solver.dense_output()
                    rows[done:reached] = interpolant(task.times[done:reached]).T
                    done = reached
                    if task.keep_solution:
                        interpolants.append(interpolant)
                task.report(solver.t)
            if status != COMPLETE:
                break
    except KeyboardInterrupt:
        status = "interrupted"
    solution = scipy.integrate.OdeSolution([0.0, *(piece.t for piece in interpolants)], interpolants) if interpolants else None
    return Outcome(rows[:done], status, n_evaluations, solution)


def _at(f: Callable[[float, FloatArray], FloatArray], piece: Piece, alpha: float, y: FloatArray) -> FloatArray:
    """Return f(alpha, y), at the end of `piece` with the rates before the jump there."""
    return f(piece.within(alpha), y)


def _step(solver: Any) -> str | None:
    """Advance `solver` by one step of its own choice; return what went wrong, if anything did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LSODA warns before it fails; the failure itself is reported
        message = solver.step()
    if solver.status == "failed":
        return str(message or "the solver failed").strip()
    return None
