"""One number for every point of a sweep: final or stationary eps_g, passage, plateau, onset; and why it is missing, if it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from teacher_student.errors import Diverged, InvalidInput, check_choice, check_flag, check_fraction, check_non_negative, refuse
from teacher_student.sweeps.one_point import (
    check_sweep,
    dimensions_of,
    places,
    problem_at,
    source_of,
    sweep_of,
    trajectory_at,
)
from teacher_student.trajectory import normalized_overlaps, resolved_eps_g

# eps_g that changes by a larger power of alpha at the last times is not final.
_LARGEST_SLOPE = 0.05
_PART_OF_A_DECADE = 0.1

LONG_NAMES = {
    "final": "generalisation error at the last time",
    "stationary": "stationary generalisation error",
    "passage": "first time alpha at which eps_g is at most the level",
    "plateau": "length of the longest plateau in alpha",
    "onset": "time alpha from which on the first unit is specialised",
}
UNITS = {"final": "1", "stationary": "1", "passage": "steps / N", "plateau": "steps / N", "onset": "steps / N"}
_NEEDED = {"onset": ("Q", "R")}


@dataclass(frozen=True)
class Found:
    """What one point gives: a value, its standard error over replicas, NaN of the theory, and why it is missing or not final."""

    value: float = np.nan
    error: float = np.nan
    reason: str = ""


def sweep_values(
    dataset: xr.Dataset, of: str, *, level: float | None = None, threshold: float = 0.5, simulated: bool = False
) -> xr.Dataset:
    """Return one number for every point of a sweep, and where there is none, why.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `sweep` returns, or some of its points: ``dataset.sel({"rule.noise": 0.1})``.
    of : str
        "final": eps_g at the last time; where it still changes the reason says so. "stationary": eps_g at the stable fixed point
        that the theory ends at, see `integrate_until_stationary`, which is called for every point. "passage": the first alpha at
        which eps_g is at most `level`. "plateau": the length in alpha of the longest plateau that ends, see `stages`; where the
        last one is longer and has not ended, the reason says so. "onset": the alpha from which on the first student unit is
        specialised, see `specialization`.
    level : float, optional
        Of eps_g; needed for "passage".
    threshold : float
        Part of the attainable degree above which a unit counts as specialised.
    simulated : bool
        Take the simulations instead of the theory: the mean over the replicas with its standard error.

    Returns
    -------
    xarray.Dataset
        Over the dimensions of the sweep: ``value`` (NaN where there is none), ``error``, and ``reason``, a text that is empty
        where the value is what was asked for.

    Raises
    ------
    InvalidInput
        If it is no dataset of a sweep, or lacks variables or runs that are needed; for other names, levels or thresholds.
    """
    dataset = check_sweep(dataset)
    check_choice("of", of, LONG_NAMES)
    threshold, simulated = check_fraction("threshold", threshold), check_flag("simulated", simulated)
    if of == "passage" or level is not None:
        level = check_non_negative("level", level)
    prefix = source_of(dataset, simulated)
    if of == "stationary" and simulated:
        refuse("simulated", True, "false, for a stationary value is one of the theory")
    for name in _NEEDED.get(of, ("eps_g",)) if of != "stationary" else ():
        if prefix + name not in dataset:
            refuse("dataset", f"one without {prefix}{name}", f"a sweep that keeps {name}, see its `variables`")
    if of == "stationary":
        found = _stationary_values(dataset)
    else:
        reductions: dict[str, Callable[[xr.Dataset], Found]] = {
            "final": _final,
            "passage": lambda trajectory: _passage(trajectory, float(level or 0.0)),
            "plateau": _plateau,
            "onset": lambda trajectory: _onset(trajectory, threshold),
        }
        found = [_at(dataset, place, prefix, reductions[of], of) for place in places(dataset)]
    return _dataset(dataset, found, of, {"level": level, "threshold": threshold if of == "onset" else None})


def _dataset(dataset: xr.Dataset, found: list[Found], of: str, settings: dict[str, Any]) -> xr.Dataset:
    dimensions = dimensions_of(dataset)
    shape = tuple(dataset.sizes[dimension] for dimension in dimensions)
    columns = {
        "value": np.array([each.value for each in found]),
        "error": np.array([each.error for each in found]),
        "reason": np.array([each.reason for each in found], dtype=object),
    }
    data = {name: (dimensions, column.reshape(shape)) for name, column in columns.items()}
    coordinates = {name: coordinate for name, coordinate in dataset.coords.items() if set(coordinate.dims) <= set(dimensions)}
    kept = {name: value for name, value in settings.items() if value is not None}
    result = xr.Dataset(data, coordinates, {"of": of, **kept})
    text = LONG_NAMES[of].replace("the level", f"{settings['level']:g}" if settings["level"] is not None else "the level")
    result["value"].attrs |= {"long_name": text, "units": UNITS[of]}
    result["error"].attrs |= {"long_name": f"standard error over replicas of the {text}", "units": UNITS[of]}
    result["reason"].attrs["long_name"] = "why there is no value, or why it is not final"
    return result


def _at(dataset: xr.Dataset, place: dict[str, int], prefix: str, reduce: Callable[[xr.Dataset], Found], of: str) -> Found:
    """Return what `reduce` finds at a point, and how its run ended if it finds nothing or what it finds depends on the end."""
    status = str(dataset[f"{prefix}status"].isel(place).item())
    trajectory = trajectory_at(dataset, place, prefix)
    if trajectory is None:
        return Found(reason=status if status != "complete" else "there are no numbers")
    if status != "complete" and of == "final":
        return Found(reason=status)
    try:
        found = reduce(trajectory)
    except InvalidInput as error:
        found = Found(reason=str(error))
    return found if status == "complete" or np.isfinite(found.value) else replace(found, reason=status)


def _over_replicas(values: np.ndarray, missing: str) -> Found:
    """Return the mean over replicas; if some of them have none, how many and why, `missing`."""
    values = np.atleast_1d(values)
    none = int(np.isnan(values).sum())
    if none:
        return Found(reason=missing if len(values) == 1 else f"in {none} of {len(values)} replicas {missing}")
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return Found(float(values.mean()), float(error))


def _final(trajectory: xr.Dataset) -> Found:
    alpha, eps_g = trajectory["alpha"].values, np.atleast_2d(trajectory["eps_g"].values)
    found, mean = _over_replicas(eps_g[:, -1], "eps_g is no number"), eps_g.mean(axis=0)
    before = np.flatnonzero((alpha > 0) & (alpha <= alpha[-1] * 10**-_PART_OF_A_DECADE))
    if len(before) == 0 or mean[-1] <= resolved_eps_g(trajectory) or mean[before[-1]] <= 0:
        return found
    slope = float(np.log(mean[-1] / mean[before[-1]]) / np.log(alpha[-1] / alpha[before[-1]]))
    if abs(slope) > _LARGEST_SLOPE:
        return replace(found, reason=f"eps_g still changes as alpha^{slope:.2g} at alpha = {alpha[-1]:.4g}")
    return found


def _passage(trajectory: xr.Dataset, level: float) -> Found:
    from teacher_student.analysis.stages import passage_times

    last = float(trajectory["alpha"][-1])
    return _over_replicas(passage_times(trajectory, level).values, f"eps_g stays above {level:g} up to alpha = {last:.4g}")


def _plateau(trajectory: xr.Dataset) -> Found:
    from teacher_student.analysis.stages import stages

    plateaus = [stage for stage in stages(trajectory) if stage.kind == "plateau" and not stage.open_start]
    if not plateaus:
        return Found(reason="there is no plateau after the start")
    ended = [stage for stage in plateaus if not stage.open_end]
    last = plateaus[-1]
    going_on = f"a plateau, or the stationary state, has not ended at alpha = {last.alpha_end:.4g}" if last.open_end else ""
    if not ended:
        return Found(reason=going_on)
    longest = max(ended, key=lambda stage: stage.alpha_end - stage.alpha_start)
    length, error = longest.alpha_end - longest.alpha_start, np.hypot(longest.alpha_start_error, longest.alpha_end_error)
    longer = last.open_end and last.alpha_end - last.alpha_start > length
    return Found(length, float(error), going_on if longer else "")


def _onset(trajectory: xr.Dataset, threshold: float) -> Found:
    from teacher_student.analysis.specialization import cosines, degree_of_specialization, onsets

    overlap = normalized_overlaps(trajectory).values
    attainable = degree_of_specialization(cosines(trajectory["T"].values))[np.abs(overlap[..., -1, :, :]).argmax(axis=-1)]
    degree = degree_of_specialization(overlap)
    whole = np.broadcast_to(attainable[..., np.newaxis, :], degree.shape)
    relative = np.divide(degree, whole, out=np.zeros_like(degree), where=whole > 0)
    first = np.fmin.reduce(onsets(trajectory["alpha"].values, relative, threshold), axis=-1)
    return _over_replicas(first, f"no unit specialises up to alpha = {float(trajectory['alpha'][-1]):.4g}")


def _stationary_values(dataset: xr.Dataset) -> list[Found]:
    """Return the stationary eps_g of the theory at every point, integrated as far as it takes."""
    from teacher_student.theory.stationary import integrate_until_stationary

    plan, found = sweep_of(dataset), []
    for place in places(dataset):
        try:
            theory = integrate_until_stationary(problem_at(dataset, plan, place), progress=False)
        except (InvalidInput, Diverged) as error:
            found.append(Found(reason=str(error)))
            continue
        if theory.attrs["stationary"] == "interrupted":
            raise KeyboardInterrupt
        reached = theory.attrs["stationary"] == "reached"
        found.append(Found(theory.attrs["stationary_eps_g"], reason="" if reached else theory.attrs["stationary"]))
    return found
