"""One point of a sweep's dataset: its place, its fields, how its run ended, and its trajectory without padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from teacher_student.errors import refuse
from teacher_student.problem import Problem
from teacher_student.sweeps.dataset import FORMAT, labels
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.sweep_file import parse_sweep
from teacher_student.trajectory_form import DIMENSIONS, as_dataset

_PADDED = ("replica", "mode", "student", "teacher")


def check_sweep(given: object, argument: str = "dataset") -> xr.Dataset:
    """Return `given` if it is the dataset of a sweep, or a selection of its points; raises `InvalidInput` for anything else."""
    expected = "the dataset of teacher_student.sweep"
    dataset = as_dataset(given, argument, expected)
    if dataset.attrs.get("format") != FORMAT or not {"status", "simulated_status"} & set(dataset.data_vars):
        refuse(argument, f"a dataset of format {dataset.attrs.get('format')!r}", expected)
    return dataset


def source_of(dataset: xr.Dataset, simulated: bool) -> str:
    """Return what is before the names of the variables of one source; raises `InvalidInput` if the sweep has no runs of it."""
    prefix = "simulated_" if simulated else ""
    if f"{prefix}status" not in dataset:
        refuse("simulated", simulated, f"{not simulated}, for the sweep has no {'simulation' if simulated else 'theory'}")
    return prefix


def dimensions_of(dataset: xr.Dataset) -> tuple[str, ...]:
    """Return the dimensions of the points of a sweep."""
    status = dataset["status"] if "status" in dataset else dataset["simulated_status"]
    return tuple(map(str, status.dims))


def places(dataset: xr.Dataset) -> Iterator[dict[str, int]]:
    """Yield the place of every point along the dimensions of the sweep."""
    dimensions = dimensions_of(dataset)
    for index in np.ndindex(*(dataset.sizes[dimension] for dimension in dimensions)):
        yield dict(zip(dimensions, index, strict=True))


def in_words(dataset: xr.Dataset, place: dict[str, int]) -> str:
    """Return the fields of a point with their values."""
    point = dataset.isel(place)
    names = [name for name, coordinate in point.coords.items() if "fields" in coordinate.attrs]
    return ", ".join(f"{name} = {point[name].item()}" for name in names)


def trajectory_at(dataset: xr.Dataset, place: dict[str, int], prefix: str) -> xr.Dataset | None:
    """Return the trajectory at a point as far as it went, None if it has no number at all; `prefix` is that of its source.

    What pads it to the shape of other points is left out.
    """
    names = {prefix + name: name for name in DIMENSIONS if prefix + name in dataset}
    point = dataset[[*names, "T", "v_teacher"]].isel(place).rename(names)
    time = "time" if "time" in point.dims else "alpha"
    numbers = {str(name): np.isfinite(variable.values) for name, variable in point.data_vars.items()}
    sizes = {dimension: _last(point, numbers, dimension) for dimension in (*_PADDED, time) if dimension in point.dims}
    if not all(sizes.values()):
        return None
    sizes |= {f"{dimension}_": size for dimension, size in sizes.items() if f"{dimension}_" in point.dims}
    point = point.isel({dimension: slice(size) for dimension, size in sizes.items()})
    if time == "time":
        point = point.swap_dims(time="alpha")
    return point.reset_coords(drop=True).assign_attrs({"source": "simulation" if prefix else "theory"})


def _last(point: xr.Dataset, numbers: dict[str, np.ndarray], dimension: str) -> int:
    """Return the length of a dimension up to the last index at which any variable has a number."""
    last = 0
    for name, finite in numbers.items():
        dimensions = point[name].dims
        if dimension in dimensions:
            others = tuple(i for i, each in enumerate(dimensions) if each != dimension)
            last = max(last, int(np.flatnonzero(finite.any(axis=others)).max(initial=-1)) + 1)
    return last


def sweep_of(dataset: xr.Dataset) -> Sweep:
    """Return the sweep that a dataset holds as its attribute."""
    return parse_sweep(dataset.attrs["sweep"])


def problem_at(dataset: xr.Dataset, plan: Sweep, place: dict[str, int]) -> Problem:
    """Return the problem of a point, found in the sweep by the labels of its coordinates."""
    point = dataset.isel(place)
    known = {names.split(",")[0].strip(): labels(values).tolist() for names, values in plan.values.items()}
    if plan.design == "grid":
        index = [found.index(point[name].item()) for name, found in known.items()]
        return plan.problem_at(int(np.ravel_multi_index(index, tuple(plan.dimensions.values()))))
    wanted = [point[name].item() for name in known]
    rows = zip(*known.values(), strict=True)
    return plan.problem_at(next(i for i, row in enumerate(rows) if list(row) == wanted))
