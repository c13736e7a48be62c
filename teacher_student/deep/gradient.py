"""Fields, losses and gradients of a mode-decomposed network, at a cost of P (N_in + N_out) a sample and matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from teacher_student.deep.activations import Activation, get_activation
from teacher_student.deep.network import Layers, ModeLayer, PlainLayer
from teacher_student.deep.threads import one_blas_thread

Array = npt.NDArray[np.floating]

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, eq=False)
class Fields:
    """What a forward pass leaves, one entry a matrix.

    `activity` is its input h (samples, N_in), `mode_fields` u = h xi_in^T (samples, P), or None where it is not decomposed,
    and `fields` z (samples, N_out), of which the last is the output.
    """

    activity: list[Array]
    mode_fields: list[Array | None]
    fields: list[Array]


def forward(layers: Layers, activation: Activation, x: Array) -> Fields:
    """Return the fields of inputs `x`, (samples, N_0): u = xi_in h, z = xi_out diag(sigma) u + bias, h = g(z)."""
    h, result = x, Fields([], [], [])
    for index, layer in enumerate(layers):
        if isinstance(layer, ModeLayer):
            u = h @ layer.xi_in.T  # samples as rows: a sample's output does not depend on its neighbours, to the bit
            z = (u * layer.sigma) @ layer.xi_out.T
            result.mode_fields.append(u)
        else:
            z = h @ layer.W.T
            result.mode_fields.append(None)
        result.activity.append(h)
        result.fields.append(z)
        if index < len(layers) - 1:
            h = activation.of_layer(z, layer.bias)
        else:
            z += layer.bias
    return result


def network_output(layers: Layers, activation: str, X: Array) -> Array:
    """Return the output fields of inputs `X`, (samples, N_L), without holding all activities at once."""
    g = get_activation(activation)
    with one_blas_thread():
        parts = [forward(layers, g, X[i : i + _ROWS_AT_ONCE]).fields[-1] for i in range(0, len(X), _ROWS_AT_ONCE)]
    return np.concatenate(parts)


def backward(layers: Layers, activation: Activation, fields: Fields, output_gradient: Array, gradient: Layers) -> None:
    """Write the gradient with respect to every factor into `gradient`, layers of the same shapes.

    `output_gradient` is dLoss / dz of the last matrix, (samples, N_L). Shared modes collect from two matrices.
    """
    dz = output_gradient
    ones = np.ones(len(dz), dz.dtype)
    for index in reversed(range(len(layers))):
        layer, d, h, u = layers[index], gradient[index], fields.activity[index], fields.mode_fields[index]
        np.dot(ones, dz, out=d.bias)
        if isinstance(layer, ModeLayer):
            assert isinstance(d, ModeLayer)
            assert u is not None
            back = layer.xi_out.T @ dz.T
            np.einsum("an,na->a", back, u, out=d.sigma)
            scaled = (u * layer.sigma).T
            back *= layer.sigma[:, None]
            # Modes that the layer above has as its input modes have their gradient from there already.
            if index + 1 < len(layers) and _same_modes(d, gradient[index + 1]):
                d.xi_out.T[...] += scaled @ dz
            else:
                np.matmul(scaled, dz, out=d.xi_out.T)
            np.matmul(back, h, out=d.xi_in)
            dh = back.T @ layer.xi_in if index > 0 else None
        else:
            assert not isinstance(d, ModeLayer)
            np.matmul(dz.T, h, out=d.W)
            dh = dz @ layer.W if index > 0 else None
        if dh is not None:
            dz = activation.times_slope(dh, fields.fields[index - 1], h)


def _same_modes(below: ModeLayer, above: ModeLayer | PlainLayer) -> bool:
    return isinstance(above, ModeLayer) and np.may_share_memory(below.xi_out, above.xi_in)


def cross_entropy(z: Array, target: Array) -> tuple[float, Array]:
    """Return the mean -log softmax(z)[label] and its gradient; `z` (samples, classes), `target` (samples,) labels."""
    rows = np.arange(len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    loss = float(np.log(total).sum() - shifted[rows, target].sum()) / len(z)
    p /= total
    p[rows, target] -= 1
    p /= len(z)
    return loss, p


def squared_error(z: Array, target: Array) -> tuple[float, Array]:
    """Return the mean of sum_k delta_k^2 / 2, delta = z - target, and its gradient; both arrays are (samples, outputs)."""
    delta = z - target
    return 0.5 * float(np.einsum("nk,nk->", delta, delta)) / len(z), delta / len(z)


def softmax(z: Array) -> Array:
    """Return exp(z) / sum exp(z) of each row."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def add_orthogonality(layers: Layers, gradient: Layers, strength: float) -> float:
    """Return the penalty strength / 4 (|xi_in xi_in^T - 1|^2 + |xi_out^T xi_out - 1|^2) of all layers and add its gradient.

    It costs P^2 (N_in + N_out) a step, whatever the batch.
    """
    penalty = 0.0
    for layer, d in zip(layers, gradient, strict=True):
        if isinstance(layer, ModeLayer) and isinstance(d, ModeLayer):
            excess_in = layer.xi_in @ layer.xi_in.T
            excess_in -= np.eye(len(excess_in), dtype=excess_in.dtype)
            excess_out = layer.xi_out.T @ layer.xi_out
            excess_out -= np.eye(len(excess_out), dtype=excess_out.dtype)
            d.xi_in[...] += strength * (excess_in @ layer.xi_in)
            d.xi_out[...] += strength * (layer.xi_out @ excess_out)
            penalty += 0.25 * strength * float((excess_in**2).sum() + (excess_out**2).sum())
    return penalty
