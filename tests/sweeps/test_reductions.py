"""Numbers for every point of a sweep against those of single runs, and figures that hold them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

mpl.use("Agg")

import matplotlib.pyplot as plt

import teacher_student as ts
from teacher_student import cli
from teacher_student.sweeps.one_point import places, trajectory_at

START: dict[str, Any] = {
    "kind": "plain",
    "Q": [[0.2, 0.0], [0.0, 0.25]],
    "R": [[0.02, 0.01], [0.01, 0.02]],
    "T": [[1.0, 0.0], [0.0, 1.0]],
    "v": [1.0, 1.0],
    "v_teacher": [1.0, 1.0],
}
TIMES = ts.log_spaced_times(0.1, 300.0, 36).tolist()
ETA, NOISE = "rule.eta_xi_in", "rule.noise"
RATES, NOISES = [0.5, 1.0, 30.0], [0.0, 0.3]


def run(folder: Path, vary: dict[str, Any], **options: Any) -> xr.Dataset:
    problem = {"initial": START, "rule": {"eta_xi_in": 0.5}, "run": {"alpha": TIMES, "n_inputs": 40, "replicas": 3}}
    with ThreadPoolExecutor(1) as pool:
        return ts.sweep(ts.Sweep(problem, vary, **options), folder, executor=pool, workers=1, progress=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Return a sweep over two fields; the largest rate diverges without learning."""
    return run(tmp_path_factory.mktemp("grid"), {ETA: RATES, NOISE: NOISES}, simulation="overlaps")


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


def alone(eta: float, noise: float) -> xr.Dataset:
    problem = ts.Problem(
        initial=ts.plain_committee(**{key: value for key, value in START.items() if key != "kind"}),
        rule=ts.LearningRule(eta_xi_in=eta, noise=noise),
        alpha=np.rint(40 * np.array(TIMES)) / 40,  # with a simulation, whole steps at N = 40
    )
    return ts.integrate(problem, progress=False)


def test_a_point_is_the_run_of_its_problem(dataset: xr.Dataset) -> None:
    for place in list(places(dataset))[:4]:
        eta, noise = (dataset.isel(place)[name].item() for name in (ETA, NOISE))
        expected, found = alone(eta, noise), trajectory_at(dataset, place, "")
        assert found is not None
        for name in ("eps_g", "Q", "R_modes"):
            xr.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-9)


def test_values_are_those_of_single_runs(dataset: xr.Dataset) -> None:
    level = 0.02
    passage, plateau, onset, final = (
        ts.sweep_values(dataset, of, **({"level": level} if of == "passage" else {}))
        for of in ("passage", "plateau", "onset", "final")
    )
    for i, eta in enumerate(RATES[:2]):
        for j, noise in enumerate(NOISES):
            one = alone(eta, noise)
            assert passage["value"][i, j] == pytest.approx(float(ts.passage_times(one, level)), rel=1e-6, nan_ok=True)
            assert onset["value"][i, j] == pytest.approx(np.nanmin(ts.specialization(one)["onset"]), rel=1e-6)
            assert final["value"][i, j] == pytest.approx(float(one["eps_g"][-1]), rel=1e-6)
            (stage,) = [s for s in ts.stages(one) if s.kind == "plateau" and not s.open_start and not s.open_end]
            assert plateau["value"][i, j] == pytest.approx(stage.alpha_end - stage.alpha_start, rel=1e-4)
    assert (final["value"].attrs["units"], passage["value"].attrs["units"]) == ("1", "steps / N")
    assert passage["value"].attrs["long_name"] == "first time alpha at which eps_g is at most 0.02"
    assert passage["value"].dims == (ETA, NOISE)


def test_reasons_say_why_a_value_is_missing_or_not_final(dataset: xr.Dataset) -> None:
    final, passage = ts.sweep_values(dataset, "final"), ts.sweep_values(dataset, "passage", level=1e-9)
    assert final["reason"].values[0, 0].startswith("eps_g still changes as alpha^-")
    assert final["reason"].values[1, 1] == ""  # with noise it is stationary
    assert final["reason"].values[2, 0].startswith("diverged at alpha = ")
    assert np.isnan(final["value"].values[2, 0])
    assert passage["reason"].values[0, 1] == "eps_g stays above 1e-09 up to alpha = 300"
    assert np.isnan(passage["value"].values[0, 1])
    early = dataset.isel(alpha=slice(0, 25))
    assert ts.sweep_values(early, "onset")["reason"].values[0, 0].startswith("no unit specialises up to alpha = ")
    assert ts.sweep_values(early, "plateau")["reason"].values[0, 0].startswith("a plateau, or the stationary state,")


def test_simulations_give_means_with_errors(dataset: xr.Dataset) -> None:
    found = ts.sweep_values(dataset, "final", simulated=True)
    runs = dataset["simulated_eps_g"].isel(alpha=-1).values[1, 1]
    assert found["value"][1, 1] == pytest.approx(runs.mean())
    assert found["error"][1, 1] == pytest.approx(runs.std(ddof=1) / np.sqrt(3))
    assert np.isnan(ts.sweep_values(dataset, "final")["error"]).all()
    for of in ("passage", "plateau", "onset"):
        assert ts.sweep_values(dataset, of, level=0.2, simulated=True)["value"].shape == (3, 2)


def test_stationary_values_are_those_of_stable_fixed_points(dataset: xr.Dataset) -> None:
    found = ts.sweep_values(dataset.isel({ETA: [1, 2]}), "stationary")
    point = ts.fixed_point(ts.Problem(alone(1.0, 0.3).pipe(ts.warm_restart).initial, ts.LearningRule(eta_xi_in=1.0, noise=0.3)))
    assert point.n_unstable == 0
    assert found["value"][0, 1] == pytest.approx(point.eps_g, rel=1e-6)
    assert abs(found["value"].values[0, 0]) < 1e-9
    assert found["reason"].values[0].tolist() == ["", ""]
    assert found["reason"].values[1, 0].startswith("theory diverged at alpha = ")


def test_units_that_vary_are_not_padded(tmp_path: Path) -> None:
    three = {"Q": np.diag([0.2, 0.25, 0.3]).tolist(), "R": (0.01 * np.eye(3)).tolist(), "T": np.eye(3).tolist(), "v": [1.0] * 3}
    larger = {**START, **three, "v_teacher": [1.0] * 3}
    found = run(tmp_path, {"initial": [START, larger], "run.alpha": [[0.0, 1.0], [0.0, 1.0, 2.0]]})
    assert [trajectory_at(found, place, "").sizes["student"] for place in places(found)] == [2, 2, 3, 3]
    assert [trajectory_at(found, place, "").sizes["alpha"] for place in places(found)] == [2, 3, 2, 3]
    final = ts.sweep_values(found, "final")["value"].values
    assert np.isfinite(final).all()
    np.testing.assert_array_equal(ts.sweep_values(found, "stationary")["reason"].values, "")


def test_a_diagram_shows_values_marks_and_boundaries(dataset: xr.Dataset) -> None:
    _, ax = ts.plots.phase_diagram(dataset, ETA, NOISE, levels=[0.01])
    (mesh, boundaries) = (next(c for c in ax.collections if kind in type(c).__name__) for kind in ("QuadMesh", "LineCollection"))
    shown = np.ma.filled(mesh.get_array().reshape(2, 3), np.nan)
    np.testing.assert_array_equal(shown, ts.sweep_values(dataset, "final")["value"].values.T)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["diverged", "not final"]
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    assert set(zip(*crosses.get_data(), strict=True)) == {(30.0, 0.0), (30.0, 0.3)}
    edges = np.array([segment for path in boundaries.get_paths() for segment in [path.vertices]])
    np.testing.assert_allclose(edges[:, :, 0], np.sqrt(30.0))  # between the rates 1 and 30, on a logarithmic axis
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_xlabel() == "rate of the input modes (rule.eta_xi_in)"
    # Fields in a decreasing order, and numbers of one's own.
    own = dataset["eps_g"].isel(alpha=3)
    _, ax = ts.plots.phase_diagram(dataset.isel({ETA: [2, 1, 0]}), NOISE, ETA, own.isel({ETA: [2, 1, 0]}))
    mesh = next(c for c in ax.collections if "QuadMesh" in type(c).__name__)
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array().reshape(3, 2), np.nan), own.values)


def test_families_are_curves_of_runs_or_of_values(dataset: xr.Dataset) -> None:
    _, ax = ts.plots.family(dataset.isel({NOISE: 1}), ETA)
    curves = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert [len(curves), ax.get_legend().get_texts()[0].get_text()] == [3, "0.5"]
    np.testing.assert_array_equal(curves[1].get_ydata(), dataset["eps_g"].values[1, 1, 1:])
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    _, ax = ts.plots.family(dataset, NOISE, "final", levels=[0.1])
    assert len(ax.containers) == 2
    np.testing.assert_array_equal(ax.containers[1].lines[0].get_ydata(), ts.sweep_values(dataset, "final")["value"].values[:, 1])
    assert ax.lines[-1].get_ydata() == [0.1, 0.1]
    simulated = ts.sweep_values(dataset.isel({NOISE: 1}), "final", simulated=True)
    _, ax = ts.plots.family(dataset.isel({NOISE: 1}), ETA, simulated)
    (curve,) = ax.containers
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), simulated["value"].values)
    segments = np.array(curve.lines[2][0].get_segments()[1])
    assert segments[1, 1] - segments[0, 1] == pytest.approx(2 * simulated["error"].values[1])
    _, ax = ts.plots.family(dataset.isel({NOISE: 1}), ETA, "simulated_eps_g")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), dataset["simulated_eps_g"].mean("replica").values[0, 1, 1:])


def test_points_of_a_random_design_are_drawn_by_themselves(tmp_path: Path) -> None:
    vary = {ETA: {"uniform": [0.2, 1.0]}, NOISE: {"uniform": [0.0, 0.5]}}
    found = run(tmp_path, vary, design="sobol", points=4, variables=["eps_g"])
    _, ax = ts.plots.phase_diagram(found, NOISE, ETA)
    offsets = ax.collections[0].get_offsets()
    np.testing.assert_array_equal(offsets, np.transpose([found[NOISE].values, found[ETA].values]))
    stationary = ts.sweep_values(found, "stationary")
    assert stationary["value"].dims == ("point",)
    with pytest.raises(ts.InvalidInput, match=r"^over: got 'point', expected a field of a sweep over a grid"):
        ts.plots.family(found, "point")
    with pytest.raises(ts.InvalidInput, match=r"^dataset: got 'one without Q', expected a sweep that keeps Q"):
        ts.sweep_values(found, "onset")


def test_what_cannot_be_shown_is_refused(dataset: xr.Dataset) -> None:
    theory = alone(0.5, 0.0)
    for call, field in (
        (lambda: ts.sweep_values(theory, "final"), "dataset"),
        (lambda: ts.sweep_values(dataset, "last"), "of"),
        (lambda: ts.sweep_values(dataset, "passage"), "level"),
        (lambda: ts.sweep_values(dataset, "stationary", simulated=True), "simulated"),
        (lambda: ts.sweep_values(dataset.drop_vars("status"), "final"), "simulated"),
        (lambda: ts.plots.phase_diagram(dataset, ETA, ETA), "y"),
        (lambda: ts.plots.phase_diagram(dataset, ETA, "rule.eta_v"), "y"),
        (lambda: ts.plots.phase_diagram(dataset, ETA, NOISE, dataset["eps_g"]), "of"),
        (lambda: ts.plots.phase_diagram(dataset, ETA, NOISE, levels=["low"]), r"levels\[0\]"),
        (lambda: ts.plots.family(dataset, ETA), "dataset"),
        (lambda: ts.plots.family(dataset.expand_dims({"rule.eta_v": [0.0, 1.0]}), ETA, "final"), "dataset"),
        (lambda: ts.plots.family(dataset, "alpha"), "over"),
    ):
        with pytest.raises(ts.InvalidInput, match=f"^{field}: got "):
            call()


def test_commands_show_sweeps(dataset: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    dataset.isel({NOISE: [1]}).to_netcdf(tmp_path / "one.nc", engine="h5netcdf")
    assert cli.main(["plot", str(tmp_path / "two.nc"), str(tmp_path / "one.nc")]) == 0
    assert cli.main(["plot", str(tmp_path / "two.nc"), "--of", "passage", "--level", "0.02", "-o", str(tmp_path / "a.svg")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"two.nc", "one.nc", "two.png", "one.png", "a.svg"}
    assert cli.main(["plot", str(tmp_path / "one.nc"), "--of", "onset", "-o", str(tmp_path / "b.pdf")]) == 0
    assert cli.main(["plot", str(tmp_path / "two.nc"), "--of", "passage"]) == 2
    capsys.readouterr()
    assert cli.main(["stages", str(tmp_path / "two.nc")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rule.eta_xi_in = 0.5, rule.noise = 0.0"
    assert lines[1].startswith("stage ")
    assert sum(line.startswith("rule.eta_xi_in = 30.0") and "(diverged at alpha = " in line for line in lines) == 2


def test_variables_have_long_names_and_units(dataset: xr.Dataset) -> None:
    for name in (*dataset.data_vars, *dataset.coords):
        assert dataset[name].attrs["long_name"], name
    numbers = [name for name in dataset.data_vars if dataset[name].dtype.kind == "f"]
    assert all(dataset[name].attrs["units"] == "1" for name in numbers)
    assert dataset["alpha"].attrs == {"long_name": "time alpha", "units": "steps / N"}
    theory = ts.integrate(ts.load_problem("all-factors"), [0.0, 0.1], fluctuations=True, progress=False)
    assert all({"long_name", "units"} <= set(theory[name].attrs) for name in (*theory.data_vars, "alpha"))
