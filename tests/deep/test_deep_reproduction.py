"""The reproduction: estimates and nulls against other ways to them, verdicts that must differ, and the command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from teacher_student import cli
from teacher_student.arrays import Array
from teacher_student.deep import ModeMLPClassifier, mode_importance
from teacher_student.deep.data import Data, load_data
from teacher_student.deep.network import as_layers, build_architecture, draw_parameters
from teacher_student.deep.problem_file import load_deep_problem
from teacher_student.deep.reproduction import figures, results
from teacher_student.deep.reproduction.estimates import (
    Estimate,
    difference_of_accuracies,
    estimate,
    gaussian_null,
    log_normal_null,
    rank_correlation,
    removal_cost,
    slopes,
)
from teacher_student.deep.reproduction.measure import _start_small, right_samples
from teacher_student.deep.reproduction.mode_claims import bend, order, removal
from teacher_student.deep.reproduction.plan import Plan, all_parts, build_plan
from teacher_student.deep.reproduction.verdict import word

SMALL = """
[data]
name = "mnist"
inputs = "unit-range"
[model]
hidden_layer_sizes = [12, 12]
n_modes = 14
initialisation = "li-huang"
learning_rate = 0.01
max_iter = 2
[widths]
widths = [6, 8, 10, 12]
n_modes = [2, 4]
fraction = 0.5
seeds = 2
[latent]
k = 1
[reproduce]
networks = 2
n_draws = 2
first_ranks = 5
[budget]
hidden_layer_sizes = [12, 12]
n_modes = 4
many_modes = 8
high_rate = 0.02
max_iter = 2
seeds = 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with small.toml and with the 8 x 8 digits as IDX files in mn."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "mn").mkdir()
    images, labels = load_digits(return_X_y=True)
    for part, rows in (("train", slice(0, 200)), ("t10k", slice(200, 301))):
        pixels, classes = (images[rows] * 15).astype(np.uint8).reshape(-1, 8, 8), labels[rows].astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", classes)):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            (tmp_path / "mn" / f"{part}-{kind}-ubyte").write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    return tmp_path


COMMAND = ["deep", "reproduce", "small.toml", "--folder", "mn", "-o", "out"]


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    found.pop("cpu_seconds")
    return found


def test_an_interrupted_reproduction_goes_on_to_the_same_claims(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, measured = results.measure, []

    def counted(part: Any, plan: Plan, data: Data) -> dict[str, Any]:
        measured.append(part.file)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(part, plan, data)

    monkeypatch.setattr(results, "measure", counted)
    assert cli.main(COMMAND) == 130
    assert "interrupted; 3 of 70 networks are kept; the same command goes on" in capsys.readouterr().err
    assert not (folder / "out" / "claims.json").exists()
    (folder / "out" / "networks" / measured[0]).write_text('{"stamp"')  # as a disk that was full would leave it
    assert cli.main(COMMAND) == 0
    shown = capsys.readouterr()
    assert "2 of 70 networks were there already" in shown.err
    assert "[70/70] budget, modes, many in all, high rate, seed 1: accuracy 0." in shown.err
    assert len(measured) == 4 + 68
    assert measured.count(measured[0]) == 2
    assert {path.name for path in (folder / "out").iterdir()} == {
        *("networks", "claims.json", "claims.txt", "accuracy.png", "importance.png", "order.png", "removal.png"),
        *("latent.png", "budget.png"),
    }
    claims = document(folder / "out" / "claims.json")
    assert len(claims["claims"]) == 2 + 2 + 4 + 3 + 4 + 4 + 3 + 1
    assert all(claim["claim"] in shown.out for claim in claims["claims"])
    monkeypatch.setattr(figures, "write", lambda *arguments: [])  # which take longer than all else, and are there
    assert cli.main([*COMMAND[:-1], "again"]) == 0
    assert document(folder / "again" / "claims.json") == claims
    # Another seed is another network, and other settings are not taken for the same.
    del measured[5:]
    (folder / "small.toml").write_text(SMALL.replace("max_iter = 2\n[widths]", "max_iter = 3\n[widths]"))
    assert cli.main(COMMAND) == 0
    assert len(measured) - 5 == 70 - 22
    assert not any(file.startswith("budget") for file in measured[5:])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("networks = 2", "networks = 1", "reproduce.networks: got 1, expected a whole number of at least 2"),
        ("first_ranks = 5", "first_ranks = 13", "reproduce.first_ranks: got 13, expected at most 12"),
        ("n_draws = 2", "n_draws = 'x'", "reproduce.n_draws: got 'x', expected a whole number"),
        ("seeds = 2\n[latent]", "seeds = 1\n[latent]", "widths.seeds: got 1, expected a whole number of at least 2"),
        ("widths = [6, 8, 10, 12]", "widths = [8, 6]", "widths.widths: got [8, 6], expected at least two increasing"),
        ("fraction = 0.5", "fraction = 1.5", "widths.fraction: got 1.5, expected a part of standard accuracy"),
        ("n_modes = 14", "n_modes = [14, 13, 14]", "networks: n_modes: got [14, 13, 14], expected one number, such as 70"),
        ("many_modes = 8", "many_modes = 0", "budget.many_modes: got 0, expected a whole number of at least 1"),
        ("k = 1", "k = 40", "k: got 40, expected at most the number of neurons and of samples of each class"),
        ("[budget]\n", "[budget]\nrate = 3\n", "small.toml: budget.rate: got 3, expected no such key"),
        ("max_iter = 2\nseeds", "max_iter = 0\nseeds", "budget: max_iter: got 0, expected a whole number"),
        ('inputs = "unit-range"', 'inputs = "raw"', "inputs: got 'raw', expected one of standardised, unit-range"),
    ],
)
def test_bad_input_is_refused_before_any_network_is_trained(
    old: str, new: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "measure", None)
    assert SMALL.count(old) == 1
    (folder / "small.toml").write_text(SMALL.replace(old, new))
    assert cli.main(COMMAND) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"teacher-student: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["mnist-li-huang", "mnist-li-huang-shared", "digits-li-huang"])
def test_presets_have_the_settings_of_the_paper(name: str) -> None:
    problem = load_deep_problem(name)
    assert problem.model["initialisation"] == "li-huang"
    assert problem.model["decomposition"] == ("shared" if name.endswith("shared") else "modes")
    parts = all_parts(problem, build_plan(problem))
    assert len({part.file for part in parts}) == len(parts)
    if name.startswith("mnist"):
        assert (problem.model["hidden_layer_sizes"], problem.model["n_modes"]) == ([100, 100, 100], 70)
        assert problem.model["weight_decay"] == 1e-4
        assert (build_plan(problem).networks, build_plan(problem).first_ranks) == (5, 10)


def test_slopes_of_two_power_laws() -> None:
    rank = np.arange(1, 41)
    tau = np.where(rank <= 10, rank**-0.2, rank**-0.7)
    found = slopes(np.random.default_rng(0).permutation(tau), 10)
    assert (found.first, found.second, found.bend) == pytest.approx((-0.2, -0.7, -0.5))


@pytest.mark.parametrize("matrix", [0, 1])
def test_the_gaussian_null_is_what_networks_have_before_training(matrix: int) -> None:
    """Importances of networks that are drawn, not of the null's own law; their bend within four standard errors of its mean."""
    sizes, P, first_ranks, rng = (30, 12, 9), 20, 6, np.random.default_rng(1)
    architecture = build_architecture(sizes, P, "modes", "relu")
    bends, shares = [], []
    for _ in range(400):
        layer = as_layers(architecture, draw_parameters(architecture, "li-huang", rng))[matrix]
        bends.append(slopes(mode_importance(layer), first_ranks).bend)
        lengths = [np.linalg.norm(xi, axis=1).sum() for xi in (layer.xi_in, layer.xi_out.T)]  # type: ignore[union-attr]
        shares.append(lengths[0] / sum(lengths))
    null = gaussian_null(P, sizes[matrix], sizes[matrix + 1], float(np.mean(shares)), first_ranks)
    error = np.hypot(np.std(bends) / 20, null.deviation / np.sqrt(4000))
    assert abs(np.mean(bends) - null.bend) < 4 * error
    assert np.std(bends) == pytest.approx(null.deviation, rel=4 / np.sqrt(2 * 400))
    other = gaussian_null(P, 2, 2, 0.5, first_ranks)  # the negative control: lengths that vary more
    assert abs(np.mean(bends) - other.bend) > 4 * error


def test_the_log_normal_null_has_the_spread_of_the_numbers() -> None:
    tau = np.exp(0.4 * np.random.default_rng(2).standard_normal((300, 25)))
    null = log_normal_null(tau, 8)
    bends = np.array([slopes(row, 8).bend for row in tau])
    error = bends.std() / np.sqrt(300)
    assert abs(bends.mean() - null.bend) < 4 * error
    assert abs(bends.mean() - log_normal_null(tau**1.5, 8).bend) > 4 * error


def test_estimates_and_their_signs() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.error, found.n) == pytest.approx((2.5, np.sqrt(5 / 3 / 4), 4))
    assert found.half_width == pytest.approx(5.840909 * found.error)  # t of three degrees of freedom, two-sided 1 %
    assert [Estimate(mean, 1.0, 4, 3).sign for mean in (-5.9, -5.7, 0.0, 5.7, 5.9)] == [-1, 0, 0, 0, 1]
    pairs = ((0.12345, 0.0123), (-12.345, 1.23), (0.99999, 0.00001), (28.4892, 0))
    shown = [str(Estimate(mean, error, 5, 4)) for mean, error in pairs]
    assert shown == ["0.123 +- 0.012", "-12.35 +- 1.23", "1.0000 +- 0.0000", "28.49"]
    signs = [estimate(sample).sign for sample in np.random.default_rng(3).standard_normal((4000, 5))]
    assert abs(np.mean(np.abs(signs)) - 0.01) < 4 * np.sqrt(0.01 * 0.99 / 4000)


def test_differences_of_accuracies_know_the_choice_of_networks_and_of_test_samples() -> None:
    """The estimated variance is on average that of simulated differences, of which networks and samples have a part each."""
    rng, n_networks, n_samples, trials = np.random.default_rng(4), 4, 200, 1000
    found, told, too_small = [], [], []
    for _ in range(trials):
        difficulty = rng.random(n_samples)  # samples that one kind of network has right and the other has not
        skill = 0.1 * rng.standard_normal((n_networks, 1))
        first, second = (rng.random((n_networks, n_samples)) < p for p in (difficulty + skill, 1 - difficulty))
        found.append(first.mean() - second.mean())
        told.append(difference_of_accuracies(first, second, same_test=True).error ** 2)
        too_small.append(difference_of_accuracies(first, second, same_test=False).error ** 2)
    variance = np.var(found, ddof=1)
    error = np.hypot(variance * np.sqrt(2 / (trials - 1)), np.std(told) / np.sqrt(trials))
    assert abs(np.mean(told) - variance) < 4 * error
    assert abs(np.mean(too_small) - variance) > 4 * error  # the negative control
    assert difference_of_accuracies(first, second, same_test=False).freedom == 3


def test_rank_correlation_and_cost_of_removal() -> None:
    a = np.array([3.0, 1.0, 2.0, 5.0])
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(a, np.ones(4)))
    assert removal_cost(np.array([0.9, 0.5, 0.1]), np.array([0.9, 0.8, 0.1])) == pytest.approx(0.1)


def network(before: Array, after: Array, cost: float = 0.0, cost_before: float = 0.0) -> dict[str, Any]:
    """Return what is measured on a network of one matrix whose sigma is `before` and `after` training."""
    ones = np.ones(len(after)).tolist()
    random = np.linspace(0.9, 0.1, len(after) + 1)
    return {
        "before": {"importance": [{"sigma": before.tolist(), "xi_in": ones, "xi_out": ones}]},
        "after": {"importance": [{"sigma": after.tolist(), "xi_in": ones, "xi_out": ones}]},
        "removal": [{"random": random, "descending": random - cost, "before, descending": random - cost_before}],
    }


PLAN = Plan(5, 10, 2, 1, (2, 3), (1, 2), 2, 2, 0.9, {})


def test_verdicts_on_what_training_makes_and_on_what_was_there() -> None:
    rng = np.random.default_rng(5)
    normal = [np.abs(rng.standard_normal(40)) for _ in range(5)]
    rank = np.arange(1, 41.0)
    made = [np.where(rank <= 10, 6.0, 0.2 * (40 - rank)) * (1 + 0.01 * rng.random(40)) for _ in range(5)]
    there = [network(x, 1.01 * x + 0.05 * rng.random(40), 0.05 + 0.001 * i, 0.048) for i, x in enumerate(normal)]
    trained = [network(x, y, 0.001 * (-1) ** i) for i, (x, y) in enumerate(zip(normal, made, strict=True))]
    sizes = (30, 30)
    assert bend(there, "1L2P", PLAN, sizes).verdict.startswith("did not hold: the second slope less the first is -0.")
    assert bend(trained, "1L2P", PLAN, sizes).verdict.startswith("held: ")
    assert order(there, "1L2P").verdict.startswith("did not hold: the rank correlation of tau before and after training is 0.99")
    assert not order(trained, "1L2P").verdict.startswith("did not hold")
    told = removal(there, "1L2P").verdict
    assert told.startswith("held: removing the largest tau first costs 0.052")
    assert "by the tau of before training it costs 0.048" in told
    assert removal(trained, "1L2P").verdict.startswith("not decided")


def test_the_word_of_a_verdict() -> None:
    assert word([True, True], [False, False]) == "held"
    assert word([True, False], [False, True]) == "held in part"
    assert word([False, False], [True, True]) == "did not hold"
    assert word([False, False], [False, True]) == "not decided, contradicted in part"
    assert word([False, False], [False, False]) == "not decided"


@pytest.mark.skipif("MNIST_FOLDER" not in os.environ, reason="MNIST_FOLDER names no folder with the four files of MNIST")
def test_on_mnist_ranked_importance_bends_before_training_as_after() -> None:
    problem = load_deep_problem("mnist-li-huang")
    data = load_data(**{**problem.data, "folder": os.environ["MNIST_FOLDER"]})
    model = ModeMLPClassifier(**{**problem.model, "max_iter": 5})
    before = [mode_importance(layer) for layer in model.initialise(data.X_train, data.y_train).layers_]
    after = [mode_importance(layer) for layer in model.fit(data.X_train, data.y_train).layers_]
    assert model.score(data.X_test, data.y_test) > 0.85
    for a, b in zip(after[1:], before[1:], strict=True):
        assert rank_correlation(a, b) > 0.7
        assert abs(slopes(a, 10).bend - slopes(b, 10).bend) < 0.5 * abs(slopes(b, 10).bend)


def test_a_small_start_has_the_size_of_a_spectral_one() -> None:
    data = load_data("digits")
    model = ModeMLPClassifier((20,), 6, random_state=2)
    _start_small(model, data)
    spectral = ModeMLPClassifier((20,), 6, random_state=2, initialisation="spectral").initialise(data.X_train, data.y_train)
    for small, layer in zip(spectral.layers_, model.layers_, strict=True):
        W, W_small = ((x.xi_out * x.sigma) @ x.xi_in for x in (layer, small))
        assert np.linalg.norm(W) == pytest.approx(np.linalg.norm(W_small), rel=1e-5)
        assert np.abs(W - W_small).max() > 0.01
    assert model.fit(data.X_train[:50], data.y_train[:50]).n_iter_ == model.max_iter


def test_right_samples_are_kept_as_text() -> None:
    right = np.random.default_rng(0).random(101) < 0.7
    text = np.packbits(right).tobytes().hex()
    np.testing.assert_array_equal(right_samples({"right": text}, 101), right)
