"""Warm restarts: the problem that continues, under the same rule or another, from a state of a trajectory."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_instance, check_non_negative, check_whole, refuse
from teacher_student.layout import VELOCITIES
from teacher_student.problem import RATES, LearningRule, Problem
from teacher_student.schedules import later
from teacher_student.trajectory import state_of
from teacher_student.trajectory_form import as_trajectory, problem_of, seeds_of
from teacher_student.velocities import Velocities

# Of a time, relative: that of sums and quotients.
_ROUNDING = 1e-12


def warm_restart(
    trajectory: xr.Dataset, rule: LearningRule | None = None, *, alpha: float | None = None, replica: int | None = None
) -> Problem:
    """Return the problem of `trajectory` with one of its states as the initial one.

    Parameters
    ----------
    trajectory : xarray.Dataset
        Of the theory or of a simulation.
    rule : LearningRule, optional
        The rule from there on, its schedules beginning at the restart. By default the trajectory's own, its schedules going on
        from the time they had reached.
    alpha : float, optional
        The output time to restart from, that of a simulation up to the rounding to whole steps; by default the last.
    replica : int, optional
        Which run of a simulation; needed if there are several.

    Returns
    -------
    Problem
        With a time alpha that counts from the restart, the output times of the old problem, and a seed one above those used
        so far, so that no input is drawn a second time. With friction it starts with the velocities reached; those of fixed
        momentum, which live for a few steps only, start from zero.

    Raises
    ------
    InvalidInput
        If `trajectory` is none or empty, or has no such time or replica.
    """
    trajectory = as_trajectory(trajectory, finite=False)
    problem = problem_of(trajectory)
    seed = max(seeds_of(trajectory), default=problem.seed) + 1
    if rule is not None:
        check_instance("rule", rule, LearningRule, "a LearningRule")
    n_inputs = trajectory.attrs.get("n_inputs")
    if n_inputs is not None:
        n_inputs = check_whole("trajectory.attrs['n_inputs']", n_inputs)
    point = trajectory.isel(alpha=_position(trajectory["alpha"].values, alpha, n_inputs))
    n_replicas = trajectory.sizes.get("replica", 0)
    if n_replicas == 0 and replica is not None:
        refuse("replica", replica, "none for a trajectory of the theory")
    if n_replicas > 1 and replica is None:
        refuse("replica", None, f"a number from 0 to {n_replicas - 1}")
    if n_replicas > 0:
        replica = check_whole("replica", 0 if replica is None else replica, least=0)
        if replica >= n_replicas:
            refuse("replica", replica, f"a number from 0 to {n_replicas - 1}")
        point = point.isel(replica=replica)
    if rule is None:
        elapsed = float(point["alpha"])
        rates = {name: later(getattr(problem.rule, name), elapsed) for name in RATES}
        rule = dataclasses.replace(problem.rule, **rates)  # type: ignore[arg-type]
    initial = state_of(point)
    velocity = None
    if rule.friction is not None and "C_velocities" in point:
        velocity = Velocities(**{name: point[name].values for name in VELOCITIES})
    return dataclasses.replace(problem, initial=initial, rule=rule, seed=seed, velocity=velocity)


def _position(times: FloatArray, alpha: float | None, n_inputs: int | None) -> int:
    """Return which of `times` is `alpha`, up to rounding and, in a simulation at N = `n_inputs`, up to half a step."""
    if alpha is None:
        return len(times) - 1
    alpha = check_non_negative("alpha", alpha)
    i = int(np.abs(times - alpha).argmin())
    if abs(times[i] - alpha) > _ROUNDING * alpha + (0.5 / n_inputs if n_inputs else 0.0):
        after = int(np.searchsorted(times, alpha))
        nearest = [repr(float(time)) for time in times[max(after - 1, 0) : after + 1]]
        verb = "is" if len(nearest) == 1 else "are"
        refuse("alpha", alpha, f"an output time of the trajectory; the nearest {verb} {' and '.join(nearest)}")
    return i
