"""Averages of polynomials of degree 2 against Gauss-Hermite quadrature, which is exact for them."""

from __future__ import annotations

import numpy as np
import pytest

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages import polynomial

LINEAR, QUADRATIC, CENTRED, GENERAL = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (0.3, -0.8, 0.5)
PAIRS = [(LINEAR, LINEAR), (QUADRATIC, QUADRATIC), (CENTRED, CENTRED), (LINEAR, CENTRED), (QUADRATIC, LINEAR), (GENERAL, CENTRED)]
PAIRS += [(CENTRED, GENERAL), (GENERAL, GENERAL)]


def by_quadrature(
    S: FloatArray, c: FloatArray, K: int, student: tuple[float, ...], teacher: tuple[float, ...]
) -> dict[str, FloatArray]:
    """Return the averages from 5 points a direction, exact for the total degree 6 of G and beyond."""
    n = len(S)
    x, w = np.polynomial.hermite_e.hermegauss(5)
    z = np.array([axis.ravel() for axis in np.meshgrid(*[x] * n, indexing="ij")])
    weights = np.ones(())
    for _ in range(n):
        weights = np.multiply.outer(weights, w / w.sum())
    eigenvalues, vectors = np.linalg.eigh(S)
    psi = vectors * np.sqrt(np.maximum(eigenvalues, 0.0)) @ z
    weight = weights.ravel()
    c0, c1, c2 = np.array([student] * K + [teacher] * (n - K)).T[:, :, None]
    values, slopes = c0 + c1 * psi + c2 * psi**2, c1 + 2.0 * c2 * psi
    curvature = np.broadcast_to(2.0 * c2[:K], (K, len(weight)))
    return {
        "L": (values * weight) @ values.T,
        "E": (slopes[:K] * weight) @ slopes.T,
        "A": (curvature * weight) @ values.T,
        "G": (slopes[:K] * weight * (c @ values) ** 2) @ slopes[:K].T,
    }


def by_package(
    S: FloatArray, c: FloatArray, K: int, student: tuple[float, ...], teacher: tuple[float, ...]
) -> dict[str, FloatArray]:
    n, parameters = len(S), np.array([*student, *teacher])
    out = {"L": np.full((n, n), np.nan), "E": np.full((K, n), np.nan)}
    out |= {"A": np.full((K, n), np.nan), "G": np.full((K, K), np.nan)}
    polynomial.averages(parameters, S, c, K, *out.values())
    alone = np.full((n, n), np.nan)
    polynomial.activation_covariance(parameters, S, K, alone)
    assert np.array_equal(alone, out["L"])
    return out


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_averages_are_those_of_exact_quadrature(student: tuple[float, ...], teacher: tuple[float, ...], singular: bool) -> None:
    rng = np.random.default_rng(2)
    K, n = 3, 5
    X = rng.standard_normal((n, 3 if singular else 7)) / np.sqrt(5.0)
    if singular:
        X[0] = 0.0
        X[1] = X[3]
    S, c = X @ X.T, rng.standard_normal(n)
    reference, result = by_quadrature(S, c, K, student, teacher), by_package(S, c, K, student, teacher)
    larger = by_package(S * (1.0 + 1e-6), c, K, student, teacher)
    for name, average in result.items():
        np.testing.assert_allclose(average, reference[name], rtol=1e-12, atol=1e-12)
        if name in ("L", "G"):
            assert np.abs(larger[name] - reference[name]).max() > 1e-9
    with_other_teacher = by_package(S, c, K, student, tuple(np.array(teacher) + 1e-6))
    assert np.abs(with_other_teacher["G"] - reference["G"]).max() > 1e-9
