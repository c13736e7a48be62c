"""The style of all figures: colours, markers, dashes, and axes."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from teacher_student.errors import check_instance

# Okabe and Ito's colours, which differ for all common kinds of colour vision; markers and dashes make the same distinction.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


def figure_style() -> Any:
    """Return the context in which figures are drawn."""
    return mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.25, "legend.frameon": False})


def figure_of(ax: Axes | None) -> tuple[Figure, Axes]:
    """Return the figure of `ax` and `ax`, or new ones; raises `InvalidInput` for what is no axes."""
    if ax is not None:
        check_instance("ax", ax, Axes, "axes of Matplotlib")
    if ax is None:
        fig, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
        return fig, ax
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure, ax
