"""Steps on a flat parameter vector: SGD and Adam, both with weight decay that does not enter the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from teacher_student.arrays import RealArray
from teacher_student.kernels import njit

OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")

# Moments of a unit that no longer gets gradients would decay into subnormal numbers, with which processors are much
# slower; 0.9^100 of 1e-30 is still above them in float32.
_NOTHING, _FLUSH_EVERY = 1e-30, 100
_AT_ONCE = 1024


def sgd_step(theta: RealArray, gradient: RealArray, rate: float | RealArray, decay: float | RealArray | None = None) -> None:
    """Take theta -> (1 - decay) theta - rate gradient in place; `rate` and `decay` may have an entry a parameter."""
    if decay is not None:
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
    mean: RealArray = field(init=False)
    square: RealArray = field(init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = np.zeros(self.n, self.dtype), np.zeros(self.n, self.dtype)

    def step(self, theta: RealArray, gradient: RealArray, rate: float, decay: RealArray | None = None) -> None:
        """Change `theta` in place; `decay` is the part of itself by which each parameter shrinks."""
        self.steps += 1
        if self.steps % _FLUSH_EVERY == 0:
            self.mean[np.abs(self.mean) < _NOTHING] = 0
            self.square[self.square < _NOTHING] = 0
        unbias = math.sqrt((1 - self.beta2**self.steps) / (1 - self.beta2))
        length = rate * unbias * (1 - self.beta1) / (1 - self.beta1**self.steps)
        numbers = np.array([self.beta1, self.beta2, self.epsilon * unbias, length], theta.dtype)
        _adam_step(theta, gradient, self.mean, self.square, numbers, theta[:0] if decay is None else decay)


# Slices of one length, rather than one range of indices for all arrays, let the compiler use vectors.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _adam_step(
    theta: RealArray, gradient: RealArray, mean: RealArray, square: RealArray, numbers: RealArray, decay: RealArray
) -> None:
    """Take a step in one pass through memory; both moments are without their factors 1 - beta, which `numbers` absorb."""
    beta1, beta2, epsilon, length = numbers
    for begin in range(0, len(theta), _AT_ONCE):
        end = begin + _AT_ONCE
        x, g, m, s, part = theta[begin:end], gradient[begin:end], mean[begin:end], square[begin:end], decay[begin:end]
        for i in range(len(part)):
            x[i] -= part[i] * x[i]
        for i in range(len(x)):
            m[i] = beta1 * m[i] + g[i]
            s[i] = beta2 * s[i] + g[i] * g[i]
            x[i] -= length * m[i] / (math.sqrt(s[i]) + epsilon)


def scheduled_rate(rate: float, schedule: str, done: float) -> float:
    """Return the learning rate when the fraction `done` of all epochs has passed: constant, or half a cosine down to 0."""
    return 0.5 * rate * (1 + math.cos(math.pi * done)) if schedule == "cosine" else rate
