"""Refusals of an estimator's parameters, before any training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import check_flag, check_number, check_whole
from teacher_student.deep.optimiser import OPTIMISERS, SCHEDULES
from teacher_student.errors import refuse


def check_parameters(estimator: Any) -> None:
    """Raise `InvalidInput` for the first parameter that is impossible whatever the data."""
    check_number("learning_rate", estimator.learning_rate, 0.0, above=True)
    for name in ("weight_decay", "orthogonality", "tol"):
        check_number(name, getattr(estimator, name), 0.0)
    for name in ("batch_size", "max_iter", "n_iter_no_change"):
        check_whole(name, getattr(estimator, name))
    for name, known in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("dtype", ("float32", "float64"))):
        if getattr(estimator, name) not in known:
            refuse(name, getattr(estimator, name), "one of " + ", ".join(known))
    for name in ("early_stopping", "warm_start", "verbose"):
        check_flag(name, getattr(estimator, name))
    for size in np.atleast_1d(np.asarray(estimator.hidden_layer_sizes, dtype=object)):
        check_whole("hidden_layer_sizes", size)
    check_number("validation_fraction", estimator.validation_fraction, 0.0, above=True)
    if estimator.validation_fraction >= 1:
        refuse("validation_fraction", estimator.validation_fraction, "a number between 0 and 1")
    get_activation(estimator.activation)


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator that scikit-learn's `random_state` stands for; raises `InvalidInput` if it stands for none."""
    try:
        seeds = check_random_state(random_state)
    except ValueError:
        refuse("random_state", random_state, f"None, a RandomState or a whole number from 0 to {2**32 - 1}")
    return np.random.default_rng(seeds.randint(np.iinfo(np.int32).max))


def check_modes(settings: dict[str, Any]) -> None:
    """Refuse parameters of standard training where they are of the networks that are compared with it."""
    if settings.get("decomposition") == "none":
        refuse("decomposition", "none", "one with modes; standard training is what these are compared with")
