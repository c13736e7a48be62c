"""The moments of one SGD step beyond its mean: the diffusion matrix, and the mean's own 1/N correction (docs/theory.rst:
`mean-step`).

Averages are taken over scrambled Sobol points, the same ones throughout, so that they are smooth in the state.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import njit
from teacher_student.layout import Eta, pack, positions, state_at, unpack
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.assembly import model_of
from teacher_student.theory.coordinates import Coordinates, coordinates_of
from teacher_student.theory.drift import linear_drift
from teacher_student.theory.model import Model
from teacher_student.theory.noise.momentum_noise import friction_correction, momentum_correction
from teacher_student.theory.noise.spherical import moments_at_fixed_lengths
from teacher_student.theory.step import Step, step_at, step_size, write_increment, write_step


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


def field_factor(T: FloatArray, R_modes: FloatArray, Q_modes: FloatArray) -> FloatArray:
    """Return the triangular factor (M + P, M + P) of the covariance of the fields (rho, u), smooth in R_modes and Q_modes.

    The teacher's block is the same at all times also where T is singular and its factor one of many; averages over fixed
    points would otherwise jump from time to time.
    """
    M, P = T.shape[0], Q_modes.shape[0]
    F_teacher = triangular_factor(T)
    F_along = R_modes @ np.linalg.pinv(F_teacher, rcond=1e-7).T
    F_rest = triangular_factor(Q_modes - F_along @ F_along.T)
    return np.block([[F_teacher, np.zeros((M, P))], [F_along, F_rest]])


def step_moments(
    full: FloatArray,
    state: OrderParameters,
    rule: LearningRule,
    coordinates: Coordinates,
    points: FloatArray,
    alpha: float = 0.0,
) -> StepMoments:
    """Return the moments of a step at the full state vector `full` and the time `alpha` of the rule's schedules.

    `points` (n_points, P + M + 1), with friction (n_points, 2 P + M + 1), are Gaussian; `state` and `rule` give shapes, teacher
    and rule. A batch divides the covariance by its size.
    """
    model, sizes, b = model_of(state, rule, coordinates.sizes), coordinates.sizes, rule.batch_size
    factors = unpack(full, sizes)
    moving = coordinates.moving
    raw = coordinates_of(state, dataclasses.replace(rule, spherical=False)).moving if rule.spherical else moving
    eta = eta_at(model.rule.schedules, alpha)
    factor = field_factor(state.T, *overlaps_of_fields(factors))
    mean, second, products = np.zeros(len(raw)), np.zeros((len(raw), len(raw))), empty_products(sizes.P, sizes.M)
    accumulate_moments(model, eta, full, raw, factor, points, Sums(mean, second, products))
    covariance = (second + np.tril(second, -1).T - np.outer(mean, mean)) / b
    decay = eta.xi_in * rule.weight_decay
    square = square_of_step(products, b, decay, factors["Q_modes"])
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
    """Averages over points: `mean` (n,) of the increment f times N, `second` (n, n) of f f^T (lower triangle), and products."""

    mean: Any
    second: Any
    products: Products


@njit(cache=True, nogil=True)
def empty_products(P: int, M: int) -> Products:
    """Return products of zero."""
    return Products(np.zeros((P, P)), np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P)))


@njit(cache=True, nogil=True)
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
def accumulate_moments(
    model: Model, eta: Eta, full: FloatArray, moving: IntArray, factor: FloatArray, points: FloatArray, sums: Sums
) -> None:
    """Write averages over `points` (n_points, n_fields + 1) of a step at the flat state `full` into `sums`.

    `factor` (n_fields, n_fields) is the lower triangular factor of the covariance of the fields (rho, u), or with friction (rho,
    u, pi). The increments are those of the `moving` positions.
    """
    n, n_fields, M, mean, second = len(moving), len(factor), model.sizes.M, sums.mean, sums.second
    fields, x, f, work = np.empty(n_fields), np.empty(n), np.empty(len(full)), np.empty(step_size(model.sizes))
    state, increment, step = state_at(full, model.sizes), state_at(f, model.sizes), step_at(work, model.sizes)
    weight = 1.0 / len(points)
    for p in range(len(points)):
        point = points[p]
        for i in range(n_fields):
            fields[i] = 0.0
            for j in range(i + 1):
                fields[i] += factor[i, j] * point[j]
        write_step(model, eta, state, fields, model.rule.noise * point[n_fields], step)
        write_increment(step, fields, M, model.rule.batch_size, increment)
        for i in range(n):
            x[i] = f[moving[i]]
            mean[i] += x[i]
            for j in range(i + 1):
                second[i, j] += x[i] * x[j]
        add_products(step, point, fields, weight, sums.products)
    for i in range(n):
        mean[i] *= weight
        for j in range(i + 1):
            second[i, j] *= weight
