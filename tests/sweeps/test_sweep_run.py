"""Sweeps that are run: their dataset, and what is refused before."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from small_sweep import SWEEP, sweep

import teacher_student as ts
from teacher_student import cli
from teacher_student.sweeps import points

LI_HUANG = {"initial": {"kind": "li-huang", "n_inputs": 30, "n_units": 3, "n_modes": 2, "seed": 1}, "rule": {"eta_xi_in": 1.0}}


def test_dataset_holds_the_runs_of_every_point(folder: Path, pool: Executor) -> None:
    dataset = sweep("s.toml", "out", pool)
    with xr.open_dataset("out/sweep.nc", engine="h5netcdf") as stored:
        xr.testing.assert_identical(stored.load(), dataset)
    assert dataset.sizes["rule.eta_xi_in"] == 3
    assert dataset["Q"].dims == ("rule.eta_xi_in", "rule.noise", "alpha", "student", "student_")
    assert dataset["simulated_Q"].dims == ("rule.eta_xi_in", "rule.noise", "replica", "alpha", "student", "student_")
    plan = ts.load_sweep("s.toml")
    for index in (0, 3, 5):
        settings = plan.at(index)
        here = dataset.sel(settings)
        problem = plan.problem_at(index)
        assert (problem.rule.eta_xi_in, problem.rule.noise) == tuple(settings.values())
        theory = ts.integrate(problem, progress=False)
        seed = int(here["seed"])
        simulation = ts.simulate(problem, replicas=3, seed=seed, method="overlaps", progress=False)
        for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v", "Q", "R", "eps_g"):
            np.testing.assert_array_equal(here[name], theory[name])
            np.testing.assert_array_equal(here[f"simulated_{name}"], simulation[name])
        np.testing.assert_array_equal(here["alpha"], simulation["alpha"])
        assert here["status"] == here["simulated_status"] == "complete"
    assert len(np.unique(dataset["simulated_eps_g"].isel(alpha=-1))) == 18


def test_shapes_that_differ_are_padded_with_nan(pool: Executor, tmp_path: Path) -> None:
    vary = {"initial.n_units": [1, 3], "initial.n_modes": [2, 1], "run.replicas": [1, 2]}
    plan = ts.Sweep(LI_HUANG, vary, fixed={"run.alpha": [0.0, 1.0]}, theory=False, simulation="overlaps")
    dataset = sweep(plan, str(tmp_path / "out"), pool)
    assert "eps_g" not in dataset
    Q = dataset["simulated_Q"]
    assert Q.shape == (2, 2, 2, 2, 2, 3, 3)
    counts = np.isfinite(Q).sum(("replica", "alpha", "student", "student_"))
    np.testing.assert_array_equal(counts, [[[2, 4]] * 2, [[18, 36]] * 2])
    sizes = np.isfinite(dataset["simulated_sigma"].isel(alpha=0, replica=0)).sum("mode")
    np.testing.assert_array_equal(sizes.sel({"initial.n_modes": [1, 2]}).isel({"run.replicas": 0}), [[1, 2], [1, 2]])


def test_times_that_differ_make_alpha_a_coordinate_of_every_point(pool: Executor, tmp_path: Path) -> None:
    plan = ts.Sweep(LI_HUANG, {"run.n_inputs": [30, 100]}, fixed={"run.alpha": [0.0, 0.01, 0.5]}, simulation="overlaps")
    dataset = sweep(plan, str(tmp_path / "out"), pool)
    assert dataset["alpha"].dims == ("run.n_inputs", "time")
    np.testing.assert_allclose(dataset["alpha"], [[0.0, 0.5, np.nan], [0.0, 0.01, 0.5]])
    np.testing.assert_array_equal(np.isfinite(dataset["eps_g"]), np.isfinite(dataset["alpha"]))


def test_random_designs_have_one_dimension(pool: Executor, tmp_path: Path) -> None:
    vary = {"rule.eta_xi_in": {"uniform": [0.1, 1.0]}, "rule.activation": {"choices": ["erf", "linear"]}}
    options: dict[str, Any] = {"fixed": {"run.alpha": [0.0, 1.0]}, "variables": ["eps_g"]}
    plan = ts.Sweep(LI_HUANG, vary, design="sobol", points=5, **options)
    dataset = sweep(plan, str(tmp_path / "out"), pool)
    assert dataset["eps_g"].dims == ("point", "alpha")
    assert dataset["rule.eta_xi_in"].dims == dataset["rule.activation"].dims == ("point",)
    expected = ts.integrate(plan.problem_at(4), progress=False)["eps_g"]
    np.testing.assert_array_equal(dataset["eps_g"].isel(point=4), expected)
    assert "Q" not in dataset


def test_diverged_points_are_kept_and_marked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SWEEP.replace("[0.2, 0.5, 0.8]", "[0.2, 50.0]").replace("alpha = [0.0, 1.0, 2.0]", "alpha = [0.0, 1.0, 2000.0]")
    (folder / "s.toml").write_text(text.replace('simulation = "overlaps"', ""))
    assert cli.main(["sweep", "s.toml", "--workers", "1"]) == 3
    printed = capsys.readouterr()
    assert printed.out == "s/sweep.nc\n"
    assert printed.err == "teacher-student: 2 of 4 points diverged, see status; what was computed is kept\n"
    with xr.open_dataset("s/sweep.nc", engine="h5netcdf") as dataset:
        assert (dataset["status"].sel({"rule.eta_xi_in": 0.2}) == "complete").all()
        status = dataset["status"].sel({"rule.eta_xi_in": 50.0, "rule.noise": 0.3}).item()
        assert status.startswith("diverged at alpha = ")
        reached = np.isfinite(dataset["eps_g"].sel({"rule.eta_xi_in": 50.0}))
        np.testing.assert_array_equal(reached, [[True, True, False]] * 2)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("seed = 3", "seed = 4", "'seed = 4'"),
        ("0.8]", "0.9]", "0.9]"),
        ("n_inputs = 30", "n_inputs = 31", "n_inputs"),
        ("replicas = 3", "replicas = 3\nseed = 1", "seed"),
    ],
)
def test_a_folder_with_results_of_another_sweep_is_refused(
    folder: Path, pool: Executor, old: str, new: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep("s.toml", "out", pool)
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    (folder / "s.toml").write_text(SWEEP.replace(old, new))
    assert cli.main(["sweep", "s.toml", "-o", "out"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("teacher-student: sweep: got ")
    assert message.count("\n") == 1
    assert shown in message
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["missing.toml"], "sweep"),
        (["s.toml", "--workers", "0"], "workers"),
        (["s.toml", "-o", "s.toml"], "output"),
        (["s.toml", "-o", "a" * 300], "output"),
        (["s.toml", "-o", "taken"], "output"),
        (["s.toml", "-o", "without"], "output"),
        (["."], "sweep"),
        (["bad.toml"], "bad.toml: sweep"),
        (["key.toml"], "key.toml: varies"),
        (["none.toml"], "none.toml: problem"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    folder: Path, arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {
        "bad": "vary = [",
        "key": 'problem = "staircase"\nvaries = 1',
        "none": "[vary]\nrule.noise = [1.0]",
    }.items():
        Path(f"{name}.toml").write_text(text)
    Path("taken/sweep.nc").mkdir(parents=True)
    Path("without/results").mkdir(parents=True)
    Path("without/results/00000000.npz").touch()
    assert cli.main(["sweep", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"teacher-student: {field}: got ")
    assert message.count("\n") == 1
    assert not list(Path().glob("*/results/*1.npz"))


@pytest.mark.parametrize("source", [3, ts.load_problem("staircase").initial])
def test_what_is_no_sweep_and_no_folder_is_refused(source: Any, tmp_path: Path) -> None:
    with pytest.raises(ts.InvalidInput, match=r"^sweep: got '(int|OrderParameters)', expected a Sweep, or a TOML file with one$"):
        ts.sweep(source, tmp_path / "out")
    with pytest.raises(ts.InvalidInput, match=r"^folder: got .*, expected a path$"):
        ts.sweep(ts.Sweep(LI_HUANG, {"rule.noise": [0.1]}), source)


def test_values_that_netcdf_cannot_hold_are_labelled_by_their_text(pool: Executor, tmp_path: Path) -> None:
    plan = ts.Sweep(LI_HUANG, {"run.seed": [30, 2**63], "name": ["a\0b", "c"]}, fixed={"run.alpha": [0.0, 1.0]})
    assert sweep(plan, str(tmp_path / "out"), pool)["name"].values.tolist() == ['"a\\u0000b"', "c"]
    with xr.open_dataset(tmp_path / "out" / "sweep.nc", engine="h5netcdf") as dataset:
        assert dataset["run.seed"].values.tolist() == ["30", "9223372036854775808"]


def test_a_worker_with_another_version_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = points.work_at(ts.load_sweep("s.toml"), [0])
    monkeypatch.setattr(ts, "__version__", "0.0.1")
    with pytest.raises(ts.InvalidInput, match=r"^worker: got 'version 0\.0\.1', expected version"):
        points.run_batch(work)
