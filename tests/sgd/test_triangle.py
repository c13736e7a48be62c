"""The triangular factor of the overlap chain in lanes: reflections keep overlaps, rows get their lengths."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from teacher_student.sgd import triangle
from teacher_student.sgd.lanes import vectors

EPS = np.finfo(float).eps


@njit
def _fold(F: np.ndarray, M: int) -> None:
    triangle.fold(F, M)


@pytest.mark.parametrize("width", [0, 1, 3])
@pytest.mark.parametrize("zeros", ["none", "diagonal", "everything", "extra", "tiny"])
def test_reflections_keep_the_gram_matrix(width: int, zeros: str) -> None:
    """F F^T is kept to rounding, and F is lower triangular after its first columns, also where entries vanish.

    The diagonal is not negative: the factor is the one of Cholesky.
    """
    rng = np.random.default_rng(3)
    M, P = 2, 4
    F = vectors(1, P, M + P + width)
    F[...] = rng.standard_normal(F.shape)
    square = F[0, :, M : M + P]
    if zeros in ("diagonal", "everything"):
        square[np.arange(P), np.arange(P)] = 0.0
    if zeros in ("extra", "everything"):
        F[0, :, M + P :] = 0.0
    if zeros == "everything":
        square[:] = 0.0
    if zeros == "tiny":
        F[0, 1, M:] *= 1e-160
    before = np.einsum("ajl,bjl->lab", F[0], F[0])
    _fold(F, M)
    np.testing.assert_allclose(np.einsum("ajl,bjl->lab", F[0], F[0]), before, rtol=0, atol=50 * EPS * np.abs(before).max())
    for a in range(P):
        assert not F[0, a, M + a + 1 :].any()
        assert (F[0, a, M + a] >= 0.0).all()


@njit
def _rescale(F: np.ndarray, M: int, lengths: np.ndarray) -> None:
    triangle.rescale(F, M, lengths)


def test_rows_get_their_lengths_and_keep_their_directions() -> None:
    rng = np.random.default_rng(4)
    M, P = 2, 3
    F = vectors(1, P, M + P)
    F[...] = rng.standard_normal(F.shape) * (np.arange(M + P) <= M + np.arange(P)[:, None])[..., None]
    before, lengths = F[0].copy(), np.array([0.5, 1.0, 3.0])
    _rescale(F, M, lengths)
    np.testing.assert_allclose(F[0], before * (lengths[:, None] / np.linalg.norm(before, axis=1))[:, None], rtol=10 * EPS)
