"""Figures of trajectories: theory as lines, simulation as points with standard errors, units in colour-blind-safe colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from teacher_student.drawing import Look, band, legend_beside, line, points, positive_times, time_axis
from teacher_student.errors import check_non_negative, check_whole, refuse
from teacher_student.figure_style import COLOURS, DASHES, MARKERS, figure_of, figure_style
from teacher_student.smooth_theory import smooth_theory
from teacher_student.trajectory import normalized_overlaps, resolved_times
from teacher_student.trajectory_form import DIMENSIONS, NORMALIZED_OVERLAPS, as_dataset, as_trajectory

if TYPE_CHECKING:
    from teacher_student.analysis.scaling import Scaling

Spans = tuple[tuple[float, float], ...]

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
        theory = _smooth(theory)
        ax.set_yscale("log")  # before anything is drawn: Matplotlib cannot change the scale of axes without numbers
        if theory is not None:
            alpha, shown = positive_times(theory)
            resolved = resolved_times(theory)
            ax.plot(alpha, theory["eps_g"].where(resolved).values[shown], color=COLOURS[0], label=r"theory, $N\to\infty$")
        if prediction is not None:
            label = f"predicted for a run, $N={prediction.attrs['n_inputs']}$"
            # On a logarithmic axis a band that reaches zero ends a decade below the mean.
            expected = prediction["eps_g"]
            if theory is not None:
                expected = expected.where(resolved.reindex(alpha=expected["alpha"], method="nearest"))
            band(ax, expected, (), COLOURS[0], label, floor=0.1)
        for simulated, colour, marker in ((simulation, COLOURS[1], MARKERS[0]), (other, COLOURS[6], MARKERS[4])):
            if simulated is not None:
                method, n_runs = simulated.attrs["method"], simulated.sizes["replica"]
                runs = "1 run" if n_runs == 1 else f"{n_runs} runs"
                label = f"{_METHODS.get(method, method)}, $N={simulated.attrs['n_inputs']}$, {runs}"
                points(ax, simulated["eps_g"].where(resolved_times(simulated)), (), colour, marker, label)
        for i, (start, end) in enumerate(left_out):
            text = "not judged" if i == 0 else None
            ax.axvspan(max(start, 1e-300), end, color="0.85", zorder=0, label=text)
        time_axis(ax)
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
    """Draw R_km / sqrt(Q_kk T_mm) against alpha, a colour a student unit k and a dash and marker a teacher unit m, from 0.

    Bands as in `generalisation_error`. With more than four units on a side each student unit is shown with the teacher unit it
    is closest to in the end. Returns (fig, ax); raises `InvalidInput` as `generalisation_error` does.
    """
    given = _given(("Q", "R"), theory, simulation, prediction)
    theory, simulation, prediction, _ = given
    K, M = given.one.sizes["student"], given.one.sizes["teacher"]
    pairs = list(enumerate(_closest(given.one))) if max(K, M) > 4 else [(k, m) for k in range(K) for m in range(M)]
    with figure_style():
        fig, ax = figure_of(ax)
        theory = _smooth(theory)
        for k, m in pairs if prediction is not None else []:
            band(ax, prediction[NORMALIZED_OVERLAPS], (k, m), COLOURS[k % len(COLOURS)])  # type: ignore[index]
        for trajectory in (theory, simulation):
            if trajectory is None:
                continue
            cosines = normalized_overlaps(trajectory)
            for k, m in pairs:
                look = _look(k, m)
                if "replica" in cosines.dims:
                    points(ax, cosines, (k, m), look.colour, look.marker)
                else:
                    line(ax, cosines.to_dataset(), NORMALIZED_OVERLAPS, (k, m), look)
        _legend(ax, given, [(_look(k, m), f"{k} with {m}") for k, m in pairs], "student with teacher")
        time_axis(ax)
        ax.set_ylabel(r"$R_{km}/\sqrt{Q_{kk}T_{mm}}$")
        ax.set_ylim(-1.05 if ax.get_ylim()[0] < -0.3 else -0.3, 1.05)
    return fig, ax


def overlap_entries(
    theory: xr.Dataset | None = None,
    simulation: xr.Dataset | None = None,
    ax: Axes | None = None,
    *,
    prediction: xr.Dataset | None = None,
) -> tuple[Figure, Axes]:
    """Draw entries of Q (its diagonal, and that of units 0 and 1) and R (each unit with the teacher unit closest in the end).

    Returns (fig, ax).

    Bands and what is raised as in `generalisation_error`.
    """
    given = _given(("Q", "R"), theory, simulation, prediction)
    theory, simulation, prediction, _ = given
    K = given.one.sizes["student"]
    entries = [("Q", (k, k), Look(COLOURS[k % len(COLOURS)], DASHES[0], MARKERS[0])) for k in range(K)]
    if K > 1:  # a marker of its own, for it has the colour of unit 0
        entries.append(("Q", (0, 1), Look(COLOURS[0], DASHES[2], MARKERS[2])))
    entries += [("R", (k, m), Look(COLOURS[k % len(COLOURS)], DASHES[1], MARKERS[1])) for k, m in enumerate(_closest(given.one))]
    with figure_style():
        fig, ax = figure_of(ax)
        theory = _smooth(theory)
        for name, index, look in entries:
            if theory is not None:
                line(ax, theory, name, index, look)
            if prediction is not None:
                band(ax, prediction[name], index, look.colour)
            if simulation is not None:
                points(ax, simulation[name], index, look.colour, look.marker)
        _legend(ax, given, [(look, f"${name}_{{{index[0]},{index[1]}}}$") for name, index, look in entries])
        time_axis(ax)
        ax.set_ylabel("overlaps $Q$, $R$")
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
    theory = _smooth(theory)
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


def _smooth(theory: xr.Dataset | None) -> xr.Dataset | None:
    """Return the theory as it is drawn; called when all that is given has been checked, for it may integrate."""
    return None if theory is None else smooth_theory(theory)


def _look(k: int, m: int) -> Look:
    """Return how student unit k with teacher unit m is drawn."""
    return Look(COLOURS[k % len(COLOURS)], DASHES[m % len(DASHES)], MARKERS[m % len(MARKERS)])


def _closest(trajectory: xr.Dataset) -> list[int]:
    """Return for each student unit the teacher unit with which it has the largest cosine in the end, of runs their mean."""
    final = normalized_overlaps(trajectory).values[..., -1, :, :]
    final = final.mean(axis=0) if final.ndim == 3 else final
    return [int(m) for m in np.abs(final).argmax(axis=1)]


def _legend(ax: Axes, given: _Given, entries: list[tuple[Look, str]], title: str | None = None) -> None:
    legend_beside(ax, entries, lines=given.theory is not None, with_points=given.simulation is not None, title=title)


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
    expected = None if prediction is None else _as_prediction(prediction, variables)
    for argument, each in zip(("theory", "simulation", "other", "prediction"), (*trajectories, expected), strict=True):
        if each is None:
            continue
        for dimension in ("student", "teacher"):
            if each.sizes.get(dimension, found.sizes[dimension]) != found.sizes[dimension]:
                refuse(argument, f"{each.sizes[dimension]} as size of {dimension}", f"{found.sizes[dimension]}, as in the other")
    return _Given(trajectories[0], trajectories[1], expected, trajectories[2])


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
        if prediction[name].dtype.kind != "f":
            refuse("prediction", f"{name} of type {prediction[name].dtype}", expected)
        prediction = prediction.assign({name: prediction[name].transpose("moment", "alpha", *dimensions)})
        values = np.moveaxis(prediction[name].values, 1, 0).reshape(prediction.sizes["alpha"], -1)
        known = np.isfinite(values).all(axis=1)
        if not np.isnan(values[np.logical_and.accumulate(known).sum() :]).all():
            refuse("prediction", f"{name} that is not finite", expected)
    # From where the linear noise has ended there are no numbers, and no band.
    return prediction.isel(alpha=known)


def _spans(left_out: object) -> Spans:
    """Return spans of alpha as pairs of numbers; raises `InvalidInput` for anything else."""
    given = left_out if isinstance(left_out, (tuple, list)) else (None,)
    pairs = [span for span in given if isinstance(span, (tuple, list)) and len(span) == 2]
    if len(pairs) < len(given):
        refuse("left_out", left_out, "pairs of times, (start, end)")
    ends = [[check_non_negative(f"left_out[{i}]", end) for end in pair] for i, pair in enumerate(pairs)]
    return tuple((start, end) for start, end in ends)
