"""Figures for papers: theory as lines, simulation as points with standard errors, units in colour-blind-safe colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from teacher_student.errors import check_non_negative, check_whole, refuse
from teacher_student.figure_style import COLOURS, DASHES, MARKERS, figure_of, figure_style
from teacher_student.trajectory import normalized_overlaps, resolved_times
from teacher_student.trajectory_form import DIMENSIONS, NORMALIZED_OVERLAPS, as_dataset, as_trajectory

if TYPE_CHECKING:
    from teacher_student.analysis.scaling import Scaling

Spans = tuple[tuple[float, float], ...]

_MAX_POINTS = 25
_METHODS = {"overlaps": "chain of overlaps", "weights": "SGD on weights", "leap": "leaps"}


class _Given(NamedTuple):
    """What a figure shows, checked."""

    theory: xr.Dataset | None
    simulation: xr.Dataset | None
    prediction: xr.Dataset | None
    other: xr.Dataset | None = None

    @property
    def one(self) -> xr.Dataset:
        """The theory, or without one the simulation."""
        found = self.theory if self.theory is not None else self.simulation
        assert found is not None  # `_given` has seen to it
        return found


def generalisation_error(
    theory: xr.Dataset | None = None,
    simulation: xr.Dataset | None = None,
    ax: Axes | None = None,
    *,
    prediction: xr.Dataset | None = None,
    other: xr.Dataset | None = None,
    left_out: Spans = (),
) -> tuple[Figure, Axes]:
    """Draw eps_g against alpha on logarithmic axes; returns (fig, ax).

    With a `prediction` of `teacher_student.predict`, a band shows where single runs at its N lie (one standard deviation around
    the predicted mean); `left_out` are spans of alpha in which it cannot be trusted, `other` is a second simulation. Near
    perfect learning eps_g is not drawn where it is rounding or the integrator's tolerance. Raises `InvalidInput` if neither a
    theory nor a simulation is given, or something else in the place of one.
    """
    theory, simulation, prediction, other = _given(("eps_g",), theory, simulation, prediction, other)
    left_out = _spans(left_out)
    with figure_style():
        fig, ax = figure_of(ax)
        ax.set_yscale("log")  # before anything is drawn: Matplotlib cannot change the scale of axes without numbers
        if theory is not None:
            alpha, shown = _positive_times(theory)
            resolved = resolved_times(theory)
            ax.plot(alpha, theory["eps_g"].where(resolved).values[shown], color=COLOURS[0], label=r"theory, $N\to\infty$")
        if prediction is not None:
            label = f"predicted for a run, $N={prediction.attrs['n_inputs']}$"
            # On a logarithmic axis a band that reaches zero ends a decade below the mean.
            band = prediction["eps_g"]
            if theory is not None:
                band = band.where(resolved.reindex(alpha=band["alpha"], method="nearest"))
            _band(ax, band, (), COLOURS[0], label, floor=0.1)
        for simulated, colour, marker in ((simulation, COLOURS[1], MARKERS[0]), (other, COLOURS[6], MARKERS[4])):
            if simulated is not None:
                method, n_runs = simulated.attrs["method"], simulated.sizes["replica"]
                runs = "1 run" if n_runs == 1 else f"{n_runs} runs"
                label = f"{_METHODS.get(method, method)}, $N={simulated.attrs['n_inputs']}$, {runs}"
                _points(ax, simulated["eps_g"].where(resolved_times(simulated)), (), colour, marker, label)
        for i, (start, end) in enumerate(left_out):
            text = "not judged" if i == 0 else None
            ax.axvspan(max(start, 1e-300), end, color="0.85", zorder=0, label=text)
        _time_axis(ax)
        ax.set_ylabel(r"generalisation error $\epsilon_g$")
        ax.legend(loc="lower left")
    return fig, ax


def student_teacher_overlaps(
    theory: xr.Dataset | None = None,
    simulation: xr.Dataset | None = None,
    ax: Axes | None = None,
    *,
    prediction: xr.Dataset | None = None,
) -> tuple[Figure, Axes]:
    """Draw R_km / sqrt(Q_kk T_mm) against alpha, a colour a student unit and a dash or marker a teacher unit.

    Bands as in `generalisation_error`. With more than four units on a side each student unit is shown with the teacher unit it
    is closest to in the end. Returns (fig, ax); raises `InvalidInput` as `generalisation_error` does.
    """
    given = _given(("Q", "R"), theory, simulation, prediction)
    theory, simulation, prediction, _ = given
    final = normalized_overlaps(given.one).values[..., -1, :, :]
    final = final.mean(axis=0) if final.ndim == 3 else final
    K, M = final.shape
    best = np.abs(final).argmax(axis=1)
    pairs = [(k, m) for k in range(K) for m in range(M) if max(K, M) <= 4 or m == best[k]]
    with figure_style():
        fig, ax = figure_of(ax)
        for k, m in pairs if prediction is not None else []:
            _band(ax, prediction[NORMALIZED_OVERLAPS], (k, m), COLOURS[k % len(COLOURS)])  # type: ignore[index]
        for trajectory in (theory, simulation):
            if trajectory is None:
                continue
            cosines = normalized_overlaps(trajectory)
            for k, m in pairs:
                colour = COLOURS[k % len(COLOURS)]
                if "replica" in cosines.dims:
                    _points(ax, cosines, (k, m), colour, MARKERS[m % len(MARKERS)])
                else:
                    alpha, shown = _positive_times(trajectory)
                    ax.plot(alpha, cosines.values[shown, k, m], DASHES[m % len(DASHES)], color=colour)
        if max(K, M) > 4:
            handles = [
                Line2D([], [], color=COLOURS[k % len(COLOURS)], linestyle=DASHES[m % len(DASHES)], label=f"{k} with {m}")
                for k, m in pairs
            ]
        else:
            handles = [Line2D([], [], color=COLOURS[k], label=f"student {k}") for k in range(K)]
            handles += [
                Line2D([], [], color="0.4", linestyle=DASHES[m], marker=MARKERS[m], markersize=4, label=f"teacher {m}")
                for m in range(M)
            ]
        _time_axis(ax)
        ax.set_ylabel(r"$R_{km}/\sqrt{Q_{kk}T_{mm}}$")
        ax.set_ylim(-1.05 if ax.get_ylim()[0] < -0.3 else -0.3, 1.05)
        title = "student with teacher" if max(K, M) > 4 else None
        ax.legend(handles=handles, title=title, title_fontsize=7, fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return fig, ax


def overlap_entries(
    theory: xr.Dataset | None = None,
    simulation: xr.Dataset | None = None,
    ax: Axes | None = None,
    *,
    prediction: xr.Dataset | None = None,
) -> tuple[Figure, Axes]:
    """Draw entries of Q (its diagonal, and that of units 0 and 1) and R (each unit's largest in the end); returns (fig, ax).

    Bands and what is raised as in `generalisation_error`.
    """
    given = _given(("Q", "R"), theory, simulation, prediction)
    theory, simulation, prediction, _ = given
    R = given.one["R"].values[..., -1, :, :]
    R = R.mean(axis=0) if R.ndim == 3 else R
    K = R.shape[0]
    entries = [("Q", (k, k), DASHES[0]) for k in range(K)] + ([("Q", (0, 1), DASHES[2])] if K > 1 else [])
    entries += [("R", (k, int(np.abs(R[k]).argmax())), DASHES[1]) for k in range(K)]
    with figure_style():
        fig, ax = figure_of(ax)
        handles = []
        for name, index, dash in entries:
            colour = COLOURS[index[0] % len(COLOURS)]
            if theory is not None:
                alpha, shown = _positive_times(theory)
                ax.plot(alpha, theory[name].values[(shown, *index)], dash, color=colour)
            if prediction is not None:
                _band(ax, prediction[name], index, colour)
            if simulation is not None:
                _points(ax, simulation[name], index, colour, MARKERS[("Q", "R").index(name)])
            label = f"${name}_{{{index[0]},{index[1]}}}$"
            marker = MARKERS[("Q", "R").index(name)] if simulation is not None else None
            handles.append(Line2D([], [], color=colour, linestyle=dash, marker=marker, markersize=4, label=label))
        _time_axis(ax)
        ax.set_ylabel("overlaps $Q$, $R$")
        ax.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=1 + len(handles) // 11)
    return fig, ax


def comparison(
    theory: xr.Dataset | None = None,
    simulation: xr.Dataset | None = None,
    prediction: xr.Dataset | None = None,
    other: xr.Dataset | None = None,
    left_out: Spans = (),
) -> tuple[Figure, Any]:
    """Draw the three panels of a comparison above each other: eps_g, normalised overlaps, entries of Q and R.

    Arguments, and what is raised, as in `generalisation_error`. Returns (fig, axes); with one of the two trajectories it shows
    that one.
    """
    theory, simulation, prediction, other = _given(("eps_g", "Q", "R"), theory, simulation, prediction, other)
    left_out = _spans(left_out)
    with figure_style():
        fig, axes = plt.subplots(3, 1, figsize=(6.5, 8.5), sharex=True, layout="constrained")
    generalisation_error(theory, simulation, axes[0], prediction=prediction, other=other, left_out=left_out)
    student_teacher_overlaps(theory, simulation, axes[1], prediction=prediction)
    overlap_entries(theory, simulation, axes[2], prediction=prediction)
    for ax in axes[:2]:
        ax.set_xlabel("")
    for ax, letter in zip(axes, "abc", strict=True):
        ax.set_title(f"({letter})", loc="left", fontsize=9)
    return fig, axes


def finite_size_scaling(scaling: Scaling, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw spread and mean deviation against N with their fitted powers and the predicted ones; returns (fig, ax).

    Raises `InvalidInput` unless `scaling` is what `teacher_student.scaling` returns.
    """
    if not all(hasattr(scaling, name) for name in ("n_inputs", "spread", "spread_exponent", "deviation", "deviation_exponent")):
        refuse("scaling", scaling, "what teacher_student.scaling returns")
    N = np.array(scaling.n_inputs, dtype=np.float64)
    line = np.geomspace(N.min() / 1.5, N.max() * 1.5, 50)
    rows = (
        ("spread between runs / $\\sqrt{V}$", scaling.spread, scaling.spread_error, scaling.spread_exponent, -0.5),
        ("deviation of the mean / $m$", scaling.deviation, scaling.deviation_error, scaling.deviation_exponent, -1.0),
    )
    with figure_style():
        fig, ax = figure_of(ax)
        for (text, values, errors, fit, predicted), colour, marker in zip(rows, COLOURS, MARKERS, strict=False):
            label = f"{text}: $N^{{{fit.value:.3f} \\pm {fit.error:.3f}}}$"
            # On a logarithmic axis a value below two errors is an upper bound, and is drawn as one.
            resolved = values > 2.0 * errors
            style: dict[str, Any] = {"linestyle": "none", "color": colour, "markersize": 4.5, "capsize": 2}
            ax.errorbar(N[resolved], values[resolved], yerr=errors[resolved], marker=marker, label=label, **style)
            bounds = np.maximum(values, 0.0)[~resolved] + 2.0 * errors[~resolved]
            ax.plot(N[~resolved], bounds, marker=r"$\downarrow$", markersize=9, linestyle="none", color=colour)
            ax.plot(line, line**predicted, DASHES[0], color=colour, linewidth=0.8, alpha=0.7)
            ax.plot(line, fit.amplitude * line**fit.value, DASHES[1], color=colour)
        ax.plot([], [], DASHES[0], color="0.4", linewidth=0.8, label="predicted: $N^{-1/2}$, $N^{-1}$, amplitude 1")
        ax.plot([], [], DASHES[1], color="0.4", label=r"fitted; arrows: below, at two standard errors")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(0.3 * min(1.0 / N.max(), 1.0), None)
        ax.set_xlabel("inputs $N$")
        ax.set_ylabel("finite-$N$ effects, units of theory")
        ax.legend(loc="lower left", fontsize=8)
    return fig, ax


def _given(
    variables: tuple[str, ...], theory: object, simulation: object, prediction: object, other: object | None = None
) -> _Given:
    """Return what a figure of `variables` shows; raises `InvalidInput` unless all of it fits together and there is something."""
    needed = (*variables, "T", "v_teacher")
    trajectories = [
        None if each is None else as_trajectory(each, argument, needed, kind="theory" if argument == "theory" else "simulation")
        for argument, each in (("theory", theory), ("simulation", simulation), ("other", other))
    ]
    found = next((each for each in trajectories[:2] if each is not None), None)
    if found is None:
        refuse("theory, simulation", None, "at least one trajectory")
    if not (found["alpha"].values > 0).any():
        refuse("alpha", found["alpha"].values.tolist(), "a trajectory with an output time above 0, for a logarithmic axis")
    band = None if prediction is None else _as_prediction(prediction, variables)
    for argument, each in zip(("theory", "simulation", "other", "prediction"), (*trajectories, band), strict=True):
        if each is None:
            continue
        for dimension in ("student", "teacher"):
            if each.sizes.get(dimension, found.sizes[dimension]) != found.sizes[dimension]:
                refuse(argument, f"{each.sizes[dimension]} as size of {dimension}", f"{found.sizes[dimension]}, as in the other")
    return _Given(trajectories[0], trajectories[1], band, trajectories[2])


def _as_prediction(given: object, variables: tuple[str, ...]) -> xr.Dataset:
    """Return a prediction with its dimensions in order; raises `InvalidInput` unless it is what `predict` returns."""
    expected = "what teacher_student.predict returns"
    prediction = as_dataset(given, "prediction", expected)
    if not {"moment", "alpha"} <= set(prediction.coords) or prediction["moment"].values.tolist() != ["mean", "spread"]:
        refuse("prediction", f"dimensions {tuple(prediction.sizes)}", expected)
    check_whole("prediction.attrs['n_inputs']", prediction.attrs.get("n_inputs"))
    of_cosines = {NORMALIZED_OVERLAPS: ("student", "teacher")} if "R" in variables else {}
    for name, dimensions in ({variable: DIMENSIONS[variable] for variable in variables} | of_cosines).items():
        if name not in prediction.data_vars or set(prediction[name].dims) != {"moment", "alpha", *dimensions}:
            refuse("prediction", f"a dataset without {name} of dimensions ('moment', 'alpha', ...)", expected)
        if prediction[name].dtype.kind != "f" or not np.isfinite(prediction[name].values).all():
            refuse("prediction", f"{name} that is not finite", expected)
        prediction = prediction.assign({name: prediction[name].transpose("moment", "alpha", *dimensions)})
    return prediction


def _spans(left_out: object) -> Spans:
    """Return spans of alpha as pairs of numbers; raises `InvalidInput` for anything else."""
    given = left_out if isinstance(left_out, (tuple, list)) else (None,)
    pairs = [span for span in given if isinstance(span, (tuple, list)) and len(span) == 2]
    if len(pairs) < len(given):
        refuse("left_out", left_out, "pairs of times, (start, end)")
    ends = [[check_non_negative(f"left_out[{i}]", end) for end in pair] for i, pair in enumerate(pairs)]
    return tuple((start, end) for start, end in ends)


def _positive_times(trajectory: xr.Dataset) -> tuple[Any, Any]:
    alpha = trajectory["alpha"].values
    return alpha[alpha > 0], alpha > 0


def _time_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xlabel(r"time $\alpha$ = steps / $N$")


def _band(
    ax: Axes, prediction: xr.DataArray, index: tuple[Any, ...], colour: str, label: str | None = None, floor: float | None = None
) -> None:
    """Shade predicted mean +- spread, (moment, alpha, ...) at `index`, on a logarithmic axis not below `floor` times the mean."""
    alpha = prediction["alpha"].values
    mean, spread = prediction.values[(slice(None), alpha > 0, *index)]
    low = mean - spread if floor is None else np.maximum(mean - spread, floor * np.abs(mean))
    ax.fill_between(alpha[alpha > 0], low, mean + spread, color=colour, alpha=0.2, linewidth=0.0, label=label)


def _points(ax: Axes, variable: xr.DataArray, index: tuple[Any, ...], colour: str, marker: str, label: str | None = None) -> None:
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
