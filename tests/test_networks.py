"""Weights of given overlaps, their distribution, and the triangular factor they come from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from teacher_student import InvalidInput, OrderParameters, plain_committee
from teacher_student.arrays import FloatArray
from teacher_student.networks import Weights, draw_weights, gram_factor, li_huang_weights, overlaps, triangular_factor

LARGEST_Z = 4.5  # standard errors; at most about 100 numbers are compared at once


def random_state(K: int, P: int, M: int) -> OrderParameters:
    rng = np.random.default_rng(100 * K + 10 * P + M)
    X = rng.standard_normal((P + M, P + M + 3)) / np.sqrt(P + M + 3)
    gram = X @ X.T
    return OrderParameters(
        Q_modes=gram[:P, :P],
        R_modes=gram[:P, P:],
        T=gram[P:, P:],
        sigma=rng.standard_normal(P),
        xi_out=rng.standard_normal((K, P)),
        v=rng.standard_normal(K),
        v_teacher=rng.standard_normal(M),
    )


def singular_states() -> dict[str, OrderParameters]:
    T = np.array([[1.0, 0.5], [0.5, 1.0]])
    zero = np.zeros((2, 2))
    ones = np.ones(2)
    return {
        "student equals teacher": plain_committee(T, T, T, ones, ones),
        "student opposes teacher": plain_committee(T, -T, T, ones, ones),
        "student is zero": plain_committee(zero, zero, T, ones, ones),
        "teacher is zero": plain_committee(T, zero, zero, ones, ones),
        "everything is zero": plain_committee(zero, zero, zero, ones, ones),
        "identical teacher units": plain_committee(np.eye(2), 0.3 * np.ones((2, 2)), np.ones((2, 2)), ones, ones),
    }


STATES = {f"{K}-{P}-{M}": random_state(K, P, M) for K, P, M in ((1, 1, 1), (4, 3, 2), (2, 3, 4))} | singular_states()


def largest_error(weights: Weights, state: OrderParameters) -> float:
    """Return the largest error of the overlaps of `weights`, computed here, not by the package."""
    N = weights.xi_in.shape[1]
    modes, teacher = weights.xi_in, weights.W_teacher
    found = {"Q_modes": modes @ modes.T / N, "R_modes": modes @ teacher.T / N, "T": teacher @ teacher.T / N}
    return max(float(np.abs(found[name] - getattr(state, name)).max()) for name in found)


@pytest.mark.parametrize("extra", [0, 1, 500])
@pytest.mark.parametrize("name", STATES)
def test_drawn_weights_have_exactly_the_overlaps(name: str, extra: int) -> None:
    """To 1e-12, also of singular states and at the smallest N = P + M."""
    state = STATES[name]
    N = state.n_modes + state.n_teacher + extra
    weights = draw_weights(state, N, np.random.default_rng(1))
    assert (weights.xi_in.shape, weights.W_teacher.shape) == ((state.n_modes, N), (state.n_teacher, N))
    assert largest_error(weights, state) < 1e-12
    for factor in ("sigma", "xi_out", "v", "v_teacher"):
        assert np.array_equal(getattr(weights, factor), getattr(state, factor))
    found = overlaps(weights)
    for overlap in ("Q_modes", "R_modes", "T"):
        assert np.abs(getattr(found, overlap) - getattr(state, overlap)).max() < 1e-12


def test_changed_weights_have_other_overlaps() -> None:
    state = STATES["4-3-2"]
    weights = draw_weights(state, 50, np.random.default_rng(1))
    swapped = weights.W_teacher[::-1]
    assert not largest_error(dataclasses.replace(weights, W_teacher=swapped), state) < 1e-12
    assert not largest_error(dataclasses.replace(weights, xi_in=weights.xi_in * (1 + 1e-10)), state) < 1e-12


def test_drawn_weights_follow_the_seed() -> None:
    state = STATES["4-3-2"]
    first, again, other = (draw_weights(state, 20, np.random.default_rng(seed)).xi_in for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("n_inputs", [4, 0, -1, 5.0, 100.0, True, "100", None, float("nan")])
def test_too_few_inputs_are_refused(n_inputs: Any) -> None:
    with pytest.raises(InvalidInput, match=r"\An_inputs: got [^\n]+, expected a whole number N of at least P \+ M = 5\Z"):
        draw_weights(STATES["4-3-2"], n_inputs, np.random.default_rng(1))


def all_within(samples: FloatArray, expected: FloatArray | float) -> bool:
    """Return whether the means over the first axis are all within `LARGEST_Z` standard errors of `expected`."""
    error = samples.std(axis=0) / np.sqrt(len(samples))
    return bool((np.abs(samples.mean(axis=0) - expected) < LARGEST_Z * error).all())


def test_drawn_weights_are_isotropic() -> None:
    """First and second moments over many draws are those of a uniformly random frame; one that is not must fail."""
    state, N, draws = STATES["1-1-1"], 4, 20_000
    rng = np.random.default_rng(3)
    gram = np.block([[state.T, state.R_modes.T], [state.R_modes, state.Q_modes]])
    drawn, biased = np.empty((draws, 2, N)), np.empty((draws, 2, N))
    for i in range(draws):
        weights = draw_weights(state, N, rng)
        drawn[i] = np.concatenate([weights.W_teacher, weights.xi_in])
        frame = np.linalg.qr(rng.standard_normal((N, 2)))[0]  # LAPACK's signs: not uniform
        biased[i] = np.sqrt(N) * np.linalg.cholesky(gram) @ frame.T
    second = np.einsum("iam,ibn->iabmn", drawn, drawn)
    assert all_within(drawn, 0.0)
    assert all_within(second, gram[:, :, None, None] * np.eye(N))
    assert not all_within(biased, 0.0)
    assert not all_within(second, 1.05 * gram[:, :, None, None] * np.eye(N))


@pytest.mark.parametrize("name", STATES)
def test_triangular_factor(name: str) -> None:
    state = STATES[name]
    gram = np.block([[state.T, state.R_modes.T], [state.R_modes, state.Q_modes]])
    factor = gram_factor(state)
    assert np.array_equal(factor, triangular_factor(gram))
    assert np.array_equal(factor, np.tril(factor))
    assert np.array_equal(np.abs(np.diagonal(factor)), np.diagonal(factor))
    assert np.abs(factor @ factor.T - gram).max() < 1e-14 * max(1.0, np.abs(gram).max())


def test_triangular_factor_is_the_cholesky_factor_of_a_regular_matrix() -> None:
    state = STATES["2-3-4"]
    gram = np.block([[state.T, state.R_modes.T], [state.R_modes, state.Q_modes]])
    assert np.abs(triangular_factor(gram) - np.linalg.cholesky(gram)).max() < 1e-12


def li_huang_factors(N: int, K: int, P: int, draws: int, seed: int) -> dict[str, FloatArray]:
    """Return flattened factors of many draws; the teacher's input modes are recovered from its weights (K >= P)."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[FloatArray]] = {"sigma": [], "xi_out": [], "xi_in": [], "xi_in_teacher": [], "overlap": []}
    for _ in range(draws):
        weights = li_huang_weights(N, K, P, rng)
        solution = np.linalg.lstsq(weights.xi_out * weights.sigma, weights.W_teacher, rcond=None)
        teacher_modes = np.asarray(solution[0], dtype=np.float64)
        rows["sigma"].append(weights.sigma)
        rows["xi_out"].append(weights.xi_out.ravel())
        rows["xi_in"].append(weights.xi_in.ravel())
        rows["xi_in_teacher"].append(teacher_modes.ravel())
        rows["overlap"].append((weights.xi_in @ teacher_modes.T).ravel())
    return {name: np.array(arrays) for name, arrays in rows.items()}


def test_li_huang_weights_have_the_papers_statistics() -> None:
    """Every factor is Gaussian of variance (ln N)^(-1/3), xi_in of student and teacher are independent."""
    N, K, P = 30, 8, 3
    factors = li_huang_factors(N, K, P, 2000, 5)
    overlap = factors.pop("overlap")
    variance = np.log(N) ** (-1.0 / 3.0)
    assert all_within(overlap, 0.0)
    for name, samples in factors.items():
        entries = samples.ravel()[:, None]
        assert all_within(entries, 0.0), name
        assert all_within(entries**2, variance), name
        assert all_within(entries**4, 3.0 * variance**2), name
        assert not all_within(entries**2, np.log(N) ** (-1.0 / 6.0)), name
        assert not all_within(entries**4, 2.0 * variance**2), name
    assert not all_within((factors["xi_in"] * factors["xi_in"])[:, :P], 0.0)


def test_li_huang_teacher_shares_strengths_and_output_modes() -> None:
    K, P, N = 8, 3, 30
    weights = li_huang_weights(N, K, P, np.random.default_rng(2))
    B = weights.xi_out * weights.sigma
    projector = B @ np.linalg.pinv(B)
    assert np.abs(projector @ weights.W_teacher - weights.W_teacher).max() < 1e-12
    assert np.linalg.matrix_rank(weights.W_teacher) == P
    assert np.array_equal(weights.v, np.full(K, 1.0 / K))
    assert np.array_equal(weights.v_teacher, np.full(K, 1.0 / K))
    state = overlaps(weights)  # T is singular: rank P of K
    assert (state.n_units, state.n_modes, state.n_teacher) == (K, P, K)
    redrawn = draw_weights(state, N, np.random.default_rng(3))
    assert largest_error(redrawn, state) < 1e-12


@pytest.mark.parametrize(("field", "sizes"), [("n_inputs", (2, 8, 3)), ("n_units", (30, 0, 3)), ("n_modes", (30, 8, 0))])
def test_li_huang_sizes_are_checked(field: str, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidInput, match=rf"\A{field}: got \d+, expected a whole number of at least \d\Z"):
        li_huang_weights(*sizes, np.random.default_rng(1))


def test_overlaps_of_weights_that_do_not_fit_are_refused() -> None:
    weights = draw_weights(STATES["4-3-2"], 10, np.random.default_rng(1))
    with pytest.raises(InvalidInput, match=r"\Axi_in: got [^\n]+\Z"):
        overlaps(dataclasses.replace(weights, xi_in=weights.xi_in[:, :-1]))
    with pytest.raises(InvalidInput, match=r"\Axi_out: got [^\n]+\Z"):
        overlaps(dataclasses.replace(weights, xi_out=weights.xi_out[:, :-1]))
