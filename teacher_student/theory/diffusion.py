"""The moments of one SGD step beyond its mean: the diffusion matrix, and the mean's own 1/N correction.

Averages are taken over scrambled Sobol points, the same ones throughout, so that they are smooth in the state.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.schedules import rates_at
from teacher_student.theory.coordinates import Coordinates, coordinates_of, unpack
from teacher_student.theory.momentum_noise import friction_correction, linear_flow, momentum_correction, velocity_increment
from teacher_student.theory.spherical import moments_at_fixed_lengths


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
        `teacher_student.theory.momentum_noise`.
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
    plain = rule.without_momentum
    factors = unpack(full, state)
    P, M, b = state.n_modes, state.n_teacher, rule.batch_size
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    moving = coordinates.moving
    raw = coordinates_of(state, dataclasses.replace(rule, spherical=False)).moving if rule.spherical else moving
    n = len(raw)
    rates = np.empty(4)
    rates_at(plain.schedules, alpha, rates)
    mean, second = np.zeros(n), np.zeros((n, n))
    hh, hh_excess, hz, hu = np.zeros((P, P)), np.zeros((P, P)), np.zeros((P, M + P)), np.zeros((P, P))
    factor = field_factor(state.T, *overlaps_of_fields(factors))
    accumulate_moments(
        student.g,
        student.g_prime,
        teacher.g,
        points,
        factor,
        rule.noise,
        factors["sigma"],
        factors["xi_out"],
        factors["v"],
        state.v_teacher,
        rates,
        b,
        raw,
        mean,
        second,
        hh,
        hh_excess,
        hz,
        hu,
    )
    covariance = (second + np.tril(second, -1).T - np.outer(mean, mean)) / b
    # |x|^2 / N = 1 + (|z|^2 - P - M) / N on average at given components z, and two inputs of a batch overlap by z.z' / N.
    decay = rates[0] * rule.weight_decay
    square = hh_excess / b + (1.0 - 1.0 / b) * hz @ hz.T + decay**2 * factors["Q_modes"] - decay * (hu + hu.T)
    if not rule.has_velocity:
        correction = np.zeros(len(full))
        correction[: P * P] = square.ravel()
        moments = mean, covariance, correction[raw]
        if rule.spherical:
            moments = moments_at_fixed_lengths(*moments, full, P, M, decay, raw, moving)
        return StepMoments(*moments, np.zeros(len(moving)))
    change = np.zeros(len(full))
    change[moving] = change[coordinates.mirror] = mean
    flow = unpack(change + linear_flow(full, factors, rates, plain), state)
    if rule.friction is not None:
        correction = friction_correction(factors, flow, square, hh / b, rule.friction)
        return StepMoments(mean, covariance, correction[moving], np.zeros(n))
    per_overlap = hz @ np.linalg.pinv(factor, rcond=1e-7)
    correction, lag = momentum_correction(factors, flow, square, hh / b, hu, per_overlap, decay, rule.momentum)
    return StepMoments(mean, covariance, correction[moving], lag[moving])


def overlaps_of_fields(factors: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return the overlaps with the teacher and among each other of the modes and, if there are any, their slow velocities."""
    R, Q = factors["R_modes"], factors["Q_modes"]
    if "C_velocities" not in factors:
        return R, Q
    C = factors["C_velocities"]
    return np.vstack([R, factors["R_velocities"]]), np.block([[Q, C], [C.T, factors["Q_velocities"]]])


@njit(cache=True, nogil=True)
def accumulate_moments(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    points: FloatArray,
    factor: FloatArray,
    noise: float,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    rates: FloatArray,
    batch_size: int,
    moving: IntArray,
    mean: FloatArray,
    second: FloatArray,
    hh: FloatArray,
    hh_excess: FloatArray,
    hz: FloatArray,
    hu: FloatArray,
) -> None:
    """Write averages over `points` (n_points, n_fields + 1) of the increment f times N and of h_a = -eta_xi_in delta d_a.

    `factor` (n_fields, n_fields) is the lower triangular factor of the covariance of the fields (rho, u), or with friction (rho,
    u, pi). Results, with z the M + P components that (rho, u) are made of: `mean` (n,) of f on the `moving` coordinates, `second`
    (n, n) of f f^T (lower triangle), `hh` (P, P) of h h^T, `hh_excess` (P, P) of h h^T (|z|^2 - P - M), `hz` (P, M + P) of h z^T,
    `hu` (P, P) of h u^T.
    """
    K, P = xi_out.shape
    M, n, n_fields, n_plain = len(v_teacher), len(moving), len(factor), P * P + P * len(v_teacher) + P + K * P + K
    fields, h = np.empty(n_fields), np.empty(P)
    work, f, x = np.empty((2, K)), np.empty(2 * n_plain + P * P), np.empty(n)
    for point in points:
        excess = -float(M + P)
        for i in range(n_fields):
            if i < M + P:
                excess += point[i] ** 2
            fields[i] = 0.0
            for j in range(i + 1):
                fields[i] += factor[i, j] * point[j]
        label_noise = noise * point[n_fields]
        rho, u = fields[:M], fields[M : M + P]
        increment(
            g, g_prime, g_teacher, rho, u, label_noise, sigma, xi_out, v, v_teacher, rates, batch_size, work, f[:n_plain], h
        )
        if n_fields > M + P:
            velocity_increment(f[:n_plain], h, u, fields[M + P :], batch_size, f)
        for i in range(n):
            x[i] = f[moving[i]]
            mean[i] += x[i]
            for j in range(i + 1):
                second[i, j] += x[i] * x[j]
        for a in range(P):
            for b in range(P):
                hh[a, b] += h[a] * h[b]
                hh_excess[a, b] += h[a] * h[b] * excess
                hu[a, b] += h[a] * fields[M + b]
            for i in range(M + P):
                hz[a, i] += h[a] * point[i]
    for total in (second, hh, hh_excess, hz, hu):
        total /= len(points)
    mean /= len(points)


@njit(cache=True, nogil=True)
def increment(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    rho: FloatArray,
    u: FloatArray,
    label_noise: float,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    rates: FloatArray,
    batch_size: int,
    work: FloatArray,
    f: FloatArray,
    h: FloatArray,
) -> None:
    """Write the increment times N of the full state at given fields, without weight decay, into `f`.

    `f` has the layout of `teacher_student.theory.drift`; `h` (P,) becomes -eta_xi_in delta d; `work` is (2, K).
    """
    K, P = xi_out.shape
    M = len(v_teacher)
    activity, response = work[0], work[1]
    delta = -label_noise
    for m in range(M):
        delta -= v_teacher[m] * g_teacher(rho[m])
    for k in range(K):
        lambda_k = 0.0
        for a in range(P):
            lambda_k += xi_out[k, a] * sigma[a] * u[a]
        activity[k] = g(lambda_k)
        response[k] = v[k] * g_prime(lambda_k)
        delta += v[k] * activity[k]
    for a in range(P):
        mode_response = 0.0
        for k in range(K):
            mode_response += response[k] * xi_out[k, a]
        h[a] = -rates[0] * delta * mode_response * sigma[a]
        f[P * P + P * M + a] = -rates[1] * delta * u[a] * mode_response
        for m in range(M):
            f[P * P + a * M + m] = h[a] * rho[m]
    for a in range(P):
        for b in range(P):
            f[a * P + b] = h[a] * u[b] + h[b] * u[a] + h[a] * h[b] / batch_size
    start = P * P + P * M + P
    for k in range(K):
        for a in range(P):
            f[start + k * P + a] = -rates[2] * delta * u[a] * response[k] * sigma[a]
        f[start + K * P + k] = -rates[3] * delta * activity[k]
