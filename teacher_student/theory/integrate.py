"""Integration of the order-parameter ODEs with error control, by SciPy's solvers."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.integrate
import xarray as xr
from tqdm import tqdm

import teacher_student
from teacher_student.bounds import first_out_of_bounds
from teacher_student.errors import Diverged, refuse
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import Problem, output_times
from teacher_student.theory.coordinates import Coordinates, Piece, coordinates_of, right_hand_side, smooth_pieces, unpack
from teacher_student.theory.fluctuations import N_POINTS, linear_noise
from teacher_student.theory.sampled_drift import SampledDrift
from teacher_student.trajectory import COMPLETE, build_trajectory

FloatArray = npt.NDArray[np.float64]

METHODS = ("LSODA", "Radau", "BDF", "DOP853", "RK45", "RK23")


def integrate(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    fluctuations: bool = False,
    *,
    method: str = "LSODA",
    rtol: float | None = None,
    atol: float | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Return the solution of the order-parameter ODEs of `problem`, the limit N -> infinity of SGD.

    Parameters
    ----------
    problem : Problem
        Initial state and rule.
    alpha : float or increasing sequence, optional
        Output times (steps / N); a number is the last of a logarithmic grid; by default the problem's own times.
    fluctuations : bool
        Also integrate the linear noise: covariance and mean shift of runs at finite N at leading order in 1/N, added as
        ``covariance`` (V; that of runs is V / N), ``shift`` (m; the mean of runs is off by m / N) and ``propagator``.
    method : str
        A method of SciPy; the default switches between stiff and non-stiff formulas.
    rtol, atol : float, optional
        Relative and absolute tolerance of the local error: 1e-9 and 1e-12. Where the Gaussian averages are sampled the default
        follows their relative error at alpha = 0: a hundredth of it and a thousandth of that, or where g' has jumps, so that
        the averages over fixed points are not smooth, a tenth of it and a tenth of that.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        A trajectory. If interrupted by Ctrl-C it ends early, with the attribute ``status`` "interrupted".

    Raises
    ------
    InvalidInput
        For impossible times, methods or tolerances; for fluctuations where g' has jumps and its averages are sampled.
    Diverged
        If an order parameter leaves every bound or the solver fails; carries what was computed before.
    """
    times = problem.alpha if alpha is None else output_times(alpha)
    if method not in METHODS:
        refuse("method", method, "one of " + ", ".join(METHODS))
    coordinates = coordinates_of(problem.initial, problem.rule, problem.velocity)
    start = coordinates.start[coordinates.moving]
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    rough = _is_rough(f, start)
    if rough and fluctuations:
        activations = f"{problem.rule.activation} (teacher: {problem.rule.teacher_activation or problem.rule.activation})"
        refuse("fluctuations", activations, "activations whose g' has no jumps, or with Gaussian averages in closed form")
    least_rtol, least_atol = _matched_tolerances(f, start, rough)
    rtol, atol = least_rtol if rtol is None else rtol, least_atol if atol is None else atol
    # SciPy raises smaller relative tolerances to a hundred times the rounding error.
    for name, value, least in (("rtol", rtol, 2.3e-14), ("atol", atol, 1e-300)):
        if not isinstance(value, float) or not least <= value < 1:
            refuse(name, value, f"a tolerance from {least:g} to below 1")

    rows = np.empty((len(times), len(start)))
    if len(start) == 0:  # nothing learns, and nothing fluctuates
        return _trajectory(problem, times, coordinates.expand(rows), method, rtol, atol, 0)
    march = _March(rows, y=start, done=int(times[0] == 0), keep_pieces=fluctuations)
    rows[: march.done] = start
    with tqdm(total=float(times[-1]), unit="alpha", disable=None if progress else True, desc="theory") as bar:
        try:
            for piece in smooth_pieces(problem.rule, float(times[-1])):
                within = functools.partial(_at, f, piece)
                solver = getattr(scipy.integrate, method)(within, piece.start, march.y, piece.end, rtol=rtol, atol=atol)
                _step_through(march, solver, times, coordinates, problem.initial, bar)
                if march.status != COMPLETE:
                    break
        except KeyboardInterrupt:
            march.status = "interrupted"
    full = coordinates.expand(rows[: march.done])
    trajectory = _trajectory(problem, times[: march.done], full, method, rtol, atol, march.nfev)
    trajectory.attrs["status"] = march.status
    if isinstance(f, SampledDrift):
        trajectory.attrs["average_points"] = f.n_points
        trajectory.attrs["average_error"] = max(
            (float(f.error(alpha, y).max()) for alpha, y in zip(times, rows[: march.done], strict=False)), default=0.0
        )
    if march.status.startswith("diverged"):
        raise Diverged(f"theory {march.status}", trajectory)
    if fluctuations and march.pieces and march.status == COMPLETE:
        solution = scipy.integrate.OdeSolution([0.0, *(piece.t for piece in march.pieces)], march.pieces)
        return _with_fluctuations(trajectory, problem, coordinates, solution, progress)
    return trajectory


def _at(f: Callable[[float, FloatArray], FloatArray], piece: Piece, alpha: float, y: FloatArray) -> FloatArray:
    """Return f(alpha, y), at the end of `piece` with the rates before the jump there."""
    return f(piece.within(alpha), y)


def predicts_fluctuations(problem: Problem) -> bool:
    """Return whether the linear noise can be integrated: not where g' has jumps and its averages are sampled."""
    coordinates = coordinates_of(problem.initial, problem.rule)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    return not _is_rough(f, coordinates.start[coordinates.moving])


def _is_rough(f: Any, start: FloatArray) -> bool:
    return isinstance(f, SampledDrift) and len(start) > 0 and f.is_rough(start)


def _matched_tolerances(f: Any, start: FloatArray, rough: bool) -> tuple[float, float]:
    """Return the relative and absolute tolerance below which more steps would only follow the error of the averages."""
    if not isinstance(f, SampledDrift) or len(start) == 0:
        return 1e-9, 1e-12
    error = min(1.0, f.relative_error(start))
    return max(1e-9, (0.1 if rough else 0.01) * error), max(1e-12, (1e-2 if rough else 1e-5) * error)


@dataclass
class _March:
    """An integration in progress: states at the output times reached, the last one, and the steps' interpolants if kept."""

    rows: FloatArray
    y: FloatArray
    done: int
    keep_pieces: bool
    nfev: int = 0
    status: str = COMPLETE
    pieces: list[Any] = field(default_factory=list)


def _step_through(
    march: _March, solver: Any, times: FloatArray, coordinates: Coordinates, initial: OrderParameters, bar: Any
) -> None:
    """Step to the solver's last time or a divergence; fills `march` on the way, so that an interruption loses nothing."""
    evaluated_before = march.nfev
    while solver.status == "running":
        failure = _step(solver)
        march.y, march.nfev = solver.y, evaluated_before + solver.nfev
        beyond = first_out_of_bounds(unpack(coordinates.expand(solver.y), initial), initial)
        if failure is None and beyond is not None:
            failure = f"{beyond[0]} = {beyond[1]:.6g}"
        if failure is not None:
            march.status = f"diverged at alpha = {solver.t:.6g}: {failure}"
            return
        reached = int(np.searchsorted(times, solver.t, side="right"))
        if march.keep_pieces or reached > march.done:
            piece = solver.dense_output()
            march.rows[march.done : reached] = piece(times[march.done : reached]).T
            march.done = reached
            if march.keep_pieces:
                march.pieces.append(piece)
        bar.update(min(solver.t, times[-1]) - bar.n)


def _with_fluctuations(
    trajectory: xr.Dataset, problem: Problem, coordinates: Coordinates, solution: Any, progress: bool
) -> xr.Dataset:
    """Add the linear noise around `solution` to a trajectory; interrupted, it returns the trajectory without."""
    times = trajectory["alpha"].values
    with tqdm(total=float(times[-1]), unit="alpha", disable=None if progress else True, desc="fluctuations") as bar:
        try:
            noise = linear_noise(
                problem.initial, problem.rule, coordinates, solution, times, report=lambda t: bar.update(t - bar.n)
            )
        except KeyboardInterrupt:
            trajectory.attrs["status"] = "interrupted"
            return trajectory
    trajectory = trajectory.assign_coords(coordinate=list(coordinates.labels), coordinate_=list(coordinates.labels))
    trajectory["covariance"] = (("alpha", "coordinate", "coordinate_"), noise.covariance)
    trajectory["shift"] = (("alpha", "coordinate"), noise.shift)
    trajectory["propagator"] = (("alpha", "coordinate", "coordinate_"), noise.propagator)
    trajectory["covariance_error"] = (("alpha", "coordinate", "coordinate_"), noise.covariance_error)
    trajectory["covariance_error"].attrs["long_name"] = "standard error of covariance from the quasi-random averages"
    trajectory["covariance"].attrs["long_name"] = "N times the covariance between runs, leading order"
    trajectory["shift"].attrs["long_name"] = "N times the deviation of the mean over runs, leading order"
    trajectory["propagator"].attrs["long_name"] = "linear flow from the output time before"
    trajectory.attrs["diffusion_points"] = N_POINTS
    return trajectory


def _step(solver: Any) -> str | None:
    """Advance `solver` by one step of its own choice; return what went wrong, if anything did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LSODA warns before it fails; the failure itself is reported
        message = solver.step()
    if solver.status == "failed":
        return str(message or "the solver failed").strip()
    return None


def _trajectory(
    problem: Problem, times: FloatArray, full: FloatArray, method: str, rtol: float, atol: float, n_evaluations: int
) -> xr.Dataset:
    attributes = {
        "source": "theory",
        "method": method,
        "rtol": rtol,
        "atol": atol,
        "right_hand_sides": n_evaluations,
        "version": teacher_student.__version__,
    }
    return build_trajectory(problem, times, unpack(full, problem.initial), replicas=False, attributes=attributes)
