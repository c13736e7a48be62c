"""Fresh Gaussian inputs labelled by a teacher: the on-line setting, one pass and no data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import check_number
from teacher_student.deep.gradient import backward, forward, squared_error
from teacher_student.deep.network import Architecture, as_layers
from teacher_student.deep.optimiser import sgd_step
from teacher_student.errors import refuse


@dataclass(frozen=True, eq=False)
class Teacher:
    """y = sum_m v_m g(w_m . x / sqrt(N)) + noise N(0, 1), with `W` (M, N), `v` (M,) and x of i.i.d. N(0, 1) components.

    Raises `InvalidInput` for shapes that do not belong together, negative noise, and an unknown activation.
    """

    W: Array
    v: Array
    activation: str = "erf"
    noise: float = 0.0

    def __post_init__(self) -> None:
        if np.ndim(self.W) != 2 or np.size(self.W) == 0:
            refuse("W", np.shape(self.W), "an array (M, N)")
        if np.shape(self.v) != (len(self.W),):
            refuse("v", np.shape(self.v), f"an array ({len(self.W)},), an entry for each row of W")
        check_number("noise", self.noise, 0.0)
        get_activation(self.activation)

    def label(self, x: Array) -> Array:
        """Return the labels without noise, (samples,), of inputs (samples, N)."""
        return get_activation(self.activation).g(x @ self.W.T / np.sqrt(self.W.shape[1])) @ self.v

    def batches(self, rng: np.random.Generator, batch_size: int = 1) -> Iterator[tuple[Array, Array]]:
        """Yield inputs (batch_size, N) and labels (batch_size, 1) for ever; each sample draws x first and then its noise."""
        N = self.W.shape[1]
        x, noise = np.empty((batch_size, N)), np.zeros(batch_size)
        while True:
            for sample in range(batch_size):
                x[sample] = rng.standard_normal(N)
                if self.noise > 0:
                    noise[sample] = self.noise * rng.standard_normal()
            yield x.copy(), (self.label(x) + noise)[:, None]


def on_line_sgd(
    architecture: Architecture,
    theta: Array,
    stream: Iterator[tuple[Array, Array]],
    rate: float | Array,
    n_steps: int,
    decay: float | Array = 0.0,
) -> None:
    """Take `n_steps` SGD steps on `theta`, (n_parameters,), in place, each on the mean gradient of delta^2 / 2 over a batch.

    The network sees x / sqrt(N). `rate`, and the part `decay` of itself by which a parameter shrinks a step, may have an entry
    a parameter; with `network.factors` of such an array every factor gets its own.
    """
    activation = get_activation(architecture.activation)
    gradient = np.empty_like(theta)
    layers, gradient_layers = as_layers(architecture, theta), as_layers(architecture, gradient)
    for x, y in islice(stream, n_steps):
        h = (x / np.sqrt(x.shape[1])).astype(theta.dtype)
        fields = forward(layers, activation, h)
        _, output_gradient = squared_error(fields.fields[-1], y.astype(theta.dtype))
        backward(layers, activation, fields, output_gradient, gradient_layers)
        sgd_step(theta, gradient, rate, decay)
