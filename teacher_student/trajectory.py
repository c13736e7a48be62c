"""The labelled result that theory and simulation share: an xarray.Dataset, saved as NetCDF-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import InvalidInput, refuse
from teacher_student.files import check_path, replacing
from teacher_student.layout import DERIVED, FACTORS, OF_TEACHER, VELOCITIES
from teacher_student.order_parameters import OrderParameters, estimated_generalisation_error, unit_cosines, unit_overlaps
from teacher_student.problem import Problem
from teacher_student.trajectory_form import DIMENSIONS as DIMENSIONS
from teacher_student.trajectory_form import EPS_G_ERROR, NORMALIZED_OVERLAPS, OF_VELOCITIES, as_dataset, as_trajectory

COMPLETE = "complete"
DIMENSIONLESS = "1"  # as the CF conventions have it
_WHOLE_NUMBERS = ("seed", "n_inputs")  # attributes that may be beyond 64 bits

_FORMAT = "teacher_student trajectory 1"
# Of a sum of terms that cancel, relative to the largest: each is rounded at 1e-16.
_ROUNDING = 1e-14
# They damp the remaining errors; explicit methods at the limit of their stability keep them.
_IMPLICIT = ("LSODA", "Radau", "BDF")
_BACK_FROM_NOISE = 100.0
# Of the largest overlap: above the errors of an integrator or of sampled averages, below a mistake.
_MISSING_LENGTH = 1e-4
LONG_NAMES = {name: part.long_name for name, part in {**FACTORS, **VELOCITIES, **DERIVED, **OF_TEACHER}.items()}
LONG_NAMES[EPS_G_ERROR] = "estimated error of eps_g by its Gaussian averages"


def build_trajectory(
    problem: Problem,
    alpha: FloatArray,
    factors: dict[str, FloatArray],
    *,
    replicas: bool,
    attributes: dict[str, Any],
) -> xr.Dataset:
    """Return the trajectory with the measured `factors` and the variables that follow from them.

    `factors` are Q_modes, R_modes, sigma, xi_out and v, and velocities if the rule has friction. Where Gaussian averages have no
    closed form it also has the error of eps_g, `EPS_G_ERROR`.

    Factors are shaped (replica, alpha, ...) if `replicas`, else (alpha, ...); `alpha` is (alpha,).
    """
    Q, R = unit_overlaps(factors)
    T, v_teacher = problem.initial.T, problem.initial.v_teacher
    rule = problem.rule
    activations = rule.activation, rule.teacher_activation
    eps_g, eps_g_error = estimated_generalisation_error(Q, R, T, factors["v"], v_teacher, *activations)
    leading = ("replica", "alpha") if replicas else ("alpha",)
    arrays = {**factors, "Q": Q, "R": R, "eps_g": eps_g}
    if eps_g_error is not None:
        arrays[EPS_G_ERROR] = eps_g_error
    dimensions = {**DIMENSIONS, **OF_VELOCITIES, EPS_G_ERROR: ()}
    data = {name: (leading + dimensions[name], array) for name, array in arrays.items()}
    data |= {"T": (OF_TEACHER["T"].dimensions, T), "v_teacher": (OF_TEACHER["v_teacher"].dimensions, v_teacher)}
    coordinates = {"alpha": ("alpha", alpha, {"long_name": "time alpha", "units": "steps / N"})}
    trajectory = xr.Dataset(data, coords=coordinates)
    for name in trajectory.data_vars:
        trajectory[name].attrs |= {"long_name": LONG_NAMES[str(name)], "units": DIMENSIONLESS}
    trajectory.attrs = {"format": _FORMAT, "problem": problem.to_toml(), "status": COMPLETE, **attributes}
    return trajectory


def normalized_overlaps(trajectory: xr.Dataset) -> xr.DataArray:
    """Return R_km / sqrt(Q_kk T_mm), the cosines between student and teacher units (zero where a norm is zero)."""
    trajectory = as_trajectory(trajectory, variables=("Q", "R", "T"), finite=False)
    R = trajectory["R"]
    cosines = unit_cosines(trajectory["Q"].values, R.values, trajectory["T"].values)
    return xr.DataArray(cosines, dims=R.dims, coords=R.coords, name=NORMALIZED_OVERLAPS)


def resolved_eps_g(trajectory: xr.Dataset) -> float:
    """Return the eps_g down to which the numbers of `trajectory` mean something; from the first time below it on, they are noise.

    eps_g is a difference of overlaps, of terms of order (sum abs(v_teacher) sqrt(T))^2. Near perfect learning it is linear in
    their errors: those of rounding, and in theory the integrator's tolerances, of which implicit methods keep far less.
    """
    trajectory = as_trajectory(trajectory, variables=("T", "v_teacher"))
    v_teacher, norms = np.abs(trajectory["v_teacher"].values), np.diagonal(trajectory["T"].values)
    terms = float((v_teacher * np.sqrt(norms)).sum() ** 2)
    attributes = trajectory.attrs
    tolerance = attributes.get("rtol", 0.0) * terms + attributes.get("atol", 0.0) * float(v_teacher.sum() ** 2)
    if attributes.get("method") in _IMPLICIT:
        tolerance *= 0.1
    return max(_ROUNDING * terms, float(tolerance))


def resolved_times(trajectory: xr.Dataset) -> xr.DataArray:
    """Return at which times eps_g, of replicas their mean, means something, (alpha,) of bool."""
    eps_g = trajectory["eps_g"].mean("replica") if "replica" in trajectory.dims else trajectory["eps_g"]
    least = resolved_eps_g(trajectory)
    # Once eps_g has fallen below, noise rises above the level again by little; learning that is undone rises far above.
    fallen = np.logical_or.accumulate(eps_g.values <= least)
    return eps_g > np.where(fallen, _BACK_FROM_NOISE * least, least)


def state_of(point: xr.Dataset) -> OrderParameters:
    """Return the state of a trajectory at one time, of one run; raises `InvalidInput` if no network can have it.

    At perfect learning, modes have no part outside the teacher, and the integrator's errors, most of all of sampled averages,
    can leave the square of its length negative, which it cannot be: there it is zero, and Q_modes changes by that little.
    """
    factors = {name: point[name].values for name in (*FACTORS, *OF_TEACHER)}
    Q, R, T = factors["Q_modes"], factors["R_modes"], factors["T"]
    if all(np.isfinite(matrix).all() for matrix in (Q, R, T)):
        along = R @ np.linalg.pinv(T, rcond=1e-9, hermitian=True) @ R.T
        lengths, axes = np.linalg.eigh(Q - along)
        if -_MISSING_LENGTH * np.abs(Q).max() < lengths[0] < 0:
            factors["Q_modes"] = along + (axes * np.maximum(lengths, 0.0)) @ axes.T
    return OrderParameters(**factors)


def save_trajectory(trajectory: xr.Dataset, path: str | Path) -> None:
    """Write `trajectory` to `path` as NetCDF-4, under a temporary name first, so that no half-written file is left.

    Raises `InvalidInput` if it is no dataset, or the place cannot be written.
    """
    dataset = as_dataset(trajectory, "trajectory", "a trajectory of integrate or simulate")
    with replacing(check_path(path, "output")) as temporary:
        # Of seeds, which may be larger than the numbers that a file can hold.
        held = {name: str(value) if isinstance(value, int) and value >= 2**63 else value for name, value in dataset.attrs.items()}
        try:
            dataset.assign_attrs(held).to_netcdf(temporary, engine="h5netcdf")
        except (TypeError, ValueError) as error:
            refuse("trajectory", f"a dataset that no file holds ({error})", "a trajectory of integrate or simulate")


def load_trajectory(path: str | Path) -> xr.Dataset:
    """Return the trajectory in a file that `save_trajectory` wrote; raises `InvalidInput` for any other file."""
    path = check_path(path, "file")
    try:
        there = path.is_file()
    except OSError:
        there = False
    if not there:
        raise InvalidInput(f"file: got {str(path)!r} (no such file), expected a trajectory (NetCDF-4)")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            trajectory = stored.load()
    except Exception as error:  # h5py and xarray raise many kinds for files that are damaged or foreign
        raise InvalidInput(f"file: got {str(path)!r} ({type(error).__name__}), expected a trajectory (NetCDF-4)") from None
    digits = {name: trajectory.attrs[name] for name in _WHOLE_NUMBERS if str(trajectory.attrs.get(name)).isdecimal()}
    trajectory.attrs.update({name: int(text) for name, text in digits.items()})
    missing = [name for name in (*DIMENSIONS, "T", "v_teacher") if name not in trajectory]
    if trajectory.attrs.get("format") != _FORMAT or missing:
        raise InvalidInput(f"file: got {str(path)!r} (format {trajectory.attrs.get('format')!r}), expected {_FORMAT!r}")
    return trajectory
