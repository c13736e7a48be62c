"""Activation functions g and their derivatives g', as compiled function pointers.

Every kernel takes g and g' as arguments of the one type ``float64(float64)``, so that a kernel is compiled once and
serves all activations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numba import cfunc

from teacher_student.errors import refuse

_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)


@cfunc("float64(float64)", cache=True)
def _erf(x: float) -> float:
    return math.erf(x * _SQRT_HALF)


@cfunc("float64(float64)", cache=True)
def _erf_prime(x: float) -> float:
    return _SQRT_2_OVER_PI * math.exp(-0.5 * x * x)


@dataclass(frozen=True)
class Activation:
    """One activation: what SGD needs of it (g and g'), and the family that knows its Gaussian averages.

    Attributes
    ----------
    name : str
        The name used in problems and files.
    g, g_prime : numba.core.ccallback.CFunc
        Compiled ``float64(float64)``; call ``g.ctypes(x)`` from Python.
    averages : str
        Module of `teacher_student.theory.gaussian_averages` with the closed forms.
    """

    name: str
    g: Any
    g_prime: Any
    averages: str


ERF = Activation(name="erf", g=_erf, g_prime=_erf_prime, averages="erf")

ACTIVATIONS = {activation.name: activation for activation in (ERF,)}


def get_activation(name: str) -> Activation:
    """Return the activation called `name`; raises `InvalidInput` if there is none."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        refuse("activation", name, "one of " + ", ".join(sorted(ACTIVATIONS)))
    return ACTIVATIONS[name]
