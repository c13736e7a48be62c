"""Scikit-learn estimators: multilayer perceptrons of which only the modes are trained."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from teacher_student.arrays import Array

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils import Tags, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets
except ModuleNotFoundError:
    raise ImportError("teacher_student.deep needs scikit-learn: pip install 'teacher_student[deep]'") from None

from teacher_student.deep.checks import distinct_labels
from teacher_student.deep.gradient import cross_entropy, softmax, squared_error
from teacher_student.deep.mode_mlp import ModeMLP
from teacher_student.errors import refuse


class ModeMLPClassifier(ClassifierMixin, ModeMLP):
    """A classifier whose weight matrices are W = xi_out diag(sigma) xi_in; W itself is never formed.

    After C. Li and H. Huang, Phys. Rev. Research 5, L022011 (2023). A forward and backward pass costs P (N_in + N_out)
    operations a sample and matrix. Outputs are softmax probabilities, the loss is the cross-entropy.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Neurons of the hidden layers.
    n_modes : int or sequence of int
        P, for all weight matrices or one each; the output matrix counts too. "shared" has one number, which may be repeated for
        each matrix or each layer of neurons.
    decomposition : str
        "modes": input and output modes of its own for every matrix (1L2P). "shared": a matrix's output modes are the next
        one's input modes (1L1P). "low-rank": sigma fixed to 1. "svd": modes start orthonormal, and the loss of each step has
        ``orthogonality / 4 (|xi_in xi_in^T - 1|^2 + |xi_out^T xi_out - 1|^2)`` a matrix added. "none": standard training.
    activation : str
        "relu", "tanh", "erf" (erf(z / sqrt 2)), "logistic" or "linear".
    optimiser, learning_rate, schedule, weight_decay
        "adam" or "sgd" with the mean gradient of a batch; the rate is "constant" or follows half a "cosine" to 0 over
        `max_iter` epochs of `fit`. A step shrinks weights, but not biases, by rate * weight_decay of themselves, beside the
        gradient.
    orthogonality : float
        Strength of the penalty of "svd".
    initialisation : str
        "unit-fields", "li-huang" (not with "svd") or "spectral" (with "modes"), see
        `teacher_student.deep.network.draw_parameters`.
    batch_size, max_iter : int
        Samples a step, and passes through the data.
    early_stopping, validation_fraction, n_iter_no_change, tol
        Hold a part of the data out, stop when its score has not risen by `tol` for so many epochs, and keep the best epoch.
    warm_start, random_state, verbose
        As in scikit-learn; `verbose` prints loss and score of every epoch on standard error. Going on with a warm start, or in
        `partial_fit`, needs the network as it was: sizes, modes, decomposition, activation and dtype.
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
        """Train for one pass through `X` and `y`; the first call needs all `classes` unless `y` has them all.

        Raises `InvalidInput` as `fit` does, and for a `schedule` that is not constant, since it would need the last epoch.
        """
        return self._pass(X, y, classes=classes)

    def predict_proba(self, X: Any) -> Array:
        """Return class probabilities, (samples, classes)."""
        return softmax(self._output(X))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample."""
        output = self._output(X)
        return self.classes_[output.argmax(axis=1)]

    def _targets(self, y: Array, going_on: bool, classes: Any = None) -> Array:
        """Return the index of each label; the first time the classes are those given, or else those of `y`."""
        y = column_or_1d(y, warn=True)
        given = None if classes is None else distinct_labels("classes", classes)
        if not going_on:
            found = distinct_labels("y", y)
            check_classification_targets(y)
            self.classes_ = found if given is None else given
            self.n_outputs_ = len(self.classes_)
        elif given is not None and not np.array_equal(given, self.classes_):
            refuse("classes", classes, f"those of the first call, {self.classes_.tolist()}")
        return self._labels(y)

    def _labels(self, y: Array) -> Array:
        try:
            index = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
            unknown = np.unique(y[self.classes_[index] != y]).tolist()
        except TypeError:  # text and numbers have no common order
            unknown = y.tolist()
        if unknown:
            refuse("y", unknown, f"labels among the classes {self.classes_.tolist()}")
        return index

    def _score_of(self, output: Array, target: Array) -> float:
        return np.count_nonzero(output.argmax(axis=1) == target) / len(target)


class ModeMLPRegressor(RegressorMixin, ModeMLP):
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
        """Train for one pass through `X` and `y`, (samples,) or (samples, outputs); raises as the classifier's does."""
        return self._pass(X, y)

    def predict(self, X: Any) -> Array:
        """Return the outputs, (samples,) or (samples, outputs) as in training, in double precision."""
        output = self._output(X, np.float64)
        return output[:, 0] if self.one_column_ else output

    def _targets(self, y: Array, going_on: bool) -> Array:
        target = y.reshape(len(y), -1).astype(self.dtype)
        if not np.isfinite(target).all():
            refuse("y", float(np.abs(y).max()), f"numbers that {self.dtype} can hold")
        if not going_on:
            self.n_outputs_, self.one_column_ = target.shape[1], y.ndim == 1
        elif target.shape[1] != self.n_outputs_:
            refuse("y", f"{target.shape[1]} columns", f"{self.n_outputs_}, as the fitted network has outputs")
        return target

    def _score_of(self, output: Array, target: Array) -> float:
        # In double precision, in which the squares of float32 numbers do not overflow.
        spread = np.square(target - target.mean(axis=0), dtype=np.float64).sum()
        return float(1 - np.square(output - target, dtype=np.float64).sum() / spread) if spread > 0 else 0.0
