"""Steps on a flat parameter vector: SGD and Adam, both with weight decay that does not enter the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")

# Moments of a unit that no longer gets gradients would decay into subnormal numbers, with which processors are a hundred times
# slower; 0.9^100 of 1e-30 is still above them in float32.
_NOTHING, _FLUSH_EVERY = 1e-30, 100


def sgd_step(theta: Array, gradient: Array, rate: float | Array, decay: float | Array = 0.0) -> None:
    """Take theta -> (1 - decay) theta - rate gradient in place; `rate` and `decay` may have an entry a parameter."""
    if np.any(decay):
        theta *= 1 - decay
    theta -= rate * gradient


@dataclass(eq=False)
class Adam:
    """Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019): its moments, updated in place."""

    n: int
    dtype: npt.DTypeLike
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    steps: int = 0
    mean: Array = field(init=False)
    square: Array = field(init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = np.zeros(self.n, self.dtype), np.zeros(self.n, self.dtype)

    def step(self, theta: Array, gradient: Array, rate: float, decay: float | Array = 0.0) -> None:
        """Change `theta` in place; `gradient` is used as work space."""
        self.steps += 1
        # Both moments without their factors 1 - beta, which the rate and epsilon absorb: fewer passes through memory.
        self.mean *= self.beta1
        self.mean += gradient
        gradient *= gradient
        self.square *= self.beta2
        self.square += gradient
        if self.steps % _FLUSH_EVERY == 0:
            self.mean[np.abs(self.mean) < _NOTHING] = 0
            self.square[self.square < _NOTHING] = 0
        unbias = math.sqrt((1 - self.beta2**self.steps) / (1 - self.beta2))
        np.sqrt(self.square, out=gradient)
        gradient += self.epsilon * unbias
        np.divide(self.mean, gradient, out=gradient)
        gradient *= rate * unbias * (1 - self.beta1) / (1 - self.beta1**self.steps)
        if np.any(decay):
            theta *= 1 - decay
        theta -= gradient


def scheduled_rate(rate: float, schedule: str, done: float) -> float:
    """Return the learning rate when the fraction `done` of all epochs has passed: constant, or half a cosine down to 0."""
    return 0.5 * rate * (1 + math.cos(math.pi * done)) if schedule == "cosine" else rate
