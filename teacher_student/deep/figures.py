"""Figures of the analysis of deep networks; each takes `ax` and returns (fig, ax)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from teacher_student.arrays import Array
from teacher_student.deep.cost import Cost
from teacher_student.deep.fits import Fit, PowerLaws
from teacher_student.deep.importance import ORDERS, Ablation
from teacher_student.deep.latent import Latent
from teacher_student.deep.widths import LeastModes
from teacher_student.errors import refuse
from teacher_student.figure_style import COLOURS, DASHES, MARKERS, figure_of, figure_style

COST_AXES = {
    "parameters": "number of parameters",
    "operations": "multiply-adds of training",
    "cpu_seconds": "processor time of training [s]",
    "seconds": "time of training [s]",
}


def importance(laws: PowerLaws | Array, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw ranked importance tau against rank on logarithmic axes, with the laws if they were fitted; returns (fig, ax)."""
    tau = laws.tau if isinstance(laws, PowerLaws) else np.sort(laws)[::-1]
    with figure_style():
        fig, ax = figure_of(ax)
        ax.plot(np.arange(1, len(tau) + 1), tau, MARKERS[0], color=COLOURS[0], markersize=4, label=r"modes, ranked")
        if isinstance(laws, PowerLaws):
            _power_laws(ax, laws)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ticks = (
            list(range(1, len(tau) + 1))
            if len(tau) < 10
            else [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if tick <= len(tau)]
        )
        ax.set_xticks(ticks, map(str, ticks))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("rank of the mode")
        ax.set_ylabel(r"importance $\tau$")
        ax.yaxis.set_minor_formatter(lambda value, _: f"{value:.4g}")
        ax.tick_params(axis="y", which="minor", labelsize=7)
        ax.legend(fontsize=7, loc="lower left")
    return fig, ax


def _power_laws(ax: Axes, laws: PowerLaws) -> None:
    slope_1, slope_2 = laws.two.parameters["slope_1"], laws.two.parameters["slope_2"]
    labels = (
        rf"one power law, slope ${laws.one.parameters['slope']:.3f}$",
        rf"two, slopes ${slope_1:.3f}$ and ${slope_2:.3f}$",
        rf"exponential, rate ${laws.exponential.parameters['rate']:.4f}$",
    )
    for fit, label, colour, dash in zip((laws.one, laws.two, laws.exponential), labels, COLOURS[1:], DASHES[1:], strict=False):
        ax.plot(laws.rank, fit.predicted, dash, color=colour, label=label)
    if laws.two_supported:
        at = laws.two.parameters["break"]
        ax.axvline(at, color="0.4", linewidth=0.8, label=f"break at {at:.1f}")


def ablation(result: Ablation, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw test accuracy against the number of removed modes, a line an order of removal; returns (fig, ax)."""
    names = {
        "descending": r"largest $\tau$ first",
        "ascending": r"smallest $\tau$ first",
        "random": "random, mean and spread",
    }
    with figure_style():
        fig, ax = figure_of(ax)
        markers = MARKERS if len(result.removed) <= 50 else ("",) * len(ORDERS)
        for index, order in enumerate(ORDERS):
            mean = result.accuracy[order]
            style: dict[str, Any] = {"color": COLOURS[index], "linestyle": DASHES[index]}
            ax.plot(result.removed, mean, marker=markers[index], markersize=3.5, label=names[order], **style)
            if order == "random":
                lower, upper = mean - result.random_spread, mean + result.random_spread
                ax.fill_between(result.removed, lower, upper, color=COLOURS[index], alpha=0.2, linewidth=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel(f"modes removed from matrix {result.matrix}, of $P={result.removed[-1]}$")
        ax.set_ylabel("test accuracy")
        ax.set_ylim(0.0, 1.02)
        _legend_beside(ax)
    return fig, ax


def accuracy_against_modes(result: LeastModes, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw test accuracy against P, a line a width, standard training at the right end; returns (fig, ax)."""
    with figure_style():
        fig, ax = figure_of(ax)
        seeds = result.accuracy.shape[1]
        at_right = 1.3 * result.n_modes[-1]
        for i, N in enumerate(result.widths):
            mean, error = result.accuracy[i].mean(axis=0), result.accuracy[i].std(axis=0, ddof=1) / np.sqrt(seeds)
            style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3.5}
            ax.errorbar(result.n_modes, mean, yerr=error, capsize=2, label=f"$N={N}$", **style)
            ax.plot(at_right, result.standard[i].mean(), fillstyle="none", **style)
        ax.set_xscale("log")
        ax.set_xticks([*result.n_modes, at_right], [*map(str, result.n_modes), "$W$"])
        ax.minorticks_off()
        ax.set_xlabel("modes $P$ (open symbols at $W$: standard training)")
        ax.set_ylabel(f"test accuracy, {seeds} seeds")
        ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return fig, ax


def least_modes(result: LeastModes, fits: Sequence[Fit] = (), ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the least number of modes against width, each seed and the mean with its standard error, and the fitted laws.

    Returns (fig, ax).
    """
    with figure_style():
        fig, ax = figure_of(ax)
        for index, fit in enumerate(fits):
            colour, dash = COLOURS[1 + index % (len(COLOURS) - 1)], DASHES[index % len(DASHES)]
            # Lines may lie on each other: the first, and best, is the widest and the last the finest.
            look: dict[str, Any] = {"color": colour, "linewidth": 3.0 - 0.6 * index}
            ax.plot(result.widths, fit.predicted, dash, label=f"{fit.name} (BIC {fit.bic:.1f})", **look)
        ax.plot(result.widths, result.least, ".", color="0.6", markersize=4)
        label = f"mean over {result.least.shape[1]} seeds"
        style: dict[str, Any] = {"color": COLOURS[0], "marker": MARKERS[0], "linestyle": "none", "capsize": 2}
        ax.errorbar(result.widths, result.mean, yerr=result.error, label=label, **style)
        ax.set_xscale("log")
        ax.set_xticks(result.widths, map(str, result.widths))
        ax.minorticks_off()
        ax.set_ylim(bottom=0.0)
        ax.set_xlabel("width $N$")
        ax.set_ylabel(f"least $P$ for {result.fraction:g} of standard accuracy")
        ax.legend(fontsize=7, loc="lower right")
    return fig, ax


def dimension(results: Mapping[str, Sequence[Latent]], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the participation ratio of each layer, mean and standard error over runs, a line a kind of training.

    Returns (fig, ax).
    """
    with figure_style():
        fig, ax = figure_of(ax)
        for index, (name, runs) in enumerate(results.items()):
            _layers(ax, np.array([run.dimension for run in runs]), index, name)
        ax.set_ylabel(r"dimension $(\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2$")
        ax.set_ylim(bottom=0.0)
        ax.legend(fontsize=8, loc="lower left")
    return fig, ax


def separation(results: Mapping[str, Sequence[Latent]], ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the mean principal angle between class subspaces of each layer, and open symbols for permuted labels.

    Returns (fig, ax).
    """
    with figure_style():
        fig, ax = figure_of(ax)
        for index, (name, runs) in enumerate(results.items()):
            _layers(ax, np.array([run.angle for run in runs]), index, name)
            _layers(ax, np.array([run.permuted_angle for run in runs]), index, f"{name},\npermuted labels", open_symbols=True)
        ax.set_ylabel("mean principal angle\nbetween classes [degrees]")
        ax.set_ylim(0.0, 90.0)
        _legend_beside(ax)
    return fig, ax


def _legend_beside(ax: Axes) -> None:
    """Put the legend where no curve can be."""
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _layers(ax: Axes, values: Any, index: int, label: str, open_symbols: bool = False) -> None:
    layers = np.arange(values.shape[1]) + 0.04 * index
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    style: dict[str, Any] = {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 5, "capsize": 2}
    if open_symbols:
        style |= {"fillstyle": "none", "linewidth": 0.8}
    ax.errorbar(layers, values.mean(axis=0), yerr=error, linestyle=DASHES[2] if open_symbols else DASHES[0], label=label, **style)
    ax.set_xticks(np.arange(values.shape[1]), ["input", *(f"hidden {layer}" for layer in range(1, values.shape[1]))])


def training_cost(costs: Sequence[Cost], against: str = "cpu_seconds", ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw test accuracy against parameters, operations, or seconds, a point a run; returns (fig, ax)."""
    if against not in COST_AXES:
        refuse("against", against, "one of " + ", ".join(COST_AXES))
    with figure_style():
        fig, ax = figure_of(ax)
        modes = sorted((cost for cost in costs if cost.n_modes > 0), key=lambda cost: cost.n_modes)
        x, y = [getattr(cost, against) for cost in modes], [cost.accuracy for cost in modes]
        # Numbers inside the symbols: beside them they would lie on the line, or on each other.
        open_symbols: dict[str, Any] = {"marker": MARKERS[0], "markersize": 12, "markerfacecolor": "white"}
        ax.plot(x, y, color=COLOURS[0], label="modes, numbers are $P$", **open_symbols)
        for cost, x_value, y_value in zip(modes, x, y, strict=True):
            at: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6.5}
            ax.annotate(str(cost.n_modes), (x_value, y_value), **at)
        for cost in costs:
            if cost.n_modes == 0:
                ax.plot(getattr(cost, against), cost.accuracy, MARKERS[1], color=COLOURS[1], label="standard training")
        ax.set_xscale("log")
        ax.margins(0.1)  # room for the symbols
        if against in ("cpu_seconds", "seconds"):  # often less than a decade
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(COST_AXES[against])
        ax.set_ylabel("test accuracy")
        ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return fig, ax


def training_costs(costs: Sequence[Cost]) -> tuple[Figure, Any]:
    """Draw test accuracy against parameters, operations and processor time side by side; returns (fig, axes)."""
    with figure_style():
        fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharey=True)
        for ax, against in zip(axes, ("parameters", "operations", "cpu_seconds"), strict=True):
            training_cost(costs, against, ax=ax)
        for ax in axes[1:]:
            ax.set_ylabel("")
    return fig, axes
