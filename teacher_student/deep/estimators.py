"""Scikit-learn estimators: multilayer perceptrons of which only the modes are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import Tags, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError:
    raise ImportError("teacher_student.deep needs scikit-learn: pip install 'teacher_student[deep]'") from None

from teacher_student.deep.gradient import cross_entropy, network_output, softmax, squared_error
from teacher_student.deep.network import Layers, as_layers, build_architecture, draw_parameters
from teacher_student.deep.parameters import check_parameters, generator
from teacher_student.deep.training import Training, train
from teacher_student.errors import Diverged, refuse

Array = npt.NDArray[Any]


class _ModeMLP(BaseEstimator):
    """What classifier and regressor share: everything but the loss and the meaning of the output."""

    _loss: Callable[[Array, Array], tuple[float, Array]]
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

        With ``warm_start`` training goes on from the fitted parameters. Ctrl-C ends it with the best parameters so far
        (``interrupted_`` is then True). Raises `InvalidInput` for impossible parameters, and `Diverged` when the loss is not
        finite, after which the estimator has the best parameters so far, too.
        """
        going_on = self.warm_start and hasattr(self, "theta_")
        X, y = self._check(X, y, reset=not going_on)
        target = self._start_targets(y, going_on)
        if not going_on:
            self._start(X, target)
        held_out = None
        if self.early_stopping:
            X, target, held_out = self._hold_out(X, target)
        training = train(self, X, target, held_out, n_epochs=self.max_iter)
        self._keep(training, since=len(self.loss_curve_) if going_on else 0)
        return self

    def _continue(self, X: Array, target: Array) -> Self:
        self._keep(train(self, X, target, None, n_epochs=1), since=len(self.loss_curve_))
        return self

    def _keep(self, training: Training, since: int) -> None:
        self.theta_ = training.theta
        self.interrupted_ = training.interrupted
        self.loss_ = training.losses[-1] if training.losses else np.nan
        self.loss_curve_ = [*self.loss_curve_[:since], *training.losses]
        self.score_curve_ = [*self.score_curve_[:since], *training.scores]
        self.n_iter_ = len(self.loss_curve_)
        if training.diverged:
            raise Diverged(training.diverged)

    def _check(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        check_parameters(self)
        X, y = validate_data(self, X, y, reset=reset, dtype=np.dtype(self.dtype), multi_output=True, y_numeric=self._y_numeric)
        return X, self._one_column(y)

    def _start(self, X: Array, target: Array) -> None:
        self.rng_ = generator(self.random_state)
        hidden = tuple(int(size) for size in np.atleast_1d(self.hidden_layer_sizes))
        sizes = (X.shape[1], *hidden, self.n_outputs_)
        self.architecture_ = build_architecture(sizes, self.n_modes, self.decomposition, self.activation)
        svd = self.decomposition == "svd"
        self.theta_ = draw_parameters(self.architecture_, self.initialisation, self.rng_, svd, self.dtype)
        self.adam_ = None
        self.loss_curve_ = []
        self.score_curve_ = []

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
        X = np.require(validate_data(self, X, reset=False, dtype=theta.dtype), requirements="W")
        return network_output(as_layers(self.architecture_, theta), self.activation, X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "theta_")


class ModeMLPClassifier(ClassifierMixin, _ModeMLP):
    """A classifier whose weight matrices are W = xi_out diag(sigma) xi_in; W itself is never formed.

    After C. Li and H. Huang, Phys. Rev. Research 5, L022011 (2023). A forward and backward pass costs P (N_in + N_out)
    operations a sample and matrix. Outputs are softmax probabilities, the loss is the cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Neurons of the hidden layers.
    n_modes : int or sequence of int
        P, for all weight matrices or one each; the output matrix counts too.
    decomposition : str
        "modes": input and output modes of its own for every matrix (1L2P). "shared": a matrix's output modes are the next
        one's input modes (1L1P). "low-rank": sigma fixed to 1. "svd": modes start orthonormal, and the loss of each step has
        ``orthogonality / 4 (|xi_in xi_in^T - 1|^2 + |xi_out^T xi_out - 1|^2)`` a matrix added. "none": standard training.
    activation : str
        "relu", "tanh", "erf" (erf(z / sqrt 2)), "logistic" or "linear".
    optimiser, learning_rate, schedule, weight_decay
        "adam" or "sgd" with the mean gradient of a batch; the rate is "constant" or follows half a "cosine" to 0 over
        `max_iter` epochs. A step shrinks weights, but not biases, by rate * weight_decay of themselves, beside the gradient.
    orthogonality : float
        Strength of the penalty of "svd".
    initialisation : str
        "unit-fields" or "li-huang", see `teacher_student.deep.network.draw_parameters`.
    batch_size, max_iter : int
        Samples a step, and passes through the data.
    early_stopping, validation_fraction, n_iter_no_change, tol
        Hold a part of the data out, stop when its score has not risen by `tol` for so many epochs, and keep the best epoch.
    warm_start, random_state, verbose
        As in scikit-learn; `verbose` prints loss and score of every epoch on standard error.
    dtype : str
        "float32" or "float64", of parameters and arithmetic.

    Attributes
    ----------
    classes_, n_outputs_, n_features_in_, n_iter_
        As in scikit-learn.
    theta_, architecture_, layers_
        The flat parameter vector, which factors it holds, and these as views.
    loss_curve_, score_curve_ : list of float
        Mean loss of each epoch's batches, and accuracy: of the held-out part if there is one, else of the batches.
    interrupted_ : bool
        Training ended with Ctrl-C.
    """

    _loss = staticmethod(cross_entropy)
    _y_numeric = False

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train for one pass through `X` and `y`; the first call needs all `classes` unless `y` has them all."""
        first = not hasattr(self, "theta_")
        X, y = self._check(X, y, reset=first)
        if first:
            check_classification_targets(y)
            self._set_classes(unique_labels(y) if classes is None else np.asarray(classes))
            self._start(X, y)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            refuse("classes", classes, f"those of the first call, {self.classes_.tolist()}")
        return self._continue(X, self._labels(y))

    def predict_proba(self, X: Any) -> Array:
        """Return class probabilities, (samples, classes)."""
        return softmax(self._output(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample."""
        output = self._output(X)
        return self.classes_[output.argmax(axis=1)]

    def _one_column(self, y: Array) -> Array:
        return column_or_1d(y, warn=True)

    def _start_targets(self, y: Array, going_on: bool) -> Array:
        check_classification_targets(y)
        if not going_on:
            self._set_classes(unique_labels(y))
        return self._labels(y)

    def _set_classes(self, classes: Array) -> None:
        self.classes_ = np.unique(classes)
        self.n_outputs_ = len(self.classes_)

    def _labels(self, y: Array) -> Array:
        index = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        unknown = self.classes_[index] != y
        if unknown.any():
            refuse("y", np.unique(y[unknown]).tolist(), f"labels among the classes {self.classes_.tolist()}")
        return index

    def _score_of(self, output: Array, target: Array) -> float:
        return np.count_nonzero(output.argmax(axis=1) == target) / len(target)


class ModeMLPRegressor(RegressorMixin, _ModeMLP):
    """A regressor whose weight matrices are W = xi_out diag(sigma) xi_in; W itself is never formed.

    The loss is the mean of sum_k delta_k^2 / 2 over samples, delta = output - target. Parameters and attributes as in
    `ModeMLPClassifier`, without `classes_`; scores are coefficients of determination.
    """

    _loss = staticmethod(squared_error)
    _y_numeric = True

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one pass through `X` and `y`, (samples,) or (samples, outputs)."""
        first = not hasattr(self, "theta_")
        X, y = self._check(X, y, reset=first)
        target = self._start_targets(y, not first)
        if first:
            self._start(X, target)
        return self._continue(X, target)

    def predict(self, X: Any) -> Array:
        """Return the outputs, (samples,) or (samples, outputs) as in training, in double precision."""
        output = self._output(X, np.float64)
        return output[:, 0] if self.one_column_ else output

    def _one_column(self, y: Array) -> Array:
        return y

    def _start_targets(self, y: Array, going_on: bool) -> Array:
        target = y.reshape(len(y), -1).astype(self.dtype)
        if not going_on:
            self.n_outputs_, self.one_column_ = target.shape[1], y.ndim == 1
        elif target.shape[1] != self.n_outputs_:
            refuse("y", f"{target.shape[1]} columns", f"{self.n_outputs_}, as in the first call")
        return target

    def _score_of(self, output: Array, target: Array) -> float:
        spread = ((target - target.mean(axis=0)) ** 2).sum()
        return float(1 - ((output - target) ** 2).sum() / spread) if spread > 0 else 0.0
