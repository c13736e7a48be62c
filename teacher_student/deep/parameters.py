"""Refusals of an estimator's parameters, before any training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import check_number, whole_numbers
from teacher_student.deep.network import DECOMPOSITIONS, build_architecture, check_initialisation
from teacher_student.deep.optimiser import OPTIMISERS, SCHEDULES
from teacher_student.errors import check_choice, check_flag, check_whole, refuse

_DTYPES = ("float32", "float64")
_CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "decomposition": DECOMPOSITIONS}


def check_parameters(estimator: Any) -> None:
    """Raise `InvalidInput` for the first parameter that is impossible whatever the data."""
    check_number("learning_rate", estimator.learning_rate, 0.0, above=True)
    for name in ("weight_decay", "orthogonality", "tol"):
        check_number(name, getattr(estimator, name), 0.0)
    for name in ("batch_size", "max_iter", "n_iter_no_change"):
        check_whole(name, getattr(estimator, name))
    for name, known in _CHOICES.items():
        check_choice(name, getattr(estimator, name), known)
    check_initialisation(estimator.initialisation, estimator.decomposition)
    if not isinstance(estimator.dtype, np.dtype) or estimator.dtype.name not in _DTYPES:
        check_choice("dtype", estimator.dtype, _DTYPES)
    for name in ("early_stopping", "warm_start", "verbose"):
        check_flag(name, getattr(estimator, name))
    for name in ("hidden_layer_sizes", "n_modes"):
        whole_numbers(name, getattr(estimator, name))
    check_number("validation_fraction", estimator.validation_fraction, 0.0, above=True)
    if estimator.validation_fraction >= 1:
        refuse("validation_fraction", estimator.validation_fraction, "a number between 0 and 1")
    get_activation(estimator.activation)


def hidden_sizes(estimator: Any) -> tuple[int, ...]:
    """Return the neurons of each hidden layer."""
    return whole_numbers("hidden_layer_sizes", estimator.hidden_layer_sizes)


def check_same_network(estimator: Any) -> None:
    """Raise `InvalidInput` if the parameters that decide the network are no longer those of the fitted one."""
    fitted = estimator.architecture_
    sizes = fitted.sizes[1:-1]
    if hidden_sizes(estimator) != sizes:
        refuse("hidden_layer_sizes", estimator.hidden_layer_sizes, f"{sizes}, those of the fitted network")
    now = build_architecture(fitted.sizes, estimator.n_modes, estimator.decomposition, estimator.activation)
    for name in ("decomposition", "activation"):
        if getattr(now, name) != getattr(fitted, name):
            refuse(name, getattr(now, name), f"{getattr(fitted, name)!r}, that of the fitted network")
    if now.n_modes != fitted.n_modes:
        refuse("n_modes", estimator.n_modes, f"{fitted.n_modes}, those of the fitted network")
    if np.dtype(estimator.dtype) != estimator.theta_.dtype:
        refuse("dtype", estimator.dtype, f"'{estimator.theta_.dtype}', that of the fitted network")


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
