"""Which modes matter: their importance tau, and what is lost when they are removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import checked_samples
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.gradient import forward, network_output
from teacher_student.deep.network import Layers, ModeLayer, PlainLayer
from teacher_student.deep.threads import one_blas_thread
from teacher_student.errors import check_whole, refuse

ORDERS = ("descending", "ascending", "random")


def with_modes(layer: ModeLayer | PlainLayer) -> ModeLayer:
    """Return the layer itself, or for a matrix that is not decomposed the modes of its singular value decomposition."""
    if isinstance(layer, ModeLayer):
        return layer
    xi_out, sigma, xi_in = np.linalg.svd(layer.W, full_matrices=False)
    return ModeLayer(xi_in, sigma, xi_out, layer.bias)


class ImportanceParts(NamedTuple):
    """abs(sigma), gamma abs(xi_in) and gamma abs(xi_out) of each mode, all (P,); their sum is the importance tau."""

    sigma: Array
    xi_in: Array
    xi_out: Array

    @property
    def tau(self) -> Array:
        """The importance of each mode, (P,)."""
        return self.sigma + self.xi_in + self.xi_out


def importance_parts(layer: ModeLayer | PlainLayer) -> ImportanceParts:
    """Return abs(sigma), gamma abs(xi_in) and gamma abs(xi_out) of each mode of a layer, in the order of the modes.

    Norms are Euclidean, over neurons, and ``gamma = mean(abs(sigma)) / mean(abs(xi_in) + abs(xi_out))``, means over modes.
    The first and the other two together weigh the same; C. Li and H. Huang, Phys. Rev. Research 5, L022011 (2023).
    """
    modes = with_modes(layer)
    sigma = np.abs(modes.sigma.astype(float))
    xi_in, xi_out = (np.linalg.norm(xi.astype(float), axis=1) for xi in (modes.xi_in, modes.xi_out.T))
    gamma = sigma.mean() / (xi_in + xi_out).mean()
    return ImportanceParts(sigma, gamma * xi_in, gamma * xi_out)


def mode_importance(layer: ModeLayer | PlainLayer) -> Array:
    """Return the importance ``tau = abs(sigma) + gamma (abs(xi_in) + abs(xi_out))`` of each mode, (P,).

    It is the sum of `importance_parts`.

    Scaling xi_in up and sigma down leaves W as it is but not tau: the sum depends on how W is split, the product
    ``abs(sigma) abs(xi_in) abs(xi_out)`` does not.
    """
    return importance_parts(layer).tau


@dataclass(frozen=True, eq=False)
class Ablation:
    """Test accuracy when modes of one matrix are removed one after another.

    `removed` (P + 1,) counts them; `accuracy` has (P + 1,) for each of the `ORDERS`, for "random" the mean over draws, whose
    standard deviation between draws is `random_spread`. `matrix` counts from 0, the input's.
    """

    matrix: int
    removed: Array
    accuracy: dict[str, Array]
    random_spread: Array


def ablate(model: ModeMLPClassifier, X: Array, y: Array, matrix: int, rng: np.random.Generator, n_draws: int = 20) -> Ablation:
    """Remove modes of `matrix` from a fitted classifier in order of tau, up and down, and at random; test on `X`, `y`.

    "descending" takes the most important first. Raises `InvalidInput` unless the model has this matrix, features and classes, and
    for fewer than two draws, which have no spread.
    """
    check_whole("n_draws", n_draws, 2)
    descending = np.argsort(-mode_importance(_layer(model, matrix)))
    P = len(descending)
    orders = [descending, descending[::-1], *(rng.permutation(P) for _ in range(n_draws))]
    down, up, *random = removal_accuracy(model, X, y, matrix, orders)
    accuracy = {"descending": down, "ascending": up, "random": np.mean(random, axis=0)}
    return Ablation(int(matrix), np.arange(P + 1), accuracy, np.std(random, axis=0, ddof=1))


def removal_accuracy(model: ModeMLPClassifier, X: Array, y: Array, matrix: int, orders: Sequence[Array]) -> Array:
    """Return the accuracy on `X`, `y` without the first 0, 1, ..., P modes of `matrix` in each of `orders`, (orders, P + 1).

    An order has the indices of all modes, first removed first; of a matrix that is not decomposed, those of its singular values,
    largest first. Raises `InvalidInput` for other orders, and unless the model has this matrix, features and classes.
    """
    layer = _layer(model, matrix)
    X, y = checked_samples(X, y, model.architecture_.sizes[0])
    labels = model._labels(y)
    modes = with_modes(layer)
    P = len(modes.sigma)
    for order in orders:
        if not np.array_equal(np.sort(order), np.arange(P)):
            refuse("orders", order, f"each of the modes 0 to {P - 1} once")
    with one_blas_thread():
        below = forward(model.layers_[: matrix + 1], get_activation(model.architecture_.activation), X)
        weighted = (below.activity[-1] @ modes.xi_in.T) * modes.sigma
        above = model.layers_[matrix + 1 :]
        return np.array([_accuracies(model, above, modes, weighted, order, labels) for order in orders])


def _layer(model: ModeMLPClassifier, matrix: object) -> ModeLayer | PlainLayer:
    layers = model.layers_
    expected = f"one of the weight matrices 0 to {len(layers) - 1}"
    if check_whole("matrix", matrix, 0, expected) >= len(layers):
        refuse("matrix", matrix, expected)
    return layers[int(matrix)]  # type: ignore[call-overload]


def _accuracies(model: ModeMLPClassifier, above: Layers, modes: ModeLayer, weighted: Array, order: Array, labels: Array) -> Array:
    """Return the accuracy without the first 0, 1, ..., P modes of `order`, from diag(sigma) u, (samples, P).

    Fields are built up from no mode at all, one mode at a time; `above` are the layers after these modes.
    """
    activation = get_activation(model.architecture_.activation)
    z = np.tile(modes.bias, (len(labels), 1))
    result = np.empty(len(order) + 1)
    for n_removed in range(len(order), -1, -1):
        if n_removed < len(order):
            mode = order[n_removed]
            z += np.outer(weighted[:, mode], modes.xi_out[:, mode])
        output = network_output(above, model.architecture_.activation, activation.g(z)) if above else z
        result[n_removed] = (output.argmax(axis=1) == labels).mean()
    return result
