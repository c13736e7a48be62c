"""The right-hand side of the order-parameter ODEs, in compiled code.

The state is one vector: Q_modes (P P), R_modes (P M), sigma (P), xi_out (K P), v (K), each in row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]


@njit(cache=True)
def field_covariance(with_modes: FloatArray, with_teacher: FloatArray, B: FloatArray, S: FloatArray, U: FloatArray) -> None:
    """Write the covariance `S` (n, n) of the fields (lambda, rho) and `U` (n_z, n) of Gaussian z with them; n = K + M.

    The first P + M of the n_z fields z are (u, rho). `with_modes` (n_z, P) and `with_teacher` (n_z, M) are the covariances of z
    with u and with rho, so that U = (with_modes B^T, with_teacher) and S = [[Q, R], [R^T, T]].
    """
    K, P = B.shape
    n_z, M = with_teacher.shape
    for i in range(n_z):
        for k in range(K):
            total = 0.0
            for b in range(P):
                total += with_modes[i, b] * B[k, b]
            U[i, k] = total
        for m in range(M):
            U[i, K + m] = with_teacher[i, m]
    for k in range(K):
        for j in range(K + M):
            total = 0.0
            for a in range(P):
                total += B[k, a] * U[a, j]
            S[k, j] = total
            S[j, k] = total
    for m in range(M):
        for n in range(M):
            S[K + m, K + n] = with_teacher[P + m, n]


@njit(cache=True)
def mean_forces(
    averages: Any,
    parameters: FloatArray,
    with_modes: FloatArray,
    with_teacher: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    rates: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    hz: FloatArray,
    hh: FloatArray,
    slow: FloatArray,
) -> None:
    """Write the averages that every right-hand side is made of; `with_modes` and `with_teacher` as in `field_covariance`.

    With -eta_xi_in delta d_a = h_a the step of input mode a is h_a x / sqrt(N) - eta_xi_in kappa xi_in[a] / N. Written are
    `hz` (P, n_z), the overlaps of this step with what z is the field of: <h_a z_i> and the decay; `hh` (P, P), the <h_a h_b> / b
    of a batch; `slow` (P + K P + K), the mean steps of sigma, xi_out and v, times N. `rates` are (eta_xi_in, eta_sigma,
    eta_xi_out, eta_v); `averages` is the compiled family of Gaussian averages, `parameters` its members.
    Stein's lemma turns every average with a field z into
    F_k(z) = <delta g'(lambda_k) z> = cov(z, lambda_k) a_k + sum_j cov(z, psi_j) e_kj.
    """
    eta_xi_in, eta_sigma, eta_xi_out, eta_v = rates
    K, P = xi_out.shape
    n_z, M = with_teacher.shape
    n = K + M
    B = xi_out * sigma
    S = np.empty((n, n))
    U = np.empty((n_z, n))
    field_covariance(with_modes, with_teacher, B, S, U)
    c = np.empty(n)
    c[:K] = v
    c[K:] = -v_teacher
    L = np.empty((n, n))
    E = np.empty((K, n))
    A = np.empty((K, n))
    G = np.empty((K, K))
    averages(parameters, S, c, K, L, E, A, G)

    F = np.empty((K, n_z))
    for k in range(K):
        a_k = 0.0
        for j in range(n):
            a_k += c[j] * A[k, j]
        for i in range(n_z):
            F[k, i] = U[i, k] * a_k
            for j in range(n):
                F[k, i] += U[i, j] * c[j] * E[k, j]

    D = np.empty((K, P))  # delta-free part of d_a: d_a = sum_k D[k, a] g'(lambda_k)
    for k in range(K):
        for a in range(P):
            D[k, a] = v[k] * B[k, a]
    noise_variance = noise * noise
    for a in range(P):
        for i in range(n_z):
            total = 0.0
            for k in range(K):
                total += D[k, a] * F[k, i]
            hz[a, i] = -eta_xi_in * (total + weight_decay * with_modes[i, a])
        for b in range(P):
            total = 0.0
            for k in range(K):
                for m in range(K):
                    total += D[k, a] * D[m, b] * (G[k, m] + noise_variance * E[k, m])
            hh[a, b] = eta_xi_in**2 / batch_size * total
        total = 0.0
        for k in range(K):
            total += v[k] * xi_out[k, a] * F[k, a]
        slow[a] = -eta_sigma * (total + weight_decay * sigma[a])
    for k in range(K):
        for a in range(P):
            slow[P + k * P + a] = -eta_xi_out * (v[k] * sigma[a] * F[k, a] + weight_decay * xi_out[k, a])
        total = 0.0
        for j in range(n):
            total += c[j] * L[k, j]
        slow[P + K * P + k] = -eta_v * (total + weight_decay * v[k])


@njit(cache=True)
def flow(hz: FloatArray, hh: FloatArray, slow: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha of plain SGD, in the module's layout, into `out`; arguments as `mean_forces` writes them."""
    P, M = len(hz), hz.shape[1] - len(hz)
    for a in range(P):
        for b in range(P):
            out[a * P + b] = hz[a, b] + hz[b, a] + hh[a, b]
        for m in range(M):
            out[P * P + a * M + m] = hz[a, P + m]
    out[P * P + P * M :] = slow


@njit(cache=True)
def drift(
    averages: Any,
    parameters: FloatArray,
    y: FloatArray,
    T: FloatArray,
    v_teacher: FloatArray,
    K: int,
    P: int,
    rates: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    out: FloatArray,
) -> None:
    """Write dy/dalpha at the state `y` into `out`, both in the module's layout; the other arguments as in `mean_forces`."""
    M = len(v_teacher)
    end_Q = P * P
    end_R = end_Q + P * M
    end_sigma = end_R + P
    end_xi_out = end_sigma + K * P
    with_modes = np.empty((P + M, P))
    with_modes[:P] = y[:end_Q].reshape((P, P))
    with_modes[P:] = y[end_Q:end_R].reshape((P, M)).T
    with_teacher = np.empty((P + M, M))
    with_teacher[:P] = y[end_Q:end_R].reshape((P, M))
    with_teacher[P:] = T
    hz, hh, slow = np.empty((P, P + M)), np.empty((P, P)), np.empty(P + K * P + K)
    mean_forces(
        averages,
        parameters,
        with_modes,
        with_teacher,
        y[end_R:end_sigma],
        y[end_sigma:end_xi_out].reshape((K, P)),
        y[end_xi_out:],
        v_teacher,
        rates,
        noise,
        weight_decay,
        batch_size,
        hz,
        hh,
        slow,
    )
    flow(hz, hh, slow, out)


@njit(cache=True)
def keep_lengths(y: FloatArray, P: int, M: int, out: FloatArray) -> None:
    """Make dy/dalpha in `out` that of steps after each of which every mode is rescaled to its length before, at the state `y`.

    A step that changes Q_aa by f_aa / N is followed by the factor 1 - f_aa / (2 N Q_aa) for mode a.
    """
    Q_modes = y[: P * P].reshape((P, P))
    R_modes = y[P * P : P * P + P * M].reshape((P, M))
    dQ_modes = out[: P * P].reshape((P, P))
    dR_modes = out[P * P : P * P + P * M].reshape((P, M))
    shrinking = np.empty(P)
    for a in range(P):
        shrinking[a] = dQ_modes[a, a] / (2.0 * Q_modes[a, a])
    for a in range(P):
        for b in range(P):
            dQ_modes[a, b] -= (shrinking[a] + shrinking[b]) * Q_modes[a, b]
        for m in range(M):
            dR_modes[a, m] -= shrinking[a] * R_modes[a, m]
