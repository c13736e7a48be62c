"""Derivatives of the right-hand side at several times of a solution: in one call of compiled code where averages are closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.rates import is_constant
from teacher_student.theory.equations import Equations, fill_change_of_rates, fill_jacobian, fill_second_differences, slope
from teacher_student.theory.right_hand_side import ClosedDrift, DriftAt, SampledDrift
from teacher_student.theory.stretches import Stretch

# Central differences: truncation step^2 and rounding 1e-16 / step (first), 1e-16 / step^2 (second derivative).
_FIRST_STEP = 1e-5
_SECOND_STEP = 1e-3
_TIME_STEP = 1e-6
# Variances that count, relative to the largest.
_COUNTED = 1e-10


class Linearisation(NamedTuple):
    """At s times the Jacobian `J` (s, n, n), the right-hand side `f` (s, n), and its derivative by alpha at given y, `change`
    (s, n), which is due to the schedules.
    """

    J: FloatArray
    f: FloatArray
    change: FloatArray


def linearise(drift: ClosedDrift | SampledDrift, stretch: Stretch, alphas: FloatArray, ys: FloatArray) -> Linearisation:
    """Return the linearisation at the times `alphas` (s,) within a `stretch` and at the states `ys` (s, n)."""
    s, n = ys.shape
    out = Linearisation(np.empty((s, n, n)), np.empty((s, n)), np.zeros((s, n)))
    if isinstance(drift, ClosedDrift):
        _fill_linearisations(_between(drift, stretch), alphas, ys, out.J, out.f, out.change)
        return out
    half = min(_TIME_STEP, 0.25 * (stretch.end - stretch.start))
    for i in range(s):
        f = DriftAt(drift, stretch.within(alphas[i]))
        out.J[i], out.f[i] = jacobian(f, ys[i]), f(ys[i])
        if not is_constant(drift.rule.schedules):
            centre = min(max(alphas[i], stretch.start + half), stretch.end - half)
            before, after = stretch.within(centre - half), stretch.within(centre + half)
            out.change[i] = (drift(after, ys[i]) - drift(before, ys[i])) / (after - before)
    return out


def curvatures(
    drift: ClosedDrift | SampledDrift, stretch: Stretch, alphas: FloatArray, ys: FloatArray, V: FloatArray
) -> FloatArray:
    """Return H : V / 2, (s, n), for covariances `V` (s, n, n), by second differences along their eigenvectors."""
    if not isinstance(drift, ClosedDrift):
        fs = [DriftAt(drift, stretch.within(alpha)) for alpha in alphas]
        return np.array([half_hessian_of_covariance(f, y, of_y) for f, y, of_y in zip(fs, ys, V, strict=True)])
    eigenvalues, vectors = np.linalg.eigh(V)
    steps = np.ascontiguousarray(_SECOND_STEP * np.swapaxes(vectors, 1, 2))
    weights = np.where(eigenvalues > _COUNTED * eigenvalues[:, -1:], 0.5 * eigenvalues / _SECOND_STEP**2, 0.0)
    out = np.empty_like(ys)
    _fill_curvatures(_between(drift, stretch), alphas, ys, steps, weights, out)
    return out


def jacobian(f: Callable[[FloatArray], FloatArray], y: FloatArray) -> FloatArray:
    """Return df_i/dy_j by central differences, (n, n); relative error about 1e-10 for a right-hand side of order one."""
    columns = []
    for j in range(len(y)):
        step = np.zeros_like(y)
        step[j] = _FIRST_STEP * max(1.0, abs(y[j]))
        columns.append((f(y + step) - f(y - step)) / (2.0 * step[j]))
    return np.array(columns).T


def half_hessian_of_covariance(f: Callable[[FloatArray], FloatArray], y: FloatArray, V: FloatArray) -> FloatArray:
    """Return H : V / 2, (n,), by second differences along the eigenvectors of `V`."""
    eigenvalues, vectors = np.linalg.eigh(V)
    total, centre = np.zeros_like(y), f(y)
    for variance, step in zip(eigenvalues, _SECOND_STEP * vectors.T, strict=True):
        if variance > _COUNTED * eigenvalues[-1]:
            total += 0.5 * variance / _SECOND_STEP**2 * (f(y + step) + f(y - step) - 2.0 * centre)
    return total


def _between(drift: ClosedDrift, stretch: Stretch) -> Equations:
    """Return the equations of `drift` with the rates of a `stretch`, for at its ends those of its neighbours may hold."""
    return drift.equations._replace(window=np.array([stretch.start + stretch.margin, stretch.end - stretch.margin]))


@njit(cache=True)
def _fill_linearisations(
    equations: Equations, alphas: FloatArray, ys: FloatArray, J: FloatArray, f: FloatArray, change: FloatArray
) -> None:
    """Write the parts of `linearise`."""
    for s in range(len(alphas)):
        fill_jacobian(equations, alphas[s], ys[s], _FIRST_STEP, J[s])
        slope(equations, alphas[s], ys[s], f[s])
        fill_change_of_rates(equations, alphas[s], ys[s], _TIME_STEP, change[s])


@njit(cache=True)
def _fill_curvatures(
    equations: Equations, alphas: FloatArray, ys: FloatArray, steps: FloatArray, weights: FloatArray, out: FloatArray
) -> None:
    """Write what `curvatures` returns, given `steps` (s, m, n) and `weights` (s, m)."""
    for s in range(len(alphas)):
        fill_second_differences(equations, alphas[s], ys[s], steps[s], weights[s], out[s])
