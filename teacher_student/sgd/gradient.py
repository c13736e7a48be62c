"""The SGD step of one replica at given fields, summed over a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from teacher_student.bundles import Eta, Units
from teacher_student.kernels import njit
from teacher_student.layout import Factors, Sizes, factors_of, rates_of_slow
from teacher_student.sgd.heavy_ball import HeavyBall

FloatArray = npt.NDArray[np.float64]


class Work(NamedTuple):
    """Work space of a step: of a sample, the summed gradients of the slow factors, and the rates of their entries.

    Shapes: fields `u` (P,) and `rho` (M,); `activity` and `slope` (K,), g and v g'; `d` (P,); `rate` and `which` (n_slow,), the
    latter as `teacher_student.layout.rates_of_slow` has it.
    """

    u: Any
    rho: Any
    activity: Any
    slope: Any
    d: Any
    gradient: Factors
    rate: Any
    which: Any


def work_space(sizes: Sizes) -> Work:
    """Return work space with gradients of zero."""
    K, P, n_slow = sizes.K, sizes.P, sizes.n_slow
    gradient = factors_of(np.zeros(n_slow), sizes)
    return Work(
        np.empty(P), np.empty(sizes.M), np.empty(K), np.empty(K), np.empty(P), gradient, np.empty(n_slow), rates_of_slow(sizes)
    )


@njit(cache=True, nogil=True)
def add_gradient(units: Units, factors: Factors, v_teacher: FloatArray, label_noise: float, work: Work) -> float:
    """Return delta = student - label of one sample with the fields in `work`.

    Writes d_a = sum_k v_k g'(lambda_k) xi_out[k,a] sigma[a] into work.d, so that the loss gradient for xi_in[a] is
    delta d_a x / sqrt(N), and adds the gradients for sigma, xi_out and v to work.gradient.
    """
    sigma, xi_out, v = factors.sigma, factors.xi_out, factors.v
    u, rho, activity, slope, gradient = work.u, work.rho, work.activity, work.slope, work.gradient
    K, P = xi_out.shape
    delta = -label_noise
    for m in range(len(rho)):
        delta -= v_teacher[m] * units.g_teacher(rho[m])
    for k in range(K):
        field = 0.0
        for a in range(P):
            field += xi_out[k, a] * sigma[a] * u[a]
        activity[k] = units.g(field)
        slope[k] = v[k] * units.g_prime(field)
        delta += v[k] * activity[k]
    for a in range(P):
        total = 0.0
        for k in range(K):
            total += slope[k] * xi_out[k, a]
            gradient.xi_out[k, a] += delta * u[a] * slope[k] * sigma[a]
        gradient.sigma[a] += delta * u[a] * total
        work.d[a] = total * sigma[a]
    for k in range(K):
        gradient.v[k] += delta * activity[k]
    return delta


@njit(cache=True, nogil=True, inline="always")
def rates_of_entries(eta: Eta, work: Work) -> None:
    """Write the rates of the slow factors' entries into work.rate."""
    for i in range(len(work.rate)):
        work.rate[i] = eta[work.which[i]]


@njit(cache=True, nogil=True, inline="always")
def step_slow_factors(slow: FloatArray, work: Work, mean: float, shrink: float, heavy_ball: HeavyBall | None) -> None:
    """Step the slow factors along their summed gradients, which are cleared.

    `slow` (1, n_slow) holds their values, or (2, n_slow) values and velocities; the step of plain SGD is -eta (mean gradient +
    shrink value). A factor of rate zero without velocity does not move, whatever its gradient.
    """
    gradient, rate = work.gradient.slow, work.rate
    for i in range(len(gradient)):
        if heavy_ball is None:
            if rate[i] > 0.0:
                slow[0, i] -= rate[i] * (mean * gradient[i] + shrink * slow[0, i])
        else:
            velocity = heavy_ball.keep * slow[1, i]
            if rate[i] > 0.0:
                velocity -= rate[i] * (mean * gradient[i] + shrink * slow[0, i])
            slow[1, i] = velocity
            slow[0, i] += heavy_ball.scale * velocity
        gradient[i] = 0.0
