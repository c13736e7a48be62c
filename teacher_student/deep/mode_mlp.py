"""What both estimators share: their parameters, training, going on with it, and the output of the fitted network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from teacher_student.arrays import Array
from teacher_student.deep.gradient import network_output
from teacher_student.deep.network import Layers, as_layers, build_architecture, draw_parameters
from teacher_student.deep.parameters import check_parameters, check_same_network, generator, hidden_sizes
from teacher_student.deep.training import Training, train
from teacher_student.errors import Diverged, refuse


@contextmanager
def _unchanged_if_refused(estimator: Any) -> Iterator[None]:
    """Take back whatever was assigned if the call fails: scikit-learn's checks assign before all is known to be good."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class ModeMLP(BaseEstimator):
    """What classifier and regressor share: everything but the loss and the meaning of the output."""

    _loss: Callable[[Array, Array], tuple[float, Array]]
    _targets: Callable[..., Array]
    _y_numeric: bool
    n_outputs_: int
    loss_curve_: list[float]
    score_curve_: list[float]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        n_modes: Any = 20,
        *,
        decomposition: str = "modes",
        activation: str = "relu",
        optimiser: str = "adam",
        learning_rate: float = 0.003,
        schedule: str = "constant",
        weight_decay: float = 0.1,
        orthogonality: float = 0.01,
        initialisation: str = "unit-fields",
        batch_size: int = 32,
        max_iter: int = 100,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: str = "float32",
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_modes = n_modes
        self.decomposition = decomposition
        self.activation = activation
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.orthogonality = orthogonality
        self.initialisation = initialisation
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.dtype = dtype
        self.verbose = verbose

    @property
    def layers_(self) -> Layers:
        """The factors of every weight matrix, as views of the fitted parameters ``theta_``."""
        check_is_fitted(self, "theta_")
        return as_layers(self.architecture_, self.theta_)

    def fit(self, X: Any, y: Any) -> Self:
        """Train on `X`, (samples, features), and `y`, for `max_iter` epochs or until early stopping.

        With ``warm_start`` training goes on from the fitted parameters, which `initialisation` and `random_state` do not
        change; what decides the network must be as it was. Ctrl-C ends training with the best parameters so far and a warning
        (``interrupted_`` is then True). Raises `InvalidInput` for impossible parameters, which leaves the estimator as it was,
        and `Diverged` when loss, parameters or outputs are not finite, after which it has the best parameters so far, too.
        """
        check_parameters(self)
        going_on = self.warm_start and hasattr(self, "theta_")
        return self._learn(X, y, going_on, self.max_iter, self.early_stopping)

    def initialise(self, X: Any, y: Any) -> Self:
        """Draw the weights with which `fit` would start on `X` and `y`, and take no step: the network before training.

        If `random_state` is a whole number, `fit` starts with the same weights. Raises `InvalidInput` as `fit` does.
        """
        check_parameters(self)
        return self._learn(X, y, going_on=False, n_epochs=0, hold_out=False)

    def _pass(self, X: Any, y: Any, **known: Any) -> Self:
        """Train for one epoch, after those that there were; `known` is what the targets of later calls may be."""
        check_parameters(self)
        if self.schedule != "constant":
            refuse("schedule", self.schedule, "constant in partial_fit, which does not know how many epochs there will be")
        return self._learn(X, y, hasattr(self, "theta_"), 1, hold_out=False, **known)

    def _learn(self, X: Any, y: Any, going_on: bool, n_epochs: int, hold_out: bool, **known: Any) -> Self:
        # What is too large for the dtype is refused, without a warning of the conversion.
        with _unchanged_if_refused(self), np.errstate(over="ignore", invalid="ignore"):
            X, y = validate_data(
                self, X, y, reset=not going_on, dtype=np.dtype(self.dtype), multi_output=True, y_numeric=self._y_numeric
            )
            target = self._targets(y, going_on, **known)
            if going_on:
                check_same_network(self)
            else:
                self._start(X.shape[1])
            held_out = None
            if hold_out:
                X, target, held_out = self._hold_out(X, target)
            training = train(self, X, target, held_out, n_epochs)
        self._keep(training, since=len(self.loss_curve_) if going_on else 0)
        return self

    def _start(self, n_features: int) -> None:
        self.rng_ = generator(self.random_state)
        sizes = (n_features, *hidden_sizes(self), self.n_outputs_)
        self.architecture_ = build_architecture(sizes, self.n_modes, self.decomposition, self.activation)
        self.theta_ = draw_parameters(self.architecture_, self.initialisation, self.rng_, self.dtype)
        self.adam_ = None
        self.loss_curve_ = []
        self.score_curve_ = []

    def _keep(self, training: Training, since: int) -> None:
        self.theta_ = training.theta
        self.interrupted_ = training.interrupted
        self.loss_ = training.losses[-1] if training.losses else np.nan
        self.loss_curve_ = [*self.loss_curve_[:since], *training.losses]
        self.score_curve_ = [*self.score_curve_[:since], *training.scores]
        self.n_iter_ = len(self.loss_curve_)
        if training.diverged:
            self.adam_ = None  # its moments are of the steps that diverged
            raise Diverged(training.diverged)
        if training.interrupted:
            warnings.warn("training interrupted: the best parameters so far are kept", UserWarning, stacklevel=4)

    def _hold_out(self, X: Array, target: Array) -> tuple[Array, Array, tuple[Array, Array]]:
        """Return training inputs, training targets, and the validation part that early stopping looks at."""
        n_held = max(1, round(self.validation_fraction * len(X)))
        if n_held >= len(X):
            refuse(
                "X", f"{len(X)} sample" + "s" * (len(X) > 1), "samples to train with beside those that early_stopping holds out"
            )
        order = self.rng_.permutation(len(X))
        held, rest = order[:n_held], order[n_held:]
        return X[rest], target[rest], (X[held], target[held])

    def _output(self, X: Any, dtype: npt.DTypeLike | None = None) -> Array:
        """Return the output fields, (samples, outputs), computed in the precision of training or in `dtype`."""
        check_is_fitted(self, "theta_")
        # Compiled code is not compiled again for arrays that may not be written, which files mapped into memory have.
        theta = np.require(self.theta_, dtype or self.theta_.dtype, "W")
        with np.errstate(over="ignore", invalid="ignore"):
            X = np.require(validate_data(self, X, reset=False, dtype=theta.dtype), requirements="W")
        return network_output(as_layers(self.architecture_, theta), self.architecture_.activation, X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "theta_")
