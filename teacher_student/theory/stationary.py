"""Integration until the order parameters no longer change: at a stable fixed point, and not on a plateau."""

from __future__ import annotations

import numpy as np
import xarray as xr

from teacher_student.errors import InvalidInput, check_flag, check_fraction, check_positive, refuse
from teacher_student.problem import Problem, check_problem
from teacher_student.theory.integrate import integrate
from teacher_student.theory.stability.fixed_points import FixedPoint, NoFixedPoint, fixed_point
from teacher_student.times import log_spaced_times
from teacher_student.trajectory import resolved_eps_g

# The time reached is judged at the problem's last time, and at so many times as much again and again.
_FACTOR = 4.0
_MOST_ALPHA = 1e6


def integrate_until_stationary(
    problem: Problem, largest: float | None = None, *, tolerance: float = 1e-3, progress: bool = True
) -> xr.Dataset:
    """Return the theory of `problem` up to a time at which it is stationary, or say why it is not.

    Stationary is a state beside a stable fixed point of the ODEs, whose eps_g it has within `tolerance`. A plateau is none: its
    fixed point has unstable directions.

    Parameters
    ----------
    problem : Problem
        Initial state and rule, with constant rates and without friction. Its output times are the first that are tried.
    largest : float, optional
        The last time alpha that is tried; by default a thousand times the last output time, and 1e6 at least.
    tolerance : float
        Relative difference of eps_g from that of the fixed point that is accepted.
    progress : bool
        Show a progress bar on a terminal.

    Returns
    -------
    xarray.Dataset
        A trajectory. Its attribute ``stationary`` is "reached" or says why it was not; ``stationary_since`` is the first output
        time from which on eps_g stays within the tolerance, ``stationary_eps_g`` that of the fixed point; NaN without one.

    Raises
    ------
    InvalidInput
        If nothing learns, a rate is a schedule, the rule has friction, Gaussian averages are sampled and g' has jumps, or a
        number is impossible.
    Diverged
        If the integration does; carries what was computed before.
    """
    check_problem(problem)
    check_flag("progress", progress)
    tolerance, last = check_fraction("tolerance", tolerance), float(problem.alpha[-1])
    largest = max(1e3 * last, _MOST_ALPHA) if largest is None else check_positive("largest", largest)
    if problem.rule.friction is not None:
        refuse("rule.friction", problem.rule.friction, "no friction; plain SGD at the rates eta / friction is its limit")
    if not problem.rule.rates.any():  # refuses schedules
        refuse("rule", problem.rule, "at least one rate above 0")
    end, reason = min(last, largest), ""
    while True:
        theory = integrate(problem, _times(problem, end), progress=progress)
        if theory.attrs["status"] == "interrupted":
            return theory.assign_attrs(_told("interrupted"))
        reason = _objection(point := _point(problem, end), theory, tolerance)
        if reason == "" and isinstance(point, FixedPoint):
            return theory.assign_attrs(_told("reached", _since(theory, point, tolerance), point.eps_g))
        if end >= largest:
            return theory.assign_attrs(_told(f"not reached at alpha = {end:.6g}: {reason}"))
        end = min(_FACTOR * end, largest)


def _times(problem: Problem, end: float) -> np.ndarray:
    """Return the problem's times as far as `end`, and logarithmically spaced ones from its last on."""
    own = problem.alpha
    if end > own[-1]:
        return np.concatenate([own, log_spaced_times(float(own[-1]), end)[2:]])
    return np.append(own[own < end], end)


def _told(text: str, since: float = np.nan, eps_g: float = np.nan) -> dict[str, object]:
    return {"stationary": text, "stationary_since": since, "stationary_eps_g": eps_g}


def _point(problem: Problem, end: float) -> FixedPoint | str:
    """Return the fixed point near the state at the time `end`, or why there is none."""
    try:
        return fixed_point(problem, near=end)
    except (NoFixedPoint, InvalidInput) as error:
        if isinstance(error, InvalidInput) and "g' has no jumps" in str(error):
            raise
        return f"there is no fixed point nearby ({error})"


def _objection(point: FixedPoint | str, theory: xr.Dataset, tolerance: float) -> str:
    """Return why the last state of `theory` is not stationary, or nothing."""
    if isinstance(point, str):
        return point
    eps_g = float(theory["eps_g"][-1])
    if point.n_unstable:
        return f"the fixed point nearby, with eps_g = {point.eps_g:.4g}, has {point.n_unstable} unstable direction(s): a plateau"
    if not abs(eps_g - point.eps_g) <= _allowed(theory, point, tolerance):
        return f"eps_g = {eps_g:.4g} is not yet that of the stable fixed point nearby, {point.eps_g:.4g}"
    return ""


def _allowed(theory: xr.Dataset, point: FixedPoint, tolerance: float) -> float:
    return max(tolerance * abs(point.eps_g), resolved_eps_g(theory))


def _since(theory: xr.Dataset, point: FixedPoint, tolerance: float) -> float:
    """Return the first time from which on eps_g is that of `point`."""
    off = np.flatnonzero(np.abs(theory["eps_g"].values - point.eps_g) > _allowed(theory, point, tolerance))
    return float(theory["alpha"].values[off[-1] + 1 if len(off) else 0])
