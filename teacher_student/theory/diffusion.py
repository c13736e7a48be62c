"""The moments of one SGD step beyond its mean: the diffusion matrix, and the mean's own 1/N correction.

Averages are taken over scrambled Sobol points, the same ones throughout, so that they are smooth in the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats
from numba import njit

from teacher_student.activations import get_activations
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, unpack

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StepMoments:
    """Moments of the one-step increment times N at one state, on the moving coordinates.

    Attributes
    ----------
    mean : (n,) array
        The average increment at N -> infinity, that is the drift without weight decay, estimated.
    covariance : (n, n) array
        The diffusion matrix: dV/dalpha = J V + V J^T + covariance.
    mean_correction : (n,) array
        N times what the exact mean increment at finite N has beyond `mean` and the weight decay.
    """

    mean: FloatArray
    covariance: FloatArray
    mean_correction: FloatArray


def gaussian_points(n_dimensions: int, n_points: int, seed: int) -> FloatArray:
    """Return `n_points` (a power of 2) quasi-random points of N(0, 1), (n_points, n_dimensions), from scrambled Sobol points."""
    sobol = scipy.stats.qmc.Sobol(n_dimensions, scramble=True, rng=np.random.default_rng(seed))
    uniform = sobol.random(n_points)
    # Sobol points lie on a grid that includes 0, whose quantile is infinite.
    return np.asarray(scipy.special.ndtri(uniform + 0.5**31 * (uniform == 0.0)))


def step_moments(
    full: FloatArray, state: OrderParameters, rule: LearningRule, coordinates: Coordinates, points: FloatArray
) -> StepMoments:
    """Return the moments of a step at the full state vector `full`; `points` (n_points, P + M + 1) are Gaussian.

    `state` and `rule` give shapes, teacher and rule. A batch divides the covariance by its size.
    """
    factors = unpack(full, state)
    P, M, b = state.n_modes, state.n_teacher, rule.batch_size
    gram = np.block([[state.T, factors["R_modes"].T], [factors["R_modes"], factors["Q_modes"]]])
    fields = points[:, : M + P] @ triangular_factor(gram).T
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    increments = np.empty((len(points), len(full)))
    h = np.empty((len(points), P))
    sample_increments(
        student.g,
        student.g_prime,
        teacher.g,
        fields,
        rule.noise * points[:, M + P],
        factors["sigma"],
        factors["xi_out"],
        factors["v"],
        state.v_teacher,
        rule.rates,
        b,
        increments,
        h,
    )
    moving = np.ascontiguousarray(increments[:, coordinates.moving])
    mean = moving.mean(axis=0)
    moving -= mean
    covariance = moving.T @ moving / (len(points) * b)

    # |x|^2 / N = 1 + (|z|^2 - P - M) / N on average at given components z, and two inputs of a batch overlap by z.z' / N.
    z = points[:, : M + P]
    excess = (z**2).sum(axis=1) - (M + P)
    decay = rule.eta_xi_in * rule.weight_decay
    hz = h.T @ z / len(points)
    hu = h.T @ fields[:, M:] / len(points)
    correction = np.zeros(len(full))
    correction[: P * P] = (
        (h.T * excess) @ h / (len(points) * b) + (1.0 - 1.0 / b) * hz @ hz.T + decay**2 * factors["Q_modes"] - decay * (hu + hu.T)
    ).ravel()
    correction[P * P : P * P + P * M] = 0.0
    return StepMoments(mean, covariance, correction[coordinates.moving])


@njit(cache=True)
def sample_increments(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    fields: FloatArray,
    label_noise: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    rates: FloatArray,
    batch_size: int,
    increments: FloatArray,
    h: FloatArray,
) -> None:
    """Write the increment times N of the full state, without weight decay, for every sample of the fields (rho, u).

    Shapes: `fields` (n, M + P), `label_noise` (n,), `increments` (n, n_full) in the layout of
    `teacher_student.theory.drift`, `h` (n, P) with h_a = -eta_xi_in delta d_a.
    """
    K, P = xi_out.shape
    M = len(v_teacher)
    response = np.empty(K)
    activity = np.empty(K)
    for s in range(len(fields)):
        rho, u = fields[s, :M], fields[s, M:]
        delta = -label_noise[s]
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
            h[s, a] = -rates[0] * delta * mode_response * sigma[a]
            increments[s, P * P + P * M + a] = -rates[1] * delta * u[a] * mode_response
            for m in range(M):
                increments[s, P * P + a * M + m] = h[s, a] * rho[m]
        for a in range(P):
            for b in range(P):
                increments[s, a * P + b] = h[s, a] * u[b] + h[s, b] * u[a] + h[s, a] * h[s, b] / batch_size
        start = P * P + P * M + P
        for k in range(K):
            for a in range(P):
                increments[s, start + k * P + a] = -rates[2] * delta * u[a] * response[k] * sigma[a]
            increments[s, start + K * P + k] = -rates[3] * delta * activity[k]
