"""Gaussian averages of g(x) = c0 + c1 x + c2 x^2, by Wick's theorem: linear, quadratic and centred quadratic units
(docs/theory.rst: `polynomial`).

The error h(psi) = sum_j c_j g_j(psi_j) is a quadratic form mu + sum_j (beta_j psi_j + W_j (psi_j^2 - S_jj)), mu its mean. With
D_k h = sum_j S_kj dh/dpsi_j, Stein's lemma reads <lambda_k F> = <D_k F>, so that

    <h^2> = mu^2 + beta^T S beta + 2 sum_ij W_i S_ij^2 W_j,
    <h^2 lambda_k> = 2 <h D_k h> = 2 mu d_k + 4 sum_j S_kj W_j d_j,                            d_k = <D_k h> = sum_j S_kj beta_j,
    <h^2 lambda_k lambda_l> = S_kl <h^2> + 2 <D_k h D_l h> + 2 mu D_k D_l h,                   D_k D_l h = 2 sum_j S_kj W_j S_lj,
    <D_k h D_l h> = d_k d_l + 4 sum_ij S_ki W_i S_ij W_j S_jl.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.pointers import pointers
from teacher_student.kernels import njit


@njit(cache=True)
def fill_coefficients(parameters: FloatArray, K: int, coefficients: FloatArray) -> None:
    """Write c0, c1, c2 of every field, (3, n), for `parameters` (those of the student, those of the teacher)."""
    for i in range(coefficients.shape[1]):
        for power in range(3):
            coefficients[power, i] = parameters[power] if i < K else parameters[3 + power]


@njit(cache=True)
def fill_activation_covariance(S: FloatArray, coefficients: FloatArray, mean: FloatArray, L: FloatArray) -> None:
    """Write <g_i> into `mean` (n,) and L_ij = <g_i> <g_j> + c1_i c1_j S_ij + 2 c2_i c2_j S_ij^2."""
    n = len(S)
    c0, c1, c2 = coefficients[0], coefficients[1], coefficients[2]
    for i in range(n):
        mean[i] = c0[i] + c2[i] * S[i, i]
    for i in range(n):
        for j in range(n):
            L[i, j] = mean[i] * mean[j] + c1[i] * c1[j] * S[i, j] + 2.0 * c2[i] * c2[j] * S[i, j] ** 2


@njit(cache=True)
def activation_covariance(parameters: FloatArray, S: FloatArray, K: int, L: FloatArray) -> None:
    """Write L_ij = <g_i(psi_i) g_j(psi_j)> for fields of covariance `S`, both (n, n), into `L`."""
    n = len(S)
    coefficients = np.empty((3, n))
    fill_coefficients(parameters, K, coefficients)
    fill_activation_covariance(S, coefficients, np.empty(n), L)


@njit(cache=True)
def averages(
    parameters: FloatArray,
    S: FloatArray,
    c: FloatArray,
    K: int,
    L: FloatArray,
    E: FloatArray,
    A: FloatArray,
    G: FloatArray,
) -> None:
    """Write the averages of the right-hand side for n = K + M fields of covariance `S`.

    `L` (n, n), `E` (K, n), `A` (K, n) and `G` (K, K) are as in the package's docstring; `c` (n,) are the output weights
    (v, -v_teacher).
    """
    n = len(S)
    coefficients = np.empty((3, n))
    mean = np.empty(n)
    fill_coefficients(parameters, K, coefficients)
    fill_activation_covariance(S, coefficients, mean, L)
    c1, c2 = coefficients[1], coefficients[2]
    for k in range(K):
        for j in range(n):
            E[k, j] = c1[k] * c1[j] + 4.0 * c2[k] * c2[j] * S[k, j]
            A[k, j] = 2.0 * c2[k] * mean[j]

    W = c * c2
    mu, h_squared = 0.0, 0.0
    d = np.zeros(n)
    for i in range(n):
        mu += c[i] * mean[i]
        for j in range(n):
            h_squared += c[i] * c[j] * L[i, j]
            d[i] += S[i, j] * c[j] * c1[j]
    h_squared_lambda = np.zeros(K)
    SW = np.empty((K, n))
    SWS = np.zeros((K, n))
    for k in range(K):
        h_squared_lambda[k] = 2.0 * mu * d[k]
        for j in range(n):
            SW[k, j] = S[k, j] * W[j]
            h_squared_lambda[k] += 4.0 * SW[k, j] * d[j]
        for i in range(n):
            for j in range(n):
                SWS[k, i] += SW[k, j] * S[j, i]
    for k in range(K):
        for m in range(K):
            both = S[k, m] * h_squared + 2.0 * d[k] * d[m] + 4.0 * mu * SWS[k, m]
            for j in range(n):
                both += 8.0 * SWS[k, j] * SW[m, j]
            one = c1[k] * c2[m] * h_squared_lambda[m] + c1[m] * c2[k] * h_squared_lambda[k]
            G[k, m] = c1[k] * c1[m] * h_squared + 2.0 * one + 4.0 * c2[k] * c2[m] * both


activation_covariance_pointer, averages_pointer = pointers(activation_covariance, averages)
