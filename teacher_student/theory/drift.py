"""The right-hand side of the order-parameter ODEs, in compiled code.

The state is one vector: Q_modes (P P), R_modes (P M), sigma (P), xi_out (K P), v (K), each in row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def add_product(A: FloatArray, B: FloatArray, out: FloatArray) -> None:
    """Add A B to `out`; what a zero of `A` multiplies is skipped, so that identities and empty rows cost little."""
    n_rows, n_inner = A.shape
    for i in range(n_rows):
        for j in range(n_inner):
            factor = A[i, j]
            if factor != 0.0:
                for k in range(B.shape[1]):
                    out[i, k] += factor * B[j, k]


@njit(cache=True)
def field_covariance(
    Q_modes: FloatArray, R_modes: FloatArray, T: FloatArray, B: FloatArray, S: FloatArray, Z: FloatArray
) -> None:
    """Write the covariance `S` (n, n) of the fields psi = (lambda, rho), and `Z` (n, P + M) that of psi with (u, rho).

    S = [[Q, R], [R^T, T]], Q = B Q_modes B^T, R = B R_modes, and Z = [[B Q_modes, R], [R_modes^T, T]]; n = K + M.
    """
    K, P = B.shape
    M = len(T)
    BQ, Q, R, B_transposed = np.zeros((K, P)), np.zeros((K, K)), np.zeros((K, M)), np.empty((P, K))
    for k in range(K):
        for a in range(P):
            B_transposed[a, k] = B[k, a]
    add_product(B, Q_modes, BQ)
    add_product(BQ, B_transposed, Q)
    add_product(B, R_modes, R)
    for k in range(K):
        for j in range(K):
            S[k, j] = Q[min(k, j), max(k, j)]
        for a in range(P):
            Z[k, a] = BQ[k, a]
        for m in range(M):
            S[k, K + m] = S[K + m, k] = Z[k, P + m] = R[k, m]
    for m in range(M):
        for a in range(P):
            Z[K + m, a] = R_modes[a, m]
        for j in range(M):
            S[K + m, K + j] = Z[K + m, P + j] = T[m, j]


@njit(cache=True, error_model="numpy")
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
    eta_xi_in, eta_sigma, eta_xi_out, eta_v = rates[0], rates[1], rates[2], rates[3]
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

    B = np.empty((K, P))
    for k in range(K):
        for a in range(P):
            B[k, a] = xi_out[k, a] * sigma[a]
    S, Z = np.empty((n, n)), np.empty((n, P + M))
    field_covariance(Q_modes, R_modes, T, B, S, Z)
    c = np.empty(n)
    for i in range(n):
        c[i] = v[i] if i < K else -v_teacher[i - K]
    L, E, A, G = np.empty((n, n)), np.empty((K, n)), np.empty((K, n)), np.empty((K, K))
    averages(parameters, S, c, K, L, E, A, G)

    # F = weights Z (K, P + M), its columns <delta g'(lambda_k) u_a> and <delta g'(lambda_k) rho_m>.
    weights, F = np.empty((K, n)), np.zeros((K, P + M))
    for k in range(K):
        a_k = 0.0
        for j in range(n):
            weights[k, j] = c[j] * E[k, j]
            a_k += c[j] * A[k, j]
        weights[k, k] += a_k
    add_product(weights, Z, F)

    # With d_a = sum_k D[k, a] g'(lambda_k), H = D^T F holds <delta d_a u_b> and <delta d_a rho_m>, and D^T (G + noise^2 E) D
    # <delta^2 d_a d_b>.
    D, D_transposed = np.empty((K, P)), np.empty((P, K))
    for k in range(K):
        for a in range(P):
            D[k, a] = D_transposed[a, k] = v[k] * B[k, a]
        for m in range(K):
            G[k, m] += noise * noise * E[k, m]
    H, GD, DGD = np.zeros((P, P + M)), np.zeros((K, P)), np.zeros((P, P))
    add_product(D_transposed, F, H)
    add_product(G, D, GD)
    add_product(D_transposed, GD, DGD)
    for a in range(P):
        for b in range(P):
            linear = H[a, b] + H[b, a] + 2.0 * weight_decay * Q_modes[a, b]
            dQ_modes[a, b] = -eta_xi_in * linear + eta_xi_in**2 / batch_size * DGD[a, b]
        for m in range(M):
            dR_modes[a, m] = -eta_xi_in * (H[a, P + m] + weight_decay * R_modes[a, m])
        total = 0.0
        for k in range(K):
            total += v[k] * xi_out[k, a] * F[k, a]
        dsigma[a] = -eta_sigma * (total + weight_decay * sigma[a])
    for k in range(K):
        for a in range(P):
            dxi_out[k, a] = -eta_xi_out * (v[k] * sigma[a] * F[k, a] + weight_decay * xi_out[k, a])
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
