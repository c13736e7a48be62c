"""Figures of the reproduction, each beside its nulls; bands are standard deviations over networks, bars are standard errors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from PIL import Image  # comes with matplotlib

from teacher_student.arrays import Array
from teacher_student.deep.figures import accuracy_against_modes, least_modes
from teacher_student.deep.fits import fit_width_laws
from teacher_student.deep.reproduction.accuracy_claims import budget_differences, grid
from teacher_student.deep.reproduction.estimates import estimate, gaussian_factors, rank_correlation, slopes
from teacher_student.deep.reproduction.mode_claims import WITH_MODES, importance_of, n_matrices, share_of_inputs
from teacher_student.deep.reproduction.plan import KINDS, ON_THE_GRID, Plan
from teacher_student.deep.reproduction.results import Results
from teacher_student.figure_style import COLOURS, DASHES, MARKERS, figure_style
from teacher_student.files import replacing

_DPI = 90  # figures of many panels, which a page shows at their size


def write(results: Results, plan: Plan, sizes: Sequence[int], same_test: bool, n_test: int, folder: Path) -> list[str]:
    """Write all figures as PNG into `folder` and return their paths."""
    figures = {
        "accuracy": accuracy(results, plan),
        "importance": importance(results, plan, sizes),
        "order": order(results),
        "removal": removal(results),
        "latent": latent(results),
    }
    if "budget" in results:
        figures["budget"] = budget(results, same_test, n_test)
    for name, figure in figures.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=_DPI, format="png")
        plt.close(figure)
        with replacing(folder / f"{name}.png") as temporary:  # with a palette files are a third as large
            Image.open(drawn).convert("RGB").quantize(128).save(temporary, format="png", optimize=True)
    return [str(folder / f"{name}.png") for name in figures]


def accuracy(results: Results, plan: Plan) -> Figure:
    """Draw accuracy against P at each width, and the least number of modes against width, a row a kind of modes."""
    with figure_style():
        fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
        for row, kind in zip(axes, ON_THE_GRID[:2], strict=True):
            found = grid(results["grid"], kind, plan)
            accuracy_against_modes(found, ax=row[0])
            row[0].set_title(kind, fontsize=9)
            fits = [] if found.obstacle else fit_width_laws(found.widths, found.mean, found.error)
            least_modes(found, fits, ax=row[1])
            row[1].set_title(kind, fontsize=9)
    return fig


def _ranked(tau: Array) -> Array:
    return -np.sort(-tau, axis=1)


def _logarithmic(ax: Axes, P: int) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks([rank for rank in (1, 2, 5, 10, 20, 50, 100, 200, 500) if rank <= P])
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())


def importance(results: Results, plan: Plan, sizes: Sequence[int]) -> Figure:
    """Draw ranked tau and its parts, tau before training and of sorted Gaussian factors, a row a kind and a column a matrix."""
    networks = results["networks"]
    n = n_matrices(networks[WITH_MODES[0]])
    with figure_style():
        fig, axes = plt.subplots(len(networks), n, figsize=(3 * n, 2.6 * len(networks)), layout="constrained", squeeze=False)
        for row, (kind, runs) in zip(axes, networks.items(), strict=True):
            for matrix, ax in enumerate(row):
                _importance_panel(ax, runs, matrix, plan)
                if kind in WITH_MODES:
                    parts = importance_of(runs, matrix, "after")
                    null = gaussian_factors(parts["tau"].shape[1], sizes[matrix], sizes[matrix + 1], share_of_inputs(parts))
                    mean = parts["sigma"].mean() * _ranked(null).mean(axis=0)
                    ax.plot(np.arange(1, len(mean) + 1), mean, DASHES[2], color="black", label="sorted Gaussian factors")
                ax.set_title(f"{kind}, matrix {matrix}", fontsize=8)
                if matrix == 0:
                    ax.set_ylabel(r"$\tau$ and its parts")
        for ax in axes[-1]:
            ax.set_xlabel("rank of the mode")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return fig


def _importance_panel(ax: Axes, runs: list[dict[str, Any]], matrix: int, plan: Plan) -> None:
    after, before = (importance_of(runs, matrix, when) for when in ("after", "before"))
    P = after["tau"].shape[1]
    rank = np.arange(1, P + 1)
    by_tau = np.argsort(-after["tau"], axis=1)
    curves = {
        r"$\tau$ after training": (_ranked(after["tau"]), COLOURS[0], DASHES[0]),
        r"$\tau$ before training": (_ranked(before["tau"]), "0.4", DASHES[1]),
        r"$|\sigma|$": (np.take_along_axis(after["sigma"], by_tau, axis=1), COLOURS[1], DASHES[0]),
        r"$\gamma|\xi_{\rm in}|$": (np.take_along_axis(after["xi_in"], by_tau, axis=1), COLOURS[2], DASHES[3]),
        r"$\gamma|\xi_{\rm out}|$": (np.take_along_axis(after["xi_out"], by_tau, axis=1), COLOURS[3], DASHES[2]),
    }
    # |sigma| of the last modes is near 0, and would leave the rest no room.
    ax.set_ylim(0.04 * after["tau"].mean(), 1.3 * max(after["tau"].max(), before["tau"].max()))
    for label, (values, colour, dash) in curves.items():
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        ax.plot(rank, mean, dash, color=colour, label=label, linewidth=1.2)
        ax.fill_between(rank, np.maximum(mean - spread, 1e-9), mean + spread, color=colour, alpha=0.2, linewidth=0)
    _logarithmic(ax, P)
    ax.axvline(plan.first_ranks + 0.5, color="0.7", linewidth=0.7)
    if plan.first_ranks <= P - 2:
        fits = [slopes(tau, plan.first_ranks) for tau in after["tau"]]
        told = f"slopes {estimate([fit.first for fit in fits])}\nand {estimate([fit.second for fit in fits])}"
        ax.text(0.04, 0.05, told, transform=ax.transAxes, fontsize=6.5)


def order(results: Results) -> Figure:
    """Draw tau after training against the tau of the same mode before, a row a kind and a column a matrix."""
    networks = {kind: results["networks"][kind] for kind in WITH_MODES}
    n = n_matrices(networks[WITH_MODES[0]])
    with figure_style():
        fig, axes = plt.subplots(len(networks), n, figsize=(2.6 * n, 2.4 * len(networks)), layout="constrained", squeeze=False)
        for row, (kind, runs) in zip(axes, networks.items(), strict=True):
            for matrix, ax in enumerate(row):
                after, before = (importance_of(runs, matrix, when)["tau"] for when in ("after", "before"))
                for i, (x, y) in enumerate(zip(before, after, strict=True)):
                    ax.plot(x / x.mean(), y / y.mean(), ".", markersize=2.5, color=COLOURS[i % len(COLOURS)])
                told = estimate([rank_correlation(x, y) for x, y in zip(before, after, strict=True)])
                ax.set_title(f"{kind}, matrix {matrix}:\n{told}", fontsize=7.5)
        for ax in axes[-1]:
            ax.set_xlabel(r"$\tau$ before / mean")
        for ax in axes[:, 0]:
            ax.set_ylabel(r"$\tau$ after / mean")
    return fig


_REMOVALS: dict[str, tuple[str, str]] = {
    "descending": (COLOURS[0], DASHES[0]),
    "ascending": (COLOURS[1], DASHES[0]),
    "random": (COLOURS[2], DASHES[2]),
    "before, descending": (COLOURS[0], DASHES[1]),
    "before, ascending": (COLOURS[1], DASHES[1]),
    "product": (COLOURS[3], DASHES[3]),
}
_REMOVAL_LABELS = {
    "descending": r"largest $\tau$ first",
    "ascending": r"smallest $\tau$ first",
    "random": "random",
    "before, descending": r"largest $\tau$ before training first",
    "before, ascending": r"smallest $\tau$ before training first",
    "product": r"largest $|\sigma||\xi_{\rm in}||\xi_{\rm out}|$ first",
}


def removal(results: Results) -> Figure:
    """Draw accuracy against the number of modes removed, in each order, a row a kind and a column a matrix."""
    networks = results["networks"]
    n = n_matrices(networks[WITH_MODES[0]])
    with figure_style():
        fig, axes = plt.subplots(
            len(networks), n, figsize=(3 * n, 2.4 * len(networks)), layout="constrained", squeeze=False, sharey=True
        )
        for row, (kind, runs) in zip(axes, networks.items(), strict=True):
            for matrix, ax in enumerate(row):
                for name, (colour, dash) in _REMOVALS.items():
                    if name not in runs[0]["removal"][matrix]:
                        continue
                    values = np.array([run["removal"][matrix][name] for run in runs])
                    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
                    removed = np.arange(len(mean))
                    ax.plot(removed, mean, dash, color=colour, label=_REMOVAL_LABELS[name], linewidth=1.2)
                    ax.fill_between(removed, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
                ax.set_title(f"{kind}, matrix {matrix}", fontsize=8)
                ax.set_ylim(0.0, 1.02)
        for ax in axes[-1]:
            ax.set_xlabel("modes removed")
        for ax in axes[:, 0]:
            ax.set_ylabel("test accuracy")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return fig


def latent(results: Results) -> Figure:
    """Draw dimension and class separation of each layer, after training and before it, a colour a kind."""
    with figure_style():
        fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
        for index, kind in enumerate(KINDS):
            runs = results["networks"][kind]
            for ax, quantity in zip(axes, ("dimension", "angle"), strict=True):
                for when, dash, fill in (("after", DASHES[0], "full"), ("before", DASHES[2], "none")):
                    _by_layer(ax, [run[when][quantity] for run in runs], index, dash, fill, f"{kind}, {when} training")
            permuted = [run["after"]["permuted_angle"] for run in runs]
            _by_layer(axes[1], permuted, index, DASHES[1], "none", None, marker=".")
        axes[0].set_ylabel(r"dimension $(\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2$")
        axes[0].set_ylim(bottom=0.0)
        axes[1].set_ylabel("mean principal angle between\nclasses [degrees] (dashed: permuted labels)")
        axes[1].set_ylim(0.0, 90.0)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return fig


def _by_layer(
    ax: Axes, values: Sequence[Sequence[float]], index: int, dash: str, fill: Any, label: str | None, marker: str | None = None
) -> None:
    found = [estimate(column) for column in zip(*values, strict=True)]
    layers = np.arange(len(found)) + 0.05 * index
    style: dict[str, Any] = {"color": COLOURS[index], "marker": marker or MARKERS[index], "markersize": 4, "capsize": 2}
    mean, error = [value.mean for value in found], [value.error for value in found]
    ax.errorbar(layers, mean, yerr=error, linestyle=dash, fillstyle=fill, linewidth=1.0, label=label, **style)
    ax.set_xticks(np.arange(len(found)), ["input", *(f"hidden {layer}" for layer in range(1, len(found)))])


def budget(results: Results, same_test: bool, n_test: int) -> Figure:
    """Draw by how much modes fall short of standard training, with 99 % intervals, under each change."""
    found = budget_differences(results["budget"], same_test, n_test)
    with figure_style():
        fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
        at = np.arange(len(found))[::-1]
        means, bars = [value.mean for value in found.values()], [value.half_width for value in found.values()]
        ax.errorbar(means, at, xerr=bars, marker=MARKERS[0], linestyle="none", capsize=3, color=COLOURS[0])
        ax.axvline(0.0, color="0.4", linewidth=0.8)
        ax.set_yticks(at, list(found))
        ax.set_xlabel("accuracy of standard training less that of modes\n(99 % intervals)")
    return fig
