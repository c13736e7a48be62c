"""Averages of piecewise linear activations against conditional Gaussians, planar geometry, identities and Monte Carlo.

None of the references uses Price's theorem, absolute values for ReLU, or averages of signs.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.special

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages import piecewise_linear, polynomial

RANDOM, DEGENERATE = 1e-10, 1e-9  # absolute errors allowed of averages of fields of order one
SLOPES = [(0.0, 0.0), (0.01, 0.01), (0.0, 1.0), (-0.4, 0.3)]  # of student and teacher
NAMES = ("L", "E", "A", "G")


def by_package(S: FloatArray, c: FloatArray, K: int, slopes: tuple[float, float]) -> dict[str, FloatArray]:
    n = len(S)
    out = {"L": np.full((n, n), np.nan), "E": np.full((K, n), np.nan)}
    out |= {"A": np.full((K, n), np.nan), "G": np.full((K, K), np.nan)}
    piecewise_linear.averages(np.array(slopes), np.ascontiguousarray(S), c, K, *out.values())
    alone = np.full((n, n), np.nan)
    piecewise_linear.activation_covariance(np.array(slopes), np.ascontiguousarray(S), K, alone)
    assert np.array_equal(alone, out["L"])
    return out


def g(x: FloatArray, slope: float | FloatArray) -> FloatArray:
    return np.where(x > 0, x, slope * x)


def g_prime(x: FloatArray, slope: float | FloatArray) -> FloatArray:
    return np.where(x > 0, 1.0, slope)


def distance(first: FloatArray, second: FloatArray) -> float:
    """Return the largest difference; NaN counts as infinite."""
    return float(np.nan_to_num(np.abs(first - second), nan=np.inf).max())


def four_index_by_package(S: FloatArray, slopes: tuple[float, float]) -> float:
    """Return <g'_0 g'_1 g_2 g_3> of two student and two teacher fields, polarised from G, which is quadratic in c."""
    G = [by_package(S, np.array([0.0, 0.0, 1.0, sign]), 2, slopes)["G"][0, 1] for sign in (1.0, -1.0)]
    return float(G[0] - G[1]) / 4.0


_nodes, _node_weights = np.polynomial.legendre.leggauss(160)
_z = 0.5 * (_nodes + 1.0)
RADIUS = 13.0 * _z**3
RADIAL_WEIGHTS = 0.5 * _node_weights * 39.0 * _z**2 * np.exp(-(RADIUS**2) / 2.0) * RADIUS**3 / (2.0 * np.pi)


def both_positive(h: FloatArray, k: FloatArray, correlation: float, sine: float) -> FloatArray:
    """Return P(x > -h, y > -k) of two unit fields with a correlation (Owen 1956); `sine` = sqrt(1 - correlation^2)."""
    h, k = np.where(h == 0, 1e-300, h), np.where(k == 0, 1e-300, k)
    T = scipy.special.owens_t(h, (k - correlation * h) / (h * sine)) + scipy.special.owens_t(
        k, (h - correlation * k) / (k * sine)
    )
    return np.asarray(0.5 * (scipy.special.ndtr(h) + scipy.special.ndtr(k)) - T - 0.5 * (h * k < 0))


def four_index_by_conditioning(S: FloatArray, slopes: tuple[float, float]) -> float:
    """Return the same by quadrature over fields 2 and 3 in polar coordinates; at given 2 and 3, 0 and 1 have a known law.

    The angle is integrated adaptively between the directions where a field or a conditional mean vanishes, which points
    cluster at.
    """
    student, teacher = slopes
    root = np.linalg.cholesky(S[2:, 2:])
    regression = np.linalg.solve(S[2:, 2:], S[2:, :2]).T
    rest = S[:2, :2] - regression @ S[2:, :2]
    deviation = np.sqrt(np.diagonal(rest))
    correlation = rest[0, 1] / deviation.prod()
    sine = np.sqrt(max(np.linalg.det(rest), 0.0)) / deviation.prod()
    directions = np.vstack([root, regression @ root / deviation[:, None]])

    def integrand(angle: float) -> float:
        c, d, h, k = directions @ [np.cos(angle), np.sin(angle)]
        both = both_positive(h * RADIUS, k * RADIUS, correlation, sine)
        one, other = scipy.special.ndtr(h * RADIUS), scipy.special.ndtr(k * RADIUS)
        slopes_averaged = both + student * (one + other - 2.0 * both) + student**2 * (1.0 - one - other + both)
        return float(g(c, teacher) * g(d, teacher) * (RADIAL_WEIGHTS @ slopes_averaged))

    zeros = np.arctan2(-directions[:, 0], directions[:, 1]) % np.pi
    edges = np.sort(np.concatenate([zeros, zeros + np.pi]))
    total = 0.0
    for start, end in itertools.pairwise([*edges, edges[0] + 2.0 * np.pi]):
        half = 0.5 * (end - start)
        for origin, towards in ((start, half), (end, -half)):

            def clustered(z: float, origin: float = origin, towards: float = towards) -> float:
                return integrand(origin + towards * z**6) * abs(towards) * 6.0 * z**5

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", scipy.integrate.IntegrationWarning)
                total += scipy.integrate.quad(clustered, 0.0, 1.0, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
    return total


def unit_rows(rng: np.random.Generator, n: int, dimensions: int) -> FloatArray:
    X = rng.standard_normal((n, dimensions))
    return np.asarray(X / np.linalg.norm(X, axis=1)[:, None])


def bring_near(X: FloatArray, i: int, j: int, gap: float, sign: float = 1.0) -> None:
    """Give rows i and j of unit length the correlation sign (1 - gap)."""
    across = X[j] - X[j] @ X[i] * X[i]
    X[j] = sign * ((1.0 - gap) * X[i] + np.sqrt(1.0 - (1.0 - gap) ** 2) * across / np.linalg.norm(across))


def four_fields(kind: str, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    X = unit_rows(rng, 4, 6)
    pairs = {"c near a": [(0, 2)], "c and d near a and b": [(0, 2), (1, 3)], "a near b": [(0, 1)], "c near d": [(2, 3)]}
    for i, j in pairs.get(kind, [(0, 1), (0, 2), (0, 3)] if kind == "all near" else []):
        bring_near(X, i, j, 1e-6)
    if kind == "c near -a":
        bring_near(X, 0, 2, 1e-6, -1.0)
    if kind == "nearly dependent":
        X = np.hstack([unit_rows(rng, 4, 3), 1e-6 * rng.standard_normal((4, 1))])
    if kind == "nearly in a plane":
        X = np.hstack([unit_rows(rng, 4, 2), 1e-5 * rng.standard_normal((4, 2))])
    return np.asarray(X @ X.T)


@pytest.mark.parametrize("seed", range(6))
def test_four_index_average_of_random_fields(seed: int, record_check: Callable[..., None]) -> None:
    S, slopes = four_fields("random", seed), SLOPES[seed % len(SLOPES)]
    reference = four_index_by_conditioning(S, slopes)
    error = abs(four_index_by_package(S, slopes) - reference)
    record_check("four-index average, ReLU and leaky ReLU: difference", "conditioning and quadrature", error, RANDOM)
    wrong = S.copy()
    wrong[0, 2] = wrong[2, 0] = S[0, 2] + 1e-6
    assert not abs(four_index_by_package(wrong, slopes) - reference) < RANDOM
    assert not abs(four_index_by_package(S, (slopes[0], slopes[1] + 1e-6)) - reference) < RANDOM


@pytest.mark.parametrize(
    "kind",
    [
        "c near a",
        "c near -a",
        "c and d near a and b",
        "a near b",
        "c near d",
        "all near",
        "nearly dependent",
        "nearly in a plane",
    ],
)
def test_four_index_average_of_nearly_degenerate_fields(kind: str, record_check: Callable[..., None]) -> None:
    for seed, slopes in ((1, SLOPES[0]), (2, SLOPES[3])):
        S = four_fields(kind, seed)
        reference = four_index_by_conditioning(S, slopes)
        error = abs(four_index_by_package(S, slopes) - reference)
        record_check("four-index average, nearly degenerate fields: difference", "conditioning and quadrature", error, DEGENERATE)
    assert not abs(four_index_by_package(S, (slopes[0], slopes[1] + 1e-6)) - reference) < DEGENERATE


def test_equal_correlations_of_one_half() -> None:
    """All four fields are positive with probability 1/5, so <s_0 s_1 s_2 s_3> = 16/5 - 1 - 6/3 = 1/5; with sqrt(x^2) = |x|."""
    S = 0.5 * (np.eye(4) + np.ones((4, 4)))
    result = four_index_by_package(S, (-1.0, -1.0))  # <s_0 s_1 |2| |3|> = S_23 / 5 + what Stein's lemma adds
    angle = np.arcsin(1.0 / 4.0)  # two fields at given two others: covariance 1/6, variance 2/3
    added = 4.0 / np.pi**2 * angle * (np.sqrt(0.75) * 3.0 + 0.5 * (0.5 - 0.25) * 2.0 / np.sqrt(0.75))
    assert abs(result - (0.1 + added)) < 1e-12


def planar_averages(X: FloatArray, c: FloatArray, K: int, slopes: tuple[float, float]) -> dict[str, FloatArray]:
    """Return all averages of fields X . (z_1, z_2): g is homogeneous, so that only integrals over the angle are left."""
    slope = np.repeat(slopes, [K, len(X) - K])[:, None]
    zeros = np.arctan2(-X[:, 0], X[:, 1]) % np.pi
    edges = np.sort(np.concatenate([zeros, zeros + np.pi]))
    edges = np.append(edges, edges[0] + 2.0 * np.pi)
    x, w = np.polynomial.legendre.leggauss(20)
    half = 0.5 * np.diff(edges)[:, None]
    angle = (edges[:-1, None] + half * (1.0 + x)).ravel()
    weight = (half * w).ravel() / (2.0 * np.pi)
    psi = X @ np.array([np.cos(angle), np.sin(angle)])
    values, derivatives = g(psi, slope), g_prime(psi, slope)
    norm = np.linalg.norm(X[:K], axis=1)
    across = np.abs(X[:K, :1] * X[:, 1] - X[:K, 1:] * X[:, 0]) / norm[:, None]  # |psi_j| per unit length where lambda_k = 0
    mean_at_zero = across * (1.0 - slope.T) / np.sqrt(2.0 * np.pi)
    return {
        "L": 2.0 * (values * weight) @ values.T,  # <radius^2> = 2
        "E": (derivatives[:K] * weight) @ derivatives.T,
        "A": (1.0 - slopes[0]) * mean_at_zero / (np.sqrt(2.0 * np.pi) * norm[:, None]),
        "G": 2.0 * (derivatives[:K] * weight * (c @ values) ** 2) @ derivatives[:K].T,
    }


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("kind", ["distinct", "specialised", "opposite", "proportional", "one direction"])
def test_all_averages_of_planar_fields(kind: str, slopes: tuple[float, float]) -> None:
    """Every index, coinciding ones included, of K = 4 and M = 3 fields of rank 2 or 1, also units that equal a teacher's."""
    rng = np.random.default_rng(3)
    K, X = 4, 0.7 * rng.standard_normal((7, 2))
    if kind == "specialised":
        X[:3] = X[4:]
    elif kind == "opposite":
        X[0], X[1] = -X[4], -X[2]
    elif kind == "proportional":
        X[0], X[1], X[3] = 1.3 * X[4], -0.6 * X[5], 0.3 * X[2]
    elif kind == "one direction":
        X = X[:, :1] * X[:1]
    c = rng.standard_normal(7)
    reference, result = planar_averages(X, c, K, slopes), by_package(X @ X.T, c, K, slopes)
    tolerance = RANDOM if kind == "distinct" else DEGENERATE
    turned = X.copy()
    turned[2] = X[2] @ [[np.cos(1e-3), np.sin(1e-3)], [-np.sin(1e-3), np.cos(1e-3)]]
    wrong = by_package(turned @ turned.T, c, K, slopes)
    for name in NAMES:
        assert distance(result[name], reference[name]) < tolerance, name
        if slopes[0] != 1.0 and kind != "one direction":
            assert not distance(wrong[name], reference[name]) < tolerance, name


def random_problem(seed: int, K: int = 3, M: int = 3) -> tuple[FloatArray, FloatArray, int]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((K + M, K + M + 1)) / np.sqrt(K + M)
    return X @ X.T, rng.standard_normal(K + M), K


@pytest.mark.parametrize("slopes", SLOPES)
def test_averages_agree_with_sampling(slopes: tuple[float, float]) -> None:
    """L, E and G of K = 3 and M = 3 independent directions within 4.5 standard errors; a wrong sign or slope is not."""
    S, c, K = random_problem(1)
    rng = np.random.default_rng(4)
    n_samples = 400_000
    psi = np.linalg.cholesky(S) @ rng.standard_normal((len(S), n_samples))
    slope = np.repeat(slopes, K)[:, None]
    values, derivatives = g(psi, slope), g_prime(psi, slope)
    squared = (c @ values) ** 2
    samples = {
        "L": values[:, None] * values[None],
        "E": derivatives[:K, None] * derivatives[None],
        "G": derivatives[:K, None] * derivatives[None, :K] * squared,
    }

    def largest_z(result: dict[str, FloatArray], name: str) -> float:
        error = samples[name].std(axis=-1) / np.sqrt(n_samples) + 1e-12  # what is constant has no error
        return float(np.abs((samples[name].mean(axis=-1) - result[name]) / error).max())

    result = by_package(S, c, K, slopes)
    assert max(largest_z(result, name) for name in samples) < 4.5
    flipped = c * np.array([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    assert largest_z(by_package(S, flipped, K, slopes), "G") > 4.5
    for name in samples:
        assert largest_z(by_package(S, c, K, (slopes[0] - 0.1, slopes[1])), name) > 4.5


def test_slope_one_is_linear() -> None:
    S, c, K = random_problem(2)
    n = len(S)
    exact = {"L": np.empty((n, n)), "E": np.empty((K, n)), "A": np.empty((K, n)), "G": np.empty((K, K))}
    polynomial.averages(np.array([0.0, 1.0, 0.0] * 2), S, c, K, *exact.values())
    np.testing.assert_allclose(exact["G"], c @ S @ c, rtol=1e-13)
    for name, average in by_package(S, c, K, (1.0, 1.0)).items():
        assert distance(average, exact[name]) < 1e-13, name
    nearly = by_package(S, c, K, (1.0 - 1e-6, 1.0))
    assert not distance(nearly["G"], exact["G"]) < 1e-13


def test_fields_and_their_mirror_images() -> None:
    """relu(x) - relu(-x) = x and relu(x) + relu(-x) = |x|: a teacher of mirrored ReLU units is linear, or of slope -1.

    Mirrored fields are degenerate.
    """
    S, c, K = random_problem(3)
    mirror = np.vstack([np.eye(6), -np.eye(6)[K:]])
    doubled = mirror @ S @ mirror.T
    for sign, slope in ((-1.0, 1.0), (1.0, -1.0)):
        both = by_package(doubled, np.append(c, sign * c[K:]), K, (0.0, 0.0))["G"]
        assert distance(both, by_package(S, c, K, (0.0, slope))["G"]) < DEGENERATE
        assert not distance(both, by_package(S, c, K, (0.0, 0.9 * slope))["G"]) < 1e-3


def test_scales_of_fields_factor_out() -> None:
    S, c, K = random_problem(4)
    scale = np.array([0.01, 3.0, 1.0, 0.2, 40.0, 1.0])
    first, second = by_package(S, c, K, (0.0, 0.1)), by_package(S * np.outer(scale, scale), c / scale, K, (0.0, 0.1))
    np.testing.assert_allclose(second["L"], first["L"] * np.outer(scale, scale), rtol=1e-11)
    np.testing.assert_allclose(second["E"], first["E"], rtol=1e-11)
    np.testing.assert_allclose(second["A"], first["A"] * scale / scale[:K, None], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(second["G"], first["G"], rtol=1e-11)


@pytest.mark.parametrize("slopes", SLOPES)
def test_a_unit_of_zero_norm_has_the_mean_slope(slopes: tuple[float, float]) -> None:
    """Its g' is (1 + slope) / 2, g is 0 and A, which cov(z, lambda) = 0 multiplies, is finite; the others do not notice it."""
    S, c, K = random_problem(5)
    S[1, :] = S[:, 1] = 0.0
    others = [0, 2, 3, 4, 5]
    result = by_package(S, c, K, slopes)
    without = by_package(S[np.ix_(others, others)], c[others], 2, slopes)
    students = [0, 2]
    assert all(np.isfinite(average).all() for average in result.values())
    for name, rows, columns in (
        ("L", others, others),
        ("E", students, others),
        ("A", students, others),
        ("G", students, students),
    ):
        assert distance(result[name][np.ix_(rows, columns)], without[name]) < 1e-14
    mean_slope = 0.5 * (1.0 + slopes[0])
    assert not result["L"][1].any()
    assert distance(result["E"][1], mean_slope * 0.5 * (1.0 + np.repeat(slopes, K))) < 1e-14
    assert distance(result["G"][1, 1], mean_slope**2 * c @ result["L"] @ c) < 1e-12
    assert distance(result["G"][1, 0], result["G"][0, 1]) == 0.0
    # <h^2 g'(lambda_0)>: of a linear unit as student 1 it is G_01.
    sampled_slope = by_package(S[np.ix_(others, others)], c[others], 2, slopes)["G"][0, 0]
    s = slopes[0]
    expected = mean_slope * (sampled_slope + s * c @ result["L"] @ c) / (1.0 + s)  # g'^2 = (1 + s) g' - s
    assert distance(result["G"][0, 1], expected) < 1e-12
