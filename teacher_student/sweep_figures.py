"""Figures of sweeps: a quantity over two fields with its level lines, and a family of curves over one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from teacher_student.drawing import time_axis
from teacher_student.errors import check_choice, check_instance, check_non_negative, refuse
from teacher_student.figure_style import DASHES, MARKERS, figure_of, figure_style
from teacher_student.sweep_drawing import colours_of, draw_boundaries, edges_of, label_axis, mark, norm_of, plain_ticks, positions
from teacher_student.sweeps.one_point import check_sweep, dimensions_of, places, trajectory_at
from teacher_student.sweeps.reductions import LONG_NAMES, sweep_values
from teacher_student.trajectory import resolved_times

_SHORT = {
    "final": r"$\epsilon_g$ at the last time",
    "stationary": r"stationary $\epsilon_g$",
    "passage": r"first $\alpha$ at the level",
    "plateau": r"length of the plateau in $\alpha$",
    "onset": r"onset of specialisation, $\alpha$",
}


Quantity = tuple[xr.DataArray, xr.DataArray, xr.DataArray]


def phase_diagram(
    dataset: xr.Dataset,
    x: str,
    y: str,
    of: str | xr.Dataset | xr.DataArray = "final",
    ax: Axes | None = None,
    *,
    levels: Sequence[float] = (),
) -> tuple[Figure, Axes]:
    """Draw a quantity over two fields of a sweep in colours, with level lines; returns (fig, ax).

    Points without a value are marked: diverged, failed, or not reached; so are values that are not final. Thick lines are the
    boundaries between points with and without a value, along the edges of cells; level lines go between points with values.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `sweep` returns; other fields that vary have to be selected before: ``dataset.sel({"rule.noise": 0.1})``.
    x, y : str
        Names of the fields. Of a design that is no grid every point is drawn by itself.
    of : str, Dataset or DataArray
        What `sweep_values` takes, except "passage", which needs a level; what it returns; or numbers over the points.
    ax : Axes, optional
    levels : sequence of float
        Values of level lines.

    Raises
    ------
    InvalidInput
        If it is no dataset of a sweep, there are no such fields, or others vary too.
    """
    dataset = check_sweep(dataset)
    names = _fields(dataset)
    for argument, name in (("x", x), ("y", y)):
        check_choice(argument, name, names)
    if x == y:
        refuse("y", y, f"another field than x, one of {', '.join(names)}")
    chosen = _levels(levels)
    value, reason, _ = _quantity(dataset, of)
    grid = value.dims != ("point",)
    if grid:
        _check_others(dataset, (x, y))
        order = {name: np.argsort(positions(dataset, name)) for name in (x, y)}
        dataset = dataset.isel(order)
        value, reason = (_over(each.isel(order), y, x) for each in (value, reason))
    at_x, at_y = positions(dataset, x), positions(dataset, y)
    numbers = np.asarray(value.values, dtype=np.float64)
    known, norm = np.isfinite(numbers), norm_of(numbers)
    with figure_style():
        fig, ax = figure_of(ax)
        if grid:
            edges = edges_of(at_x), edges_of(at_y)
            at_x, at_y = np.meshgrid(at_x, at_y)
            ax.set_facecolor("0.88")  # seen where there is no value
            ax.pcolormesh(*edges, np.ma.masked_invalid(numbers), norm=norm, cmap="viridis")
            draw_boundaries(ax, *edges, known)
            if chosen and min(numbers.shape) > 1:
                lines = ax.contour(at_x, at_y, np.ma.masked_invalid(numbers), levels=chosen, colors="white", linewidths=1.2)
                ax.clabel(lines, fmt=lambda level: f"{level:g}", fontsize=7)
        else:
            ax.scatter(at_x[known], at_y[known], c=numbers[known], norm=norm, cmap="viridis", s=22)
        if marks := mark(ax, at_x, at_y, reason.values, known):
            ax.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(marks), fontsize=8)
        for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
            label_axis(axis, dataset, name)
        ax.grid(False)
        bar = fig.colorbar(mpl.cm.ScalarMappable(norm, "viridis"), ax=ax, label=_label_of(value))
        if isinstance(norm, LogNorm):
            plain_ticks(bar.ax.yaxis, float(norm.vmax or 1.0) / float(norm.vmin or 1.0))
    return fig, ax


def family(
    dataset: xr.Dataset,
    over: str,
    of: str | xr.Dataset | xr.DataArray = "eps_g",
    ax: Axes | None = None,
    *,
    levels: Sequence[float] = (),
) -> tuple[Figure, Axes]:
    """Draw one curve for every value of a field of a sweep; returns (fig, ax).

    Parameters
    ----------
    dataset : xarray.Dataset
        What `sweep` returns for a grid; fields that are not shown have to be selected before.
    over : str
        The field whose values the curves belong to.
    of : str, Dataset or DataArray
        "eps_g" or "simulated_eps_g": curves against alpha, of simulations the mean over replicas; they end with a cross where a
        run diverged. Or what `phase_diagram` takes: curves over the other field of the grid, or if no other varies one curve over
        this one, with errors of simulations, and a gap where there is no value.
    ax : Axes, optional
    levels : sequence of float
        Values of horizontal lines.

    Raises
    ------
    InvalidInput
        If it is no dataset of a sweep over a grid, there is no such field, or more fields vary than a figure shows.
    """
    dataset = check_sweep(dataset)
    check_choice("over", over, dimensions_of(dataset))
    if over == "point":
        refuse("over", over, "a field of a sweep over a grid")
    chosen = _levels(levels)
    against_time = isinstance(of, str) and of in ("eps_g", "simulated_eps_g")
    if against_time and of not in dataset:
        refuse("of", of, "a variable of the dataset")
    others = [name for name in dimensions_of(dataset) if name != over and dataset.sizes[name] > 1]
    if against_time:
        _check_others(dataset, (over,))
    elif len(others) > 1:
        refuse("dataset", f"{len(others)} fields beside {over} that vary", "one, for the horizontal axis; select the others")
    # Before there is a figure, which a refusal would leave open.
    quantity = None if against_time else _quantity(dataset, of)
    with figure_style():
        fig, ax = figure_of(ax)
        marks: list[Line2D] = []
        if quantity is None:
            _curves_in_time(ax, dataset, over, str(of))
        else:
            marks = _curves_over(ax, dataset, over, others[0] if others else None, quantity)
        for level in chosen:
            ax.axhline(level, color="0.4", linewidth=0.8, zorder=0)
        title = textwrap.fill(str(dataset[over].attrs.get("long_name", over)), 24) if against_time or others else None
        handles = sorted(ax.get_legend_handles_labels()[0], key=lambda handle: handle in marks)  # curves first
        if handles:
            ax.legend(handles=handles, title=title, title_fontsize=8, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return fig, ax


def _curves_in_time(ax: Axes, dataset: xr.Dataset, over: str, of: str) -> None:
    prefix, colours = of.removesuffix("eps_g"), colours_of(dataset.sizes[over])
    ax.set_yscale("log")
    for i, (place, value) in enumerate(zip(places(dataset), dataset[over].values.ravel(), strict=True)):
        trajectory = trajectory_at(dataset, place, prefix)
        label, style = _short(value), {"color": colours[i], "linestyle": DASHES[i % len(DASHES)]}
        if trajectory is None:
            ax.plot([], [], label=f"{label} ({dataset[f'{prefix}status'].isel(place).item().split(':')[0]})", **style)
            continue
        alpha, eps_g = trajectory["alpha"].values, trajectory["eps_g"].where(resolved_times(trajectory))
        mean = (eps_g.mean("replica") if prefix else eps_g).values
        ax.plot(alpha[alpha > 0], mean[alpha > 0], label=label, **style)
        if str(dataset[f"{prefix}status"].isel(place).item()) != "complete":
            ax.plot(alpha[-1:], mean[-1:], "x", color=colours[i], markersize=7, clip_on=False)
    time_axis(ax)
    ax.set_ylabel(r"generalisation error $\epsilon_g$")


def _curves_over(ax: Axes, dataset: xr.Dataset, over: str, other: str | None, quantity: Quantity) -> list[Line2D]:
    """Draw one curve over the field `other` for every value of `over`, or without it one over `over`; return the marks."""
    value, reason, error = quantity
    if other is None:
        along = over
        columns = [_over(each.expand_dims("curve"), "curve", over) for each in (value, reason, error)]
    else:
        along = other
        columns = [_over(each, over, other) for each in (value, reason, error)]
    numbers, reasons, errors = (each.values for each in columns)
    x, known = positions(dataset, along), np.isfinite(numbers)
    order, colours = np.argsort(x), colours_of(len(numbers))
    for i in range(len(numbers)):
        style = {"color": colours[i], "linestyle": DASHES[i % len(DASHES)], "marker": MARKERS[i % len(MARKERS)]}
        bars = errors[i, order] if np.isfinite(errors[i]).any() else None
        label = None if other is None else _short(dataset[over].values[i])
        ax.errorbar(x[order], numbers[i, order], yerr=bars, markersize=4, capsize=2, elinewidth=0.8, label=label, **style)
    finite = numbers[known]
    if len(finite) and (finite > 0).all() and finite.max() > 10.0 * finite.min():
        ax.set_yscale("log")
        plain_ticks(ax.yaxis, float(finite.max() / finite.min()))
    # Values that are not final are marked where they are, and missing ones at the lower edge.
    marks = mark(ax, np.broadcast_to(x, known.shape), np.where(known, numbers, ax.get_ylim()[0]), reasons, known)
    label_axis(ax.xaxis, dataset, along)
    ax.set_ylabel(_label_of(value))
    return marks


def _over(values: xr.DataArray, first: str, second: str) -> xr.DataArray:
    """Return values over two dimensions in this order; all others have one entry."""
    return values.squeeze([name for name in values.dims if name not in (first, second)]).transpose(first, second)


def _label_of(value: xr.DataArray) -> str:
    return str(value.attrs.get("figure_label") or value.attrs.get("long_name") or value.name or "value")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else str(value)


def _fields(dataset: xr.Dataset) -> tuple[str, ...]:
    """Return the fields over which a sweep goes, dimensions of a grid or coordinates of points."""
    dimensions = dimensions_of(dataset)
    if dimensions == ("point",):
        return tuple(str(name) for name, coordinate in dataset.coords.items() if coordinate.dims == ("point",))
    return dimensions


def _check_others(dataset: xr.Dataset, shown: tuple[str, ...]) -> None:
    others = [name for name in dimensions_of(dataset) if name not in shown and dataset.sizes[name] > 1]
    if others:
        refuse("dataset", f"values of {', '.join(others)} too", f"one of each, as by dataset.sel({{{others[0]!r}: ...}})")


def _levels(levels: object) -> list[float]:
    if isinstance(levels, (str, bytes)) or not isinstance(levels, Sequence):
        refuse("levels", levels, "a sequence of numbers")
    return sorted({check_non_negative(f"levels[{i}]", level) for i, level in enumerate(levels)})


def _quantity(dataset: xr.Dataset, of: Any) -> Quantity:
    """Return values over the points of a sweep, why they are missing where they are, and their errors."""
    expected = "one of " + ", ".join(LONG_NAMES) + ", what sweep_values returns, or numbers over the points of the sweep"
    if isinstance(of, str):
        check_choice("of", of, LONG_NAMES)
        of = sweep_values(dataset, of)
    if isinstance(of, xr.Dataset):
        if not {"value", "reason"} <= set(of.data_vars):
            refuse("of", "a dataset without value and reason", expected)
        value, reason = of["value"], of["reason"]
        error = of["error"] if "error" in of else xr.full_like(value, np.nan)
        if of.attrs.get("of") in _SHORT:
            level = f" {of.attrs['level']:g}" if "level" in of.attrs else ""
            value = value.assign_attrs(figure_label=_SHORT[of.attrs["of"]] + level)
    else:
        value = check_instance("of", of, xr.DataArray, expected)
        status = dataset["status"] if "status" in dataset else dataset["simulated_status"]
        reason = status.where(status != "complete", "")
        error = xr.full_like(value, np.nan, dtype=np.float64)
    if set(value.dims) != set(dimensions_of(dataset)) or value.dtype.kind not in "fiu":
        refuse("of", f"dimensions {value.dims}", f"numbers over {dimensions_of(dataset)}")
    if any(value.sizes[name] != dataset.sizes[name] for name in value.dims):
        refuse("of", f"shape {value.shape}", "numbers over the points of this dataset")
    return value, reason, error
