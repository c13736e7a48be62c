"""The ODEs of one problem as data for compiled code: the right-hand side on the moving coordinates, and its derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Flow(NamedTuple):
    """What `slope` needs besides time and state.

    `averages` and `parameters` are those of the family of Gaussian averages, `moving` and `mirror` those of
    `teacher_student.theory.coordinates.Coordinates`. `full` and `full_slope` (n_full,) are work space, `full` with the values of
    frozen factors; a flow must therefore not be used by two threads at once.
    """

    drift: Any
    averages: Any
    parameters: FloatArray
    T: FloatArray
    v_teacher: FloatArray
    n_units: int
    n_modes: int
    rates: FloatArray
    noise: float
    weight_decay: float
    batch_size: int
    moving: IntArray
    mirror: IntArray
    full: FloatArray
    full_slope: FloatArray


@njit(cache=True)
def slope(flow: Flow, alpha: float, y: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha at the time `alpha` on the moving coordinates, (n,), into `out`."""
    for i in range(len(y)):
        flow.full[flow.moving[i]] = flow.full[flow.mirror[i]] = y[i]
    flow.drift(
        flow.averages,
        flow.parameters,
        flow.full,
        flow.T,
        flow.v_teacher,
        flow.n_units,
        flow.n_modes,
        flow.rates,
        flow.noise,
        flow.weight_decay,
        flow.batch_size,
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
