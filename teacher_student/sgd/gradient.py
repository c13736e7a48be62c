"""The SGD step of one replica at given fields, summed over a batch."""

from __future__ import annotations

from typing import Any

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit


@njit(cache=True, nogil=True)
def add_gradient(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    u: FloatArray,
    rho: FloatArray,
    label_noise: float,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    work: FloatArray,
    d: FloatArray,
    slow: FloatArray,
) -> float:
    """Return delta = student - label of one sample with mode fields `u` (P,) and teacher fields `rho` (M,).

    Writes d_a = sum_k v_k g'(lambda_k) xi_out[k,a] sigma[a] into `d` (P,), so that the loss gradient for xi_in[a] is
    delta d_a x / sqrt(N), and adds the gradients for sigma, xi_out and v to `slow` (P + K P + K,). `work` is (2, K).
    """
    K, P = xi_out.shape
    activity, slope = work[0], work[1]
    delta = -label_noise
    for m in range(len(rho)):
        delta -= v_teacher[m] * g_teacher(rho[m])
    for k in range(K):
        field = 0.0
        for a in range(P):
            field += xi_out[k, a] * sigma[a] * u[a]
        activity[k] = g(field)
        slope[k] = v[k] * g_prime(field)
        delta += v[k] * activity[k]
    for a in range(P):
        total = 0.0
        for k in range(K):
            total += slope[k] * xi_out[k, a]
            slow[P + k * P + a] += delta * u[a] * slope[k] * sigma[a]
        slow[a] += delta * u[a] * total
        d[a] = total * sigma[a]
    for k in range(K):
        slow[P + K * P + k] += delta * activity[k]
    return delta


@njit(cache=True, nogil=True, inline="always")
def step_slow_factors(
    slow: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    rates: FloatArray,
    weight_decay: float,
    batch_size: int,
    n_inputs: int,
) -> None:
    """Apply one step of rate eta / N along the mean of the summed gradients `slow` and clear them.

    `rates` are (eta_xi_in, eta_sigma, eta_xi_out, eta_v); a factor of rate zero does not move.
    """
    K, P = xi_out.shape
    mean, shrink = 1.0 / (float(batch_size) * n_inputs), weight_decay / n_inputs
    if rates[1] > 0.0:
        for a in range(P):
            sigma[a] -= rates[1] * (mean * slow[a] + shrink * sigma[a])
    if rates[2] > 0.0:
        for a in range(P):
            for k in range(K):
                xi_out[k, a] -= rates[2] * (mean * slow[P + k * P + a] + shrink * xi_out[k, a])
    if rates[3] > 0.0:
        for k in range(K):
            v[k] -= rates[3] * (mean * slow[P + K * P + k] + shrink * v[k])
    slow[:] = 0.0
