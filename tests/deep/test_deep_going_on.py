"""Warm starts and passes over new data: what they go on from, and what a refused call leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_blobs

from teacher_student.arrays import Array
from teacher_student.deep import ModeMLPClassifier, ModeMLPRegressor
from teacher_student.errors import InvalidInput

SMALL = {"hidden_layer_sizes": (16,), "n_modes": 4, "max_iter": 60, "learning_rate": 0.02, "batch_size": 8}


def blobs(n_samples: int = 240) -> tuple[Array, Array]:
    """Return three separable classes in four dimensions."""
    X, y = make_blobs(n_samples, 4, centers=3, cluster_std=1.0, random_state=0)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def test_partial_fit_is_a_pass_of_fit_and_goes_on() -> None:
    X, y = blobs()
    settings = {**SMALL, "random_state": 3}
    fitted = ModeMLPClassifier(**{**settings, "max_iter": 2}).fit(X, y)
    stepped = ModeMLPClassifier(**settings).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    np.testing.assert_array_equal(fitted.theta_, stepped.theta_)
    assert stepped.n_iter_ == 2
    with pytest.raises(InvalidInput, match=r"^y: got"):
        stepped.partial_fit(X, y + 1)


def test_partial_fit_knows_classes_that_come_later() -> None:
    X, y = blobs()
    model = ModeMLPClassifier(**SMALL, random_state=0).partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.95


def test_warm_start_goes_on_where_the_last_fit_ended() -> None:
    X, y = blobs()
    once = ModeMLPClassifier(**{**SMALL, "max_iter": 4}, random_state=3).fit(X, y)
    twice = ModeMLPClassifier(**{**SMALL, "max_iter": 2}, random_state=3, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(once.theta_, twice.theta_)
    assert twice.loss_curve_ == once.loss_curve_


def test_going_on_takes_the_optimiser_it_is_given() -> None:
    """After Adam, a step of SGD at a tiny rate is proportional to it; Adam's own would be of the size of the rate."""
    X, y = blobs(64)
    settings = {**SMALL, "max_iter": 1, "batch_size": 64, "warm_start": True, "random_state": 0, "dtype": "float64"}

    def step(optimiser: str, rate: float) -> Array:
        model = ModeMLPClassifier(**settings).fit(X, y)
        before = model.theta_.copy()
        model.set_params(optimiser=optimiser, learning_rate=rate, weight_decay=0.0).fit(X, y)
        assert (model.adam_ is None) == (optimiser == "sgd")
        return (model.theta_ - before) / rate

    np.testing.assert_allclose(step("sgd", 1e-3), step("sgd", 1e-6), atol=1e-9)
    assert np.abs(step("sgd", 1e-3) - step("adam", 1e-3)).max() > 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_layer_sizes": (20,)}, "hidden_layer_sizes: got (20,), expected (16,), those of the fitted network"),
        ({"hidden_layer_sizes": (16, 16)}, "hidden_layer_sizes: got (16, 16), expected (16,), those of the fitted network"),
        ({"n_modes": 7}, "n_modes: got 7, expected (4, 4), those of the fitted network"),
        ({"n_modes": "foo"}, "n_modes: got 'foo', expected a whole number"),
        ({"decomposition": "none"}, "decomposition: got 'none', expected 'modes', that of the fitted network"),
        ({"decomposition": "svd"}, "decomposition: got 'svd', expected 'modes', that of the fitted network"),
        ({"decomposition": "zzz"}, "decomposition: got 'zzz', expected one of"),
        ({"activation": "tanh"}, "activation: got 'tanh', expected 'relu', that of the fitted network"),
        ({"initialisation": "x"}, "initialisation: got 'x', expected one of"),
        ({"dtype": "float64"}, "dtype: got 'float64', expected 'float32', that of the fitted network"),
    ],
)
def test_going_on_with_another_network_is_refused(changed: dict[str, Any], message: str) -> None:
    X, y = blobs(60)
    model = ModeMLPClassifier(**{**SMALL, "max_iter": 1}, warm_start=True, random_state=0).fit(X, y)
    theta, output = model.theta_.copy(), model.predict_proba(X)
    model.set_params(**changed)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(InvalidInput) as caught:
            go_on(X, y)
        assert str(caught.value).startswith(message)
    np.testing.assert_array_equal(model.theta_, theta)
    np.testing.assert_array_equal(model.predict_proba(X), output)


def test_a_refused_call_leaves_the_estimator_as_it_was() -> None:
    X, y = blobs(60)
    fresh = [
        (ModeMLPClassifier(**SMALL).partial_fit, (X, y), {"classes": [0, 1]}),
        (ModeMLPClassifier(**SMALL, early_stopping=True).fit, (X[:1], y[:1]), {}),
        (ModeMLPClassifier(**{**SMALL, "n_modes": [4]}).fit, (X, y), {}),
        (ModeMLPRegressor(**SMALL).fit, (X, 1e200 * y), {}),
    ]
    for call, arguments, further in fresh:
        with pytest.raises(InvalidInput):
            call(*arguments, **further)
        assert not [name for name in vars(call.__self__) if name.endswith("_")]
    model = ModeMLPClassifier(**{**SMALL, "max_iter": 2}, random_state=0).fit(X, y)
    expected = model.predict(X)
    with pytest.raises(InvalidInput, match=r"^n_modes: got \[3\]"):
        model.set_params(n_modes=[3]).fit(np.hstack([X, X]), y + 5)
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("classes", [[], [[0, 1], [2, 3]], [[0, 1], [2]], 3, [0.0, np.nan], np.array([0, "a"], dtype=object)])
def test_classes_that_are_no_list_of_labels_are_refused(classes: Any) -> None:
    X, y = blobs(60)
    with pytest.raises(InvalidInput, match=r"^classes: got .*, expected a list of labels of one type"):
        ModeMLPClassifier(**SMALL).partial_fit(X, y, classes=classes)


def test_labels_of_mixed_types_are_refused() -> None:
    X, y = blobs(60)
    mixed = np.array(["a", "b", 3], dtype=object)[y]
    with pytest.raises(InvalidInput, match=r"^y: got .*, expected a list of labels of one type"):
        ModeMLPClassifier(**SMALL).fit(X, mixed)
    fitted = ModeMLPClassifier(**SMALL).fit(X, np.array(["a", "b", "c"], dtype=object)[y])
    with pytest.raises(InvalidInput, match=r"^y: got .*, expected labels among the classes"):
        fitted.partial_fit(X, mixed)


def test_partial_fit_has_no_schedule_and_no_other_number_of_outputs() -> None:
    X, y = blobs(60)
    with pytest.raises(InvalidInput, match=r"^schedule: got 'cosine', expected constant in partial_fit"):
        ModeMLPClassifier(**SMALL, schedule="cosine").partial_fit(X, y)
    model = ModeMLPRegressor(**SMALL).partial_fit(X, X[:, :2])
    with pytest.raises(InvalidInput, match=r"^y: got '1 columns', expected 2"):
        model.partial_fit(X, X[:, 0])
