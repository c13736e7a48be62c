"""What runs at finite N are predicted to show: mean and spread of every order parameter, from V and m of the linear noise
(docs/theory.rst: `functions`)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.layout import pack
from teacher_student.networks import check_n_inputs
from teacher_student.order_parameters import generalisation_error, unit_cosines, unit_overlaps
from teacher_student.problem import Problem
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.trajectory_form import DIMENSIONS, NORMALIZED_OVERLAPS, OF_NOISE, as_dataset, as_trajectory, problem_of

_DIMENSIONS = {**DIMENSIONS, NORMALIZED_OVERLAPS: ("student", "teacher")}
_EXPECTED = "a trajectory of integrate(..., fluctuations=True)"
# Central differences: what is differentiated are polynomials and arcsines of order one.
_FIRST_STEP = 1e-5
_SECOND_STEP = 1e-3


def moving_coordinates(trajectory: xr.Dataset, coordinates: Coordinates) -> FloatArray:
    """Return the moving coordinates of a trajectory, (alpha, n) for theory and (replica, alpha, n) for a simulation."""
    parts = {name: trajectory[name].values for name in coordinates.sizes.names}
    return pack(parts, coordinates.sizes)[..., coordinates.moving]


def predict(theory: xr.Dataset, n_inputs: int) -> xr.Dataset:
    """Return mean and standard deviation over runs at N = `n_inputs` of every order parameter, eps_g and R / sqrt(Q T).

    Parameters
    ----------
    theory : xarray.Dataset
        A trajectory of ``integrate(..., fluctuations=True)``.
    n_inputs : int
        N, at least P + M.

    Returns
    -------
    xarray.Dataset
        The variables of a trajectory and ``normalized_overlaps``, R / sqrt(Q T), with a leading dimension ``moment``: "mean" and
        "spread". To leading order in 1/N a function q of the state has the mean q + (grad q . m + Hessian q : V / 2) / N and the
        variance grad q . V grad q / N. Times at which the linear noise is not known have NaN.

    Raises
    ------
    InvalidInput
        If `theory` is no trajectory or holds no fluctuations, or N is too small.
    """
    if any(name not in as_dataset(theory, "theory", _EXPECTED) for name in OF_NOISE):
        refuse("theory", type(theory).__name__, _EXPECTED)
    theory = as_trajectory(theory, "theory", kind="theory")
    problem = problem_of(theory, "theory")
    N = check_n_inputs(problem.initial, n_inputs)
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    check_coordinates(theory, coordinates)
    y = moving_coordinates(theory, coordinates)
    V, m = theory["covariance"].values, theory["shift"].values
    known = np.isfinite(m).all(axis=1)
    moments = []
    for rows in _moments(y[known], V[known] / N, m[known] / N, problem, coordinates):
        moments.append(np.full((len(y), rows.shape[1]), np.nan))
        moments[-1][known] = rows
    mean, spread = (_unflatten(rows, problem) for rows in moments)
    data = {
        name: (("moment", "alpha", *dimensions), np.stack([mean[name], spread[name]])) for name, dimensions in _DIMENSIONS.items()
    }
    result = xr.Dataset(data, coords={"moment": ["mean", "spread"], "alpha": theory["alpha"]})
    result.attrs = {"source": "prediction", "n_inputs": N, "problem": theory.attrs["problem"]}
    return result


def check_coordinates(theory: xr.Dataset, coordinates: Coordinates) -> None:
    """Raise `InvalidInput` unless the linear noise of `theory` is that of these `coordinates`, in their order."""
    for name in ("coordinate", "coordinate_"):
        labels = theory[name].values.tolist() if name in theory.coords else None
        if labels != list(coordinates.labels):
            refuse("theory", f"{name} {labels}", f"the coordinates that learn in its problem, {list(coordinates.labels)}")


def _moments(
    y: FloatArray, V: FloatArray, shift: FloatArray, problem: Problem, coordinates: Coordinates
) -> tuple[FloatArray, FloatArray]:
    """Return means and standard deviations of all observables, (alpha, n_observables) each."""
    n = y.shape[1]
    centre = _observables(y, problem, coordinates)
    steps = _FIRST_STEP * np.maximum(1.0, np.abs(y))[:, :, np.newaxis] * np.eye(n)
    forward, backward = (_observables(y[:, np.newaxis] + sign * steps, problem, coordinates) for sign in (1, -1))
    gradient = (forward - backward) / (2.0 * np.diagonal(steps, axis1=1, axis2=2)[..., np.newaxis])
    variance = np.einsum("ani,anm,ami->ai", gradient, V, gradient)
    eigenvalues, vectors = np.linalg.eigh(V)
    along = _SECOND_STEP * np.swapaxes(vectors, 1, 2)
    forward, backward = (_observables(y[:, np.newaxis] + sign * along, problem, coordinates) for sign in (1, -1))
    second = (forward + backward - 2.0 * centre[:, np.newaxis]) / _SECOND_STEP**2
    curvature = 0.5 * np.einsum("an,ani->ai", np.clip(eigenvalues, 0.0, None), second)
    mean = centre + np.einsum("ani,an->ai", gradient, shift) + curvature
    return mean, np.sqrt(np.clip(variance, 0.0, None))


def _observables(y: FloatArray, problem: Problem, coordinates: Coordinates) -> FloatArray:
    """Return all observables of states y (..., n), flattened in the order of `_DIMENSIONS`, (..., n_observables)."""
    factors = coordinates.parts(y)
    T, v_teacher = problem.initial.T, problem.initial.v_teacher
    Q, R = unit_overlaps(factors)
    rule = problem.rule
    eps_g = generalisation_error(Q, R, T, factors["v"], v_teacher, rule.activation, rule.teacher_activation)
    arrays = {**factors, "Q": Q, "R": R, NORMALIZED_OVERLAPS: unit_cosines(Q, R, T), "eps_g": eps_g}
    return np.concatenate([arrays[name].reshape(*y.shape[:-1], -1) for name in _DIMENSIONS], axis=-1)


def _unflatten(rows: FloatArray, problem: Problem) -> dict[str, FloatArray]:
    state = problem.initial
    K, P, M = state.n_units, state.n_modes, state.n_teacher
    sizes = {"mode": P, "mode_": P, "student": K, "student_": K, "teacher": M}
    arrays, position = {}, 0
    for name, dimensions in _DIMENSIONS.items():
        shape = tuple(sizes[dimension] for dimension in dimensions)
        size = int(np.prod(shape))
        arrays[name] = rows[:, position : position + size].reshape(len(rows), *shape)
        position += size
    return arrays
