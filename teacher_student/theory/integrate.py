"""Integration of the order-parameter ODEs with error control."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

import teacher_student
from teacher_student.activations import get_activation
from teacher_student.arrays import FloatArray
from teacher_student.errors import Diverged, check_choice, check_flag, check_fraction, refuse, warn_of_interruption
from teacher_student.layout import unpack
from teacher_student.problem import Problem, check_problem
from teacher_student.progress_bars import hidden, tqdm
from teacher_student.theory.coordinates import Coordinates, sizes_of
from teacher_student.theory.equalities import independent_coordinates, smallest_distance
from teacher_student.theory.ode.march import METHOD
from teacher_student.theory.ode.solvers import INTERRUPTED, SCIPY_METHODS, Task, solve_compiled, solve_with_scipy
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side
from teacher_student.times import output_times
from teacher_student.trajectory import COMPLETE, DIMENSIONLESS, build_trajectory

METHODS = (METHOD, *SCIPY_METHODS)

# Squared distance of the directions of two modes below which a tolerance of 1e-9 would show in what becomes of it.
_NEARLY_THE_SAME = 1e-6


def integrate(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    fluctuations: bool = False,
    *,
    method: str | None = None,
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
        ``covariance`` (V; that of runs is V / N), ``shift`` (m; the mean of runs is off by m / N) and ``propagator``. Where it
        cannot be trusted, or needs far more steps than the ODEs, it ends: they are NaN then, and the attribute
        ``fluctuations_ended`` says after which time and why.
    method : str, optional
        The default is "DOP853+Rodas5P", an explicit Runge-Kutta method and one for stiff stretches, in compiled code; where
        Gaussian averages are sampled it is "LSODA". This and other methods of SciPy serve as a check: they are slower.
    rtol, atol : float, optional
        Relative and absolute tolerance of the local error: 1e-9 and 1e-12, or 1e-12 and 1e-15 where g' jumps and modes are nearly
        the same. Where the Gaussian averages are sampled the default
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
        For anything but a problem; for impossible times, methods or tolerances; for fluctuations where g' has jumps and its
        averages are sampled.
    Diverged
        If an order parameter leaves every bound or the solver fails; carries what was computed before.
    """
    check_problem(problem)
    times = problem.alpha if alpha is None else output_times(alpha)
    fluctuations, progress = check_flag("fluctuations", fluctuations), check_flag("progress", progress)
    if method is not None:
        check_choice("method", method, METHODS)
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    start = coordinates.start[coordinates.moving]
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    if method is None:
        method = "LSODA" if isinstance(f, SampledDrift) else METHOD
    elif method == METHOD and isinstance(f, SampledDrift):
        refuse("method", method, "a method of SciPy, for Gaussian averages that are sampled")
    rough = _is_rough(f, start)
    if rough and fluctuations:
        activations = f"{problem.rule.activation} (teacher: {problem.rule.teacher_activation or problem.rule.activation})"
        refuse("fluctuations", activations, "activations whose g' has no jumps, or with Gaussian averages in closed form")
    least_rtol, least_atol = _matched_tolerances(problem, f, start, rough)
    rtol, atol = least_rtol if rtol is None else rtol, least_atol if atol is None else atol
    # SciPy raises smaller relative tolerances to a hundred times the rounding error.
    for name, value, least in (("rtol", rtol, 2.3e-14), ("atol", atol, 1e-300)):
        if check_fraction(name, value) < least:
            refuse(name, value, f"a tolerance from {least:g} to below 1")
    rtol, atol = float(rtol), float(atol)

    if len(start) == 0:  # nothing learns, and nothing fluctuates
        return _trajectory(problem, times, coordinates.expand(np.empty((len(times), 0))), method, rtol, atol, 0)
    with tqdm(total=float(times[-1]), unit="alpha", disable=hidden(progress), desc="theory") as bar:
        task = Task(
            problem, coordinates, f, times, rtol, atol, keep_solution=fluctuations, report=lambda t: bar.update(t - bar.n)
        )
        outcome = solve_compiled(task) if method == METHOD else solve_with_scipy(task, method)
    full = coordinates.expand(outcome.rows)
    trajectory = _trajectory(problem, times[: len(full)], full, method, rtol, atol, outcome.n_evaluations)
    trajectory.attrs["status"] = outcome.status
    if isinstance(f, SampledDrift):
        trajectory.attrs["average_points"] = f.n_points
        trajectory.attrs["average_error"] = max(
            (float(f.error(alpha, y).max()) for alpha, y in zip(times, outcome.rows, strict=False)), default=0.0
        )
    if outcome.status.startswith("diverged"):
        raise Diverged(f"theory {outcome.status}", trajectory)
    if outcome.solution is not None and outcome.status == COMPLETE:
        trajectory = _with_fluctuations(trajectory, problem, coordinates, outcome.solution, outcome.n_steps, progress)
    warn_of_interruption(trajectory, stacklevel=2)
    return trajectory


def predicts_fluctuations(problem: Problem) -> bool:
    """Return whether the linear noise can be integrated: not where g' has jumps and its averages are sampled."""
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    return not _is_rough(f, coordinates.start[coordinates.moving])


def _is_rough(f: Any, start: FloatArray) -> bool:
    return isinstance(f, SampledDrift) and len(start) > 0 and f.is_rough(start)


def _matched_tolerances(problem: Problem, f: Any, start: FloatArray, rough: bool) -> tuple[float, float]:
    """Return the relative and absolute tolerance below which more steps would only follow the error of the averages.

    Where modes are nearly the same, and g' jumps, it is lower: errors of their distance grow as the root of their size.
    """
    families = get_activation(problem.rule.activation).families
    kinked = "piecewise_linear" in families and "polynomial" not in families
    if kinked and smallest_distance(problem.initial, problem.rule) < _NEARLY_THE_SAME:
        return 1e-12, 1e-15
    if not isinstance(f, SampledDrift) or len(start) == 0:
        return 1e-9, 1e-12
    error = min(1.0, f.relative_error(start))
    return max(1e-9, (0.1 if rough else 0.01) * error), max(1e-12, (1e-2 if rough else 1e-5) * error)


def _with_fluctuations(
    trajectory: xr.Dataset, problem: Problem, coordinates: Coordinates, solution: Any, n_steps: int, progress: bool
) -> xr.Dataset:
    """Add the linear noise around `solution` to a trajectory; interrupted, it returns the trajectory without."""
    # SciPy's linear algebra takes a while to import, and most integrations do not need it.
    from teacher_student.theory.noise.fluctuations import linear_noise

    times = trajectory["alpha"].values
    with tqdm(total=float(times[-1]), unit="alpha", disable=hidden(progress), desc="fluctuations") as bar:
        try:
            noise = linear_noise(
                problem.initial,
                problem.rule,
                coordinates,
                solution,
                times,
                n_steps,
                report=lambda t: bar.update(t - bar.n),
            )
        except KeyboardInterrupt:
            trajectory.attrs["status"] = INTERRUPTED
            return trajectory
    labels, square = list(coordinates.labels), ("alpha", "coordinate", "coordinate_")
    variables = {
        "covariance": (noise.covariance, "N times the covariance between runs, leading order"),
        "shift": (noise.shift, "N times the deviation of the mean over runs, leading order"),
        "propagator": (noise.propagator, "linear flow from the output time before"),
        "covariance_error": (noise.covariance_error, "standard error of covariance from the quasi-random averages"),
    }
    added = xr.Dataset(
        {
            name: (square[: values.ndim], values, {"long_name": long_name, "units": DIMENSIONLESS})
            for name, (values, long_name) in variables.items()
        },
        coords={"alpha": trajectory["alpha"], "coordinate": labels, "coordinate_": labels},
    )
    trajectory = trajectory.merge(added)
    trajectory.attrs["diffusion_points"] = noise.n_points
    trajectory.attrs["fluctuations_ended"] = noise.ended
    return trajectory


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
    return build_trajectory(
        problem, times, unpack(full, sizes_of(problem.initial, problem.rule)), replicas=False, attributes=attributes
    )
