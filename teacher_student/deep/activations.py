"""Activations g and their derivatives g' on whole arrays, and the Gaussian moments that the initial weights need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erf, expit

from teacher_student.errors import refuse

Array = npt.NDArray[np.floating]

_SQRT_HALF = np.sqrt(0.5)
_SQRT_2_OVER_PI = np.sqrt(2.0 / np.pi)
_NODES = 120


@dataclass(frozen=True)
class Activation:
    """An activation: g(z), and d g'(z) as a function of d, z and g(z), whichever of the two is cheaper."""

    name: str
    g: Callable[[Array], Array]
    times_slope: Callable[[Array, Array, Array], Array]


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


def _times_relu_slope(d: Array, z: Array, h: Array) -> Array:
    return d * (h > 0)


def _times_tanh_slope(d: Array, z: Array, h: Array) -> Array:
    return d * (1 - h * h)


def _erf(z: Array) -> Array:
    return erf(z * z.dtype.type(_SQRT_HALF))


def _times_erf_slope(d: Array, z: Array, h: Array) -> Array:
    return d * (z.dtype.type(_SQRT_2_OVER_PI) * np.exp(z * z * z.dtype.type(-0.5)))


def _times_logistic_slope(d: Array, z: Array, h: Array) -> Array:
    return d * (h * (1 - h))


def _linear(z: Array) -> Array:
    return z


def _times_one(d: Array, z: Array, h: Array) -> Array:
    return d


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("relu", _relu, _times_relu_slope),
        Activation("tanh", np.tanh, _times_tanh_slope),
        Activation("erf", _erf, _times_erf_slope),
        Activation("logistic", expit, _times_logistic_slope),
        Activation("linear", _linear, _times_one),
    )
}


def get_activation(name: str) -> Activation:
    """Return the activation called `name`; raises `InvalidInput` if there is none."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        refuse("activation", name, "one of " + ", ".join(ACTIVATIONS))
    return ACTIVATIONS[name]


def gaussian_moments(name: str) -> tuple[float, float, float]:
    """Return <g(z)^2>, <z g(z)> and <z^2 g(z)^2> for z ~ N(0, 1), by Gauss-Hermite quadrature."""
    z, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    weight = weight / weight.sum()
    g = get_activation(name).g(z)
    return float(weight @ g**2), float(weight @ (z * g)), float(weight @ (z * g) ** 2)
