"""Trajectories on disk: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.analysis.stages import passage_times
from teacher_student.animation import animate
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


READERS = {
    "stages": ts.stages,
    "specialization": ts.specialization,
    "passage_times": lambda trajectory: passage_times(trajectory, 0.1),
    "animate": lambda trajectory: animate(trajectory, "film.gif", n_frames=2),
}
NO_TRAJECTORIES: dict[str, tuple[Callable[[xr.Dataset], object], str]] = {
    "none": (lambda run: None, "'NoneType'"),
    "array": (lambda run: run["eps_g"], "'DataArray'"),
    "one variable": (lambda run: run[["sigma"]], "a dataset without"),
    "one time": (lambda run: run.isel(alpha=1), "expected one alpha"),
    "no alpha": (lambda run: run.drop_vars("alpha"), "expected one alpha"),
    "no times": (lambda run: run.isel(alpha=slice(0)), "no alpha"),
    "no replicas": (
        lambda run: (run if "replica" in run.dims else run.expand_dims("replica")).isel(replica=slice(0)),
        "replica",
    ),
    "extra dimension": (lambda run: xr.concat([run, run], "point"), "with dimensions ('point', "),
    "reversed": (lambda run: run.isel(alpha=slice(None, None, -1)), "times that increase"),
    "repeated": (lambda run: run.isel(alpha=[0, 1, 1, 2]), "times that increase"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("broken", NO_TRAJECTORIES)
def test_what_is_no_trajectory_is_refused_in_one_line(
    trajectory: xr.Dataset, reader: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, message = NO_TRAJECTORIES[broken]
    given = change(trajectory)
    with pytest.raises(ts.InvalidInput, match=r"^trajectory: got .+, expected ") as caught:
        READERS[reader](given)  # type: ignore[no-untyped-call]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_dimensions_in_another_order_are_the_same_trajectory(trajectory: xr.Dataset) -> None:
    """Cosines, passages and specialisation are those of the trajectory as it came."""
    transposed = trajectory.transpose(*reversed(list(trajectory.sizes)))
    assert transposed["Q_modes"].dims != trajectory["Q_modes"].dims
    xr.testing.assert_identical(ts.specialization(transposed), ts.specialization(trajectory))
    xr.testing.assert_identical(passage_times(transposed, 0.1), passage_times(trajectory, 0.1))


def test_a_whole_trajectory_is_read(trajectory: xr.Dataset) -> None:
    assert ts.specialization(trajectory).sizes["alpha"] == 3
    assert np.isnan(passage_times(trajectory, 1e-9)).all()
    for level in (np.nan, -1.0, "low"):
        with pytest.raises(ts.InvalidInput, match=r"^level: "):
            passage_times(trajectory, level)  # type: ignore[arg-type]


def test_normalized_overlaps_are_cosines(trajectory: xr.Dataset) -> None:
    cosines = normalized_overlaps(trajectory)
    last = trajectory.isel(alpha=-1)
    expected = last["R"].values[..., 0, 1] / np.sqrt(last["Q"].values[..., 0, 0] * last["T"].values[1, 1])
    np.testing.assert_allclose(cosines.isel(alpha=-1).values[..., 0, 1], expected, rtol=1e-14)
    assert float(np.abs(cosines).max()) <= 1.0


def test_what_is_no_trajectory_or_no_path_is_refused(tmp_path: Path) -> None:
    for value in (3, ts.load_problem("staircase").initial):
        with pytest.raises(
            ts.InvalidInput, match=r"^trajectory: got '(int|OrderParameters)', expected a trajectory of integrate"
        ):
            ts.save_trajectory(value, tmp_path / "t.nc")  # type: ignore[arg-type]
    with pytest.raises(ts.InvalidInput, match=r"^output: got 3, expected a path$"):
        ts.save_trajectory(xr.Dataset(), 3)  # type: ignore[arg-type]
    with pytest.raises(ts.InvalidInput, match=r"^file: got 3, expected a path$"):
        ts.load_trajectory(3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
