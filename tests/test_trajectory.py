"""Trajectories on disk: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.problem_file import parse_problem
from teacher_student.trajectory import normalized_overlaps


@pytest.fixture(scope="module", params=["theory", "simulation"])
def trajectory(request: pytest.FixtureRequest, make_problem: Callable[..., ts.Problem]) -> xr.Dataset:
    if request.param == "theory":
        return ts.integrate(make_problem(), [0.0, 0.5, 1.0], progress=False)
    return ts.simulate(make_problem(), [0.0, 0.5, 1.0], n_inputs=20, replicas=2, method="overlaps", progress=False)


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """Return the message with which `call` refuses, checked to be one line naming the file."""
    with pytest.raises(ts.InvalidInput, match=r"^(file|output): got .+, expected ") as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_file_round_trip(trajectory: xr.Dataset, tmp_path: Path) -> None:
    """All arrays, coordinates and attributes come back, the problem among them, and only the one file is there."""
    path = tmp_path / "run.nc"
    ts.save_trajectory(trajectory, path)
    loaded = ts.load_trajectory(str(path))
    xr.testing.assert_identical(loaded, trajectory)
    assert parse_problem(loaded.attrs["problem"]).to_toml() == trajectory.attrs["problem"]
    assert list(tmp_path.iterdir()) == [path]


def test_saving_again_replaces_the_file(trajectory: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    ts.save_trajectory(trajectory, path)
    ts.save_trajectory(trajectory.isel(alpha=slice(1)), path)
    assert ts.load_trajectory(path).sizes["alpha"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_failed_save_keeps_the_old_file(trajectory: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that breaks off half-way leaves the file that was there, and no temporary one."""
    path = tmp_path / "run.nc"
    ts.save_trajectory(trajectory, path)

    def broken(self: xr.Dataset, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", broken)
    assert "No space left on device" in refusal(ts.save_trajectory, trajectory, path)
    monkeypatch.undo()
    assert ts.load_trajectory(path).identical(trajectory)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["missing folder", "file as folder", "folder as file", "name too long"])
def test_place_that_cannot_be_written_is_refused(trajectory: xr.Dataset, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    places = {
        "missing folder": tmp_path / "none" / "run.nc",
        "file as folder": tmp_path / "file" / "run.nc",
        "folder as file": tmp_path / "folder",
        "name too long": tmp_path / ("x" * 300),
    }
    assert "None" not in refusal(ts.save_trajectory, trajectory, places[kind])
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_files_that_are_no_trajectory_are_refused(trajectory: xr.Dataset, tmp_path: Path) -> None:
    whole = tmp_path / "run.nc"
    ts.save_trajectory(trajectory, whole)
    bad = {name: tmp_path / f"{name}.nc" for name in ("empty", "text", "cut", "foreign", "other version", "incomplete")}
    bad["empty"].write_bytes(b"")
    bad["text"].write_text("eps_g = 0")
    bad["cut"].write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    xr.Dataset({"eps_g": ("alpha", np.zeros(2))}).to_netcdf(bad["foreign"], engine="h5netcdf")
    trajectory.assign_attrs(format="teacher_student trajectory 0").to_netcdf(bad["other version"], engine="h5netcdf")
    trajectory.drop_vars("T").to_netcdf(bad["incomplete"], engine="h5netcdf")
    for path in (*bad.values(), tmp_path / "none.nc", tmp_path, tmp_path / ("x" * 300), Path("nul\0byte")):
        refusal(ts.load_trajectory, path)
    assert ts.load_trajectory(whole).identical(trajectory)


def test_normalized_overlaps_are_cosines(trajectory: xr.Dataset) -> None:
    cosines = normalized_overlaps(trajectory)
    last = trajectory.isel(alpha=-1)
    expected = last["R"].values[..., 0, 1] / np.sqrt(last["Q"].values[..., 0, 0] * last["T"].values[1, 1])
    np.testing.assert_allclose(cosines.isel(alpha=-1).values[..., 0, 1], expected, rtol=1e-14)
    assert float(np.abs(cosines).max()) <= 1.0
