"""Activations g and their derivatives g' on whole arrays, and the Gaussian moments that the initial weights need."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

from teacher_student.arrays import RealArray
from teacher_student.errors import refuse
from teacher_student.kernels import njit

_SQRT_HALF = np.sqrt(0.5)
_SQRT_2_OVER_PI = np.sqrt(2.0 / np.pi)
_NODES = 120


@dataclass(frozen=True)
class Activation:
    """An activation, and what the passes through a layer need of it.

    `g` is g(z). `of_layer` adds the bias (N,) to the fields z (samples, N) in place and writes g(z) into a third array.
    `times_slope` multiplies its first argument by g'(z) in place, from z or g(z), whichever is cheaper.
    """

    name: str
    g: Callable[..., RealArray]
    of_layer: Callable[[RealArray, RealArray, RealArray], None]
    times_slope: Callable[[RealArray, RealArray, RealArray], None]


def _relu(z: RealArray, out: RealArray | None = None) -> RealArray:
    return np.maximum(z, 0, out=out)


# One compiled pass each: where P is small the passes through (samples, N) arrays cost as much as the matrix products.
@njit(cache=True, nogil=True)
def _add_bias_and_rectify(z: RealArray, bias: RealArray, h: RealArray) -> None:
    for n in range(z.shape[0]):
        for k in range(z.shape[1]):
            z[n, k] += bias[k]
            h[n, k] = 0 if z[n, k] < 0 else z[n, k]  # NaN stays NaN


@njit(cache=True, nogil=True)
def _clear_where_inactive(d: RealArray, z: RealArray, h: RealArray) -> None:
    for n in range(d.shape[0]):
        for k in range(d.shape[1]):
            d[n, k] = d[n, k] if h[n, k] > 0 else 0


def _times_tanh_slope(d: RealArray, z: RealArray, h: RealArray) -> None:
    d *= 1 - h * h


def _erf(z: RealArray, out: RealArray | None = None) -> RealArray:
    return erf(np.multiply(z, z.dtype.type(_SQRT_HALF), out=out), out=out)


def _times_erf_slope(d: RealArray, z: RealArray, h: RealArray) -> None:
    d *= z.dtype.type(_SQRT_2_OVER_PI) * np.exp(z * z * z.dtype.type(-0.5))


def _times_logistic_slope(d: RealArray, z: RealArray, h: RealArray) -> None:
    d *= h * (1 - h)


def _times_one(d: RealArray, z: RealArray, h: RealArray) -> None:
    pass


def _in_passes(g: Callable[..., RealArray]) -> Callable[[RealArray, RealArray, RealArray], None]:
    def of_layer(z: RealArray, bias: RealArray, h: RealArray) -> None:
        z += bias
        g(z, out=h)

    return of_layer


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("relu", _relu, _add_bias_and_rectify, _clear_where_inactive),
        Activation("tanh", np.tanh, _in_passes(np.tanh), _times_tanh_slope),
        Activation("erf", _erf, _in_passes(_erf), _times_erf_slope),
        Activation("logistic", expit, _in_passes(expit), _times_logistic_slope),
        Activation("linear", np.positive, _in_passes(np.positive), _times_one),
    )
}


def get_activation(name: str) -> Activation:
    """Return the activation called `name`; raises `InvalidInput` if there is none."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        refuse("activation", name, "one of " + ", ".join(ACTIVATIONS))
    return ACTIVATIONS[name]


@functools.cache
def gaussian_moments(name: str) -> tuple[float, float, float]:
    """Return <g(z)^2>, <z g(z)> and <z^2 g(z)^2> for z ~ N(0, 1), by Gauss-Hermite quadrature."""
    z, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    weight = weight / weight.sum()
    g = get_activation(name).g(z)
    return float(weight @ g**2), float(weight @ (z * g)), float(weight @ (z * g) ** 2)
