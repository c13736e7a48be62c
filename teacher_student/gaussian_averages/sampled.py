"""Gaussian averages of any pair of activations, over quasi-random fields: their points, and eps_g if one is not smooth.

The fields (rho, s), of the teacher and of modes or units of the student, are linear in points z = (z_teacher, z_student):

    rho = F z_teacher,    s = R F^-T z_teacher + (Q - R T^-1 R^T)^(1/2) z_student,    T = F F^T,

so that student fields that are combinations of the teacher's are so at every point: a student that has learnt all makes no error
at any of them. The root is the symmetric one, and `symmetric_points` come with all permutations of z_student (up to four fields)
and, for an even activation, with both its signs. Averages over them then respect to rounding the symmetry between the student's
units, which holds them on a plateau, and that between s and -s: it is not the error of the averages that ends a plateau.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit

# Points of a generalisation error in each of its sets.
ERROR_POINTS = 2**11
N_ERROR_SETS = 8
_LARGEST_PERMUTED = 4
# Fewer quasi-random points than this are no better than random ones, however often they are permuted.
_LEAST_BASE = 256


@functools.lru_cache(maxsize=8)
def kept_points(n_dimensions: int, n_points: int, seed: int) -> FloatArray:
    """Return `gaussian_points`, kept for later calls: they are not to be written."""
    return gaussian_points(n_dimensions, n_points, seed)


def gaussian_points(n_dimensions: int, n_points: int, seed: int) -> FloatArray:
    """Return `n_points` (a power of 2) quasi-random points of N(0, 1), (n_points, n_dimensions), from scrambled Sobol points."""
    import scipy.special  # with scipy.stats it takes a while, and few runs need them
    from scipy.stats import qmc

    sobol = qmc.Sobol(n_dimensions, scramble=True, rng=np.random.default_rng(seed))
    uniform = sobol.random(n_points)
    # Sobol points lie on a grid that includes 0, whose quantile is infinite.
    return np.asarray(scipy.special.ndtri(uniform + 0.5**31 * (uniform == 0.0)))


def symmetric_points(n_teacher: int, n_student: int, n_points: int, even: bool, seed: int) -> FloatArray:
    """Return about `n_points` quasi-random points of N(0, 1), (n, n_teacher + n_student), with the symmetries above.

    `even` asks for both signs of z_student, which costs precision and is of use to even activations of the student only.
    """
    identity = tuple(range(n_student))
    orders = list(itertools.permutations(identity)) if n_student <= _LARGEST_PERMUTED else [identity]
    signs = (1.0, -1.0) if even else (1.0,)
    n_base = max(_LEAST_BASE, 2 ** round(np.log2(n_points / (len(signs) * len(orders)))))
    z = gaussian_points(n_teacher + n_student, n_base, seed)
    teacher, student = z[:, :n_teacher], z[:, n_teacher:]
    return np.concatenate([np.hstack([teacher, sign * student[:, order]]) for sign in signs for order in orders])


def field_map(T: FloatArray, R: FloatArray, Q: FloatArray) -> FloatArray:
    """Return the matrices (..., M + P, M + P) that map points to fields; shapes `T` (M, M), `R` (..., P, M), `Q` (..., P, P)."""
    M, P = R.shape[-1], R.shape[-2]
    F = symmetric_root(T)
    along = R @ np.linalg.pinv(F, rcond=1e-7)
    out = np.zeros((*R.shape[:-2], M + P, M + P))
    out[..., :M, :M], out[..., M:, :M] = F, along
    out[..., M:, M:] = symmetric_root(Q - along @ np.swapaxes(along, -1, -2))
    return out


def symmetric_root(gram: FloatArray) -> FloatArray:
    """Return the symmetric square roots of Gram matrices (..., n, n), which may be singular; rounding below zero is cut off."""
    eigenvalues, vectors = np.linalg.eigh(gram)
    return np.asarray((vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))[..., np.newaxis, :]) @ np.swapaxes(vectors, -1, -2))


def sampled_generalisation_error(
    student: Activation,
    teacher: Activation,
    Q: FloatArray,
    R: FloatArray,
    T: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    seed: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Return eps_g, a mean of half squares over fixed points, and its standard error, from independently scrambled sets.

    Shapes: `Q` (..., K, K), `R` (..., K, M), `T` (M, M), `v` (..., K), `v_teacher` (M,). A standard error has one degree of
    freedom less than there are sets. With the default `seed` the points are none of those of the right-hand side.
    """
    leading, K, M = Q.shape[:-2], Q.shape[-1], len(v_teacher)
    maps = field_map(T, R, Q).reshape(-1, M + K, M + K)
    weights = np.ascontiguousarray(np.broadcast_to(v, (*leading, K)).reshape(-1, K))
    of_sets = np.empty((N_ERROR_SETS, len(maps)))
    for i, out in enumerate(of_sets):
        points = gaussian_points(M + K, ERROR_POINTS, seed * N_ERROR_SETS + i)
        mean_half_squares(student.g, teacher.g, points, maps, weights, v_teacher, out)
    error = of_sets.std(axis=0, ddof=1) / np.sqrt(N_ERROR_SETS)
    return of_sets.mean(axis=0).reshape(leading), error.reshape(leading)


@njit(cache=True, nogil=True)
def mean_half_squares(
    g: Any, g_teacher: Any, points: FloatArray, maps: FloatArray, v: FloatArray, v_teacher: FloatArray, out: FloatArray
) -> None:
    """Write the mean over `points` of (student - teacher)^2 / 2 for every one of the field `maps` and output weights `v`.

    All maps have the same teacher.
    """
    M, K = len(v_teacher), v.shape[1]
    teacher = np.zeros(len(points))
    for p in range(len(points)):
        for i in range(M):
            field = 0.0
            for j in range(M):
                field += maps[0, i, j] * points[p, j]
            teacher[p] += v_teacher[i] * g_teacher(field)
    for t in range(len(out)):
        total = 0.0
        for p in range(len(points)):
            delta = -teacher[p]
            for k in range(K):
                field = 0.0
                for j in range(M + K):
                    field += maps[t, M + k, j] * points[p, j]
                delta += v[t, k] * g(field)
            total += delta * delta
        out[t] = 0.5 * total / len(points)
