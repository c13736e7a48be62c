"""The parts of figures of sweeps: axes of fields, cells and their boundaries, colours, and marks of points without a value."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from teacher_student.arrays import Array, FloatArray

# The marker and the name of what is the matter with a point, by how its reason begins.
_ENDS = {"diverged": ("x", "diverged"), "failed": ("+", "failed"), "": ("_", "not reached")}
_NOT_FINAL = (".", "not final")
_ROUNDING = 1e-10


def positions(dataset: xr.Dataset, name: str) -> FloatArray:
    """Return where the values of a field lie on its axis: themselves, or 0, 1, ... of what is no number."""
    values = np.atleast_1d(dataset[name].values)
    return values.astype(np.float64) if values.dtype.kind in "fiu" else np.arange(len(values), dtype=np.float64)


def is_logarithmic(positions: FloatArray) -> bool:
    """Return whether positions are spaced more evenly in their logarithms, over a factor of three at least."""
    x = np.unique(positions)
    if len(x) < 3 or x[0] <= 0 or x[-1] < 3.0 * x[0]:
        return False
    steps, ratios = np.diff(x), np.diff(np.log(x))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())


def edges_of(positions: FloatArray) -> FloatArray:
    """Return the edges, (n + 1,), of cells around increasing positions, (n,): halfway between them."""
    logarithmic = is_logarithmic(positions)
    x = np.log(positions) if logarithmic else positions
    middle = 0.5 * (x[1:] + x[:-1])
    first, last = (2.0 * x[0] - middle[0], 2.0 * x[-1] - middle[-1]) if len(x) > 1 else (x[0] - 0.5, x[0] + 0.5)
    edges = np.concatenate([[first], middle, [last]])
    return np.exp(edges) if logarithmic else edges


def label_axis(axis: Any, dataset: xr.Dataset, name: str) -> None:
    """Give an axis the name of a field, and its scale or the names of its values."""
    axis.set_label_text(str(dataset[name].attrs.get("long_name", name)))
    at = positions(dataset, name)
    if dataset[name].dtype.kind not in "fiu":
        axis.set_ticks(at, [str(value) for value in dataset[name].values])
    elif is_logarithmic(at):
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
        plain_ticks(axis, float(at.max() / at.min()))


def plain_ticks(axis: Any, ratio: float) -> None:
    """Label a logarithmic axis over numbers of this `ratio`: few decades by plain numbers, with labels that do not touch."""
    if ratio < 300.0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axis.set_minor_formatter(NullFormatter())


def norm_of(numbers: FloatArray) -> Normalize:
    """Return the scale of colours, logarithmic if the numbers span a decade and none is negative by more than rounding."""
    finite = numbers[np.isfinite(numbers)]
    if len(finite) == 0:
        return Normalize(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if high > 0 and -_ROUNDING * high <= low < 0.1 * high:
        return LogNorm(max(float(finite[finite > 0].min()), _ROUNDING * high), high, clip=True)
    return Normalize(low, high)


def colours_of(count: int) -> list[Any]:
    """Return colours for an increasing quantity, from dark to light."""
    return [mpl.colormaps["viridis"](position) for position in np.linspace(0.0, 0.85, count)]


def draw_boundaries(ax: Axes, x: FloatArray, y: FloatArray, known: Array) -> None:
    """Draw the edges between cells, `known` (rows, columns), with and without a value: what points support, not interpolated."""
    segments = [((x[j + 1], y[i]), (x[j + 1], y[i + 1])) for i, j in np.argwhere(known[:, 1:] != known[:, :-1])]
    segments += [((x[j], y[i + 1]), (x[j + 1], y[i + 1])) for i, j in np.argwhere(known[1:] != known[:-1])]
    ax.add_collection(LineCollection(segments, colors="black", linewidths=1.8, capstyle="projecting"), autolim=False)


def mark(ax: Axes, x: Any, y: Any, reasons: Any, known: Any) -> list[Line2D]:
    """Mark points with a reason: what is the matter where the value is not known, or that it is not final; return the marks."""
    handles: list[Line2D] = []
    texts, has_value = np.ravel(reasons).astype(str), np.ravel(known)
    names = np.array([_look(text, value)[1] for text, value in zip(texts, has_value, strict=True)])
    for marker, name in (*_ENDS.values(), _NOT_FINAL):
        chosen = (names == name) & ~(has_value & (texts == ""))
        if chosen.any():
            style: dict[str, Any] = {"color": "black", "linestyle": "none", "markersize": 5, "label": name, "clip_on": False}
            handles += ax.plot(np.ravel(x)[chosen], np.ravel(y)[chosen], marker, zorder=4, **style)
    return handles


def _look(reason: str, known: bool) -> tuple[str, str]:
    return _NOT_FINAL if known else next(look for begin, look in _ENDS.items() if reason.startswith(begin))
