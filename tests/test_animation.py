"""Films: their frames, what they show, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import teacher_student as ts
from teacher_student.animation import animate, frame_times
from teacher_student.cli import main


@pytest.fixture(scope="module")
def theory() -> xr.Dataset:
    return ts.integrate(ts.load_problem("saad-solla-1995"), ts.log_spaced_times(1.0, 500.0, 21), progress=False)


def test_a_film_has_its_frames_and_they_change(theory: xr.Dataset, tmp_path: Path) -> None:
    animate(theory, tmp_path / "film.gif", n_frames=4)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames == 4
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(3)
        last = np.asarray(film.convert("RGB")).astype(int)
    wide = first.shape[1]
    orange = [np.argwhere((np.abs(frame - [213, 94, 0]) < 20).all(axis=-1))[:, 1] for frame in (first, last)]
    ends = [(columns.min(), columns.max()) for columns in orange]
    assert all(8 <= end - start + 1 <= 14 for start, end in ends)  # the whole point, also at the ends of the axes
    assert ends[0][1] < 0.25 * wide < 0.45 * wide < ends[1][0]
    assert np.abs(last - first)[: int(0.15 * len(first)), : wide // 2].max() > 100  # the time
    right = slice(int(0.55 * first.shape[1]), int(0.8 * first.shape[1]))
    assert np.abs(last - first)[:, right].max() > 100  # the matrix: all alike at first, one large entry a unit in the end
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_frames_are_even_in_the_logarithm_of_time() -> None:
    assert frame_times(np.geomspace(0.1, 1000.0, 41), 5) == [0, 10, 20, 30, 40]


def test_command_writes_the_film_beside_the_trajectory(theory: xr.Dataset, tmp_path: Path) -> None:
    problem = ts.load_problem("both-layers")
    ts.save_trajectory(ts.simulate(problem, [0.0, 0.5, 1.0], n_inputs=50, replicas=2, progress=False), tmp_path / "runs.nc")
    assert main(["animate", str(tmp_path / "runs.nc")]) == 0
    with Image.open(tmp_path / "runs.gif") as film:
        assert film.n_frames >= 2


@pytest.mark.parametrize(
    ("name", "n_frames", "times", "field"),
    [
        ("film.mp4", 4, slice(None), "output"),
        ("film.gif", 1, slice(None), "n_frames"),
        ("film.gif", True, slice(None), "n_frames"),
        ("film.gif", 4, slice(0, 2), "alpha"),
        ("absent/film.gif", 4, slice(None), "output"),
        ("film.gif", 4.0, slice(None), "n_frames"),
    ],
)
def test_what_cannot_be_a_film_is_refused(
    theory: xr.Dataset, tmp_path: Path, name: str, n_frames: int, times: slice, field: str
) -> None:
    with pytest.raises(ts.InvalidInput, match=f"^{field}: "):
        animate(theory.isel(alpha=times), tmp_path / name, n_frames)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_refused_before_any_frame_is_drawn(
    theory: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.gif").mkdir()
    ts.save_trajectory(theory, tmp_path / "theory.nc")
    monkeypatch.setattr("teacher_student.animation.plt.subplots", lambda *_, **__: pytest.fail("a figure was made"))
    assert main(["animate", str(tmp_path / "theory.nc"), "-o", str(tmp_path / "folder.gif")]) == 2
    error = capsys.readouterr().err
    assert "expected a file, not a folder" in error
    assert error.count("\n") == 1


def test_command_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.nc").write_text("no trajectory")
    assert main(["animate", str(tmp_path / "text.nc")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
