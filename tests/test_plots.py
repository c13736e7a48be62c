"""The figures hold the numbers they should: lines, points and error bars, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

import teacher_student as ts
from teacher_student.files import save_figure
from teacher_student.smooth_theory import smooth_theory
from teacher_student.trajectory import resolved_eps_g

PROBLEM = ts.load_problem("all-factors")
TIMES = np.array([0.0, 0.1, 0.3, 1.0])


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


def test_eps_g_shows_theory_as_a_line_and_replicas_as_means_with_standard_errors() -> None:
    simulation = ts.simulate(PROBLEM, TIMES, n_inputs=50, replicas=4)
    theory = ts.integrate(PROBLEM, TIMES)
    fig, given = plt.subplots()
    figure, ax = ts.plots.generalisation_error(theory, simulation, ax=given)
    assert figure is fig
    assert ax is given
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(at(ax.lines[0], TIMES[1:]), theory["eps_g"].values[1:])
    values = simulation["eps_g"].values[:, 1:]
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), values.mean(axis=0))
    segments = np.array(container.lines[2][0].get_segments())
    np.testing.assert_allclose((segments[:, 1, 1] - segments[:, 0, 1]) / 2, values.std(axis=0, ddof=1) / 2)


def at(line: Line2D, times: np.ndarray) -> np.ndarray:
    """Return what `line` shows at `times`, each of which is one of its points."""
    x = np.asarray(line.get_xdata())
    assert set(times.tolist()) <= set(x.tolist())
    return np.asarray(line.get_ydata())[np.searchsorted(x, times)]


def drawn(trajectory: xr.Dataset) -> np.ndarray:
    """Return the times above 0 at which `generalisation_error` draws the theory."""
    _, ax = ts.plots.generalisation_error(trajectory)
    alpha, eps_g = ax.lines[0].get_data()
    return np.asarray(alpha[np.isfinite(eps_g)])


def test_eps_g_that_is_not_resolved_is_not_drawn() -> None:
    theory = ts.integrate(PROBLEM, np.arange(9.0), progress=False)
    least = resolved_eps_g(theory)
    assert set(range(1, 9)) < set(drawn(theory).tolist())  # and between them, of which what follows knows nothing
    theory["eps_g"].values[:] = np.array([1e6, 1e3, 2.0, 0.5, 2.0, 50.0, -3.0, 200.0, 50.0]) * least
    assert drawn(theory).tolist() == [1, 2, 7]  # down to the level, and again where it is far above
    theory["eps_g"].values[:] = 0.0
    assert drawn(theory).tolist() == []
    theory["eps_g"].values[1:] = 1e3 * least
    assert drawn(theory).tolist() == list(range(1, 9))
    simulation = ts.simulate(PROBLEM, np.arange(1.0, 5.0), n_inputs=50, replicas=2, progress=False)
    simulation["eps_g"].values[:, 2:] = 1e-17
    _, ax = ts.plots.generalisation_error(theory, simulation)
    assert np.isfinite(ax.containers[0].lines[0].get_ydata()).tolist() == [True, True, False, False]


def test_the_comparison_has_three_labelled_panels() -> None:
    theory = ts.integrate(PROBLEM, TIMES)
    _, axes = ts.plots.comparison(theory=theory)
    assert len(axes) == 3
    assert all(ax.get_ylabel() for ax in axes)
    assert "alpha" in axes[2].get_xlabel()
    cosines = theory["R"].values[1:, 1, 0] / np.sqrt(theory["Q"].values[1:, 1, 1] * 1.0)
    assert any(np.allclose(at(line, TIMES[1:]), cosines) for line in axes[1].lines if len(line.get_ydata()))


def test_a_figure_of_nothing_is_refused() -> None:
    with pytest.raises(ts.InvalidInput, match=r"^theory, simulation: got None"):
        ts.plots.comparison()
    with pytest.raises(ts.InvalidInput, match=r"^alpha: got"):
        ts.plots.generalisation_error(ts.integrate(PROBLEM, [0.0]))


def test_the_band_is_predicted_mean_and_spread_and_untrusted_times_are_shaded() -> None:
    theory = ts.integrate(PROBLEM, TIMES, fluctuations=True)
    prediction = ts.predict(theory, 300)
    _, ax = ts.plots.overlap_entries(theory, prediction=prediction)
    mean, spread = prediction["Q"].values[:, 1:, 0, 0]
    vertices = ax.collections[0].get_paths()[0].vertices
    last = vertices[np.isclose(vertices[:, 0], 1.0), 1]
    assert last.min() == pytest.approx(mean[-1] - spread[-1])
    assert last.max() == pytest.approx(mean[-1] + spread[-1])
    _, ax = ts.plots.generalisation_error(theory, prediction=prediction, left_out=((0.3, 1.0),))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        r"theory, $N\to\infty$",
        "predicted for a run, $N=300$",
        "not judged",
    ]


def test_leaps_and_single_runs_are_drawn() -> None:
    theory = ts.integrate(PROBLEM, TIMES, progress=False)
    leaps = ts.leap(PROBLEM, TIMES, n_inputs=100_000, replicas=2, progress=False)
    simulation = ts.simulate(PROBLEM, TIMES, n_inputs=50, replicas=3, method="overlaps", progress=False)
    for given, label in (
        (leaps, "leaps, $N=100000$, 2 runs"),
        (simulation.isel(replica=1), "chain of overlaps, $N=50$, 1 run"),
        (simulation, "chain of overlaps, $N=50$, 3 runs"),
    ):
        _, ax = ts.plots.generalisation_error(theory, given)
        assert [text.get_text() for text in ax.get_legend().get_texts()] == [r"theory, $N\to\infty$", label]
        runs = np.atleast_2d(given["eps_g"].values)
        np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(), runs.mean(axis=0)[1:])
        ts.plots.comparison(None, given)
    with pytest.raises(ts.InvalidInput, match=r"^theory: got 'a trajectory of simulation', expected a trajectory of integrate$"):
        ts.plots.comparison(simulation.isel(replica=1))


def test_figures_of_trajectories_in_another_order_are_the_same() -> None:
    theory = ts.integrate(PROBLEM, TIMES, progress=False)
    simulation = ts.simulate(PROBLEM, TIMES, n_inputs=50, replicas=3, method="overlaps", progress=False)
    for figure in (ts.plots.student_teacher_overlaps, ts.plots.overlap_entries):
        shown = [figure(*given)[1] for given in ((theory, simulation), (theory.transpose(..., "alpha"), simulation.transpose()))]
        curves = [np.array([at(line, TIMES[1:]) for line in ax.lines if 0.1 in line.get_xdata()]) for ax in shown]
        assert len(curves[0]) > 10
        np.testing.assert_array_equal(*curves)


def test_theory_is_the_integrators_own_between_output_times() -> None:
    theory = ts.integrate(PROBLEM, TIMES, progress=False)
    _, ax = ts.plots.generalisation_error(theory)
    alpha, eps_g = (np.asarray(each) for each in ax.lines[0].get_data())
    assert np.diff(np.log10(alpha)).max() < 0.021
    exact = ts.integrate(PROBLEM, alpha, progress=False)
    np.testing.assert_allclose(eps_g, exact["eps_g"].values, rtol=1e-9)
    # A straight line between output times is not it.
    assert np.abs(np.interp(alpha, TIMES, theory["eps_g"]) / eps_g - 1.0).max() > 1e-3


def test_numbers_that_the_problem_does_not_give_are_drawn_as_they_are() -> None:
    theory = ts.integrate(PROBLEM, TIMES, progress=False)
    other = theory.assign_attrs(problem=PROBLEM.replace(eta_xi_in=0.3).to_toml())
    changed = theory.copy(deep=True)
    changed["R"].values[2] *= 1.001
    for each in (other, changed, xr.Dataset(dict(theory.variables))):
        assert smooth_theory(each) is each
    dense = smooth_theory(theory)
    assert dense.sizes["alpha"] > 40
    assert smooth_theory(dense) is dense
    np.testing.assert_array_equal(dense["R"].sel(alpha=TIMES).values, theory["R"].values)


def legend_of(ax: Axes) -> dict[str, list[tuple[str, str, str]]]:
    """Return for every entry of a legend the colour, dash and marker of its parts."""
    legend = ax.get_legend()
    found = {}
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        parts = handle.get_children() if hasattr(handle, "get_children") and not isinstance(handle, Line2D) else [handle]
        lines = [part for part in parts if isinstance(part, Line2D)]
        found[text.get_text()] = [(line.get_color(), line.get_linestyle(), str(line.get_marker())) for line in lines]
    return found


def test_legends_show_what_is_drawn() -> None:
    theory = ts.integrate(PROBLEM, TIMES, progress=False)
    simulation = ts.simulate(PROBLEM, TIMES, n_inputs=50, replicas=3, method="overlaps", progress=False)
    for figure in (ts.plots.student_teacher_overlaps, ts.plots.overlap_entries):
        for given, parts in (((theory, None), 1), ((None, simulation), 1), ((theory, simulation), 2)):
            _, ax = figure(*given)
            looks = legend_of(ax)
            handles = ax.get_legend().legend_handles
            assert len(handles) == len(looks) == len({str(look) for look in looks.values()})  # all of them differ
            drawn_dashes = {(line.get_color(), line.get_linestyle()) for line in ax.lines if len(line.get_xdata()) > 25}
            drawn_markers = {(c.lines[0].get_color(), str(c.lines[0].get_marker())) for c in ax.containers}
            assert (len(drawn_dashes) > 0) + (len(drawn_markers) > 0) == parts
            for look in looks.values():
                if look:
                    assert {(c, d) for c, d, _ in look if d != "None"} <= drawn_dashes
                    assert {(c, m) for c, _, m in look if m != "None"} <= drawn_markers


def test_panels_agree_on_the_pairs_they_show() -> None:
    problem = ts.load_problem("li-huang-2023")
    theory = ts.integrate(problem, [0.0, 0.1, 1e4], progress=False)
    _, axes = ts.plots.comparison(theory)
    of_cosines = [text.get_text() for text in axes[1].get_legend().get_texts()]
    of_entries = [text.get_text() for text in axes[2].get_legend().get_texts() if text.get_text().startswith("$R")]
    assert [text.replace(" with ", ",") for text in of_cosines] == [text[4:-2] for text in of_entries]


def test_a_band_ends_where_the_linear_noise_does() -> None:
    theory = ts.integrate(PROBLEM, TIMES, fluctuations=True, progress=False)
    for name in ("covariance", "shift", "propagator"):
        theory[name].values[3:] = np.nan
    prediction = ts.predict(theory.assign_attrs(fluctuations_ended="after alpha = 0.3"), 300)
    assert np.isnan(prediction["eps_g"].values[:, 3]).all()
    _, axes = ts.plots.comparison(theory, prediction=prediction)
    assert axes[0].collections[0].get_paths()[0].vertices[:, 0].max() == pytest.approx(0.3)
    with pytest.raises(ts.InvalidInput, match=r"^prediction: got 'eps_g that is not finite'"):
        ts.plots.comparison(theory, prediction=prediction.isel(alpha=[0, 3, 1]).assign_coords(alpha=[0.0, 0.1, 0.2]))


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figures_are_written_in_the_format_of_their_name(tmp_path: Path, suffix: str) -> None:
    fig, _ = plt.subplots()
    save_figure(fig, tmp_path / f"figure.{suffix.upper()}")
    begin = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert (tmp_path / f"figure.{suffix.upper()}").read_bytes().startswith(begin)
    with pytest.raises(ts.InvalidInput, match=r"^output: got .*expected a name that ends in \.png, \.pdf or \.svg$"):
        save_figure(fig, tmp_path / "figure.jpg")
