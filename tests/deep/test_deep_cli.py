"""The deep commands on a temporary folder, good and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from teacher_student import cli
from teacher_student.deep import load_model, training
from teacher_student.deep.problem_file import deep_presets, load_deep_problem

SMALL = """
description = "small"
[data]
name = "gaussian-mixture"
n_samples = 200
[model]
hidden_layer_sizes = [12, 12]
n_modes = 8
max_iter = 4
random_state = 0
[widths]
widths = [4, 8, 12, 16]
n_modes = [1, 2, 4]
fraction = 0.5
seeds = 2
[latent]
seeds = 2
k = 1
[cost]
n_modes = [1, 2]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with small.toml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def test_presets_are_listed_and_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deep", "presets"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert "digits" in names
    assert names == list(deep_presets())
    for name in names:
        assert load_deep_problem(name).name == name


def test_train_saves_a_model_that_the_analyses_take(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 0
    shown = capsys.readouterr()
    assert "epoch   4/4  loss" in shown.err
    assert "test accuracy" in shown.out
    model, notes = load_model("m.npz")
    assert model.n_iter_ == 4
    assert notes["data"]["name"] == "gaussian-mixture"
    assert cli.main(["deep", "importance", "m.npz", "-o", "out", "--matrix", "0"]) == 0
    assert cli.main(["deep", "ablate", "m.npz", "-o", "out"]) == 0
    assert "epoch" not in capsys.readouterr().err
    assert {path.name for path in (folder / "out").iterdir()} == {
        *("importance.png", "importance.json", "ablation.png", "ablation.json"),
    }
    assert json.loads((folder / "out" / "ablation.json").read_text())["matrix"] == 1


def test_a_model_may_have_any_name(folder: Path) -> None:
    assert cli.main(["deep", "train", "small.toml", "-o", "model.bin"]) == 0
    assert cli.main(["deep", "importance", "model.bin", "-o", "out"]) == 0
    assert (folder / "out" / "importance.png").is_file()


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("importance", {"importance"}),
        ("ablate", {"ablation"}),
        ("latent", {"dimension", "separation"}),
        ("widths", {"accuracy", "least-modes"}),
        ("cost", {"cost"}),
    ],
)
def test_every_analysis_trains_and_writes(command: str, written: set[str], folder: Path) -> None:
    assert cli.main(["deep", command, "small.toml", "-o", "out", "--seed", "3"]) == 0
    expected = {f"{name}.{suffix}" for name in written for suffix in ("png", "json")}
    assert {path.name for path in (folder / "out").iterdir()} == expected
    for name in written:
        json.loads((folder / "out" / f"{name}.json").read_text())


def test_ctrl_c_keeps_the_best_network_so_far(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    epoch, calls = training._epoch, []

    def interrupted(*arguments: object) -> tuple[float, float]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return epoch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_epoch", interrupted)
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 130
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")] == [
        "teacher-student: training interrupted; the best network so far is kept"
    ]
    model, _ = load_model("m.npz")
    assert model.n_iter_ == 2
    assert model.interrupted_
    calls[:] = [1, 1]  # in the first epoch: the model that is there stays
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 130
    assert "nothing is saved" in capsys.readouterr().err
    assert load_model("m.npz")[0].n_iter_ == 2
    for command in ("ablate", "latent", "widths", "cost"):
        calls[:] = [1, 1] if command == "cost" else []  # costs: in the epoch that is not timed
        assert cli.main(["deep", command, "small.toml", "-o", "out"]) == 130
        assert not list((Path.cwd() / "out").iterdir())


def test_divergence_keeps_the_best_network_so_far(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    epoch = training._epoch
    good = [1, 1]

    def diverging(*arguments: object) -> tuple[float, float]:
        return epoch(*arguments) if good and good.pop() else (np.inf, np.nan)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_epoch", diverging)
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 3
    assert "loss inf in epoch 3; a lower learning_rate may help; the best network so far is kept\n" in capsys.readouterr().err
    assert load_model("m.npz")[0].n_iter_ == 2
    # In the first epoch: the model that is there stays.
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 3
    assert capsys.readouterr().err.endswith("loss inf in epoch 1; a lower learning_rate may help\n")
    assert load_model("m.npz")[0].n_iter_ == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nn_modse = 3", "bad.toml: model.n_modse: got 3, expected no such key; known here: hidden_layer_sizes, n_modes"),
        ("[odel]\nn_modes = 3", "bad.toml: odel: got {'n_modes': 3}, expected no such key"),
        ("model = 3", "bad.toml: model: got 3, expected a table [model]"),
        ("name = 3", "bad.toml: name: got 3, expected text"),
        ("[model]\nn_modes = 0", "n_modes: got 0, expected a whole number of at least 1"),
        ("[model]\nmax_iter = 0", "max_iter: got 0, expected a whole number"),
        ("[data]\nname = 'imagenet'", "data: got 'imagenet', expected one of"),
        ("[data", "problem: got 'bad.toml'"),
    ],
)
def test_bad_problems_are_refused_in_one_line(text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(text)
    assert cli.main(["deep", "train", "bad.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"teacher-student: {message}")
    assert error.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == {"small.toml", "bad.toml"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "no-such-problem"], "problem: got 'no-such-problem', expected a TOML file, a model, or one of the presets"),
        (["ablate", "no-such-model.npz"], "model: got 'no-such-model.npz', expected a file"),
        (["train", "small.toml", "-o", "no/such/folder/m.npz"], "output: got"),
        (["train", "small.toml", "-o", "."], "output: got '.', expected a file, not a folder"),
        (["train", "small.toml", "--data", "mnist", "--folder", "."], ".: got no file train-images-idx3-ubyte"),
        (["ablate", "small.toml", "--matrix", "7"], "matrix: got 7, expected one of the weight matrices 0 to 2"),
        (["cost", "small.toml", "-o", "small.toml"], "output: got 'small.toml', expected a folder"),
        (["ablate", "m.npz", "--seed", "1"], "seed: got 1, expected none with a saved model"),
        (["train", "small.toml", "--seed", "-3"], "random_state: got -3, expected a whole number of at least 0"),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deep", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"teacher-student: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "old", "new", "message"),
    [
        ("cost", "[cost]\nn_modes = [1, 2]", "[cost]\nn_modes = 3", "cost.n_modes: got 3, expected a list of whole numbers"),
        (
            "cost",
            "[cost]\nn_modes = [1, 2]",
            "[cost]\nn_modes = [2, 2.5]",
            "n_modes: got 2.5, expected a whole number of at least 1",
        ),
        ("widths", "seeds = 2\n[latent]", "seeds = 1\n[latent]", "seeds: got 1, expected a whole number of at least 2"),
        ("latent", "k = 1", "k = 3", "k: got 3, expected at most the number of neurons and of samples of each class, here 2"),
        ("importance", "[cost]", "[importance]\nmatrix = 7\n[cost]", "matrix: got 7, expected one of the weight matrices 0 to 2"),
        ("train", "random_state = 0", "random_state = 'x'", "random_state: got 'x', expected a whole number of at least 0"),
        ("train", 'name = "gaussian-mixture"', "name = ['digits']", "data: got ['digits'], expected one of digits"),
    ],
)
def test_impossible_settings_are_refused_in_one_line_before_any_training(
    command: str, old: str, new: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in SMALL
    (folder / "bad.toml").write_text(SMALL.replace(old, new))
    assert cli.main(["deep", command, "bad.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"teacher-student: {message}")
    assert error.count("\n") == 1


def test_standard_training_is_compared_with_modes_not_with_itself(folder: Path) -> None:
    (folder / "standard.toml").write_text(SMALL.replace("n_modes = 8", 'n_modes = 8\ndecomposition = "none"'))
    assert cli.main(["deep", "cost", "standard.toml", "-o", "out"]) == 0
    assert [cost["n_modes"] for cost in json.loads((folder / "out" / "cost.json").read_text())] == [0, 1, 2]
    assert cli.main(["deep", "widths", "standard.toml", "-o", "out"]) == 0
    accuracy = np.array(json.loads((folder / "out" / "accuracy.json").read_text())["accuracy"])
    assert np.ptp(accuracy, axis=2).max() > 0.1


def test_importance_of_fewer_modes_than_laws_need_is_shown_without_them(folder: Path) -> None:
    assert cli.main(["deep", "importance", "small.toml", "--set", "model.n_modes=4", "-o", "out"]) == 0
    numbers = json.loads((folder / "out" / "importance.json").read_text())
    assert len(numbers["tau"]) == 4
    assert numbers["tau"] == sorted(numbers["tau"], reverse=True)
    assert numbers["verdict"].startswith("no power law fitted")


def test_importance_prints_the_conclusion_of_its_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deep", "importance", "small.toml", "-o", "out"]) == 0
    numbers = json.loads((folder / "out" / "importance.json").read_text())
    ratio = max(numbers["tau"]) / min(numbers["tau"])
    assert ratio < 2.0  # of eight modes after four epochs
    expected = f"the modes matter almost alike: the largest tau is {ratio:.2f} times the smallest, too little to tell a law"
    assert numbers["conclusion"] == expected
    assert capsys.readouterr().out.startswith(f"matrix 1, 8 modes: {expected}\n")
    assert cli.main(["deep", "train", "small.toml", "-o", "m.npz"]) == 0
    assert cli.main(["deep", "importance", "m.npz", "--set", "model.n_modes=4"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("teacher-student: set: got 'model.n_modes=4', expected none with")


def test_a_last_step_that_diverges_is_told_and_saves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = SMALL.replace("max_iter = 4", "max_iter = 1\nlearning_rate = 1e39\nbatch_size = 2000")
    (folder / "wild.toml").write_text(changed)
    assert cli.main(["deep", "train", "wild.toml"]) == 3
    expected = "teacher-student: training diverged: parameters not finite in epoch 1; a lower learning_rate may help\n"
    assert capsys.readouterr().err == expected
    assert not (folder / "wild.npz").exists()


def test_divergence_is_told_in_one_line_with_status_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = SMALL.replace("n_modes = 8", 'n_modes = 8\noptimiser = "sgd"\nlearning_rate = 1e6\nactivation = "linear"')
    (folder / "wild.toml").write_text(changed)
    assert cli.main(["deep", "train", "wild.toml"]) == 3
    assert "training diverged: loss" in capsys.readouterr().err


WITHOUT = """
import importlib.abc, importlib.util, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'sklearn':
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import teacher_student as ts
from teacher_student import cli
from teacher_student import *
assert cli.main(['presets']) == 0
assert cli.main(['deep', 'train']) == 2
try:
    ts.deep.ModeMLPClassifier
except ImportError as error:
    print(error)
"""


def test_without_scikit_learn_the_rest_works_and_deep_says_what_is_missing() -> None:
    here = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, env=here)
    message = "teacher_student.deep needs scikit-learn: pip install 'teacher_student[deep]'"
    assert result.stderr.splitlines() == [f"teacher-student: {message}"]
    assert result.stdout.splitlines()[-1] == message


def test_seed_decides_the_network(folder: Path) -> None:
    thetas = []
    for seed in ("1", "1", "2"):
        assert cli.main(["deep", "train", "small.toml", "-o", "m.npz", "--seed", seed]) == 0
        thetas.append(load_model("m.npz")[0].theta_)
    np.testing.assert_array_equal(thetas[0], thetas[1])
    assert np.abs(thetas[0] - thetas[2]).max() > 0.01


def test_a_network_without_hidden_layers_has_the_geometry_of_its_input(folder: Path) -> None:
    (folder / "none.toml").write_text(SMALL.replace("hidden_layer_sizes = [12, 12]", "hidden_layer_sizes = []"))
    assert cli.main(["deep", "latent", "none.toml", "-o", "out"]) == 0
    numbers = json.loads((folder / "out" / "dimension.json").read_text())
    assert [len(run["dimension"]) for run in numbers["modes"]] == [1, 1]


def test_saved_models_find_their_data_from_anywhere_and_importance_needs_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    (folder / "mn").mkdir()
    for part in ("train", "t10k"):
        pixels, labels = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8), (np.arange(40) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / "mn" / f"{part}-{kind}-ubyte").write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    assert cli.main(["deep", "train", "small.toml", "--data", "mnist", "--folder", "mn", "-o", "m.npz"]) == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert cli.main(["deep", "ablate", "../m.npz", "-o", "out"]) == 0
    assert cli.main(["deep", "ablate", "../m.npz", "-o", "out", "--data", "digits"]) == 0
    (folder / "mn").rename(folder / "gone")
    assert cli.main(["deep", "importance", "../m.npz", "-o", "out"]) == 0
    capsys.readouterr()
    assert cli.main(["deep", "ablate", "../m.npz", "-o", "out"]) == 2
    assert "got no file train-images-idx3-ubyte" in capsys.readouterr().err
