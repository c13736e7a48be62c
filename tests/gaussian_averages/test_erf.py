"""The closed-form erf averages against brute-force quadrature and against the literature's own formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.erf import activation_covariance, averages

# The grid's own error is below 1e-7 for covariances with eigenvalues up to 2; see `test_quadrature_is_accurate`.
TOLERANCE = 1e-6
NAMES = ("L", "E", "A", "G")
ERF = np.ones(2)


def g(x: FloatArray, width: float = 1.0) -> FloatArray:
    return np.asarray(scipy.special.erf(x / (width * np.sqrt(2.0))))


def g_prime(x: FloatArray, width: float = 1.0) -> FloatArray:
    return np.asarray(np.sqrt(2.0 / np.pi) * np.exp(-(x**2) / (2.0 * width**2)) / width)


def g_second(x: FloatArray, width: float = 1.0) -> FloatArray:
    return -x / width**2 * g_prime(x, width)


def grid(S: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return points (n, n_points) and weights of a trapezoidal rule for N(0, S), one dimension per rank of S.

    The trapezoidal rule converges faster than any power for integrands that fall off like a Gaussian.
    """
    eigenvalues, vectors = np.linalg.eigh(S)
    kept = eigenvalues > 1e-12
    root = vectors[:, kept] * np.sqrt(eigenvalues[kept])
    step = 0.5 if kept.sum() > 3 else 0.3
    axis = np.arange(-13, 14) * step if kept.sum() > 3 else np.arange(-23, 24) * step
    weight = step * np.exp(-(axis**2) / 2.0) / np.sqrt(2.0 * np.pi)
    mesh = np.meshgrid(*[axis] * int(kept.sum()), indexing="ij")
    weights = np.ones(())
    for _ in range(int(kept.sum())):
        weights = np.multiply.outer(weights, weight)
    return root @ np.array([m.ravel() for m in mesh]).reshape(root.shape[1], -1), weights.ravel()


def by_quadrature(S: FloatArray, c: FloatArray, K: int, widths: FloatArray = ERF) -> dict[str, FloatArray]:
    psi, weights = grid(S)
    student, teacher = widths
    values = np.concatenate([g(psi[:K], student), g(psi[K:], teacher)])
    slopes = g_prime(psi[:K], student)
    squared = (c @ values) ** 2
    return {
        "L": (values * weights) @ values.T,
        "E": (slopes * weights) @ np.concatenate([slopes, g_prime(psi[K:], teacher)]).T,
        "A": (g_second(psi[:K], student) * weights) @ values.T,
        "G": (slopes * weights * squared) @ slopes.T,
    }


def by_package(S: FloatArray, c: FloatArray, K: int, widths: FloatArray = ERF) -> dict[str, FloatArray]:
    n = len(S)
    out = {"L": np.full((n, n), np.nan), "E": np.full((K, n), np.nan)}
    out |= {"A": np.full((K, n), np.nan), "G": np.full((K, K), np.nan)}
    averages(widths, S, c, K, *out.values())
    return out


def distance(first: FloatArray, second: FloatArray) -> float:
    return float(np.abs(first - second).max())


def random_covariance(rng: np.random.Generator, n: int) -> FloatArray:
    """Return a covariance with eigenvalues between 0.1 and 2 in random directions."""
    frame, _ = np.linalg.qr(rng.standard_normal((n, n)))
    return np.asarray((frame * rng.uniform(0.1, 2.0, n)) @ frame.T)


def singular_covariance(K: int, M: int, kind: str) -> FloatArray:
    """Return a covariance of K + M fields where a unit equals a teacher unit, opposes it, or has no norm."""
    S = random_covariance(np.random.default_rng(7), K + M)
    if kind == "equal":
        S[0, :], S[:, 0] = S[K, :], S[:, K]
        S[0, 0] = S[K, K]
    elif kind == "opposite":
        S[0, :], S[:, 0] = -S[K, :], -S[:, K]
        S[0, 0] = S[K, K]
    else:
        S[0, :] = S[:, 0] = 0.0
    return S


CASES = [
    (f"random {K}-{M}", K, random_covariance(np.random.default_rng(10 * K + M), K + M))
    for K, M in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
]
CASES += [
    (f"{kind} {K}-{M}", K, singular_covariance(K, M, kind)) for kind in ("equal", "opposite", "zero") for K, M in ((1, 1), (2, 2))
]


@pytest.mark.parametrize(("K", "S"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_averages_agree_with_quadrature(K: int, S: FloatArray, record_check: Callable[..., None]) -> None:
    c = np.random.default_rng(3).standard_normal(len(S))
    reference, result = by_quadrature(S, c, K), by_package(S, c, K)
    for name in NAMES:
        error = distance(result[name], reference[name])
        record_check(f"Gaussian average {name}, erf: difference", "quadrature", error, TOLERANCE)
    alone = np.full(S.shape, np.nan)
    activation_covariance(ERF, S, K, alone)
    assert np.array_equal(alone, result["L"])


@pytest.mark.parametrize("widths", [(1.0, 0.8), (1.7, 1.0), (0.9, 1.4)])
def test_averages_of_other_widths_agree_with_quadrature(widths: tuple[float, float], record_check: Callable[..., None]) -> None:
    """Negative control: the widths exchanged."""
    K, S = 2, random_covariance(np.random.default_rng(8), 3)
    c, given = np.array([0.7, -0.4, 1.2]), np.array(widths)
    reference, result = by_quadrature(S, c, K, given), by_package(S, c, K, given)
    exchanged = by_package(S, c, K, given[::-1].copy())
    for name in NAMES:
        error = distance(result[name], reference[name])
        record_check(f"Gaussian average {name}, erf of two widths: difference", "quadrature", error, TOLERANCE)
        assert distance(exchanged[name], reference[name]) > 1e4 * TOLERANCE


def sign_by_pieces(S: FloatArray, c: FloatArray, K: int) -> dict[str, FloatArray]:
    """Return the averages with a teacher of one sign unit, the last field: quadrature on either side of its jump.

    At the jump g' of the teacher is 2 delta(rho).
    """
    spread, last = np.sqrt(S[K, K]), S[:K, K] / S[K, K]
    rest = S[:K, :K] - np.outer(last, last) * S[K, K]
    points, rest_weights = grid(rest)
    nodes, node_weights = np.polynomial.legendre.leggauss(60)
    half, half_weights = (
        4.5 * (nodes + 1.0),
        4.5 * node_weights * np.exp(-((4.5 * (nodes + 1.0)) ** 2) / 2.0) / np.sqrt(2.0 * np.pi),
    )
    out = {"L": np.zeros((K + 1, K + 1)), "A": np.zeros((K, K + 1)), "G": np.zeros((K, K)), "E": np.zeros((K, K + 1))}
    for sign in (-1.0, 1.0):
        for x, weight in zip(sign * spread * half, half_weights, strict=True):
            psi, weights = points + last[:, np.newaxis] * x, weight * rest_weights
            values, slopes = np.vstack([g(psi), np.full(psi.shape[1], sign)]), g_prime(psi)
            out["L"] += (values * weights) @ values.T
            out["A"] += (g_second(psi) * weights) @ values.T
            out["G"] += (slopes * weights * (c @ values) ** 2) @ slopes.T
            out["E"][:, :K] += (slopes * weights) @ slopes.T
    out["E"][:, K] = 2.0 / (np.sqrt(2.0 * np.pi) * spread) * (g_prime(points) @ rest_weights)
    return out


def test_averages_with_a_sign_teacher_agree_with_quadrature_on_both_sides_of_its_jump(record_check: Callable[..., None]) -> None:
    """Negative control: a teacher of erf units."""
    K, S, c = 2, random_covariance(np.random.default_rng(9), 3), np.array([0.7, -0.4, 1.2])
    reference, result = sign_by_pieces(S, c, K), by_package(S, c, K, np.array([1.0, 0.0]))
    for name in NAMES:
        error = distance(result[name], reference[name])
        record_check(f"Gaussian average {name}, erf and sign: difference", "quadrature", error, TOLERANCE)
        assert distance(by_package(S, c, K)[name], reference[name]) > 1e4 * TOLERANCE


def test_sign_units_without_a_norm_are_zero_and_sign_students_get_no_gradient() -> None:
    S, c = np.diag([0.5, 0.8, 0.0]), np.array([0.7, -0.4, 1.2])
    without = by_package(S[:2, :2].copy(), c[:2].copy(), 2)
    result = by_package(S, c, 2, np.array([1.0, 0.0]))
    assert np.isfinite(np.concatenate([part.ravel() for part in result.values()])).all()
    assert np.array_equal(result["L"][2], np.zeros(3))
    assert distance(result["G"], without["G"]) < 1e-15
    students = by_package(S, c, 2, np.array([0.0, 1.0]))
    assert not any(students[name].any() for name in ("E", "A", "G"))
    assert students["L"][0, 0] == 1.0


def test_quadrature_notices_mistakes() -> None:
    """The same check must refuse a changed covariance, output weight, sign or K-block in every average."""
    _, K, S = CASES[3]
    c = np.random.default_rng(3).standard_normal(len(S))
    reference = by_quadrature(S, c, K)
    wrong_S = S.copy()
    wrong_S[0, 2] = wrong_S[2, 0] = S[0, 2] * 1.01
    for name in NAMES:
        assert not distance(by_package(wrong_S, c, K)[name], reference[name]) < TOLERANCE, name
    assert not distance(by_package(S, c * np.array([1.0, 1.0, 1.0, -1.0]), K)["G"], reference["G"]) < TOLERANCE
    assert not distance(-by_package(S, c, K)["A"], reference["A"]) < TOLERANCE


def test_quadrature_is_accurate() -> None:
    """The grid reproduces exact averages of the same decay: <exp(-psi^T psi / 2)> = det(1 + S)^(-1/2), and S."""
    S = random_covariance(np.random.default_rng(22), 4)
    psi, weights = grid(S)
    assert abs(weights @ np.exp(-(psi**2).sum(axis=0) / 2.0) * np.sqrt(np.linalg.det(np.eye(4) + S)) - 1.0) < 1e-7
    assert distance((psi * weights) @ psi.T, S) < 1e-7


def four_index_by_package(S: FloatArray, K: int, k: int, m: int, i: int, j: int) -> float:
    """Return <g'_k g'_m g_i g_j>, polarised from G, which is quadratic in c."""
    n = len(S)
    c_i, c_j = np.eye(n)[i], np.eye(n)[j]
    G = [by_package(S, c, K)["G"][k, m] for c in (c_i + c_j, c_i - c_j)]
    return float(G[0] - G[1]) / 4.0


def test_four_index_average_with_many_fields() -> None:
    """With K = 4 and M = 3 every index of the four-index average is the one it claims to be."""
    K, n = 4, 7
    rng = np.random.default_rng(11)
    S = random_covariance(rng, n)
    quadruples = [(0, 1, 2, 3), (0, 3, 4, 6), (2, 3, 0, 5), (1, 1, 4, 5), (2, 2, 2, 6), (1, 3, 3, 3), (3, 0, 5, 5)]
    for k, m, i, j in quadruples:
        chosen = sorted({k, m, i, j})
        psi, weights = grid(S[np.ix_(chosen, chosen)])
        field = dict(zip(chosen, psi, strict=True))
        reference = weights @ (g_prime(field[k]) * g_prime(field[m]) * g(field[i]) * g(field[j]))
        assert abs(four_index_by_package(S, K, k, m, i, j) - reference) < TOLERANCE
        assert not abs(four_index_by_package(S, K, k, m, i, (j + 1) % n) - reference) < TOLERANCE


def saad_solla_four_index(C: FloatArray, sign: float = 1.0) -> float:
    """Return I4 of fields 1 to 4, Saad and Solla (1995), Eq. (A5): <g'_1 g'_2 g_3 g_4>; `sign` = 1 is right."""
    C11, C12, C13, C14 = C[0]
    C22, C23, C24 = C[1, 1:]
    C33, C34, C44 = C[2, 2], C[2, 3], C[3, 3]
    L4 = (1 + C11) * (1 + C22) - C12**2
    L0 = L4 * C34 - C23 * C24 * (1 + C11) - C13 * C14 * (1 + C22) + sign * C12 * C13 * C24 + C12 * C14 * C23
    L1 = L4 * (1 + C33) - C23**2 * (1 + C11) - C13**2 * (1 + C22) + 2 * C12 * C13 * C23
    L2 = L4 * (1 + C44) - C24**2 * (1 + C11) - C14**2 * (1 + C22) + 2 * C12 * C14 * C24
    return float(4 / np.pi**2 / np.sqrt(L4) * np.arcsin(L0 / np.sqrt(L1 * L2)))


@pytest.mark.parametrize(("K", "M"), [(2, 2), (3, 2)])
def test_four_index_average_is_the_literatures(K: int, M: int, record_check: Callable[..., None]) -> None:
    S = random_covariance(np.random.default_rng(K), K + M)
    errors = []
    for k, m in itertools.product(range(K), repeat=2):
        for i, j in itertools.product(range(K + M), repeat=2):
            C = S[np.ix_((k, m, i, j), (k, m, i, j))]
            errors.append(abs(four_index_by_package(S, K, k, m, i, j) - saad_solla_four_index(C)))
    record_check("four-index average, erf: difference", "Saad and Solla's formula (1995)", max(errors), 1e-13)
    wrong = saad_solla_four_index(S[:4, :4], sign=-1.0)
    assert not abs(four_index_by_package(S, K, 0, 1, 2, 3) - wrong) < 1e-6


def test_whole_G_is_the_sum_of_four_index_averages() -> None:
    """With K = 5 and M = 4, teacher unit 0 learnt by student unit 0 exactly and unit 1 of zero norm."""
    K, M = 5, 4
    rng = np.random.default_rng(5)
    S = random_covariance(rng, K + M)
    S[0, :], S[:, 0] = S[K, :], S[:, K]
    S[0, 0] = S[K, K]
    S[1, :] = S[:, 1] = 0.0
    c = rng.standard_normal(K + M)
    reference = np.zeros((K, K))
    for k, m in itertools.product(range(K), repeat=2):
        for i, j in itertools.product(range(K + M), repeat=2):
            reference[k, m] += c[i] * c[j] * saad_solla_four_index(S[np.ix_((k, m, i, j), (k, m, i, j))])
    assert distance(by_package(S, c, K)["G"], reference) < 1e-12
    assert not distance(by_package(S, np.abs(c), K)["G"], reference) < 1e-3
