"""The figures hold the numbers they should: lines, points and error bars, read back from the axes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

mpl.use("Agg")

import matplotlib.pyplot as plt

import teacher_student as ts
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
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), theory["eps_g"].values[1:])
    values = simulation["eps_g"].values[:, 1:]
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), values.mean(axis=0))
    segments = np.array(container.lines[2][0].get_segments())
    np.testing.assert_allclose((segments[:, 1, 1] - segments[:, 0, 1]) / 2, values.std(axis=0, ddof=1) / 2)


def drawn(trajectory: xr.Dataset) -> np.ndarray:
    """Return the times above 0 at which `generalisation_error` draws the theory."""
    _, ax = ts.plots.generalisation_error(trajectory)
    alpha, eps_g = ax.lines[0].get_data()
    return np.asarray(alpha[np.isfinite(eps_g)])


def test_eps_g_that_is_not_resolved_is_not_drawn() -> None:
    theory = ts.integrate(PROBLEM, np.arange(9.0), progress=False)
    least = resolved_eps_g(theory)
    assert drawn(theory).tolist() == list(range(1, 9))
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
    assert any(np.allclose(line.get_ydata(), cosines) for line in axes[1].lines if len(line.get_ydata()) == 3)


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
        curves = [np.array([line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 3]) for ax in shown]
        np.testing.assert_array_equal(*curves)
