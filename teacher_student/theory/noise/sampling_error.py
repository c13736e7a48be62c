"""How much sampled Gaussian averages leave a trajectory uncertain: the same ODEs integrated with each set of points alone."""

from __future__ import annotations

import copy

import numpy as np
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import Diverged
from teacher_student.layout import VELOCITIES
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.theory.ode.solvers import INTERRUPTED, Task, solve_with_scipy
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side
from teacher_student.trajectory import COMPLETE, build_trajectory
from teacher_student.trajectory_form import DIMENSIONS, EPS_G_ERROR, as_trajectory, problem_of


def sampling_error(theory: xr.Dataset) -> xr.Dataset:
    """Return the standard errors of the variables of a theory trajectory that its sampled Gaussian averages give them.

    Parameters
    ----------
    theory : xarray.Dataset
        A trajectory of `integrate`, not of a simulation.

    Returns
    -------
    xarray.Dataset
        Of every order parameter, of the velocities' overlaps if the rule has friction, and of eps_g, with the dimensions of the
        trajectory; zero where averages are in closed form.

    Raises
    ------
    InvalidInput
        If `theory` is no trajectory of the theory.
    Diverged
        If the ODEs diverge with one of the sets of points.

    Notes
    -----
    The points come in independently scrambled sets, of which a trajectory uses the mean. Trajectories from each set alone cost,
    all together, as much as that one; the standard error of their mean is that of the trajectory, as long as deviations are
    small. It has one degree of freedom less than there are sets (7). Errors at different times belong to the same points and
    are strongly correlated. The generalisation error of a given state is an average of its own: that of eps_g includes the
    trajectory's ``eps_g_error``.
    """
    theory = as_trajectory(theory, "theory", kind="theory")
    errors = _between_sets(theory, [name for name in (*DIMENSIONS, *VELOCITIES) if name in theory])
    if EPS_G_ERROR in theory:
        errors["eps_g"] = np.hypot(errors["eps_g"], theory[EPS_G_ERROR])
    return errors


def _between_sets(theory: xr.Dataset, names: list[str]) -> xr.Dataset:
    """Return the standard errors of the variables `names` by the spread between the solutions of single sets."""
    of_sets = set_solutions(theory)
    if len(of_sets) == 0:
        return xr.zeros_like(theory[names])
    problem, times = problem_of(theory, "theory"), theory["alpha"].values
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    trajectories = [build_trajectory(problem, times, coordinates.parts(rows), replicas=False, attributes={}) for rows in of_sets]
    joined = xr.concat([each[names] for each in trajectories], "set")
    return joined.std("set", ddof=1) / np.sqrt(len(of_sets))


def set_solutions(theory: xr.Dataset) -> FloatArray:
    """Return the learning coordinates with each set of points alone, (sets, alpha, n); no sets where averages are closed."""
    problem, times = problem_of(theory, "theory"), theory["alpha"].values
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    if not isinstance(f, SampledDrift) or len(coordinates.moving) == 0:
        return np.empty((0, len(times), len(coordinates.moving)))
    of_sets = []
    for points in f.point_sets:
        alone = copy.copy(f)
        alone.point_sets = [points]
        rtol, atol = theory.attrs["rtol"], theory.attrs["atol"]
        task = Task(problem, coordinates, alone, times, rtol, atol, keep_solution=False, report=lambda alpha: None)
        outcome = solve_with_scipy(task, "LSODA")
        if outcome.status == INTERRUPTED:
            raise KeyboardInterrupt
        if outcome.status != COMPLETE:
            raise Diverged(f"theory of one set of points {outcome.status}", None)
        of_sets.append(outcome.rows)
    return np.array(of_sets)
