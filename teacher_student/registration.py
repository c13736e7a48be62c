"""Registration of the user's activations: functions, or members of the families whose Gaussian averages have a closed form."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core.ccallback import CFunc

from teacher_student.activations import ACTIVATIONS, Activation
from teacher_student.errors import refuse
from teacher_student.kernels import cfunc, njit

# Step of the numerical derivative, a power of 2 so that x + step is exact, and where registered functions are tried.
_STEP = 2.0**-8
_TRIED = np.arange(-8.0, 8.0 + _STEP / 4, _STEP / 2)
# On smooth functions, extrapolations of different order agree to 1e-11 of the largest slope; at a kink they do not agree at all.
_SMOOTH = 1e-7


def register_activation(
    name: str,
    g: Callable[[float], float] | None = None,
    g_prime: Callable[[float], float] | None = None,
    *,
    erf: float | None = None,
    piecewise_linear: float | None = None,
    polynomial: Sequence[float] | None = None,
) -> None:
    """Add an activation for this process: `name` may then be used wherever an activation is asked for.

    It is a function `g`, whose Gaussian averages are sampled, or one of three families whose averages have a closed form. A
    worker process or a later session has to register it again. The functions are compiled here, which takes
    longest for the first of a process, and not cached on disk: numba's cache would not notice another value of a global variable
    or default argument of `g`.

    Parameters
    ----------
    name : str
        A name not yet used.
    g : callable, optional
        Of one float, in what numba can compile: arithmetic, conditions, functions of `math`. If numba has compiled it already,
        its Python function is compiled again.
    g_prime : callable, optional
        What SGD multiplies by where the rule says g'. By default the derivative of a smooth `g` by central differences of steps
        2^-8, 2^-9 and 2^-10, extrapolated to order 6 (Richardson); its error is about 1e-12 for functions of order one.
    erf : float, optional
        Instead of `g`, the width w of erf(x / (w sqrt 2)), above 0: 1 is "erf", sqrt 2 is erf(x / 2).
    piecewise_linear : float, optional
        Instead of `g`, the slope s of x for x > 0, s x for x < 0: a leaky ReLU.
    polynomial : sequence of three floats, optional
        Instead of `g`, (c0, c1, c2) of c0 + c1 x + c2 x^2.

    Raises
    ------
    InvalidInput
        If the name is taken; not exactly one of `g` and the families is given, or `g_prime` with a family, or parameters that
        are not finite numbers or make a constant; a function does not compile, raises or is not finite somewhere in [-8, 8]; or
        `g_prime` is left out and `g` has a kink or a jump there, where only its user can say what SGD is to do, or is too steep
        to be differentiated to 1e-7 of its largest slope.
    """
    if not isinstance(name, str) or not name.isidentifier():
        refuse("name", name, "a name of letters, digits and underscores")
    if name in ACTIVATIONS:
        refuse("name", name, "a name not yet used for an activation")
    choices = {"g": g, "erf": erf, "piecewise_linear": piecewise_linear, "polynomial": polynomial}
    given = [choice for choice, value in choices.items() if value is not None]
    if len(given) != 1:
        refuse("activation", " and ".join(given) or None, "exactly one of g, erf, piecewise_linear and polynomial")
    if g is None:
        if g_prime is not None:
            refuse("g_prime", g_prime, f"none, for {given[0]} has its own")
        ACTIVATIONS[name] = _member(name, given[0], choices[given[0]])
    else:
        compiled = _compile("g", g)
        compiled_prime = _derivative_of(g, compiled) if g_prime is None else _compile("g_prime", g_prime)
        ACTIVATIONS[name] = Activation(name, compiled, compiled_prime, {})


def _member(name: str, family: str, parameters: Any) -> Activation:
    """Return the member of a family that has the `parameters`; raises `InvalidInput`, naming the family, if there is none."""
    values = _finite_numbers(parameters if family == "polynomial" else [parameters])
    if family == "erf":
        if values is None or not 1e-100 < values[0] < 1e100:
            refuse(family, parameters, "a finite number above 0")
        return Activation(name, *_erf_of_width(*values), {family: values})
    if family == "piecewise_linear":
        if values is None:
            refuse(family, parameters, "a finite number")
        functions = _piecewise_linear(*values)
    else:
        if values is None or len(values) != 3 or values[1] == values[2] == 0.0:
            refuse(family, parameters, "three finite numbers c0, c1, c2, of which c1 and c2 are not both 0")
        functions = _polynomial(*values)
    linear = ACTIVATIONS["linear"].families
    return Activation(name, *functions, linear if linear[family] == values else {family: values})


def _finite_numbers(values: Any) -> tuple[float, ...] | None:
    """Return a sequence of finite real numbers as floats, None of anything else."""
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str) or getattr(values, "ndim", 1) != 1:
        return None
    if not all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in values):
        return None
    return tuple(map(float, values)) if all(abs(value) <= sys.float_info.max for value in values) else None


def _erf_of_width(width: float) -> tuple[Any, Any]:
    """Return g and g' of erf(x / (width sqrt 2)), as C callbacks."""
    half_root, height = math.sqrt(0.5), math.sqrt(2.0 / math.pi)

    @cfunc("float64(float64)")
    def g(x: float) -> float:
        return math.erf(x / width * half_root)

    @cfunc("float64(float64)")
    def g_prime(x: float) -> float:
        y = x / width
        return height * math.exp(-0.5 * y * y) / width

    return g, g_prime


def _piecewise_linear(slope: float) -> tuple[Any, Any]:
    """Return g and g' of x for x > 0, slope x for x < 0, as C callbacks."""

    @cfunc("float64(float64)")
    def g(x: float) -> float:
        return x if x > 0.0 else slope * x

    @cfunc("float64(float64)")
    def g_prime(x: float) -> float:
        return 1.0 if x > 0.0 else (slope if x < 0.0 else 0.5 * (1.0 + slope))

    return g, g_prime


def _polynomial(c0: float, c1: float, c2: float) -> tuple[Any, Any]:
    """Return g and g' of c0 + c1 x + c2 x^2 as C callbacks."""

    @cfunc("float64(float64)")
    def g(x: float) -> float:
        return (c2 * x + c1) * x + c0

    @cfunc("float64(float64)")
    def g_prime(x: float) -> float:
        return 2.0 * c2 * x + c1

    return g, g_prime


def _compile(field: str, function: Any) -> Any:
    """Return `function` as a C callback that returns the same numbers; raises `InvalidInput`, naming `field`, otherwise."""
    function = _in_python(function)
    try:
        compiled = cfunc("float64(float64)", error_model="numpy")(function)
    except Exception as error:  # numba raises its own and many other kinds
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        refuse(
            field, function, f"a function of one float that numba can compile ({type(error).__name__}: {reason.strip()[:100]})"
        )
    for x in map(float, _TRIED):
        try:
            expected = float(function(x))
        except Exception as error:
            refuse(f"{field}({x:g})", f"{type(error).__name__}: {error}", "a finite number")
        if not math.isfinite(expected):
            refuse(f"{field}({x:g})", expected, "a finite number")
        if not abs(compiled.ctypes(x) - expected) <= 1e-9 * (1.0 + abs(expected)):
            refuse(f"{field}({x:g})", compiled.ctypes(x), f"when compiled what Python returns, {expected!r}")
    return compiled


def _in_python(function: Any) -> Any:
    """Return the Python function of one that numba has compiled, any other as it is."""
    return function.__wrapped__ if isinstance(function, CFunc) else getattr(function, "py_func", function)


def _derivative_of(g: Any, compiled: Any) -> Any:
    """Return the numerical derivative of `g`, which is also given `compiled`; raises `InvalidInput` where it is not accurate."""
    derivative = _derivative(njit(_in_python(g)))
    slopes = np.array([derivative.ctypes(x) for x in _TRIED])
    values = np.array([compiled.ctypes(x) for x in np.arange(_TRIED[0] - _STEP, _TRIED[-1] + 1.25 * _STEP, _STEP / 2)])
    middle, wide = (values[3:-1] - values[1:-3]) / _STEP, (values[4:] - values[:-4]) / (2.0 * _STEP)
    unequal = np.abs(slopes - (4.0 * middle - wide) / 3.0)
    if not (unequal <= _SMOOTH * np.abs(slopes).max()).all():
        where = f"near x = {_TRIED[unequal.argmax()]:.2g}"
        refuse("g_prime", None, f"the derivative as a function: g cannot be differentiated numerically to 1e-7 {where}")
    return derivative


def _derivative(g: Any) -> Any:
    """Return the central difference of compiled `g`, extrapolated to order 6 in its step, as a C callback."""

    @cfunc("float64(float64)", error_model="numpy")
    def sixth(x: float) -> float:
        wide = (g(x + _STEP) - g(x - _STEP)) / (2.0 * _STEP)
        middle = (g(x + _STEP / 2) - g(x - _STEP / 2)) / _STEP
        narrow = (g(x + _STEP / 4) - g(x - _STEP / 4)) / (_STEP / 2)
        return (64.0 * narrow - 20.0 * middle + wide) / 45.0

    return sixth
