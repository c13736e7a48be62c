"""The parts of which figures are made: lines, bands, points with errors, the axis of time, and entries of legends."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from teacher_student.smooth_theory import times_between

_MAX_POINTS = 25


class Look(NamedTuple):
    """How one quantity is drawn: its colour, the dashes of its line, and the marker of its points."""

    colour: str
    dash: Literal["-", "--", ":", "-."]
    marker: str


def positive_times(trajectory: xr.Dataset) -> tuple[Any, Any]:
    """Return the times above 0, and at which of all times they are."""
    alpha = trajectory["alpha"].values
    return alpha[alpha > 0], alpha > 0


def time_axis(ax: Axes) -> None:
    """Make alpha the horizontal axis, logarithmic."""
    ax.set_xscale("log")
    ax.set_xlabel(r"time $\alpha$ = steps / $N$")


def line(ax: Axes, theory: xr.Dataset, name: str, index: tuple[Any, ...], look: Look) -> None:
    """Draw an entry of a variable of the theory."""
    alpha, shown = positive_times(theory)
    ax.plot(alpha, theory[name].values[(shown, *index)], look.dash, color=look.colour)


def band(
    ax: Axes, prediction: xr.DataArray, index: tuple[Any, ...], colour: str, label: str | None = None, floor: float | None = None
) -> None:
    """Shade predicted mean +- spread, (moment, alpha, ...) at `index`, on a logarithmic axis not below `floor` times the mean.

    Its edges are smooth in ln alpha through the predicted ones.
    """
    alpha = prediction["alpha"].values
    mean, spread = prediction.values[(slice(None), alpha > 0, *index)]
    low = mean - spread if floor is None else np.maximum(mean - spread, floor * np.abs(mean))
    x, low, high = _smooth_edges(alpha[alpha > 0], low, mean + spread, in_logarithms=floor is not None)
    ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0.0, label=label)


def _smooth_edges(alpha: Any, low: Any, high: Any, in_logarithms: bool) -> tuple[Any, Any, Any]:
    """Return both edges at more times, by monotone cubics; as they are where a number is missing or none is positive."""
    from scipy.interpolate import PchipInterpolator  # slow to import

    times = times_between(alpha)
    if len(alpha) < 3 or not np.isfinite([low, high]).all() or (in_logarithms and not (low > 0).all()):
        return alpha, low, high
    to, back = (np.log, np.exp) if in_logarithms else (lambda y: y, lambda y: y)
    edges = []
    for edge in (low, high):
        smooth = back(PchipInterpolator(np.log(alpha), to(edge))(np.log(times)))
        smooth[np.searchsorted(times, alpha)] = edge
        edges.append(smooth)
    return times, edges[0], edges[1]


def points(ax: Axes, variable: xr.DataArray, index: tuple[Any, ...], colour: str, marker: str, label: str | None = None) -> None:
    """Draw means over replicas with their standard errors, at no more than `_MAX_POINTS` times spread evenly in log alpha."""
    alpha = variable["alpha"].values
    positive = np.flatnonzero(alpha > 0)
    if len(positive) == 0:
        return
    wanted = np.geomspace(alpha[positive[0]], alpha[-1], _MAX_POINTS)
    shown = np.unique(positive[np.abs(np.log(alpha[positive])[:, None] - np.log(wanted)).argmin(axis=0)])
    entry: tuple[Any, ...] = (slice(None), shown, *index)
    values = variable.values[entry]
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    style: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 3.5, "capsize": 2, "elinewidth": 0.8}
    ax.errorbar(alpha[shown], values.mean(axis=0), yerr=error, color=colour, label=label, **style)


def legend_beside(ax: Axes, entries: list[tuple[Look, str]], *, lines: bool, with_points: bool, title: str | None = None) -> None:
    """Put a legend to the right of the axes, in which every entry shows what is drawn of it: its line, its points, or both."""
    handles: list[Any] = []
    for look, _ in entries:
        dash = Line2D([], [], color=look.colour, linestyle=look.dash)
        dot = Line2D([], [], color=look.colour, linestyle="none", marker=look.marker, markersize=4)
        handles.append((dash, dot) if lines and with_points else dash if lines else dot)
    ax.legend(
        handles=handles,
        labels=[label for _, label in entries],
        # Beside each other, for a marker on a short piece of a line hides its dashes.
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.6)},
        handlelength=4.5 if lines and with_points else 2.4 if lines else 1.0,
        title=title,
        title_fontsize=8,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        ncols=1 + len(entries) // 11,
    )
