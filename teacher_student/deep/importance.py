"""Which modes matter: their importance tau, and what is lost when they are removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import check_whole, checked_samples
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.gradient import forward, network_output
from teacher_student.deep.network import Layers, ModeLayer, PlainLayer
from teacher_student.deep.threads import one_blas_thread
from teacher_student.errors import refuse

ORDERS = ("descending", "ascending", "random")


def with_modes(layer: ModeLayer | PlainLayer) -> ModeLayer:
    """Return the layer itself, or for a matrix that is not decomposed the modes of its singular value decomposition."""
    if isinstance(layer, ModeLayer):
        return layer
    xi_out, sigma, xi_in = np.linalg.svd(layer.W, full_matrices=False)
    return ModeLayer(xi_in, sigma, xi_out, layer.bias)


def mode_importance(layer: ModeLayer | PlainLayer) -> Array:
    """Return the importance tau of each mode, (P,), in the order of the modes.

    ``tau = |sigma| + gamma (|xi_in| + |xi_out|)`` with Euclidean norms over neurons and
    ``gamma = mean|sigma| / mean(|xi_in| + |xi_out|)``, means over modes, so that both terms weigh the same; C. Li and H. Huang,
    Phys. Rev. Research 5, L022011 (2023). Scaling xi_in up and sigma down leaves W as it is but not tau: the sum depends on how
    W is split, the product ``|sigma| |xi_in| |xi_out|`` does not.
    """
    modes = with_modes(layer)
    norms = np.linalg.norm(modes.xi_in, axis=1).astype(float) + np.linalg.norm(modes.xi_out, axis=0)
    strength = np.abs(modes.sigma.astype(float))
    return strength + strength.mean() / norms.mean() * norms


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
    layers = model.layers_
    if isinstance(matrix, bool) or not isinstance(matrix, (int, np.integer)) or not 0 <= matrix < len(layers):
        refuse("matrix", matrix, f"one of the weight matrices 0 to {len(layers) - 1}")
    check_whole("n_draws", n_draws, 2)
    X, y = checked_samples(X, y, model.architecture_.sizes[0])
    labels = model._labels(y)
    modes = with_modes(layers[matrix])
    descending = np.argsort(-mode_importance(modes))
    P = len(descending)
    with one_blas_thread():
        below = forward(layers[: matrix + 1], get_activation(model.architecture_.activation), X)
        weighted = (below.activity[-1] @ modes.xi_in.T) * modes.sigma

        def accuracies(order: Array) -> Array:
            return _accuracies(model, layers[matrix + 1 :], modes, weighted, order, labels)

        accuracy = {"descending": accuracies(descending), "ascending": accuracies(descending[::-1])}
        draws = np.array([accuracies(rng.permutation(P)) for _ in range(n_draws)])
    accuracy["random"] = draws.mean(axis=0)
    return Ablation(int(matrix), np.arange(P + 1), accuracy, draws.std(axis=0, ddof=1))


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
