"""The least number of modes against width: seeds, what is said where no law can be fitted, and what is written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from teacher_student import cli
from teacher_student.deep import analyses
from teacher_student.deep.data import load_data
from teacher_student.deep.fits import Fit, fit_width_laws, width_verdict
from teacher_student.deep.widths import LeastModes, least_modes
from teacher_student.errors import InvalidInput

PROBLEM = """
[data]
name = "gaussian-mixture"
n_samples = 200
[model]
hidden_layer_sizes = [8]
max_iter = 2
[widths]
widths = [4, 6, 8, 10]
n_modes = [1, 2, 4]
fraction = 0.5
seeds = 2
"""


def not_json(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def widths_command(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str, **changes: Any) -> dict[str, Any]:
    """Run the command on `PROBLEM` with lines replaced; return what it writes."""
    monkeypatch.chdir(folder)
    lines = [f"{key} = {changes[key]}" if (key := line.split(" =")[0]) in changes else line for line in PROBLEM.splitlines()]
    (folder / "small.toml").write_text("\n".join(lines))
    assert cli.main(["deep", "widths", "small.toml", "-o", "out", *options]) == 0
    numbers: dict[str, Any] = json.loads((folder / "out" / "least-modes.json").read_text(), parse_constant=not_json)
    return {**numbers, **json.loads((folder / "out" / "accuracy.json").read_text())}


def test_the_seed_is_the_first_of_those_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = widths_command(tmp_path, monkeypatch, "--seed", "0")
    third, again = (widths_command(tmp_path, monkeypatch, "--seed", "1") for _ in range(2))
    assert third == again
    assert first["accuracy"] != third["accuracy"]
    assert [width[1] for width in first["accuracy"]] == [width[0] for width in third["accuracy"]]


def result(least: list[list[float]], widths: tuple[int, ...] = (4, 8, 16, 32)) -> LeastModes:
    values = np.array(least)
    shape = (len(widths), values.shape[1])
    return LeastModes(np.array(widths), np.array([2, 4, 8]), 0.9, np.zeros((*shape, 3)), np.ones(shape), values)


@pytest.mark.parametrize(
    ("of", "obstacle", "bounded"),
    [
        (result([[2.0, 2.0]] * 4), "all seeds need the same number of modes, so that its error is unknown", [4, 8, 16, 32]),
        (result([[2.0, 3.0], [3.0, 3.0], [math.nan, 3.0], [3.0, 3.0]]), "at N = 16 not every seed reaches that", [4]),
        (result([[3.0, 3.5]] * 3, (4, 8, 16)), "it needs four widths, not 3", []),
        (result([[2.5, 3.5]] * 4), None, []),
    ],
)
def test_what_keeps_laws_from_being_fitted_is_said(of: LeastModes, obstacle: str | None, bounded: list[int]) -> None:
    assert of.obstacle is None if obstacle is None else of.obstacle is not None and of.obstacle.startswith(obstacle)
    assert of.bounded.tolist() == bounded


def test_the_fewest_modes_tried_are_called_an_upper_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = widths_command(tmp_path, monkeypatch, fraction=0.001)
    shown = capsys.readouterr().out
    assert "N = 4, 6, 8, 10: upper bounds, P = 1 is enough for a seed\n" in shown
    assert "no law fitted: all seeds need the same number of modes, so that its error is unknown\n" in shown
    assert numbers["upper_bounds"] == [4, 6, 8, 10]


def test_a_constant_that_fits_best_is_called_that() -> None:
    assert width_verdict(fit_width_laws([8, 16, 32, 64], [5.0, 5.1, 4.9, 5.0], [0.5] * 4)) == (
        "no dependence on width is supported: a constant describes the numbers best"
    )


def test_what_is_not_finite_is_null_in_json_and_undetermined_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    laws = [Fit(name, {"a": 1.0}, {"a": math.inf}, np.ones(4), 1.0) for name in ("saturating a N / (N + b)", "constant")]
    monkeypatch.setattr(analyses, "fit_width_laws", lambda *arguments: laws)
    monkeypatch.setattr(analyses, "least_modes", lambda *arguments, **settings: result([[2.5, 3.5]] * 4))
    numbers = widths_command(tmp_path, monkeypatch)
    assert numbers["laws"]["constant"]["errors"] == {"a": None}
    assert "constant: a = 1 +- undetermined (BIC 1.0)" in capsys.readouterr().out


@pytest.mark.parametrize("fraction", [0.0, 1.01, 3])
def test_parts_beyond_the_whole_are_refused(fraction: float) -> None:
    with pytest.raises(InvalidInput, match=rf"^fraction: got {fraction}, expected a"):
        least_modes(load_data("gaussian-mixture", n_samples=50), [4, 8], [1, 2], fraction=fraction)
