"""The stages of learning: plateaus and falls of eps_g on logarithmic axes.

Let x = ln alpha and s = d ln eps_g / dx, the local exponent. A *plateau* is a stretch with abs(s) < `slope`, a *fall* one with
s <= -`slope`, a *rise* one with s >= `slope`. Stretches too short or too shallow to count are joined with their neighbours, and
so are those that no two neighbouring output times support, because the curve is interpolated between them and may overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from teacher_student.analysis.pieces import Criteria, Curve, Piece, pieces_of
from teacher_student.analysis.smoothing import (
    chosen_window,
    crossing_error,
    jackknife_error,
    jackknife_samples,
    local_slope,
    resample,
)
from teacher_student.arrays import FloatArray
from teacher_student.errors import check_non_negative, check_positive, refuse
from teacher_student.trajectory import resolved_eps_g
from teacher_student.trajectory_form import as_trajectory

_POINTS_PER_DECADE = 200
_NAMES = {-1: "fall", 0: "plateau", 1: "rise"}


@dataclass(frozen=True)
class Stage:
    """One stage; the errors are standard errors from the replicas, NaN for theory and for a single replica.

    Attributes
    ----------
    kind : str
        "plateau", "fall" or "rise".
    alpha_start, alpha_end : float
        Its edges; `open_start` and `open_end` say that the data, not the stage, begins or ends there.
    level : float
        exp of the mean of ln eps_g over the stage in ln alpha.
    exponent : float
        Change of ln eps_g over the stage, divided by that of ln alpha.
    alpha_start_error, alpha_end_error, level_error, exponent_error : float
        Their standard errors. An open edge has the error 0. NaN if the stage is missing in a jackknife sample.
    """

    kind: str
    alpha_start: float
    alpha_end: float
    level: float
    exponent: float
    open_start: bool
    open_end: bool
    alpha_start_error: float = math.nan
    alpha_end_error: float = math.nan
    level_error: float = math.nan
    exponent_error: float = math.nan


def stages(
    trajectory: xr.Dataset,
    *,
    slope: float = 2 / 3,
    shortest: float = 0.2,
    window: float | None = None,
    least: float | None = None,
) -> tuple[Stage, ...]:
    """Return the plateaus, falls and rises of eps_g in the order of time.

    Parameters
    ----------
    trajectory : xarray.Dataset
        Theory, or a simulation: then of the mean of ln eps_g over the replicas, the typical run.
    slope : float
        abs(d ln eps_g / d ln alpha) below which a stretch is a plateau. The default lies below 1, the exponent of the
        generic algebraic relaxation d' = -d^2 of an overlap, and above 1/2, about as much as eps_g drifts on the plateaus of
        the presets.
    shortest : float
        A plateau counts if it lasts this many decades of alpha; a fall or a rise if eps_g changes by as much as at the exponent
        `slope` over so many decades, `slope * shortest` decades. The default asks for a plateau of a factor 1.6 in alpha, which
        a grid of 20 points a decade resolves by four points, and a fall of a factor 1.36.
    window : float, optional
        Full width in decades of the local quadratic fit that gives the slope; 0 differentiates the interpolated curve. By
        default 0 for theory; for a simulation the smallest of a ladder from 0 to 0.4 whose median standard error of the slope is
        at most a tenth of `slope`, and 0.2 for a single replica, which has no standard error.
    least : float, optional
        Output times from the first on at which eps_g, of any replica, is at most `least` are left out. By default it is where
        rounding takes over, and in theory the integrator's tolerance. A fall that the data end depends on where: to compare
        theory and simulation, cut both at the same level. Times at which eps_g, of any replica, is NaN are left out too.

    Returns
    -------
    tuple of Stage

    Raises
    ------
    InvalidInput
        For impossible settings, for what is no trajectory, or if fewer than four times above 0 have a finite eps_g above `least`.

    Notes
    -----
    Of a simulation, a stage must also have an exponent at least two standard errors from `slope`. Errors are those of the
    jackknife over replicas, with the window held; that of an edge is at least a quarter of the time in which the slope is within
    two of its standard errors of that at the edge.
    """
    slope, shortest = check_positive("slope", slope), check_positive("shortest", shortest)
    window = None if window is None else check_non_negative("window", window)
    least = None if least is None else check_positive("least", least)
    trajectory = as_trajectory(trajectory, variables=("eps_g", "T", "v_teacher"), finite=False)
    x, logs = _logarithms(trajectory, least)
    samples = jackknife_samples(logs)
    mean = logs.mean(axis=0)
    grid = np.linspace(x[0], x[-1], max(5, math.ceil((x[-1] - x[0]) / math.log(10) * _POINTS_PER_DECADE)))
    y, fine = resample(x, mean, grid), resample(x, samples, grid)
    if window is None:
        window = chosen_window(grid, fine, slope) if "replica" in trajectory.dims else 0.0
    criteria = Criteria(slope, shortest, window)
    slopes = local_slope(grid, fine, window)
    s_error = jackknife_error(slopes)

    def curve_of(y: FloatArray, s: FloatArray, at_times: FloatArray) -> Curve:
        return Curve(grid, y, s, s_error, fine, x, np.diff(at_times) / np.diff(x))

    curve = curve_of(y, local_slope(grid, y, window), mean)
    found = pieces_of(curve, criteria)
    others = [
        pieces_of(curve_of(sample, s, at_times), criteria) if len(fine) > 1 else []
        for sample, s, at_times in zip(fine, slopes, samples, strict=True)
    ]
    return tuple(_stage(piece, curve, others) for piece in found)


def passage_times(trajectory: xr.Dataset, level: float) -> xr.DataArray:
    """Return the first alpha at which eps_g is at most `level`, of every replica; NaN where it never is.

    Between output times eps_g is taken as linear in alpha. Raises `InvalidInput` for what is no trajectory or no level.
    """
    trajectory = as_trajectory(trajectory, variables=("eps_g",))
    level = check_non_negative("level", level)
    eps_g, alpha = np.atleast_2d(trajectory["eps_g"].values), trajectory["alpha"].values
    times = np.full(len(eps_g), np.nan)
    for r, curve in enumerate(eps_g):
        below = np.flatnonzero(curve <= level)
        if len(below):
            i = max(int(below[0]), 1)
            times[r] = alpha[0] if below[0] == 0 else np.interp(level, curve[[i, i - 1]], alpha[[i, i - 1]])
    if "replica" in trajectory.dims:
        return xr.DataArray(times, dims="replica", name="alpha")
    return xr.DataArray(times[0], name="alpha")


def table(found: Sequence[Stage]) -> str:
    """Return stages as a table for a terminal; "<" and ">" mark edges of the data."""
    rows = [("stage", "alpha from", "to", "eps_g", "exponent")]
    for stage in found:
        rows.append(
            (
                stage.kind,
                ("<" if stage.open_start else "") + _with_error(stage.alpha_start, stage.alpha_start_error),
                (">" if stage.open_end else "") + _with_error(stage.alpha_end, stage.alpha_end_error),
                _with_error(stage.level, stage.level_error),
                _with_error(stage.exponent, stage.exponent_error),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _with_error(value: float, error: float) -> str:
    return f"{value:.4g} +- {error:.1g}" if error > 0 else f"{value:.4g}"


def _logarithms(trajectory: xr.Dataset, least: float | None) -> tuple[FloatArray, FloatArray]:
    """Return ln alpha and ln eps_g (replica, alpha), from the first time above 0 up to where eps_g is at most `least`."""
    eps_g = np.atleast_2d(trajectory["eps_g"].values)
    # A point of a sweep that diverged is NaN from there on.
    finite = np.isfinite(eps_g).all(axis=0)
    eps_g, alpha = eps_g[:, finite], trajectory["alpha"].values[finite]
    least = resolved_eps_g(trajectory) if least is None else least
    below = (eps_g <= least).any(axis=0)
    last = int(np.argmax(below)) if below.any() else len(alpha)
    used = slice(int(np.searchsorted(alpha, 0.0, side="right")), last)
    if len(alpha[used]) < 4:
        refuse("trajectory", f"{len(alpha[used])} time(s) above 0 with a finite eps_g above {least:.1g}", "at least 4")
    return np.log(alpha[used]), np.log(eps_g[:, used])


def _measure(piece: Piece, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return start, end, level (all as logarithms) and exponent."""
    inside = np.concatenate([[piece.start], x[(x > piece.start) & (x < piece.end)], [piece.end]])
    values = np.interp(inside, x, y)
    length = piece.end - piece.start
    return np.array([piece.start, piece.end, np.trapezoid(values, inside) / length, (values[-1] - values[0]) / length])


def _stage(piece: Piece, curve: Curve, others: list[list[Piece]]) -> Stage:
    start, end, level, exponent = _measure(piece, curve.x, curve.y)
    measured = []
    for sample, candidates in zip(curve.samples, others, strict=True):
        overlaps = [min(end, c.end) - max(start, c.start) if c.sign == piece.sign else 0.0 for c in candidates]
        if overlaps and max(overlaps) > 0:
            measured.append(_measure(candidates[int(np.argmax(overlaps))], curve.x, sample))
    found_in_all = len(measured) == len(curve.samples) > 1
    errors = jackknife_error(np.array(measured)) if found_in_all else np.full(4, np.nan)
    # Without one run an edge moves little; the noise of all runs may move it from one crossing of the threshold to another.
    for i, edge in enumerate((start, end)):
        if found_in_all and curve.x[0] < edge < curve.x[-1]:
            errors[i] = max(errors[i], crossing_error(curve.x, curve.s, curve.s_error, edge))
    return Stage(
        kind=_NAMES[piece.sign],
        alpha_start=math.exp(start),
        alpha_end=math.exp(end),
        level=math.exp(level),
        exponent=float(exponent),
        open_start=bool(start <= curve.x[0]),
        open_end=bool(end >= curve.x[-1]),
        alpha_start_error=float(math.exp(start) * errors[0]),
        alpha_end_error=float(math.exp(end) * errors[1]),
        level_error=float(math.exp(level) * errors[2]),
        exponent_error=float(errors[3]),
    )
