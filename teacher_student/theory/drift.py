"""The right-hand side of the order-parameter ODEs, in compiled code.

The state is one vector: Q_modes (P P), R_modes (P M), sigma (P), xi_out (K P), v (K), each in row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit


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
def field_covariance(with_modes: FloatArray, with_teacher: FloatArray, B: FloatArray, S: FloatArray, Z: FloatArray) -> None:
    """Write the covariance `S` (n, n) of the fields psi = (lambda, rho), and `Z` (n, n_z) that of psi with fields z; n = K + M.

    The first P + M of the fields z are (u, rho). `with_modes` (n_z, P) and `with_teacher` (n_z, M) are the covariances of z with
    u and with rho, so that Z = [[B with_modes^T], [with_teacher^T]]. S = [[Q, R], [R^T, T]], Q = B Q_modes B^T, R = B R_modes.
    """
    K, P = B.shape
    n_z, M = with_teacher.shape
    modes, B_transposed = np.empty((P, n_z)), np.empty((P, K))
    for a in range(P):
        for i in range(n_z):
            modes[a, i] = with_modes[i, a]
        for k in range(K):
            B_transposed[a, k] = B[k, a]
    of_units, Q = np.zeros((K, n_z)), np.zeros((K, K))
    add_product(B, modes, of_units)
    add_product(of_units[:, :P], B_transposed, Q)
    for k in range(K):
        for j in range(K):
            S[k, j] = Q[min(k, j), max(k, j)]
        for i in range(n_z):
            Z[k, i] = of_units[k, i]
        for m in range(M):
            S[k, K + m] = S[K + m, k] = of_units[k, P + m]
    for m in range(M):
        for i in range(n_z):
            Z[K + m, i] = with_teacher[i, m]
        for j in range(M):
            S[K + m, K + j] = with_teacher[P + j, m]


@njit(cache=True, error_model="numpy")
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
    eta_xi_in, eta_sigma, eta_xi_out, eta_v = rates[0], rates[1], rates[2], rates[3]
    K, P = xi_out.shape
    n_z, M = with_teacher.shape
    n = K + M
    B = np.empty((K, P))
    for k in range(K):
        for a in range(P):
            B[k, a] = xi_out[k, a] * sigma[a]
    S, Z = np.empty((n, n)), np.empty((n, n_z))
    field_covariance(with_modes, with_teacher, B, S, Z)
    c = np.empty(n)
    for i in range(n):
        c[i] = v[i] if i < K else -v_teacher[i - K]
    L, E, A, G = np.empty((n, n)), np.empty((K, n)), np.empty((K, n)), np.empty((K, K))
    averages(parameters, S, c, K, L, E, A, G)

    # F = weights Z (K, n_z), its columns <delta g'(lambda_k) z>.
    weights, F = np.empty((K, n)), np.zeros((K, n_z))
    for k in range(K):
        a_k = 0.0
        for j in range(n):
            weights[k, j] = c[j] * E[k, j]
            a_k += c[j] * A[k, j]
        weights[k, k] += a_k
    add_product(weights, Z, F)

    # With d_a = sum_k D[k, a] g'(lambda_k), H = D^T F holds <delta d_a z>, and D^T (G + noise^2 E) D <delta^2 d_a d_b>.
    D, D_transposed = np.empty((K, P)), np.empty((P, K))
    for k in range(K):
        for a in range(P):
            D[k, a] = D_transposed[a, k] = v[k] * B[k, a]
        for m in range(K):
            G[k, m] += noise * noise * E[k, m]
    H, GD, DGD = np.zeros((P, n_z)), np.zeros((K, P)), np.zeros((P, P))
    add_product(D_transposed, F, H)
    add_product(G, D, GD)
    add_product(D_transposed, GD, DGD)
    for a in range(P):
        for i in range(n_z):
            hz[a, i] = -eta_xi_in * (H[a, i] + weight_decay * with_modes[i, a])
        for b in range(P):
            hh[a, b] = eta_xi_in**2 / batch_size * DGD[a, b]
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
    for i in range(len(slow)):
        out[P * P + P * M + i] = slow[i]


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
    with_modes, with_teacher = np.empty((P + M, P)), np.empty((P + M, M))
    for a in range(P):
        for b in range(P):
            with_modes[a, b] = y[a * P + b]
        for m in range(M):
            with_modes[P + m, a] = with_teacher[a, m] = y[end_Q + a * M + m]
    for m in range(M):
        for j in range(M):
            with_teacher[P + m, j] = T[m, j]
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
