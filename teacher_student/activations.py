"""Activation functions g and their derivatives g', as compiled function pointers.

Every kernel takes g and g' as arguments of the one type ``float64(float64)``, so that a kernel is compiled once and
serves all activations.

Where g is not differentiable, at x = 0 for the piecewise linear ones, g'(0) is the mean of the two one-sided derivatives: 1/2
for ReLU. For fields with a variance this is an event of probability zero. For a unit of zero norm, whose field is always 0, it
makes SGD and theory agree (deep-learning libraries often take 0, which would freeze such a unit). The jump of sign has no
derivative, and g' = 0 everywhere else. SGD multiplies by that 0, so only output weights of sign units learn. The theory does the
same: it has no delta function at the jump.

`teacher_student.registration` adds activations of the user's own.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from numba.core.ccallback import CFunc

from teacher_student.errors import refuse
from teacher_student.kernels import cfunc

_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_SQRT_1_OVER_2_PI = math.sqrt(0.5 / math.pi)
_SQRT_6 = math.sqrt(6.0)
_SQRT_24 = math.sqrt(24.0)
_LEAK = 0.01


def _erf(x: float) -> float:
    return math.erf(x * _SQRT_HALF)


def _erf_prime(x: float) -> float:
    return _SQRT_2_OVER_PI * math.exp(-0.5 * x * x)


def _linear(x: float) -> float:
    return x


def _linear_prime(x: float) -> float:
    return 1.0


def _relu(x: float) -> float:
    return x if x > 0.0 else 0.0 * x  # NaN stays NaN


def _relu_prime(x: float) -> float:
    return 1.0 if x > 0.0 else (0.0 if x < 0.0 else 0.5)


def _leaky_relu(x: float) -> float:
    return x if x > 0.0 else _LEAK * x


def _leaky_relu_prime(x: float) -> float:
    return 1.0 if x > 0.0 else (_LEAK if x < 0.0 else 0.5 * (1.0 + _LEAK))


def _quadratic(x: float) -> float:
    return x * x


def _quadratic_prime(x: float) -> float:
    return 2.0 * x


def _centred_quadratic(x: float) -> float:
    return x * x - 1.0


def _sign(x: float) -> float:
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else x)  # NaN stays NaN


def _sign_prime(x: float) -> float:
    return 0.0


def _tanh(x: float) -> float:
    return math.tanh(x)


def _tanh_prime(x: float) -> float:
    t = math.tanh(x)
    return 1.0 - t * t


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x * _SQRT_HALF)


def _gelu_prime(x: float) -> float:
    return 0.5 * math.erfc(-x * _SQRT_HALF) + x * _SQRT_1_OVER_2_PI * math.exp(-0.5 * x * x)


def _softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + (x if x > 0.0 else 0.0)


def _sigmoid(x: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def _sigmoid_prime(x: float) -> float:
    return 0.25 / math.cosh(0.5 * x) ** 2 if abs(x) < 700.0 else 0.0 * x


def _hermite2(x: float) -> float:
    return _SQRT_HALF * (x * x - 1.0)


def _hermite2_prime(x: float) -> float:
    return 2.0 * _SQRT_HALF * x


def _hermite3(x: float) -> float:
    return x * (x * x - 3.0) / _SQRT_6


def _hermite3_prime(x: float) -> float:
    return 3.0 * (x * x - 1.0) / _SQRT_6


def _hermite4(x: float) -> float:
    return ((x * x - 6.0) * x * x + 3.0) / _SQRT_24


def _hermite4_prime(x: float) -> float:
    return 4.0 * x * (x * x - 3.0) / _SQRT_24


@dataclass(frozen=True)
class Activation:
    """One activation: g and g', which SGD needs, and the families that know its Gaussian averages.

    Attributes
    ----------
    name : str
        The name used in problems and files.
    function, derivative : callable
        g and g' in Python, or compiled already.
    families : dict of str to tuple of float
        Modules of `teacher_student.gaussian_averages` with the closed forms, each with the parameters that make `g` of
        the family: (w,) of erf(x / (w sqrt 2)), 0 for sign, if erf, (slope for x < 0,) if piecewise linear, (c0, c1, c2) of
        c0 + c1 x + c2 x^2 if polynomial. Averages of a pair that shares no family are sampled.
    """

    name: str
    function: Any
    derivative: Any
    families: dict[str, tuple[float, ...]]

    @property
    def g(self) -> Any:
        """g compiled, ``float64(float64)``, a `numba.core.ccallback.CFunc`; call ``g.ctypes(x)`` from Python."""
        return _compiled(self.function)

    @property
    def g_prime(self) -> Any:
        """g' compiled, likewise."""
        return _compiled(self.derivative)


@functools.cache
def _compiled(function: Any) -> Any:
    """Return `function` as a C callback, compiled or loaded only when it is first used."""
    return function if isinstance(function, CFunc) else cfunc("float64(float64)", cache=True)(function)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("erf", _erf, _erf_prime, {"erf": (1.0,)}),
        Activation("linear", _linear, _linear_prime, {"polynomial": (0.0, 1.0, 0.0), "piecewise_linear": (1.0,)}),
        Activation("relu", _relu, _relu_prime, {"piecewise_linear": (0.0,)}),
        Activation("leaky_relu", _leaky_relu, _leaky_relu_prime, {"piecewise_linear": (_LEAK,)}),
        Activation("quadratic", _quadratic, _quadratic_prime, {"polynomial": (0.0, 0.0, 1.0)}),
        Activation("centred_quadratic", _centred_quadratic, _quadratic_prime, {"polynomial": (-1.0, 0.0, 1.0)}),
        Activation("hermite2", _hermite2, _hermite2_prime, {"polynomial": (-_SQRT_HALF, 0.0, _SQRT_HALF)}),
        Activation("hermite3", _hermite3, _hermite3_prime, {}),
        Activation("hermite4", _hermite4, _hermite4_prime, {}),
        Activation("sign", _sign, _sign_prime, {"erf": (0.0,)}),
        Activation("tanh", _tanh, _tanh_prime, {}),
        Activation("gelu", _gelu, _gelu_prime, {}),
        Activation("softplus", _softplus, _sigmoid, {}),
        Activation("sigmoid", _sigmoid, _sigmoid_prime, {}),
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
    """Return the activations of student and teacher, by default the same; raises `InvalidInput` for an unknown name."""
    return get_activation(student), get_activation(student if teacher is None else teacher, "teacher_activation")
