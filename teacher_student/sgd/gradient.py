"""The SGD step of one replica at given fields, summed over a batch (docs/theory.rst: `step`)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import Units
from teacher_student.kernels import njit
from teacher_student.layout import Eta, Factors, Sizes, factors_of, rates_of_slow
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.tuple_types import remember_type


class Work(NamedTuple):
    """Work space of a step: what a sample gives, the summed gradients of the slow factors, and the rates of their entries.

    Shapes: fields `u` (P,) and `rho` (M,); `activity` (2, K), g and v g'; `d` (P,); `rate` and `which` (n_slow,), the latter as
    `teacher_student.layout.rates_of_slow` has it.
    """

    u: Any
    rho: Any
    activity: Any
    d: Any
    gradient: Factors
    rate: Any
    which: Any


remember_type(Work)


def work_space(sizes: Sizes) -> Work:
    """Return work space with gradients of zero."""
    which = rates_of_slow(sizes)
    fields = (np.empty(sizes.P), np.empty(sizes.M), np.empty((2, sizes.K)), np.empty(sizes.P))
    return Work(*fields, factors_of(np.zeros(len(which)), sizes), np.empty(len(which)), which)


# An array that is taken out of a tuple is counted, which costs as much as some ten products: what a sample needs comes by itself.
@njit(cache=True, nogil=True)
def add_gradient(
    units: Units,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    u: FloatArray,
    rho: FloatArray,
    label_noise: float,
    work: Work,
) -> float:
    """Return delta = student - label of one sample with mode fields `u` (P,) and teacher fields `rho` (M,).

    Writes d_a = sum_k v_k g'(lambda_k) xi_out[k,a] sigma[a] into work.d, so that the loss gradient for xi_in[a] is
    delta d_a x / sqrt(N), and adds the gradients for sigma, xi_out and v to work.gradient.
    """
    activity, d, gradient = work.activity, work.d, work.gradient
    of_sigma, of_xi_out, of_v = gradient.sigma, gradient.xi_out, gradient.v
    K, P = xi_out.shape
    delta = -label_noise
    for m in range(len(rho)):
        delta -= v_teacher[m] * units.g_teacher(rho[m])
    for k in range(K):
        field = 0.0
        for a in range(P):
            field += xi_out[k, a] * sigma[a] * u[a]
        activity[0, k] = units.g(field)
        activity[1, k] = v[k] * units.g_prime(field)
        delta += v[k] * activity[0, k]
    for a in range(P):
        total = 0.0
        for k in range(K):
            slope = activity[1, k]
            total += slope * xi_out[k, a]
            of_xi_out[k, a] += delta * u[a] * slope * sigma[a]
        of_sigma[a] += delta * u[a] * total
        d[a] = total * sigma[a]
    for k in range(K):
        of_v[k] += delta * activity[0, k]
    return delta


@njit(cache=True, nogil=True, inline="always")
def rates_of_entries(eta: Eta, which: IntArray, rate: FloatArray) -> None:
    """Write the rate of every entry of the slow factors into `rate`, (n_slow,)."""
    for i in range(len(rate)):
        rate[i] = eta[which[i]]


@njit(cache=True, nogil=True, inline="always")
def step_slow_factors(
    slow: FloatArray, gradient: FloatArray, rate: FloatArray, mean: float, shrink: float, heavy_ball: HeavyBall | None
) -> None:
    """Step the slow factors along their summed gradients, which are cleared.

    `slow` (1, n_slow) holds their values, or (2, n_slow) values and velocities; the step of plain SGD is -eta (mean gradient +
    shrink value). A factor of rate zero without velocity does not move, whatever its gradient.
    """
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
