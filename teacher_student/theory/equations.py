"""The ODEs of one problem as data for compiled code: the right-hand side on the moving coordinates, and its derivatives."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import typeof_impl

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.pointers import VECTOR
from teacher_student.kernels import njit
from teacher_student.rates import is_constant
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.model import MODEL, RIGHT_HAND_SIDE, Model


class Equations(NamedTuple):
    """What `slope` needs besides time and coordinates.

    `right_hand_side` is a function pointer of type `RIGHT_HAND_SIDE` and `model` its first argument; `moving`, `places`,
    `sources` and `multiples` are those of the coordinates. `window` (2,) are the first and last time at which schedules may be
    asked for rates, to stay between two of their jumps. The flat states `full`, with the values of frozen factors, and `change`,
    the slope of everything, are work space: no two threads may use the same equations at once.
    """

    right_hand_side: Any
    model: Model
    window: Any
    moving: Any
    places: Any
    sources: Any
    multiples: Any
    full: Any
    change: Any


_POSITIONS = types.int64[::1]
_EQUATIONS = types.NamedTuple(  # type: ignore[no-untyped-call]
    (types.FunctionType(RIGHT_HAND_SIDE), MODEL, VECTOR, _POSITIONS, _POSITIONS, _POSITIONS, VECTOR, VECTOR, VECTOR), Equations
)


@typeof_impl.register(Equations)
def _type_of_equations(equations: Equations, context: Any) -> Any:
    """Return the one type of all equations; to let numba find it out again takes longer than most calls."""
    return _EQUATIONS


def equations_of(model: Model, coordinates: Coordinates) -> Equations:
    """Return the equations of `model` on the moving `coordinates`; importing their right-hand side compiles it."""
    kind = "sampled" if len(model.points) else "closed"
    module = importlib.import_module(f"teacher_student.theory.{kind}")
    return Equations(
        right_hand_side=module.pointer,
        model=model,
        window=np.array([-np.inf, np.inf]),
        moving=coordinates.moving,
        places=coordinates.places,
        sources=coordinates.sources,
        multiples=coordinates.multiples,
        full=coordinates.start.copy(),
        change=np.empty_like(coordinates.start),
    )


@njit(cache=True, nogil=True)
def place(equations: Equations, y: FloatArray) -> None:
    """Write the moving coordinates `y` (n,) into the flat state of `equations`."""
    full, places, sources, multiples = equations.full, equations.places, equations.sources, equations.multiples
    for i in range(len(places)):
        full[places[i]] = y[sources[i]] * multiples[i]


@njit(cache=True, nogil=True)
def within(equations: Equations, alpha: float) -> float:
    """Return the time nearest `alpha` in the window of `equations`."""
    return min(max(alpha, equations.window[0]), equations.window[1])


@njit(cache=True, nogil=True)
def slope(equations: Equations, alpha: float, y: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha at the time `alpha` on the moving coordinates, (n,), into `out`."""
    place(equations, y)
    change, moving = equations.change, equations.moving
    equations.right_hand_side(equations.model, within(equations, alpha), equations.full, change)
    for i in range(len(y)):
        out[i] = change[moving[i]]


@njit(cache=True)
def fill_jacobian(equations: Equations, alpha: float, y: FloatArray, step: float, J: FloatArray) -> None:
    """Write dslope_i/dy_j into `J` (n, n) by central differences over `step` max(1, abs(y_j))."""
    n = len(y)
    shifted, forward, backward = np.empty(n), np.empty(n), np.empty(n)
    for j in range(n):
        shifted[j] = y[j]
    for j in range(n):
        size = step * max(1.0, abs(y[j]))
        shifted[j] = y[j] + size
        slope(equations, alpha, shifted, forward)
        shifted[j] = y[j] - size
        slope(equations, alpha, shifted, backward)
        shifted[j] = y[j]
        for i in range(n):
            J[i, j] = (forward[i] - backward[i]) / (2.0 * size)


@njit(cache=True)
def fill_second_differences(
    equations: Equations, alpha: float, y: FloatArray, steps: FloatArray, weights: FloatArray, out: FloatArray
) -> None:
    """Write sum_s weights_s (f(y + step_s) + f(y - step_s) - 2 f(y)) into `out` (n,); `steps` is (m, n). Weights may be 0."""
    n = len(y)
    shifted, centre, forward, backward = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    slope(equations, alpha, y, centre)
    for i in range(n):
        out[i] = 0.0
    for s in range(len(steps)):
        if weights[s] == 0.0:
            continue
        for i in range(n):
            shifted[i] = y[i] + steps[s, i]
        slope(equations, alpha, shifted, forward)
        for i in range(n):
            shifted[i] = y[i] - steps[s, i]
        slope(equations, alpha, shifted, backward)
        for i in range(n):
            out[i] += weights[s] * (forward[i] + backward[i] - 2.0 * centre[i])


@njit(cache=True, inline="always")
def fill_change_of_rates(equations: Equations, alpha: float, y: FloatArray, width: float, out: FloatArray) -> None:
    """Write the derivative of the slope by alpha at fixed `y` into `out` (n,), by a difference over `width` within the window."""
    before, after = max(alpha - width, equations.window[0]), min(alpha + width, equations.window[1])
    if is_constant(equations.model.rule.schedules) or before >= after:
        for i in range(len(y)):
            out[i] = 0.0
        return
    earlier = np.empty(len(y))
    slope(equations, before, y, earlier)
    slope(equations, after, y, out)
    for i in range(len(y)):
        out[i] = (out[i] - earlier[i]) / (after - before)
