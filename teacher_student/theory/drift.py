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
def field_covariance(
    Q_modes: FloatArray, R_modes: FloatArray, T: FloatArray, B: FloatArray, S: FloatArray, U: FloatArray
) -> None:
    """Write the covariance `S` (n, n) of the fields (lambda, rho) and `U` (P, n) of the mode fields with them.

    S = [[Q, R], [R^T, T]] and cov(u, (lambda, rho)) = (Q_modes B^T, R_modes); n = K + M.
    """
    K, P = B.shape
    M = T.shape[0]
    for a in range(P):
        for k in range(K):
            total = 0.0
            for b in range(P):
                total += Q_modes[a, b] * B[k, b]
            U[a, k] = total
        for m in range(M):
            U[a, K + m] = R_modes[a, m]
    for k in range(K):
        for j in range(K + M):
            total = 0.0
            for a in range(P):
                total += B[k, a] * U[a, j]
            S[k, j] = total
            S[j, k] = total
    for m in range(M):
        for n in range(M):
            S[K + m, K + n] = T[m, n]


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
    """Write dy/dalpha at the state `y` into `out`, both in the module's layout.

    `rates` are (eta_xi_in, eta_sigma, eta_xi_out, eta_v); `averages` is the compiled family of Gaussian averages,
    `parameters` its members.
    Stein's lemma turns every average with a mode or teacher field z into
    F_k(z) = <delta g'(lambda_k) z> = cov(z, lambda_k) a_k + sum_j cov(z, psi_j) e_kj.
    """
    eta_xi_in, eta_sigma, eta_xi_out, eta_v = rates
    M = len(v_teacher)
    n = K + M
    end_Q = P * P
    end_R = end_Q + P * M
    end_sigma = end_R + P
    end_xi_out = end_sigma + K * P
    Q_modes = y[:end_Q].reshape((P, P))
    R_modes = y[end_Q:end_R].reshape((P, M))
    sigma = y[end_R:end_sigma]
    xi_out = y[end_sigma:end_xi_out].reshape((K, P))
    v = y[end_xi_out:]
    dQ_modes = out[:end_Q].reshape((P, P))
    dR_modes = out[end_Q:end_R].reshape((P, M))
    dsigma = out[end_R:end_sigma]
    dxi_out = out[end_sigma:end_xi_out].reshape((K, P))
    dv = out[end_xi_out:]

    B = xi_out * sigma
    S = np.empty((n, n))
    U = np.empty((P, n))
    field_covariance(Q_modes, R_modes, T, B, S, U)
    c = np.empty(n)
    c[:K] = v
    c[K:] = -v_teacher
    L = np.empty((n, n))
    E = np.empty((K, n))
    A = np.empty((K, n))
    G = np.empty((K, K))
    averages(parameters, S, c, K, L, E, A, G)

    F_modes = np.empty((K, P))  # <delta g'(lambda_k) u_a>
    F_teacher = np.empty((K, M))  # <delta g'(lambda_k) rho_m>
    for k in range(K):
        a_k = 0.0
        for j in range(n):
            a_k += c[j] * A[k, j]
        for a in range(P):
            F_modes[k, a] = U[a, k] * a_k
            for j in range(n):
                F_modes[k, a] += U[a, j] * c[j] * E[k, j]
        for m in range(M):
            F_teacher[k, m] = S[K + m, k] * a_k
            for j in range(n):
                F_teacher[k, m] += S[K + m, j] * c[j] * E[k, j]

    D = np.empty((K, P))  # delta-free part of d_a: d_a = sum_k D[k, a] g'(lambda_k)
    for k in range(K):
        for a in range(P):
            D[k, a] = v[k] * B[k, a]
    noise_variance = noise * noise
    for a in range(P):
        for b in range(P):
            first, second = 0.0, 0.0
            for k in range(K):
                first += D[k, a] * F_modes[k, b] + D[k, b] * F_modes[k, a]
                for m in range(K):
                    second += D[k, a] * D[m, b] * (G[k, m] + noise_variance * E[k, m])
            dQ_modes[a, b] = (
                -eta_xi_in * first + eta_xi_in**2 / batch_size * second - 2.0 * eta_xi_in * weight_decay * Q_modes[a, b]
            )
        for m in range(M):
            total = 0.0
            for k in range(K):
                total += D[k, a] * F_teacher[k, m]
            dR_modes[a, m] = -eta_xi_in * (total + weight_decay * R_modes[a, m])
        total = 0.0
        for k in range(K):
            total += v[k] * xi_out[k, a] * F_modes[k, a]
        dsigma[a] = -eta_sigma * (total + weight_decay * sigma[a])
    for k in range(K):
        for a in range(P):
            dxi_out[k, a] = -eta_xi_out * (v[k] * sigma[a] * F_modes[k, a] + weight_decay * xi_out[k, a])
        total = 0.0
        for j in range(n):
            total += c[j] * L[k, j]
        dv[k] = -eta_v * (total + weight_decay * v[k])


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
