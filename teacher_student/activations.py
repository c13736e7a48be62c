"""Activation functions g and their derivatives g', as compiled function pointers.

Every kernel takes g and g' as arguments of the one type ``float64(float64)``, so that a kernel is compiled once and
serves all activations.

Where g is not differentiable, at x = 0 for the piecewise linear ones, g'(0) is the mean of the two one-sided derivatives: 1/2
for ReLU. For fields with a variance this is an event of probability zero. For a unit of zero norm, whose field is always 0, it
makes SGD and theory agree (deep-learning libraries often take 0, which would freeze such a unit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numba import cfunc

from teacher_student.errors import refuse

_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_LEAK = 0.01


@cfunc("float64(float64)", cache=True)
def _erf(x: float) -> float:
    return math.erf(x * _SQRT_HALF)


@cfunc("float64(float64)", cache=True)
def _erf_prime(x: float) -> float:
    return _SQRT_2_OVER_PI * math.exp(-0.5 * x * x)


@cfunc("float64(float64)", cache=True)
def _linear(x: float) -> float:
    return x


@cfunc("float64(float64)", cache=True)
def _linear_prime(x: float) -> float:
    return 1.0


@cfunc("float64(float64)", cache=True)
def _relu(x: float) -> float:
    return x if x > 0.0 else 0.0 * x  # NaN stays NaN


@cfunc("float64(float64)", cache=True)
def _relu_prime(x: float) -> float:
    return 1.0 if x > 0.0 else (0.0 if x < 0.0 else 0.5)


@cfunc("float64(float64)", cache=True)
def _leaky_relu(x: float) -> float:
    return x if x > 0.0 else _LEAK * x


@cfunc("float64(float64)", cache=True)
def _leaky_relu_prime(x: float) -> float:
    return 1.0 if x > 0.0 else (_LEAK if x < 0.0 else 0.5 * (1.0 + _LEAK))


@cfunc("float64(float64)", cache=True)
def _quadratic(x: float) -> float:
    return x * x


@cfunc("float64(float64)", cache=True)
def _quadratic_prime(x: float) -> float:
    return 2.0 * x


@cfunc("float64(float64)", cache=True)
def _centred_quadratic(x: float) -> float:
    return x * x - 1.0


@dataclass(frozen=True)
class Activation:
    """One activation: what SGD needs of it (g and g'), and the families that know its Gaussian averages.

    Attributes
    ----------
    name : str
        The name used in problems and files.
    g, g_prime : numba.core.ccallback.CFunc
        Compiled ``float64(float64)``; call ``g.ctypes(x)`` from Python.
    families : dict of str to tuple of float
        Modules of `teacher_student.theory.gaussian_averages` with the closed forms, each with the parameters that make `g` of
        the family: (slope for x < 0,) if piecewise linear, (c0, c1, c2) of c0 + c1 x + c2 x^2 if polynomial.
    """

    name: str
    g: Any
    g_prime: Any
    families: dict[str, tuple[float, ...]]


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("erf", _erf, _erf_prime, {"erf": ()}),
        Activation("linear", _linear, _linear_prime, {"polynomial": (0.0, 1.0, 0.0), "piecewise_linear": (1.0,)}),
        Activation("relu", _relu, _relu_prime, {"piecewise_linear": (0.0,)}),
        Activation("leaky_relu", _leaky_relu, _leaky_relu_prime, {"piecewise_linear": (_LEAK,)}),
        Activation("quadratic", _quadratic, _quadratic_prime, {"polynomial": (0.0, 0.0, 1.0)}),
        Activation("centred_quadratic", _centred_quadratic, _quadratic_prime, {"polynomial": (-1.0, 0.0, 1.0)}),
    )
}


def get_activation(name: str, field: str = "activation") -> Activation:
    """Return the activation called `name`; raises `InvalidInput`, naming `field`, if there is none."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        refuse(field, name, "one of " + ", ".join(sorted(ACTIVATIONS)))
    return ACTIVATIONS[name]


def shared_family(student: Activation, teacher: Activation) -> str | None:
    """Return the family of Gaussian averages that both activations belong to, or None."""
    return next((family for family in student.families if family in teacher.families), None)


def get_activations(student: str, teacher: str | None = None) -> tuple[Activation, Activation]:
    """Return the activations of student and teacher, by default the same.

    Raises `InvalidInput` if there is no such activation, or no closed form of the Gaussian averages of this pair.
    """
    pair = get_activation(student), get_activation(student if teacher is None else teacher, "teacher_activation")
    if shared_family(*pair) is None:
        closed = [name for name, other in ACTIVATIONS.items() if shared_family(pair[0], other) is not None]
        refuse("teacher_activation", teacher, f"with {student} one of " + ", ".join(sorted(closed)))
    return pair
