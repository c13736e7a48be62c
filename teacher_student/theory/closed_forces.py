"""The mean forces on all factors from Gaussian averages in closed form."""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.layout import Eta, State
from teacher_student.theory.model import Forces, Matrices, Model, matrices_at


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def add_product(A: FloatArray, B: FloatArray, factor: float, out: FloatArray) -> None:
    """Add factor A B to `out`; what a zero of `A` multiplies is skipped, so that identities and empty rows cost little."""
    n_rows, n_inner = A.shape
    for i in range(n_rows):
        for j in range(n_inner):
            weight = factor * A[i, j]
            if weight != 0.0:
                for k in range(B.shape[1]):
                    out[i, k] += weight * B[j, k]


@njit(cache=True, nogil=True)
def input_covariance(model: Model, state: State, C: FloatArray) -> None:
    """Write the covariance (P + M, P + M) of the fields (u, rho) of modes and teacher, summed over the blocks, into `C`."""
    P, M = model.sizes.P, model.sizes.M
    T, gram, with_teacher = model.teacher.T, state.gram, state.with_teacher
    C[:] = 0.0
    for d in range(model.sizes.blocks):
        variance = model.inputs.eigenvalues[d]
        for a in range(P):
            for b in range(P):
                C[a, b] += variance * gram[d, min(a, b), max(a, b)]
            for m in range(M):
                C[a, P + m] += variance * with_teacher[d, a, m]
                C[P + m, a] = C[a, P + m]
        for m in range(M):
            for j in range(M):
                C[P + m, P + j] += variance * T[d, m, j]


@njit(cache=True, inline="always")
def field_covariance(matrices: Matrices, P: int) -> None:
    """Write the covariance BC of lambda = B u with (u, rho) and S of psi = (lambda, rho), from C of (u, rho) (docs/theory.rst:
    `covariances`).
    """
    C, BC, Q, S = matrices.C, matrices.BC, matrices.Q, matrices.S
    K, M = len(Q), len(C) - P
    BC[:], Q[:] = 0.0, 0.0
    add_product(matrices.B, C, 1.0, BC)
    add_product(BC[:, :P], matrices.B_transposed, 1.0, Q)
    for k in range(K):
        for j in range(K):
            S[k, j] = Q[min(k, j), max(k, j)]
        for m in range(M):
            S[k, K + m] = S[K + m, k] = BC[k, P + m]
    for m in range(M):
        for j in range(M):
            S[K + m, K + j] = C[P + m, P + j]


@njit(cache=True, error_model="numpy", inline="always")
def closed_forces(model: Model, eta: Eta, state: State, forces: Forces, begin: int) -> None:
    """Write the forces at the rates `eta`, without weight decay; the work space of `model` is free from `begin` on.

    Stein's lemma (docs/theory.rst: `stein`, `pair-averages`, `averages`) turns every average with a Gaussian field z into
    F_k(z) = <delta g'(lambda_k) z> = cov(z, lambda_k) a_k + sum_j cov(z, psi_j) e_kj, so that <h_a z> is linear in the
    covariances of z with (u, rho).
    """
    matrices, _ = matrices_at(model.work, begin, model.sizes)
    K, P, M = model.sizes.K, model.sizes.P, model.sizes.M
    n, noise = K + M, model.rule.noise
    B, B_transposed, c = matrices.B, matrices.B_transposed, matrices.c
    L, E, A, G, weights = matrices.L, matrices.E, matrices.A, matrices.G, matrices.weights
    sigma, xi_out, v, v_teacher = state.sigma, state.xi_out, state.v, model.teacher.v
    for k in range(K):
        c[k] = v[k]
        for a in range(P):
            B[k, a] = B_transposed[a, k] = xi_out[k, a] * sigma[a]
    for m in range(M):
        c[K + m] = -v_teacher[m]
    input_covariance(model, state, matrices.C)
    field_covariance(matrices, P)
    model.averages.function(model.averages.parameters, matrices.S, c, K, L, E, A, G)

    # <delta g'(lambda_k) z> = sum_j weights[j, k] cov(psi_j, z).
    for k in range(K):
        a_k = 0.0
        for j in range(n):
            weights[j, k] = c[j] * E[k, j]
            a_k += c[j] * A[k, j]
        weights[k, k] += a_k
        for m in range(K):
            G[k, m] += noise * noise * E[k, m]
    slow_forces(eta, state, matrices, forces)

    # With d_a = sum_k D[k, a] g'(lambda_k), D[k, a] = v_k B_ka: D^T weights^T turns covariances with psi into <delta d_a z>, and
    # D^T (G + noise^2 E) D holds the <delta^2 d_a d_b>.
    per_u, per_rho, GD, through_u, hh = matrices.per_u, matrices.per_rho, matrices.GD, matrices.through_u, forces.hh
    through_u[:], per_u[:], per_rho[:], GD[:], hh[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    add_product(B_transposed, weights[:K], 1.0, through_u)
    for k in range(K):
        for a in range(P):
            B[k, a] *= v[k]
            B_transposed[a, k] *= v[k]
    D, D_transposed = B, B_transposed
    for a in range(P):
        for k in range(K):
            d = D_transposed[a, k]
            if d != 0.0:
                for b in range(P):
                    per_u[a, b] += d * through_u[b, k]
                for m in range(M):
                    per_rho[a, m] += d * weights[K + m, k]
    add_product(G, D, 1.0, GD)
    add_product(D_transposed, GD, eta.xi_in * eta.xi_in / model.rule.batch_size, hh)
    forces_in_blocks(model, -eta.xi_in, state, matrices, forces)


@njit(cache=True, inline="always")
def forces_in_blocks(model: Model, factor: float, state: State, matrices: Matrices, forces: Forces) -> None:
    """Write factor (per_u cov(u, z) + per_rho cov(rho, z)) for the fields z of rows and teacher in every block of directions."""
    P, M, n_rows = model.sizes.P, model.sizes.M, model.sizes.rows * model.sizes.P
    R_transposed, T = matrices.R_transposed, model.teacher.T
    for d in range(model.sizes.blocks):
        scale = factor * model.inputs.eigenvalues[d]
        G, R, with_rows, with_teacher = state.gram[d], state.with_teacher[d], forces.with_rows[d], forces.with_teacher[d]
        for i in range(n_rows):
            for m in range(M):
                R_transposed[m, i] = R[i, m]
        with_rows[:], with_teacher[:] = 0.0, 0.0
        add_product(matrices.per_u, G[:P], scale, with_rows)
        add_product(matrices.per_rho, R_transposed, scale, with_rows)
        add_product(matrices.per_u, R[:P], scale, with_teacher)
        add_product(matrices.per_rho, T[d], scale, with_teacher)


@njit(cache=True, inline="always")
def slow_forces(eta: Eta, state: State, matrices: Matrices, forces: Forces) -> None:
    """Write the mean steps of the slow factors times N."""
    weights, BC, C, c, L = matrices.weights, matrices.BC, matrices.C, matrices.c, matrices.L
    K, P = state.xi_out.shape
    sigma, xi_out, v = state.sigma, state.xi_out, state.v
    slow = forces.slow
    slow.slow[:] = 0.0
    if eta.sigma > 0.0 or eta.xi_out > 0.0:
        for k in range(K):
            for a in range(P):
                F = 0.0
                for j in range(K):
                    F += weights[j, k] * BC[j, a]
                for m in range(len(c) - K):
                    F += weights[K + m, k] * C[P + m, a]
                slow.sigma[a] -= eta.sigma * v[k] * xi_out[k, a] * F
                slow.xi_out[k, a] = -eta.xi_out * v[k] * sigma[a] * F
    if eta.v > 0.0:
        for k in range(K):
            total = 0.0
            for j in range(len(c)):
                total += c[j] * L[k, j]
            slow.v[k] = -eta.v * total
