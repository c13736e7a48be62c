"""The estimators: scikit-learn's own checks, and what those do not look at."""

from __future__ import annotations

import pickle
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from teacher_student.arrays import Array
from teacher_student.deep import ModeMLPClassifier, ModeMLPRegressor, training
from teacher_student.deep.network import DECOMPOSITIONS, build_architecture
from teacher_student.deep.optimiser import Adam, scheduled_rate, sgd_step
from teacher_student.errors import Diverged, InvalidInput

SMALL = {"hidden_layer_sizes": (16,), "n_modes": 4, "max_iter": 60, "learning_rate": 0.02, "batch_size": 8}


@parametrize_with_checks(
    [
        ModeMLPClassifier(**SMALL),
        ModeMLPRegressor(**SMALL),
        ModeMLPClassifier(**SMALL, decomposition="shared", early_stopping=True),
        ModeMLPRegressor(**SMALL, decomposition="none", early_stopping=True),
    ]
)
def test_scikit_learn_accepts_the_estimators(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def blobs(n_samples: int = 240) -> tuple[Array, Array]:
    """Return three separable classes in four dimensions."""
    X, y = make_blobs(n_samples, 4, centers=3, cluster_std=1.0, random_state=0)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_every_decomposition_learns_with_both_optimisers(decomposition: str, optimiser: str) -> None:
    X, y = blobs()
    rate = 0.02 if optimiser == "adam" else 0.1
    model = ModeMLPClassifier(
        (16, 16), 3, decomposition=decomposition, optimiser=optimiser, learning_rate=rate, max_iter=30, random_state=0
    )
    assert model.fit(X, y).score(X, y) > 0.95
    assert model.loss_curve_[-1] < 0.3 * model.loss_curve_[0]
    assert model.theta_.dtype == np.float32


def test_regression_of_two_outputs_in_double_precision() -> None:
    X, _ = blobs()
    Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
    model = ModeMLPRegressor((40,), 4, learning_rate=0.01, weight_decay=0.0, max_iter=150, dtype="float64", random_state=0)
    assert model.fit(X, Y).score(X, Y) > 0.95
    assert model.theta_.dtype == np.float64
    # The curve is that of the batches before their steps, on the same scale as score.
    assert abs(model.score_curve_[-1] - model.score(X, Y)) < 0.1


def test_training_never_holds_a_weight_matrix() -> None:
    """With N = 3000 one matrix takes 36 MB; standard training holds it several times over (negative control)."""
    X, y = blobs(64)

    def peak(decomposition: str) -> int:
        model = ModeMLPClassifier((3000, 3000), 4, decomposition=decomposition, max_iter=1, random_state=0)
        tracemalloc.start()
        try:
            model.fit(X, y)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    matrix = 3000 * 3000 * 4
    assert all(peak(decomposition) < matrix / 2 for decomposition in ("modes", "shared", "low-rank", "svd"))
    assert peak("none") > 3 * matrix


def test_same_seed_same_network_and_another_seed_another() -> None:
    X, y = blobs()
    theta = [ModeMLPClassifier(**{**SMALL, "max_iter": 2}, random_state=seed).fit(X, y).theta_ for seed in (1, 1, 2)]
    np.testing.assert_array_equal(theta[0], theta[1])
    assert np.abs(theta[0] - theta[2]).max() > 0.01


def test_early_stopping_ends_after_epochs_without_a_rise_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    ends = interrupt_after(1000, monkeypatch)
    model = ModeMLPClassifier(**{**SMALL, "max_iter": 200}, early_stopping=True, n_iter_no_change=5, random_state=0).fit(X, y)
    assert model.n_iter_ < 200
    assert max(model.score_curve_[-5:]) <= max(model.score_curve_[:-5]) + model.tol
    np.testing.assert_array_equal(model.theta_, ends[int(np.argmax(model.score_curve_))])
    assert (model.theta_ != ends[-1]).any()


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch, diverge: bool = False) -> list[Array]:
    """Let Ctrl-C come, or the loss be NaN, in the epoch after `epochs`; return a list of the parameters at the end of each."""
    ends: list[Array] = []
    epoch = training._epoch

    def one(estimator: Any, theta: Array, *rest: Any) -> tuple[float, float]:
        if len(ends) == epochs:
            theta[...] = np.nan
            if diverge:
                return np.nan, np.nan
            raise KeyboardInterrupt
        result = epoch(estimator, theta, *rest)
        ends.append(theta.copy())
        return result

    monkeypatch.setattr(training, "_epoch", one)
    return ends


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_interrupt_keeps_the_best_epoch(early_stopping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    ends = interrupt_after(4, monkeypatch)
    model = ModeMLPClassifier(**SMALL, early_stopping=early_stopping, random_state=0)
    with pytest.warns(UserWarning, match="training interrupted"):
        model.fit(X, y)
    assert model.interrupted_
    assert model.n_iter_ == 4
    best = int(np.argmax(model.score_curve_) if early_stopping else np.argmin(model.loss_curve_))
    np.testing.assert_array_equal(model.theta_, ends[best])


def test_an_interrupt_before_the_first_epoch_leaves_a_network_that_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    interrupt_after(0, monkeypatch)
    model = ModeMLPClassifier(**SMALL, random_state=0)
    with pytest.warns(UserWarning, match="training interrupted") as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    assert model.interrupted_
    assert model.predict(X).shape == y.shape


@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence_keeps_the_best_epoch(early_stopping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs()
    ends = interrupt_after(4, monkeypatch, diverge=True)
    model = ModeMLPClassifier(**SMALL, early_stopping=early_stopping, random_state=0)
    with pytest.raises(Diverged, match="loss nan in epoch 5"):
        model.fit(X, y)
    assert (model.n_iter_, model.interrupted_) == (4, False)
    best = int(np.argmax(model.score_curve_) if early_stopping else np.argmin(model.loss_curve_))
    np.testing.assert_array_equal(model.theta_, ends[best])


def test_divergence_is_named() -> None:
    X, _ = blobs()
    model = ModeMLPRegressor(**{**SMALL, "learning_rate": 100.0}, optimiser="sgd", activation="linear", random_state=0)
    with pytest.raises(Diverged, match=r"loss (nan|inf) in epoch 1"):
        model.fit(X, 10 * X[:, 0])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("rate", "optimiser", "what"),
    [(1e39, "adam", "parameters"), (1e38, "adam", "outputs"), (1e300, "sgd", "parameters"), (1e30, "sgd", "outputs")],
)
def test_a_last_step_that_diverges_is_noticed(rate: float, optimiser: str, what: str, early_stopping: bool) -> None:
    """The loss is that before the step, and finite; the network of before is kept."""
    X, y = blobs(60)
    model = ModeMLPClassifier(
        (10,),
        3,
        learning_rate=rate,
        optimiser=optimiser,
        early_stopping=early_stopping,
        max_iter=1,
        batch_size=60,
        random_state=0,
    )
    with pytest.raises(Diverged, match=f"training diverged: {what} not finite in epoch 1"):
        model.fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert (model.n_iter_, model.adam_) == (0, None)


def test_numbers_too_large_for_the_dtype_are_refused_without_a_warning() -> None:
    X, y = blobs(60)
    model = ModeMLPClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="too large for dtype"):
        model.fit(1e300 * X, y)
    with pytest.raises(ValueError, match="too large for dtype"):
        model.predict(1e300 * X)
    with pytest.raises(InvalidInput, match=r"^y: got 2e\+300, expected numbers that float32 can hold"):
        ModeMLPRegressor(**SMALL).fit(X, 1e300 * y)


def test_a_fitted_model_may_be_copied_by_pickle() -> None:
    X, y = blobs()
    model = ModeMLPClassifier(**SMALL, random_state=0).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_verbose_shows_loss_and_score(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs()
    ModeMLPClassifier(**{**SMALL, "max_iter": 2}, verbose=True, random_state=0).fit(X, y)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch   2/2  loss ")
    assert "training score" in lines[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -1.0),
        ("batch_size", 0),
        ("max_iter", 1.5),
        ("hidden_layer_sizes", (10, 0)),
        ("hidden_layer_sizes", 10**12),
        ("n_modes", 10**12),
        ("n_modes", "3"),
        ("n_modes", [[3, 3], [3]]),
        ("decomposition", np.array(["modes", "svd"])),
        ("optimiser", np.array(["adam", "sgd"])),
        ("schedule", None),
        ("dtype", np.float32),
        ("dtype", np.dtype("float16")),
        ("learning_rate", 10**400),
        ("n_modes", 0),
        ("optimiser", "lbfgs"),
        ("schedule", "linear"),
        ("dtype", "float16"),
        ("activation", "sine"),
        ("decomposition", "qr"),
        ("initialisation", "zeros"),
        ("validation_fraction", 1.0),
        ("early_stopping", "no"),
        ("verbose", 1),
        ("random_state", -1),
        ("random_state", "one"),
    ],
)
def test_impossible_parameters_are_refused(name: str, value: object) -> None:
    X, y = blobs(20)
    with pytest.raises(InvalidInput, match=f"^{name}: got .*, expected .*") as caught:
        ModeMLPClassifier(**{**SMALL, name: value}).fit(X, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_modes", np.array(3), ((3, 3), np.float32)),
        ("n_modes", range(3, 5), ((3, 4), np.float32)),
        ("dtype", np.dtype("float64"), ((4, 4), np.float64)),
    ],
)
def test_other_spellings_of_parameters_are_understood(name: str, value: Any, expected: Any) -> None:
    X, y = blobs(20)
    model = ModeMLPClassifier(**{**SMALL, "max_iter": 1, name: value}).fit(X, y)
    assert (model.architecture_.n_modes, model.theta_.dtype) == expected


SHAPES = {  # what Li and Huang's networks of three matrices have: one P, one a matrix, one a layer of neurons, a column
    ("modes", 7): (7, 7, 7),
    ("modes", (7, 7, 7)): (7, 7, 7),
    ("modes", (30, 20, 10)): (30, 20, 10),
    ("modes", (7, 7, 7, 7)): "a number, or a list of one for each of the 3 weight matrices",
    ("modes", ((7,), (7,), (7,))): "a whole number or a flat list of them, such as [70, 70, 70]",
    ("shared", 7): (7, 7, 7),
    ("shared", (7,)): (7, 7, 7),
    ("shared", (7, 7, 7)): (7, 7, 7),
    ("shared", (7, 7, 7, 7)): (7, 7, 7),
    ("shared", (7, 7)): "a number, or the same for each of the 3 matrices or 4 layers",
    ("shared", (30, 20, 10)): 'one number, such as 70: neighbours share modes; "modes" has its own for each matrix',
    ("none", 7): (0, 0, 0),
}


@pytest.mark.parametrize(("decomposition", "n_modes"), SHAPES)
def test_every_shape_of_n_modes_is_accepted_or_refused_with_the_way_to_say_it(decomposition: str, n_modes: Any) -> None:
    expected = SHAPES[decomposition, n_modes]
    if isinstance(expected, str):
        with pytest.raises(InvalidInput, match=f"^n_modes: got .*, expected {re.escape(expected)}$"):
            build_architecture((12, 8, 8, 3), n_modes, decomposition, "relu")
    else:
        assert build_architecture((12, 8, 8, 3), n_modes, decomposition, "relu").n_modes == expected


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
def test_networks_before_training_are_those_that_training_starts_from(decomposition: str) -> None:
    X, y = blobs(20)
    settings = {**SMALL, "decomposition": decomposition, "random_state": 3}
    before = ModeMLPClassifier(**settings).initialise(X, y)
    assert (before.n_iter_, before.loss_curve_) == (0, [])
    hardly = ModeMLPClassifier(**{**settings, "learning_rate": 1e-30, "max_iter": 1}).fit(X, y)
    np.testing.assert_allclose(before.theta_, hardly.theta_, rtol=0, atol=1e-25)
    fitted = ModeMLPClassifier(**{**settings, "max_iter": 1}).fit(X, y)
    assert np.abs(fitted.theta_ - hardly.theta_).max() > 1e-3  # the negative control
    with pytest.raises(InvalidInput, match=r"^n_modes: got"):
        ModeMLPClassifier(**{**SMALL, "n_modes": 0}).initialise(X, y)


def test_adam_takes_the_steps_of_its_definition() -> None:
    """Kingma and Ba's algorithm 1 written out in full, with the decay of Loshchilov and Hutter."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(5)
    expected, m, v = theta.copy(), np.zeros(5), np.zeros(5)
    adam = Adam(5, np.float64)
    for t in range(1, 30):
        gradient = rng.standard_normal(5)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        expected = expected - 0.01 * 0.3 * expected - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        adam.step(theta, gradient, 0.01, np.full(5, 0.01 * 0.3))
        np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_sgd_and_schedules() -> None:
    theta = np.array([1.0, 2.0])
    sgd_step(theta, np.array([1.0, 1.0]), np.array([0.5, 0.0]), 0.1)
    np.testing.assert_allclose(theta, [0.4, 1.8])
    assert scheduled_rate(0.2, "constant", 0.7) == 0.2
    assert [scheduled_rate(0.2, "cosine", done) for done in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.1, 0.0])


def test_weight_decay_leaves_biases_alone() -> None:
    X, y = blobs(32)
    settings = {"optimiser": "sgd", "batch_size": 32, "max_iter": 1, "random_state": 0}
    start, free, decayed = (
        ModeMLPClassifier((4,), 2, learning_rate=rate, weight_decay=decay, **settings).fit(X, y).layers_[0]
        for rate, decay in ((1e-30, 0.0), (0.1, 0.0), (0.1, 0.5))
    )
    np.testing.assert_allclose(free.bias, decayed.bias, rtol=1e-6)
    np.testing.assert_allclose(free.xi_in - decayed.xi_in, 0.05 * start.xi_in, rtol=1e-4, atol=1e-7)
