"""Fields, losses and gradients of a mode-decomposed network, at a cost of P (N_in + N_out) a sample and matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import RealArray
from teacher_student.deep.activations import Activation, get_activation
from teacher_student.deep.network import Layers, ModeLayer, PlainLayer
from teacher_student.deep.products import back_through_sigma, mix_modes, mix_samples, overlaps, sum_samples
from teacher_student.deep.threads import one_blas_thread
from teacher_student.kernels import njit

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, eq=False)
class Fields:
    """What a forward pass leaves, one entry a matrix.

    `activity` is its input h (samples, N_in), `mode_fields` u = h xi_in^T and `weighted` diag(sigma) u (samples, P), or None
    where it is not decomposed, and `fields` z (samples, N_out), of which the last is the output. `back` is where the backward
    pass writes dLoss / dz of all but the last.
    """

    activity: list[RealArray]
    mode_fields: list[RealArray | None]
    weighted: list[RealArray | None]
    fields: list[RealArray]
    back: list[RealArray]

    def first(self, n: int) -> Fields:
        """Return views of the first `n` samples."""
        u, weighted = ([None if a is None else a[:n] for a in arrays] for arrays in (self.mode_fields, self.weighted))
        return Fields([a[:n] for a in self.activity], u, weighted, [a[:n] for a in self.fields], [a[:n] for a in self.back])


def new_fields(layers: Layers, n_samples: int) -> Fields:
    """Return arrays for a forward and a backward pass of so many samples."""

    def empty(size: int) -> RealArray:
        return np.empty((n_samples, size), layers[0].bias.dtype)

    sizes = [len(layer.bias) for layer in layers]
    modes = [len(layer.sigma) if isinstance(layer, ModeLayer) else None for layer in layers]
    activity = [empty(0), *(empty(size) for size in sizes[:-1])]
    u, weighted = ([None if P is None else empty(P) for P in modes] for _ in range(2))
    return Fields(activity, u, weighted, [empty(size) for size in sizes], [empty(size) for size in sizes[:-1]])


def forward(layers: Layers, activation: Activation, x: RealArray, into: Fields | None = None) -> Fields:
    """Return the fields of inputs `x`, (samples, N_0): u = xi_in h, z = xi_out diag(sigma) u + bias, h = g(z).

    The arrays of `into`, fields of as many samples, are written over: memory that is new in every step costs more than the
    products.
    """
    result = new_fields(layers, len(x)) if into is None else into
    h = result.activity[0] = np.ascontiguousarray(x, layers[0].bias.dtype)
    for index, layer in enumerate(layers):
        z, u, weighted = result.fields[index], result.mode_fields[index], result.weighted[index]
        if isinstance(layer, ModeLayer):
            assert u is not None
            assert weighted is not None
            overlaps(h, layer.xi_in, u)
            np.multiply(u, layer.sigma, out=weighted)
            mix_modes(weighted, layer.xi_out.T, z)
        else:
            np.matmul(h, layer.W.T, out=z)
        if index < len(layers) - 1:
            h = result.activity[index + 1]
            activation.of_layer(z, layer.bias, h)
        else:
            z += layer.bias
    return result


def network_output(layers: Layers, activation: str, X: RealArray) -> RealArray:
    """Return the output fields of inputs `X`, (samples, N_L), without holding all activities at once."""
    g = get_activation(activation)
    with one_blas_thread():
        parts = [forward(layers, g, X[i : i + _ROWS_AT_ONCE]).fields[-1] for i in range(0, len(X), _ROWS_AT_ONCE)]
    return np.concatenate(parts)


def backward(layers: Layers, activation: Activation, fields: Fields, output_gradient: RealArray, gradient: Layers) -> None:
    """Write the gradient with respect to every factor into `gradient`, layers of the same shapes.

    `output_gradient` is dLoss / dz of the last matrix, (samples, N_L). Shared modes collect from two matrices.
    """
    dz = output_gradient
    for index in reversed(range(len(layers))):
        layer, d, h = layers[index], gradient[index], fields.activity[index]
        dh = fields.back[index - 1] if index > 0 else dz[:0]
        sum_samples(dz, d.bias)
        if isinstance(layer, ModeLayer):
            assert isinstance(d, ModeLayer)
            u, weighted = fields.mode_fields[index], fields.weighted[index]
            assert u is not None
            assert weighted is not None
            du = np.empty_like(u)
            overlaps(dz, layer.xi_out.T, du)
            back_through_sigma(du, u, layer.sigma, d.sigma)
            mix_samples(du, h, d.xi_in)
            if index > 0:
                mix_modes(du, layer.xi_in, dh)
            # Modes that the layer above has as its input modes have their gradient from there already.
            if index + 1 < len(layers) and _same_modes(d, gradient[index + 1]):
                d.xi_out.T[...] += weighted.T @ dz
            else:
                mix_samples(weighted, dz, d.xi_out.T)
        else:
            assert not isinstance(d, ModeLayer)
            np.matmul(dz.T, h, out=d.W)
            if index > 0:
                np.matmul(dz, layer.W, out=dh)
        if index > 0:
            activation.times_slope(dh, fields.fields[index - 1], h)
        dz = dh


def _same_modes(below: ModeLayer, above: ModeLayer | PlainLayer) -> bool:
    return isinstance(above, ModeLayer) and np.may_share_memory(below.xi_out, above.xi_in)


def cross_entropy(z: RealArray, target: RealArray) -> tuple[float, RealArray]:
    """Return the mean -log softmax(z)[label] and its gradient; `z` (samples, classes), `target` (samples,) labels."""
    gradient = np.empty_like(z)
    return float(_cross_entropy(z, target, gradient)), gradient


@njit(cache=True, nogil=True)
def _cross_entropy(z: RealArray, target: RealArray, gradient: RealArray) -> float:
    loss = 0.0
    for n in range(len(z)):
        highest, total = z[n, 0], 0 * z[n, 0]
        for k in range(z.shape[1]):
            highest = max(highest, z[n, k])
        for k in range(z.shape[1]):
            gradient[n, k] = np.exp(z[n, k] - highest)
            total += gradient[n, k]
        loss += np.log(total) + highest - z[n, target[n]]
        for k in range(z.shape[1]):
            gradient[n, k] /= total * len(z)
        gradient[n, target[n]] -= 1 / len(z)
    return loss / len(z)


def squared_error(z: RealArray, target: RealArray) -> tuple[float, RealArray]:
    """Return the mean of sum_k delta_k^2 / 2, delta = z - target, and its gradient; both arrays are (samples, outputs)."""
    delta = z - target
    return 0.5 * float(np.einsum("nk,nk->", delta, delta)) / len(z), delta / len(z)


def softmax(z: RealArray) -> RealArray:
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
