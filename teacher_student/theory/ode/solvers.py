"""The solution of the ODEs from stretch to stretch between the jumps of schedules: by compiled code, or by a solver of SciPy."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.bounds import bounds_of, first_out_of_bounds
from teacher_student.order_parameters import unit_overlaps
from teacher_student.problem import Problem
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.ode.advance import REACHED, STUCK, Limits
from teacher_student.theory.ode.march import March
from teacher_student.theory.ode.progress import Progress
from teacher_student.theory.right_hand_side import ClosedDrift
from teacher_student.theory.stretches import Stretch, smooth_stretches
from teacher_student.trajectory import COMPLETE

SCIPY_METHODS = ("LSODA", "Radau", "BDF", "DOP853", "RK45", "RK23")

INTERRUPTED = "interrupted"
# Of low orders, some take a hundred times as many steps as the compiled method.
_MOST_STEPS = 1e7
# A unit of a smaller Q_kk, in units of the largest at the start or of 1, has died as far as numbers can tell.
_DEAD = 1e-5


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
    def stretches(self) -> list[Stretch]:
        """What the jumps of schedules cut the time into."""
        return smooth_stretches(self.problem.rule, float(self.times[-1]))

    def beyond(self, y: FloatArray) -> str | None:
        """Return which order parameter of the state `y` (n,) is out of bounds, with its value, or None."""
        initial = self.problem.initial
        beyond = first_out_of_bounds(self.coordinates.parts(y), initial)
        return None if beyond is None else f"{beyond[0]} = {beyond[1]:.6g}"

    def standstill(self, y: FloatArray, step: float) -> str:
        """Return why steps like the last one, of length `step`, do not lead on from the state `y` (n,), as far as it tells."""
        initial = self.problem.initial
        factors = self.coordinates.parts(y)
        Q = unit_overlaps(factors)[0].diagonal()
        k = int(np.argmin(Q))
        if not Q[k] < _DEAD * max(1.0, float(initial.Q.max())):
            return f"the steps become too short, {step:.3g} each"
        return f"unit {k} dies (Q[{k},{k}] = {Q[k]:.3g}), and the steps become too short, {step:.3g} each"


@dataclass(frozen=True, eq=False)
class Outcome:
    """States (m, n) at the output times reached, how the run ended, and, if kept, the solution as a function of alpha."""

    rows: FloatArray
    status: str
    n_evaluations: int
    n_steps: int
    solution: Callable[[float], FloatArray] | None


def solve_compiled(task: Task) -> Outcome:
    """Solve by `teacher_student.theory.ode.march`; `task.f` is a `ClosedDrift`."""
    f: ClosedDrift = task.f
    limits = Limits(task.rtol, task.atol, *bounds_of(task.problem.initial))
    march = March(f.equations, task.start, task.times, limits, task.keep_solution)
    status = COMPLETE
    try:
        for stretch in task.stretches:
            window = stretch.within(-np.inf), stretch.within(np.inf)
            outcome = march.go(stretch.end, window, task.report)
            if outcome != REACHED:
                y = march.walk.y
                reason = task.beyond(y) or (task.standstill(y, march.walk.alpha[1]) if outcome == STUCK else "out of bounds")
                status = f"diverged at alpha = {march.walk.alpha[0]:.6g}: {reason}"
                break
    except KeyboardInterrupt:
        status = INTERRUPTED
    f.equations.window[:] = -np.inf, np.inf
    kept = task.keep_solution and len(march.ends) > 1
    return Outcome(march.rows[: march.done], status, march.n_evaluations, march.n_steps, march.solution if kept else None)


def solve_with_scipy(task: Task, method: str) -> Outcome:
    """Solve by the solver of SciPy called `method`."""
    import scipy.integrate  # takes a while, and compiled code does not need it

    rows, done, status = np.empty((len(task.times), len(task.start))), 0, COMPLETE
    y, n_evaluations = task.start, 0
    interpolants: list[Any] = []
    progress = Progress(float(task.times[-1]), _MOST_STEPS)
    if task.times[0] == 0.0:
        rows[0], done = y, 1
    try:
        for stretch in task.stretches:
            within = functools.partial(_at, task.f, stretch)
            solver = getattr(scipy.integrate, method)(within, stretch.start, y, stretch.end, rtol=task.rtol, atol=task.atol)
            evaluated_before = n_evaluations
            while solver.status == "running" and status == COMPLETE:
                failure = _step(solver) or task.beyond(solver.y)
                if failure is None and not progress.is_made(solver.t):
                    failure = task.standstill(solver.y, solver.step_size)
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
        status = INTERRUPTED
    solution = scipy.integrate.OdeSolution([0.0, *(each.t for each in interpolants)], interpolants) if interpolants else None
    return Outcome(rows[:done], status, n_evaluations, progress.steps, solution)


def _at(f: Callable[[float, FloatArray], FloatArray], stretch: Stretch, alpha: float, y: FloatArray) -> FloatArray:
    """Return f(alpha, y), at the end of `stretch` with the rates before the jump there."""
    return f(stretch.within(alpha), y)


def _step(solver: Any) -> str | None:
    """Advance `solver` by one step of its own choice; return what went wrong, if anything did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LSODA warns before it fails; the failure itself is reported
        message = solver.step()
    if solver.status == "failed":
        return str(message or "the solver failed").strip()
    return None
