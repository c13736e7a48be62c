"""Products with few modes against NumPy's in twice the precision, at every remainder of the compiled loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from teacher_student.arrays import RealArray
from teacher_student.deep import products
from teacher_student.deep.products import mix_modes, mix_samples, overlaps

# Rows of 32 or more of up to 32 modes are compiled, 1024 float32 or 512 float64 are of one page.
LENGTHS = (10, 32, 33, 47, 64, 100, 512, 1024, 2049)
MODES = (1, 2, 12, 32, 33)
SAMPLES = (1, 2, 3, 8, 33)
DTYPES = [np.float32, np.float64]


def three_products(samples: RealArray, weights: RealArray, modes: RealArray) -> tuple[RealArray, RealArray, RealArray]:
    """Return A modes^T, C modes and C^T A."""
    dtype = samples.dtype
    u, z, d = np.empty(weights.shape, dtype), np.empty(samples.shape, dtype), np.empty(modes.shape, dtype)
    overlaps(samples, modes, u)
    mix_modes(weights, modes, z)
    mix_samples(weights, samples, d)
    return u, z, d


def draw(n_samples: int, P: int, N: int, dtype: npt.DTypeLike) -> tuple[RealArray, RealArray, RealArray]:
    """Return samples (n, N), weights (n, P) and modes (P, N)."""
    rng = np.random.default_rng([n_samples, P, N])
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((n_samples, N), (n_samples, P), (P, N)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_numpy(dtype: npt.DTypeLike) -> None:
    for n_samples in SAMPLES:
        for P in MODES:
            for N in LENGTHS:
                A, C, X = draw(n_samples, P, N, dtype)
                wide = [a.astype(np.longdouble) for a in (A, C, X)]
                for got, left, right in zip(
                    three_products(A, C, X), (wide[0], wide[1], wide[1].T), (wide[2].T, wide[2], wide[0]), strict=True
                ):
                    # A sum of n products is off by at most n units of rounding of the sum of their absolute values.
                    bound = (left.shape[1] + 1) * np.finfo(dtype).eps * (np.abs(left) @ np.abs(right))
                    assert np.all(np.abs(got - left @ right) <= bound), (n_samples, P, N)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_do_not_depend_on_their_neighbours_to_the_bit(dtype: npt.DTypeLike) -> None:
    for N in (33, 2049):
        A, C, X = draw(11, 7, N, dtype)
        u, z, _ = three_products(A, C, X)
        for n in (1, 4, 6):
            fewer_u, fewer_z, _ = three_products(A[:n], C[:n], X)
            np.testing.assert_array_equal(fewer_u, u[:n])
            np.testing.assert_array_equal(fewer_z, z[:n])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_stay_so(bad: float) -> None:
    A, C, X = draw(6, 5, 50, np.float32)
    A[2, 49] = C[2, 4] = bad
    u, z, d = three_products(A, C, X)
    assert not np.isfinite(u[2]).any()
    assert not np.isfinite(z[2]).any()
    assert not np.isfinite(d[4]).any()
    assert np.isfinite(np.delete(u, 2, axis=0)).all()


@pytest.mark.parametrize(
    ("shape", "compiled"),
    [
        ((12, 1000), ["_overlaps", "_combinations", "_combinations"]),
        ((12, 1024), ["_overlaps"]),
        ((33, 1000), []),
        ((12, 31), []),
    ],
)
def test_blas_where_it_is_faster(shape: tuple[int, int], compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def noted(name: str) -> Callable[..., None]:
        return lambda *arguments: called.append(name)

    for name in ("_overlaps", "_combinations"):
        monkeypatch.setattr(products, name, noted(name))
    three_products(*draw(4, *shape, np.float32))
    assert called == compiled
