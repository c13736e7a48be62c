"""The moments of one SGD step beyond its mean: the diffusion matrix, and the mean's own 1/N correction (docs/theory.rst:
`mean-step`).

Averages are taken over the same points throughout, so that they are smooth in the state.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import njit
from teacher_student.layout import pack, positions, state_at, unpack
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.assembly import model_of
from teacher_student.theory.coordinates import Coordinates, coordinates_of
from teacher_student.theory.drift import linear_drift
from teacher_student.theory.model import Model
from teacher_student.theory.noise.momentum_noise import friction_correction, momentum_correction
from teacher_student.theory.noise.points import Points, equally_weighted
from teacher_student.theory.noise.spherical import moments_at_fixed_lengths
from teacher_student.theory.step import Step, step_at, step_size, write_increment, write_step
from teacher_student.tuple_types import remember_type

# Points whose increments are multiplied at once, and from how many on threads are worth their start.
_GATHERED, _WORTH_THREADS = 128, 2**13


@dataclass(frozen=True, eq=False)
class StepMoments:
    """Moments of the one-step increment times N at one state, on the moving coordinates.

    Attributes
    ----------
    mean : (n,) array
        The average increment at N -> infinity, that is the drift without what is linear in the state (weight decay; with friction
        also the velocities), estimated.
    covariance : (n, n) array
        The diffusion matrix: dV/dalpha = J V + V J^T + covariance.
    mean_correction : (n,) array
        N times what the exact mean increment at finite N has beyond the drift.
    lag : (n,) array
        N times the mean by which the state lags behind the variables that these moments are of: zero but for momentum, see
        `teacher_student.theory.noise.momentum_noise`.
    """

    mean: FloatArray
    covariance: FloatArray
    mean_correction: FloatArray
    lag: FloatArray


class StepAverages:
    """Averages over points of a step of one problem, at any of its states and times.

    Parameters
    ----------
    state, rule, coordinates : OrderParameters, LearningRule, Coordinates
        Shapes, teacher and rule.
    """

    def __init__(self, state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> None:
        self.rule, self.coordinates = rule, coordinates
        self.model = model_of(state, rule, coordinates.sizes)
        free = dataclasses.replace(rule, spherical=False)
        self.raw = coordinates_of(state, free).moving if rule.spherical else coordinates.moving
        self.F_teacher = triangular_factor(state.T)
        self.inverse = np.linalg.pinv(self.F_teacher, rcond=1e-7).T

    def field_factor(self, R_modes: FloatArray, Q_modes: FloatArray) -> FloatArray:
        """Return the triangular factor (M + P, M + P) of the covariance of the fields (rho, u), smooth in R_modes and Q_modes.

        The teacher's block is the same at all times also where T is singular and its factor one of many; averages over fixed
        points would otherwise jump from time to time.
        """
        M, P = len(self.F_teacher), len(Q_modes)
        along = R_modes @ self.inverse
        factor = np.zeros((M + P, M + P))
        factor[:M, :M], factor[M:, :M] = self.F_teacher, along
        factor[M:, M:] = triangular_factor(Q_modes - along @ along.T)
        return factor

    def at(self, full: FloatArray, alpha: float, point_sets: list[Points]) -> list[StepMoments]:
        """Return the moments of a step at the flat state `full` and the time `alpha`, one for each set of points.

        Points have P + M + 1 dimensions, with friction 2 P + M + 1. A batch divides the covariance by its size.
        """
        factors = unpack(full, self.coordinates.sizes)
        factor = self.field_factor(*overlaps_of_fields(factors))

        def moments(points: Points) -> StepMoments:
            return self._moments(full, factors, factor, alpha, points)

        if sum(len(points.z) for points in point_sets) < _WORTH_THREADS:
            return list(map(moments, point_sets))
        with ThreadPoolExecutor(len(point_sets)) as pool:
            return list(pool.map(moments, point_sets))

    def _moments(
        self, full: FloatArray, factors: dict[str, FloatArray], factor: FloatArray, alpha: float, points: Points
    ) -> StepMoments:
        model, rule, coordinates, raw = self.model, self.rule, self.coordinates, self.raw
        sizes, b, moving = coordinates.sizes, rule.batch_size, coordinates.moving
        P, M, n = sizes.P, sizes.M, len(raw)
        products = Products(np.zeros((P, P)), np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P)))
        mean, covariance, square = np.zeros(n), np.zeros((n, n)), np.empty((P, P))
        decay = write_moments(model, alpha, full, raw, factor, points, Sums(mean, covariance, square, products))
        if not rule.has_velocity:
            correction = np.zeros(len(full))
            correction[positions(sizes)["Q_modes"]] = square
            moments = mean, covariance, correction[raw]
            if rule.spherical:
                moments = moments_at_fixed_lengths(*moments, full, coordinates, decay, raw)
            return StepMoments(*moments, np.zeros(len(moving)))
        change = np.empty(len(full))
        linear_drift(model, alpha, full, change)
        slope = unpack(coordinates.expand_change(mean) + change, sizes)
        if rule.friction is not None:
            correction = pack(friction_correction(factors, slope, square, products.hh / b, rule.friction), sizes)
            return StepMoments(mean, covariance, correction[moving], np.zeros(len(moving)))
        per_overlap = products.hz @ np.linalg.pinv(factor, rcond=1e-7)
        parts = momentum_correction(factors, slope, square, products, per_overlap, decay, rule)
        correction, lag = (pack(part, sizes) for part in parts)
        return StepMoments(mean, covariance, correction[moving], lag[moving])


def step_moments(
    full: FloatArray,
    state: OrderParameters,
    rule: LearningRule,
    coordinates: Coordinates,
    points: FloatArray,
    alpha: float = 0.0,
) -> StepMoments:
    """Return the moments of a step at the flat state `full` and the time `alpha` over `points` (n_points, n_dimensions) of equal
    weights, as `StepAverages` has them.
    """
    return StepAverages(state, rule, coordinates).at(full, alpha, [equally_weighted(points)])[0]


def overlaps_of_fields(factors: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return the overlaps with the teacher and among each other of the modes and, if there are any, their velocities."""
    R, Q = factors["R_modes"], factors["Q_modes"]
    if "C_velocities" not in factors:
        return R, Q
    C = factors["C_velocities"]
    return np.vstack([R, factors["R_velocities"]]), np.block([[Q, C], [C.T, factors["Q_velocities"]]])


class Products(NamedTuple):
    """Averages of h_a = -eta_xi_in delta d_a that corrections of order 1/N are made of.

    With z the M + P components that the fields (rho, u) are made of: `hh` (P, P) of h h^T, `hh_excess` (P, P) of
    h h^T (|z|^2 - P - M), `hz` (P, M + P) of h z^T, `hu` (P, P) of h u^T.
    """

    hh: Any
    hh_excess: Any
    hz: Any
    hu: Any


class Sums(NamedTuple):
    """Of the increment times N the `mean` (n,) and the `covariance` (n, n), divided by the batch size; `square` (P, P) is that of
    `square_of_step`, and `products` are averages.
    """

    mean: Any
    covariance: Any
    square: Any
    products: Products


remember_type(Products)
remember_type(Sums)


@njit(cache=True, nogil=True)
def empty_products(P: int, M: int) -> Products:
    """Return products of zero."""
    return Products(np.zeros((P, P)), np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P)))


@njit(cache=True, nogil=True, forceinline=True)
def add_products(step: Step, point: FloatArray, fields: FloatArray, weight: float, products: Products) -> None:
    """Add `weight` times the products of one `step`, at a `point` (M + P or more,) and its `fields`."""
    P, width = products.hz.shape
    M = width - P
    excess = -float(width)
    for i in range(width):
        excess += point[i] ** 2
    for a in range(P):
        h = weight * step.h[a]
        for b in range(P):
            products.hh[a, b] += h * step.h[b]
            products.hh_excess[a, b] += h * step.h[b] * excess
            products.hu[a, b] += h * fields[M + b]
        for i in range(width):
            products.hz[a, i] += h * point[i]


@njit(cache=True, nogil=True)
def square_of_step(products: Products, batch_size: int, decay: float, Q_modes: FloatArray) -> FloatArray:
    """Return N times what the exact mean step of plain SGD adds to Q_modes beyond the drift, (P, P); `decay` is eta_xi_in kappa
    (docs/theory.rst: `shift-source`).

    |x|^2 / N = 1 + (|z|^2 - P - M) / N on average at given components z, and two inputs of a batch overlap by z.z' / N.
    """
    hu = products.hu
    pairs = (1.0 - 1.0 / batch_size) * (products.hz @ products.hz.T)
    return products.hh_excess / batch_size + pairs + decay**2 * Q_modes - decay * (hu + hu.T)


@njit(cache=True, nogil=True)
def write_moments(
    model: Model, alpha: float, full: FloatArray, moving: IntArray, factor: FloatArray, points: Points, out: Sums
) -> float:
    """Add averages over `points` of a step at the flat state `full` and the time `alpha` to `out`, zero before; return eta_xi_in
    kappa.

    `factor` (n_fields, n_fields) is the lower triangular factor of the covariance of the fields (rho, u), or with friction (rho,
    u, pi). The increments are those of the `moving` positions.
    """
    n, n_fields, P, M, b = len(moving), len(factor), model.sizes.P, model.sizes.M, model.rule.batch_size
    eta, mean, covariance = eta_at(model.rule.schedules, alpha), out.mean, out.covariance
    fields, f, work = np.empty(n_fields), np.empty(len(full)), np.empty(step_size(model.sizes))
    # Increments of a number of points are gathered, so that their products are those of matrices.
    x, weighted, product = np.empty((_GATHERED, n)), np.empty((n, _GATHERED)), np.empty((n, n))
    state, increment, step = state_at(full, model.sizes), state_at(f, model.sizes), step_at(work, model.sizes)
    for p in range(len(points.z)):
        point, weight = points.z[p], points.weights[p]
        for i in range(n_fields):
            fields[i] = 0.0
            for j in range(i + 1):
                fields[i] += factor[i, j] * point[j]
        write_step(model, eta, state, fields, model.rule.noise * point[n_fields], step)
        write_increment(step, fields, M, b, increment)
        row = p % _GATHERED
        for i in range(n):
            x[row, i] = f[moving[i]]
            weighted[i, row] = weight * x[row, i]
            mean[i] += weighted[i, row]
        add_products(step, point, fields, weight, out.products)
        if row == _GATHERED - 1 or p == len(points.z) - 1:
            for i in range(n):
                for other in range(row + 1, _GATHERED):
                    weighted[i, other], x[other, i] = 0.0, 0.0
            np.dot(weighted, x, product)
            covariance += product
    for i in range(n):
        for j in range(i + 1):
            covariance[i, j] = covariance[j, i] = (covariance[i, j] - mean[i] * mean[j]) / b
    decay = eta.xi_in * model.rule.weight_decay
    out.square[:] = square_of_step(out.products, b, decay, state.gram[0, :P, :P])
    return decay
