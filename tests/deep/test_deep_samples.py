"""Analyses of a fitted network: they take its activation, and samples that fit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from teacher_student.deep import ModeMLPClassifier
from teacher_student.deep.importance import ablate
from teacher_student.deep.latent import latent_geometry
from teacher_student.errors import InvalidInput

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = np.arange(60) % 3


@pytest.fixture
def trained() -> ModeMLPClassifier:
    return ModeMLPClassifier((8, 6), 3, max_iter=5, random_state=0).fit(X, Y)


def ablated(model: ModeMLPClassifier, X: Any, y: Any) -> Any:
    return ablate(model, X, y, 1, np.random.default_rng(0), n_draws=2).accuracy["descending"]


def angles(model: ModeMLPClassifier, X: Any, y: Any) -> Any:
    return latent_geometry(model, X, y, k=1).angle


@pytest.mark.parametrize("analysis", [ablated, angles])
def test_the_activation_is_that_of_the_fitted_network(analysis: Callable[..., Any], trained: ModeMLPClassifier) -> None:
    before = analysis(trained, X, Y), trained.predict_proba(X)
    trained.set_params(activation="tanh")
    np.testing.assert_array_equal(analysis(trained, X, Y), before[0])
    np.testing.assert_array_equal(trained.predict_proba(X), before[1])
    np.testing.assert_array_equal(analysis(trained, X.tolist(), Y.tolist()), before[0])
    other = ModeMLPClassifier((8, 6), 3, activation="tanh", max_iter=5, random_state=0).fit(X, Y)
    assert np.abs(other.predict_proba(X) - before[1]).max() > 0.01


@pytest.mark.parametrize("analysis", [ablated, angles])
@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (X[:, :2], Y, "X: got (60, 2), expected an array of shape (samples, 3)"),
        (X[0], Y, "X: got (3,), expected an array of shape (samples, 3)"),
        (X[:0], Y[:0], "X: got (0, 3), expected an array of shape (samples, 3)"),
        (np.full((1, 3), np.nan), Y[:1], "X: got array([[nan, nan, nan]]), expected finite numbers"),
        (X, Y[:7], "y: got (7,), expected an array of shape (60,), a label for each sample"),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    analysis: Callable[..., Any], inputs: Any, labels: Any, message: str, trained: ModeMLPClassifier
) -> None:
    with pytest.raises(InvalidInput) as caught:
        analysis(trained, inputs, labels)
    assert str(caught.value) == message


@pytest.mark.parametrize("n_draws", [0, 1, 2.5])
def test_draws_without_a_spread_are_refused(n_draws: Any, trained: ModeMLPClassifier) -> None:
    with pytest.raises(InvalidInput, match=f"^n_draws: got {n_draws}, expected a whole number of at least 2"):
        ablate(trained, X, Y, 1, np.random.default_rng(0), n_draws=n_draws)
