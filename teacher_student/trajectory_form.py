"""What a trajectory is: its variables, their dimensions, and the one check that every entrance makes of what it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from teacher_student import layout
from teacher_student.arrays import Array
from teacher_student.errors import InvalidInput, check_instance, check_non_negative, check_whole, refuse
from teacher_student.layout import DERIVED, FACTORS, VELOCITIES
from teacher_student.problem import Problem
from teacher_student.problem_file import parse_problem

NORMALIZED_OVERLAPS = "normalized_overlaps"
EPS_G_ERROR = "eps_g_error"

DIMENSIONS = {name: part.dimensions for name, part in {**FACTORS, **DERIVED}.items()}
OF_VELOCITIES = {name: part.dimensions for name, part in VELOCITIES.items()}
OF_TEACHER = {name: part.dimensions for name, part in layout.OF_TEACHER.items()}
OF_NOISE = {
    "covariance": ("coordinate", "coordinate_"),
    "shift": ("coordinate",),
    "propagator": ("coordinate", "coordinate_"),
    "covariance_error": ("coordinate", "coordinate_"),
}


def as_trajectory(
    given: object, argument: str = "trajectory", variables: Sequence[str] = (), *, kind: str | None = None, finite: bool = True
) -> xr.Dataset:
    """Return `given`, which was given for `argument`, as a trajectory: every entrance that takes one passes through here.

    Parameters
    ----------
    given : object
        What may be a trajectory, (alpha, ...) or (replica, alpha, ...).
    argument : str
        Its name in refusals.
    variables : sequence of str
        Those that are needed; by default all that a trajectory has, and those of the linear noise and velocities if it has them.
    kind : str, optional
        "theory" or "simulation", if no other will do. A single run of a simulation then gets the dimension ``replica``.
    finite : bool
        Whether numbers that are not finite are refused.

    Returns
    -------
    xarray.Dataset
        With the dimensions of every variable in their order.

    Raises
    ------
    InvalidInput
        Unless it has these variables, of real numbers, with their dimensions and no others; a replica; and output times, finite,
        of at least 0, that increase.
    """
    of_kind = "a trajectory of " + {None: "integrate or simulate", "theory": "integrate", "simulation": "simulate"}[kind]
    trajectory = as_dataset(given, argument, of_kind)
    needed = variables or (*DIMENSIONS, *OF_TEACHER)
    for name in needed:
        if name not in trajectory.data_vars:
            refuse(argument, f"a dataset without {name}", of_kind)
    if "alpha" not in trajectory.coords or trajectory["alpha"].dims != ("alpha",):
        refuse(argument, f"dimensions {tuple(trajectory.sizes)}", "one alpha, with the output times as its coordinate")
    if kind is not None and kind != kind_of(trajectory):
        refuse(argument, f"a trajectory of {kind_of(trajectory)}", of_kind)
    if kind == "simulation" and "replica" not in trajectory.dims:
        per_run = [name for name in trajectory.data_vars if "alpha" in trajectory[name].dims]
        trajectory = trajectory.assign({name: trajectory[name].expand_dims("replica") for name in per_run})
    for dimension in ("replica", "alpha") if "replica" in trajectory.dims else ("alpha",):
        if trajectory.sizes[dimension] == 0:
            refuse(argument, f"no {dimension}", "at least one")
    _check_times(argument, trajectory["alpha"].values)
    for name in ("rtol", "atol"):
        if name in trajectory.attrs:
            check_non_negative(f"{argument}.attrs[{name!r}]", trajectory.attrs[name])
    if kind == "simulation":
        check_whole(f"{argument}.attrs['n_inputs']", trajectory.attrs.get("n_inputs"), 1, "N, a whole number of at least 1")
        check_instance(f"{argument}.attrs['method']", trajectory.attrs.get("method"), str, "the name of a method")
    dimensions = _dimensions_in(trajectory)
    for name in dimensions.keys() & set(needed) if variables else dimensions:
        # Where the linear noise has ended it is not known.
        known = finite and not (name in OF_NOISE and "fluctuations_ended" in trajectory.attrs)
        trajectory = _in_order(trajectory, argument, name, dimensions[name], known)
    return trajectory


def as_simulations(given: object) -> list[xr.Dataset]:
    """Return several simulations, each as a trajectory; raises `InvalidInput` unless it is a list or tuple of at least one."""
    if not isinstance(given, (list, tuple)) or not given:
        refuse("simulations", given if isinstance(given, (list, tuple)) else type(given).__name__, "a list of simulations")
    return [as_trajectory(each, f"simulations[{i}]", kind="simulation") for i, each in enumerate(given)]


def as_dataset(given: object, argument: str, expected: str) -> xr.Dataset:
    """Return `given` if it is a dataset; raises `InvalidInput`, naming the `argument` and the type, if it is not."""
    if not isinstance(given, xr.Dataset):
        refuse(argument, type(given).__name__, expected)
    return given


def kind_of(trajectory: xr.Dataset) -> str:
    """Return "theory" or "simulation": what its attributes say, else by whether it has replicas."""
    if trajectory.attrs.get("source") in ("theory", "simulation"):
        return str(trajectory.attrs["source"])
    return "simulation" if "replica" in trajectory.dims else "theory"


def _check_times(argument: str, times: Array) -> None:
    if times.dtype.kind not in "fiu" or not np.isfinite(times).all() or times[0] < 0 or not (np.diff(times) > 0).all():
        refuse(argument, f"alpha {times.tolist()}", "output times that increase, finite and at least 0")


def _dimensions_in(trajectory: xr.Dataset) -> dict[str, tuple[str, ...]]:
    """Return the dimensions, in order, of all variables that a trajectory can have and this one has."""
    leading = ("replica", "alpha") if "replica" in trajectory.dims else ("alpha",)
    per_time = {**DIMENSIONS, **OF_VELOCITIES, EPS_G_ERROR: (), **OF_NOISE}
    found = {name: leading + dimensions for name, dimensions in per_time.items()} | OF_TEACHER
    return {name: dimensions for name, dimensions in found.items() if name in trajectory.data_vars}


def _in_order(trajectory: xr.Dataset, argument: str, name: str, dimensions: tuple[str, ...], finite: bool) -> xr.Dataset:
    """Return `trajectory` with the `dimensions` of the variable `name` in this order, and that variable checked."""
    variable = trajectory[name]
    if set(variable.dims) != set(dimensions):
        several = name in OF_TEACHER and "replica" in variable.dims
        hint = " (teacher_student.pool puts simulations together)" if several else ""
        refuse(argument, f"{name} with dimensions {variable.dims}", f"{dimensions}{hint}")
    if variable.dtype.kind not in "fiu":
        refuse(argument, f"{name} of type {variable.dtype}", "real numbers")
    if finite and not np.isfinite(variable.values).all():
        refuse(argument, f"{name} that is not finite{_where(variable)}", "finite numbers; leave out such replicas or times")
    return trajectory if variable.dims == dimensions else trajectory.assign({name: variable.transpose(*dimensions)})


def _where(variable: xr.DataArray) -> str:
    """Return in which replicas and from which time on numbers are not finite, in words."""
    broken = variable.copy(data=~np.isfinite(variable.values))
    if "alpha" not in variable.dims:
        return ""
    at = broken.any([dimension for dimension in variable.dims if dimension != "alpha"])
    text = f" at alpha = {float(variable['alpha'].values[int(at.values.argmax())]):g}"
    if "replica" in variable.dims:
        of = np.flatnonzero(broken.any([dimension for dimension in variable.dims if dimension != "replica"]))
        text += f" in {len(of)} replica(s), the first number {of[0]}"
    return text


def problem_of(trajectory: xr.Dataset, argument: str = "trajectory") -> Problem:
    """Return the problem that a trajectory has as its attribute; raises `InvalidInput` if it has none of these sizes."""
    text = trajectory.attrs.get("problem")
    name = f"{argument}.attrs['problem']"
    check_instance(name, text, str, "the problem as TOML text")
    try:
        problem = parse_problem(str(text))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
    state = problem.initial
    for dimension, size in (("mode", state.n_modes), ("student", state.n_units), ("teacher", state.n_teacher)):
        if trajectory.sizes.get(dimension, size) != size:
            refuse(argument, f"{trajectory.sizes[dimension]} as size of {dimension}", f"{size}, as in its problem")
    return problem


def seeds_of(trajectory: xr.Dataset) -> tuple[int, ...]:
    """Return the seeds of the runs of a trajectory: one, several if it was pooled, none of the theory."""
    given = trajectory.attrs.get("seed", "")
    # Several are text with commas between, and so is one that is too large a number for a file.
    seeds = given.split(",") if isinstance(given, str) and given else [given] if given != "" else []
    numbers = [int(seed) if isinstance(seed, str) and seed.strip().isdecimal() else seed for seed in seeds]
    return tuple(check_whole("trajectory.attrs['seed']", number, 0, most=None) for number in numbers)
