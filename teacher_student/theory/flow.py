"""The ODEs of one problem as data for compiled code: the right-hand side on the moving coordinates, and its derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import typeof_impl

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.gaussian_averages.pointers import AVERAGES, MATRIX, VECTOR
from teacher_student.kernels import njit
from teacher_student.schedules import is_constant

# Whoever calls the pointer is compiled without the dynamics, and once for all dynamics of this type.
DYNAMICS = types.void(
    types.FunctionType(AVERAGES),
    VECTOR,
    MATRIX,
    types.float64,
    VECTOR,
    MATRIX,
    VECTOR,
    types.int64,
    types.int64,
    types.float64,
    types.float64,
    types.int64,
    types.boolean,
    types.float64,
    VECTOR,
    VECTOR,
)


class Flow(NamedTuple):
    """What `slope` needs besides time and state.

    `dynamics` is a function pointer of type `DYNAMICS`, `averages` one of a family of Gaussian averages that `parameters` belong
    to; `moving` and `mirror` are those of the coordinates. `window` (2,) are the first and last time at which schedules may be
    asked for rates, to stay between two of their jumps. `rates` (4,), `full` and `full_slope` (n_full,) are work space, `full`
    with the values of frozen factors: no two threads may use one flow at once.
    """

    dynamics: Any
    averages: Any
    parameters: FloatArray
    T: FloatArray
    v_teacher: FloatArray
    n_units: int
    n_modes: int
    schedules: FloatArray
    window: FloatArray
    rates: FloatArray
    noise: float
    weight_decay: float
    batch_size: int
    spherical: bool
    friction: float
    moving: IntArray
    mirror: IntArray
    full: FloatArray
    full_slope: FloatArray


_POSITIONS = types.int64[::1]
_TYPES = {
    "dynamics": types.FunctionType(DYNAMICS),
    "averages": types.FunctionType(AVERAGES),
    "T": MATRIX,
    "n_units": types.int64,
    "n_modes": types.int64,
    "schedules": MATRIX,
    "noise": types.float64,
    "weight_decay": types.float64,
    "batch_size": types.int64,
    "spherical": types.boolean,
    "friction": types.float64,
    "moving": _POSITIONS,
    "mirror": _POSITIONS,
}
_FLOW = types.NamedTuple([_TYPES.get(name, VECTOR) for name in Flow._fields], Flow)  # type: ignore[no-untyped-call]


@typeof_impl.register(Flow)
def _type_of_flow(flow: Flow, context: Any) -> Any:
    """Return the one type of all flows; to let numba find it out again takes longer than most calls."""
    return _FLOW


@njit(cache=True)
def place(flow: Flow, y: FloatArray) -> None:
    """Write the moving coordinates `y` (n,) into `flow.full`."""
    for i in range(len(y)):
        flow.full[flow.moving[i]] = flow.full[flow.mirror[i]] = y[i]


@njit(cache=True)
def slope(flow: Flow, alpha: float, y: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha at the time `alpha` on the moving coordinates, (n,), into `out`."""
    place(flow, y)
    flow.dynamics(
        flow.averages,
        flow.parameters,
        flow.schedules,
        min(max(alpha, flow.window[0]), flow.window[1]),
        flow.full,
        flow.T,
        flow.v_teacher,
        flow.n_units,
        flow.n_modes,
        flow.noise,
        flow.weight_decay,
        flow.batch_size,
        flow.spherical,
        flow.friction,
        flow.rates,
        flow.full_slope,
    )
    for i in range(len(y)):
        out[i] = flow.full_slope[flow.moving[i]]


@njit(cache=True)
def fill_jacobian(flow: Flow, alpha: float, y: FloatArray, step: float, J: FloatArray) -> None:
    """Write dslope_i/dy_j into `J` (n, n) by central differences over `step` max(1, abs(y_j))."""
    n = len(y)
    shifted, forward, backward = np.empty(n), np.empty(n), np.empty(n)
    for j in range(n):
        shifted[j] = y[j]
    for j in range(n):
        size = step * max(1.0, abs(y[j]))
        shifted[j] = y[j] + size
        slope(flow, alpha, shifted, forward)
        shifted[j] = y[j] - size
        slope(flow, alpha, shifted, backward)
        shifted[j] = y[j]
        for i in range(n):
            J[i, j] = (forward[i] - backward[i]) / (2.0 * size)


@njit(cache=True)
def fill_second_differences(
    flow: Flow, alpha: float, y: FloatArray, steps: FloatArray, weights: FloatArray, out: FloatArray
) -> None:
    """Write sum_s weights_s (f(y + step_s) + f(y - step_s) - 2 f(y)) into `out` (n,); `steps` is (m, n)."""
    n = len(y)
    shifted, centre, forward, backward = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    slope(flow, alpha, y, centre)
    for i in range(n):
        out[i] = 0.0
    for s in range(len(steps)):
        for i in range(n):
            shifted[i] = y[i] + steps[s, i]
        slope(flow, alpha, shifted, forward)
        for i in range(n):
            shifted[i] = y[i] - steps[s, i]
        slope(flow, alpha, shifted, backward)
        for i in range(n):
            out[i] += weights[s] * (forward[i] + backward[i] - 2.0 * centre[i])


@njit(cache=True, inline="always")
def fill_change_of_rates(flow: Flow, alpha: float, y: FloatArray, width: float, out: FloatArray) -> None:
    """Write the derivative of the slope by alpha at fixed `y` into `out` (n,), by a difference over `width` within the window."""
    before, after = max(alpha - width, flow.window[0]), min(alpha + width, flow.window[1])
    if is_constant(flow.schedules) or before >= after:
        for i in range(len(y)):
            out[i] = 0.0
        return
    earlier = np.empty(len(y))
    slope(flow, before, y, earlier)
    slope(flow, after, y, out)
    for i in range(len(y)):
        out[i] = (out[i] - earlier[i]) / (after - before)
