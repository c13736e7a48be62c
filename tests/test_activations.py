"""Activations of the user's own: what is refused, and the numerical derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
import pytest

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS

UNKNOWN = "g_prime: got None, expected the derivative as a function: g cannot be differentiated numerically to 1e-7"


def sine(x: float) -> float:
    return math.sin(x) + 0.5 * x


def steep(steepness: float) -> Callable[[float], float]:
    return lambda x: math.tanh(steepness * x)


def absolute(x: float) -> float:
    return abs(x - 0.3)


def strange(x: float) -> float:
    return {"a": [x]}.get(open("nothing").read(), x)  # type: ignore[return-value]


def fails(x: float) -> float:
    if x > 3.0:
        raise ValueError("too large")
    return x


def test_a_registered_activation_is_used_by_its_name() -> None:
    ts.register_activation("sine", sine, lambda x: math.cos(x) + 0.5)
    assert ts.LearningRule("sine", eta_xi_in=1.0).activation == "sine"
    for x in (-3.0, 0.1, 2.0):
        assert abs(ACTIVATIONS["sine"].g.ctypes(x) - sine(x)) < 1e-15
        assert abs(ACTIVATIONS["sine"].g_prime.ctypes(x) - (math.cos(x) + 0.5)) < 1e-15


@pytest.mark.parametrize(
    ("g", "g_prime"),
    [
        (steep(1.0), lambda x: 1.0 / np.cosh(x) ** 2),
        (sine, lambda x: np.cos(x) + 0.5),
        (lambda x: x * x * x / 6.0, lambda x: 0.5 * x * x),
        (lambda x: math.exp(-x * x), lambda x: -2.0 * x * np.exp(-x * x)),
        (lambda x: 1e9 * math.tanh(x), lambda x: 1e9 / np.cosh(x) ** 2),
        (numba.njit(lambda x: 1e-9 * math.tanh(x)), lambda x: 1e-9 / np.cosh(x) ** 2),
    ],
)
def test_the_numerical_derivative_has_the_stated_error(g: Callable[[float], float], g_prime: Callable[[float], float]) -> None:
    """In units of g, whatever its size."""
    ts.register_activation("plain", g)
    x = np.linspace(-5.0, 5.0, 301)
    error = np.array([ACTIVATIONS["plain"].g_prime.ctypes(at) for at in x]) - g_prime(x)
    unit = np.abs(g_prime(np.linspace(-1.0, 1.0, 21))).max()
    assert (np.abs(error) / (unit + np.abs(np.vectorize(g)(x)))).max() < 1e-11
    # Negative control: the central difference of the same step without extrapolation is far off.
    once = (np.vectorize(g)(x + 2.0**-8) - np.vectorize(g)(x - 2.0**-8)) * 2.0**7 - g_prime(x)
    assert np.abs(once).max() > 1e-7 * unit


def test_functions_that_share_a_line_or_a_global_are_told_apart() -> None:
    """numba's cache on disk would not: neither constants nor globals are part of its key."""
    pairs = {"one": (lambda x: 1.0 * x, lambda x: 1.0), "two": (lambda x: 2.0 * x, lambda x: 2.0)}
    for (name, pair), slope in zip(pairs.items(), (1.0, 2.0), strict=True):
        ts.register_activation(name, *pair)
        assert (ACTIVATIONS[name].g.ctypes(3.0), ACTIVATIONS[name].g_prime.ctypes(3.0)) == (3.0 * slope, slope)
    for name, steepness in (("half", 0.5), ("wide", 1.5)):
        ts.register_activation(name, steep(steepness))
        assert abs(ACTIVATIONS[name].g_prime.ctypes(0.0) - steepness) < 1e-11


def test_functions_that_numba_has_compiled_are_taken_as_they_are() -> None:
    compiled, callback = numba.njit(sine), numba.cfunc("float64(float64)")(lambda x: math.cos(x) + 0.5)
    ts.register_activation("sine", compiled, callback)
    ts.register_activation("alone", compiled)
    for x in (-3.0, 0.1, 2.0):
        for name, allowed in (("sine", 1e-15), ("alone", 1e-11)):
            assert abs(ACTIVATIONS[name].g.ctypes(x) - sine(x)) < 1e-15
            assert abs(ACTIVATIONS[name].g_prime.ctypes(x) - (math.cos(x) + 0.5)) < allowed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("erf", sine), "name: got 'erf', expected a name not yet used"),
        (("", sine), "name: got '', expected a name of letters"),
        ((3, sine), "name: got 3, expected a name of letters"),
        (("new", strange), "g: got <function strange"),
        (("new", "text"), "g: got 'text', expected a function of one float"),
        (("new", sine, strange), "g_prime: got <function strange"),
        (("new", lambda x: 1.0 / x, lambda x: -1.0 / x**2), "g(0): got 'ZeroDivisionError"),
        (("new", sine, lambda x: math.inf if x > 2 else 1.0), "g_prime(2.00195): got inf, expected a finite number"),
        (("new", fails, lambda x: 1.0), "g(3.00195): got 'ValueError: too large', expected a finite number"),
        (("new", absolute), f"{UNKNOWN} near x = 0.3"),
        (("new", lambda x: 1e-9 * abs(x - 0.3)), f"{UNKNOWN} near x = 0.3"),
        (("new", lambda x: 1.0 if x > 1.0 else 0.0), UNKNOWN),
        (("new", steep(20.0)), f"{UNKNOWN} near x = "),
        (("new", numba.njit(absolute)), f"{UNKNOWN} near x = 0.3"),
        (("new",), "activation: got None, expected exactly one of g, erf, piecewise_linear and polynomial"),
        (("new", sine, {"polynomial": (0, 1, 2)}), "activation: got 'g and polynomial', expected exactly one of g"),
        (("new", {"polynomial": (0, 1, 2), "piecewise_linear": 0.1}), "activation: got 'piecewise_linear and polynomial'"),
        (("new", None, sine, {"piecewise_linear": 0.1}), "g_prime: got <function sine"),
        (("new", {"piecewise_linear": math.nan}), "piecewise_linear: got nan, expected a finite number"),
        (("new", {"piecewise_linear": "steep"}), "piecewise_linear: got 'steep', expected a finite number"),
        (("new", {"piecewise_linear": True}), "piecewise_linear: got True, expected a finite number"),
        (("new", {"piecewise_linear": 10**400}), "piecewise_linear: got 1000"),
        (("new", {"erf": 0.0}), "erf: got 0.0, expected a finite number above 0"),
        (("new", {"erf": math.inf}), "erf: got inf, expected a finite number above 0"),
        (("new", {"polynomial": (1.0, 2.0)}), "polynomial: got (1.0, 2.0), expected three finite numbers c0, c1, c2"),
        (("new", {"polynomial": 1.0}), "polynomial: got 1.0, expected three finite numbers c0, c1, c2"),
        (("new", {"polynomial": "abc"}), "polynomial: got 'abc', expected three finite numbers c0, c1, c2"),
        (("new", {"polynomial": (1.0, 0.0, math.inf)}), "polynomial: got (1.0, 0.0, inf), expected three finite numbers"),
        (("new", {"polynomial": (1.0, 0.0, 0)}), "polynomial: got (1.0, 0.0, 0), expected three finite numbers"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(arguments: tuple[object, ...], message: str) -> None:
    *positional, last = arguments
    named = last if isinstance(last, dict) else {}
    with pytest.raises(ts.InvalidInput) as error:
        ts.register_activation(*(positional if named else arguments), **named)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert "new" not in ACTIVATIONS


def test_a_name_is_taken_once() -> None:
    ts.register_activation("sine", sine)
    with pytest.raises(ts.InvalidInput, match="name: got 'sine'"):
        ts.register_activation("sine", sine)
