"""How much sampled Gaussian averages leave a trajectory uncertain: the same ODEs integrated with each set of points alone."""

from __future__ import annotations

import copy

import numpy as np
import scipy.integrate
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import Diverged, refuse
from teacher_student.problem_file import parse_problem
from teacher_student.theory.coordinates import coordinates_of, right_hand_side, smooth_pieces, unpack
from teacher_student.theory.sampled_drift import SampledDrift
from teacher_student.trajectory import DIMENSIONS, EPS_G_ERROR, build_trajectory
from teacher_student.velocities import DIMENSIONS as VELOCITIES


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
    if not isinstance(theory, xr.Dataset) or "replica" in theory.dims or "problem" not in theory.attrs:
        refuse("theory", type(theory).__name__, "a trajectory of the theory")
    errors = _between_sets(theory, [name for name in (*DIMENSIONS, *VELOCITIES) if name in theory])
    if EPS_G_ERROR in theory:
        errors["eps_g"] = np.hypot(errors["eps_g"], theory[EPS_G_ERROR])
    return errors


def _between_sets(theory: xr.Dataset, names: list[str]) -> xr.Dataset:
    """Return the standard errors of the variables `names` by the spread between the solutions of single sets."""
    of_sets = set_solutions(theory)
    if len(of_sets) == 0:
        return xr.zeros_like(theory[names])
    problem, times = parse_problem(theory.attrs["problem"]), theory["alpha"].values
    coordinates = coordinates_of(problem.initial, problem.rule, problem.velocity)
    trajectories = [
        build_trajectory(problem, times, unpack(coordinates.expand(rows), problem.initial), replicas=False, attributes={})
        for rows in of_sets
    ]
    joined = xr.concat([each[names] for each in trajectories], "set")
    return joined.std("set", ddof=1) / np.sqrt(len(of_sets))


def set_solutions(theory: xr.Dataset) -> FloatArray:
    """Return the learning coordinates with each set of points alone, (sets, alpha, n); no sets where averages are closed."""
    problem, times = parse_problem(theory.attrs["problem"]), theory["alpha"].values
    coordinates = coordinates_of(problem.initial, problem.rule, problem.velocity)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    if not isinstance(f, SampledDrift) or len(coordinates.moving) == 0:
        return np.empty((0, len(times), len(coordinates.moving)))
    of_sets = []
    for points in f.point_sets:
        alone = copy.copy(f)
        alone.point_sets = [points]
        of_sets.append(_solution(alone, times, theory.attrs["rtol"], theory.attrs["atol"]))
    return np.array(of_sets)


def _solution(f: SampledDrift, times: FloatArray, rtol: float, atol: float) -> FloatArray:
    """Return the solution of dy/dalpha = f at the output `times`, (alpha, n)."""
    y = f.coordinates.start[f.coordinates.moving]
    rows = np.tile(y, (len(times), 1))
    for piece in smooth_pieces(f.rule, float(times[-1])):
        here = (times > piece.start) & (times <= piece.end)
        solution = scipy.integrate.solve_ivp(
            lambda alpha, y, piece=piece: f(piece.within(alpha), y),
            (piece.start, piece.end),
            y,
            method="LSODA",
            t_eval=np.unique([*times[here], piece.end]),
            rtol=rtol,
            atol=atol,
        )
        if not solution.success:
            raise Diverged(f"theory of one set of points diverged at alpha = {solution.t[-1]:.6g}", None)
        rows[here], y = solution.y.T[: here.sum()], solution.y[:, -1]
    return rows
