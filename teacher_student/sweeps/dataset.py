"""The results of a sweep as one labelled dataset."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import teacher_student
from teacher_student.arrays import Array, FloatArray
from teacher_student.errors import refuse
from teacher_student.sweeps.design import Sweep
from teacher_student.sweeps.results import stored_headers, stored_points
from teacher_student.sweeps.sweep_file import write_sweep
from teacher_student.toml_text import toml
from teacher_student.trajectory import DIMENSIONLESS, DIMENSIONS, LONG_NAMES

FORMAT = "teacher_student sweep 1"
_FIELDS = {
    "eta_xi_in": "rate of the input modes",
    "eta_sigma": "rate of the mode strengths",
    "eta_xi_out": "rate of the output modes",
    "eta_v": "rate of the output weights",
    "noise": "standard deviation of the label noise",
    "weight_decay": "weight decay",
    "batch_size": "inputs per step",
    "momentum": "momentum beta",
    "friction": "friction gamma",
    "activation": "activation of the student",
    "teacher_activation": "activation of the teacher",
    "n_inputs": "inputs N",
    "replicas": "independent runs",
    "seed": "seed",
}
_FIXED = {"alpha": ("alpha",), "T": ("teacher", "teacher_"), "v_teacher": ("teacher",)}


def assemble(sweep: Sweep, folder: Path, failed: dict[int, str]) -> xr.Dataset:
    """Return the dataset of a sweep whose results are in `folder`, NaN at points that `failed`; the guide describes it.

    Raises `InvalidInput` if all points failed.
    """
    stored = stored_headers(folder, sweep.n_points)
    if not stored:
        refuse("sweep", failed[min(failed)], "a point that can be run; this is the first, and there is none")
    swept = sweep.dimensions
    sizes = _sizes(header for headers in stored.values() for header in headers)
    names = list(dict.fromkeys(name for headers in stored.values() for header in headers for name, _ in header["arrays"]))
    arrays = {name: np.full((sweep.n_points, *(sizes[d] for d in _dimensions(name))), np.nan) for name in names}
    seeds = np.zeros(sweep.n_points, dtype=object)
    sources = [source for source in ("theory", "simulation") if getattr(sweep, source)]
    status = {source: np.full(sweep.n_points, "", dtype=object) for source in sources}
    for index, text in failed.items():
        seeds[index] = sweep.seed_at(index)
        for source in sources:
            status[source][index] = text
    for path, headers in stored.items():
        for header, found in stored_points(path, headers):
            index = header["index"]
            seeds[index] = header["seed"]
            for source in sources:
                status[source][index] = header[source]
            for name, array in found.items():
                arrays[name][(index, *(slice(size) for size in array.shape))] = array
    coordinates, alpha_name = _coordinates(sweep, arrays.pop("alpha"))
    data: dict[str, Any] = {}
    for name, array in arrays.items():
        dimensions = tuple(alpha_name if d == "alpha" else d for d in _dimensions(name))
        long_name = LONG_NAMES[name.split(".")[-1]] + (" (simulation)" if name.startswith("simulation.") else "")
        about = {"long_name": long_name, "units": DIMENSIONLESS}
        data[_label(name)] = ((*swept, *dimensions), array.reshape(*swept.values(), *array.shape[1:]), about)
    for source in sources:
        about = {"long_name": f"how the {source} ended"}
        data[_label(f"{source}.status")] = (tuple(swept), status[source].reshape(*swept.values()), about)
    if sweep.simulation is not None:
        about = {"long_name": "seed of the simulation"}
        data["seed"] = (tuple(swept), _storable(seeds).reshape(*swept.values()), about)
    attributes = {"format": FORMAT, "sweep": write_sweep(sweep), "version": teacher_student.__version__}
    return xr.Dataset(data, coordinates, attributes)


def stored_sweep(path: Path) -> xr.Dataset | None:
    """Return the dataset of a sweep in a file, None if the file holds something else or cannot be read."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            return stored.load() if stored.attrs.get("format") == FORMAT else None
    except Exception:  # h5py and xarray raise many kinds for files that are damaged or foreign
        return None


def _storable(seeds: Array) -> Array:
    """Return whole numbers as such, or as text if one has more than 64 bits, which NetCDF does not have."""
    return seeds.astype(np.int64) if max(seeds) < 2**63 else np.array([str(seed) for seed in seeds], dtype=object)


def _dimensions(name: str) -> tuple[str, ...]:
    """Return the dimensions, at one point, of an array of `points.Results`."""
    source, _, variable = name.rpartition(".")
    if not source:
        return _FIXED[variable]
    return (("replica",) if source == "simulation" else ()) + ("alpha",) + DIMENSIONS[variable]


def _label(name: str) -> str:
    """Return the name in the dataset: that of the variable, with ``simulated_`` before what is simulated."""
    source, _, variable = name.rpartition(".")
    return f"simulated_{variable}" if source == "simulation" else variable


def _sizes(headers: Any) -> dict[str, int]:
    """Return the largest size of every dimension: shapes that differ from point to point are padded with NaN."""
    sizes: dict[str, int] = {}
    for header in headers:
        for name, shape in header["arrays"]:
            for dimension, size in zip(_dimensions(name), shape, strict=True):
                sizes[dimension] = max(size, sizes.get(dimension, 0))
    return sizes


def _coordinates(sweep: Sweep, alpha: FloatArray) -> tuple[dict[str, Any], str]:
    """Return the coordinates and the name of the dimension of time.

    That is ``alpha``, or ``time`` if the times differ from point to point: ``alpha`` is then a coordinate of every point.
    """
    swept = sweep.dimensions
    coordinates: dict[str, Any] = {}
    for names, values in sweep.values.items():
        name = names.split(",")[0].strip()
        dimension = name if sweep.design == "grid" else "point"
        coordinates[name] = ((dimension,), labels(values), {"fields": names, "long_name": _in_words(name)})
    long_name = {"long_name": "time alpha", "units": "steps / N"}
    ran = alpha[~np.isnan(alpha).all(axis=1)]
    if (ran == ran[0]).all():
        return {**coordinates, "alpha": (("alpha",), ran[0], long_name)}, "alpha"
    times = alpha.reshape(*swept.values(), alpha.shape[1])
    return {**coordinates, "alpha": ((*swept, "time"), times, long_name)}, "time"


def _in_words(field: str) -> str:
    """Return what a field of a problem is, with its name."""
    section, _, name = field.partition(".")
    return f"{_FIELDS[name]} ({field})" if section in ("rule", "run") and name in _FIELDS else field


def labels(values: list[Any]) -> Array:
    """Return the labels of values: numbers or strings as they are, anything else, and what NetCDF cannot hold, as TOML."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if numbers and all(abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value) for value in values):
        return np.array(values)
    kept = [value if isinstance(value, str) and "\0" not in value else toml(value) for value in values]
    return np.array(kept, dtype=object)
