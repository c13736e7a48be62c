"""Exact identities of the right-hand side: symmetries, frozen factors, and the plain committee of Saad and Solla."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from teacher_student import LearningRule, OrderParameters, Problem, integrate, plain_committee
from teacher_student.arrays import FloatArray
from teacher_student.layout import unpack
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.right_hand_side import ClosedDrift

RULE = LearningRule(eta_xi_in=1.1, eta_sigma=0.5, eta_xi_out=0.8, eta_v=0.3, noise=0.2, weight_decay=0.05, batch_size=2)
ROUNDING = 1e-13


def random_state(K: int, P: int, M: int, seed: int = 2) -> OrderParameters:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((P + M, P + M + 2)) / np.sqrt(P + M + 2)
    gram = X @ X.T
    return OrderParameters(
        Q_modes=gram[:P, :P],
        R_modes=gram[:P, P:],
        T=gram[P:, P:],
        sigma=rng.uniform(0.6, 1.4, P),
        xi_out=rng.standard_normal((K, P)),
        v=rng.standard_normal(K),
        v_teacher=rng.uniform(0.5, 1.5, M),
    )


def motion(state: OrderParameters, rule: LearningRule = RULE) -> dict[str, FloatArray]:
    """Return d/dalpha of the five blocks."""
    coordinates = coordinates_of(state, rule)
    f = ClosedDrift(state, rule, coordinates)
    f(0.0, coordinates.start[coordinates.moving])
    return unpack(f.equations.change.copy(), coordinates.sizes)


def largest_difference(first: dict[str, FloatArray], second: dict[str, FloatArray]) -> float:
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


@pytest.mark.parametrize(("K", "P", "M"), [(4, 3, 2), (2, 3, 4), (3, 2, 3), (1, 1, 1)])
def test_permuting_hidden_units_permutes_their_motion(K: int, P: int, M: int) -> None:
    state, order = random_state(K, P, M), np.roll(np.arange(K), 1)
    moved = motion(replace(state, xi_out=state.xi_out[order], v=state.v[order]))
    reference = motion(state)
    expected = reference | {"xi_out": reference["xi_out"][order], "v": reference["v"][order]}
    assert largest_difference(moved, expected) < ROUNDING
    if K > 1:
        assert not largest_difference(moved, reference) < ROUNDING


@pytest.mark.parametrize(("K", "P", "M"), [(4, 3, 2), (2, 3, 4), (3, 2, 3)])
def test_permuting_modes_permutes_their_motion(K: int, P: int, M: int) -> None:
    state, order = random_state(K, P, M), np.roll(np.arange(P), 1)

    def permuted(x: dict[str, FloatArray]) -> dict[str, FloatArray]:
        return {
            "Q_modes": x["Q_modes"][np.ix_(order, order)],
            "R_modes": x["R_modes"][order],
            "sigma": x["sigma"][order],
            "xi_out": x["xi_out"][:, order],
        }

    moved = motion(replace(state, **permuted({name: getattr(state, name) for name in motion(state)})))
    assert largest_difference(moved, motion(state) | permuted(motion(state))) < ROUNDING
    assert not largest_difference(moved, motion(state)) < ROUNDING


@pytest.mark.parametrize("unit", range(4))
def test_flipping_the_sign_of_a_unit_flips_its_motion(unit: int) -> None:
    """erf is odd: a unit with v_k and xi_out[k] both of the opposite sign is the same function."""
    state, signs = random_state(4, 3, 2), np.ones(4)
    signs[unit] = -1.0
    moved = motion(replace(state, v=signs * state.v, xi_out=signs[:, None] * state.xi_out))
    reference = motion(state)
    expected = reference | {"v": signs * reference["v"], "xi_out": signs[:, None] * reference["xi_out"]}
    assert largest_difference(moved, expected) < ROUNDING
    half_flipped = motion(replace(state, v=signs * state.v))
    assert not largest_difference(half_flipped, expected) < ROUNDING


BLOCKS = {
    "eta_xi_in": ("Q_modes", "R_modes"),
    "eta_sigma": ("sigma",),
    "eta_xi_out": ("xi_out",),
    "eta_v": ("v",),
}


def test_rates_of_zero_give_exactly_no_motion() -> None:
    """Neither noise nor weight decay moves a frozen factor, and one rate moves its own blocks alone."""
    state = random_state(4, 3, 2)
    zero: dict[str, Any] = dict.fromkeys(BLOCKS, 0.0)
    assert all(np.array_equal(block, np.zeros_like(block)) for block in motion(state, replace(RULE, **zero)).values())
    for rate, names in BLOCKS.items():
        only = motion(state, replace(RULE, **(zero | {rate: 0.7})))
        assert {name for name, block in only.items() if block.any()} == set(names)


@pytest.mark.parametrize(("K", "P", "M"), [(4, 3, 2), (2, 3, 4), (3, 2, 3)])
def test_overlaps_stay_a_gram_matrix_along_a_trajectory(K: int, P: int, M: int) -> None:
    trajectory = integrate(Problem(random_state(K, P, M), RULE), 100.0, progress=False)
    Q_modes, R_modes = trajectory["Q_modes"].values, trajectory["R_modes"].values
    assert np.array_equal(Q_modes, Q_modes.transpose(0, 2, 1))
    T = np.broadcast_to(trajectory["T"].values, (len(Q_modes), M, M))
    joint = np.block([[Q_modes, R_modes], [R_modes.transpose(0, 2, 1), T]])
    negative_part = np.minimum(np.linalg.eigvalsh(joint), 0.0)
    assert np.abs(negative_part).max() < 1e-8 * np.abs(joint).max()
    assert np.abs(Q_modes[-1] - Q_modes[0]).max() > 0.05  # it did move


def saad_solla_rates(Q: FloatArray, R: FloatArray, T: FloatArray, eta: float) -> tuple[FloatArray, FloatArray]:
    """Return dQ/dalpha and dR/dalpha of Saad and Solla (1995), Eqs. (7) and (8), all output weights 1."""
    K, M = R.shape
    S = np.block([[Q, R], [R.T, T]])
    signs = np.r_[np.ones(K), -np.ones(M)]

    def I3(i: int, j: int, k: int) -> float:
        lambda3 = (1 + S[i, i]) * (1 + S[k, k]) - S[i, k] ** 2
        return float(2 / np.pi / np.sqrt(lambda3) * (S[j, k] * (1 + S[i, i]) - S[i, j] * S[i, k]) / (1 + S[i, i]))

    def I4(i: int, k: int, j: int, n: int) -> float:
        C = S[np.ix_((i, k, j, n), (i, k, j, n))]
        a, b = 1 + C[0, 0], 1 + C[1, 1]
        L4 = a * b - C[0, 1] ** 2
        L0 = L4 * C[2, 3] - C[1, 2] * C[1, 3] * a - C[0, 2] * C[0, 3] * b
        L0 += C[0, 1] * (C[0, 2] * C[1, 3] + C[0, 3] * C[1, 2])
        L1 = L4 * (1 + C[2, 2]) - C[1, 2] ** 2 * a - C[0, 2] ** 2 * b + 2 * C[0, 1] * C[0, 2] * C[1, 2]
        L2 = L4 * (1 + C[3, 3]) - C[1, 3] ** 2 * a - C[0, 3] ** 2 * b + 2 * C[0, 1] * C[0, 3] * C[1, 3]
        return float(4 / np.pi**2 / np.sqrt(L4) * np.arcsin(L0 / np.sqrt(L1 * L2)))

    def drive(i: int, j: int) -> float:
        return float(sum(-signs[n] * I3(i, j, n) for n in range(K + M)))

    dR = np.array([[eta * drive(i, K + n) for n in range(M)] for i in range(K)])
    dQ = np.array([[eta * (drive(i, k) + drive(k, i)) for k in range(K)] for i in range(K)])
    for i in range(K):
        for k in range(K):
            dQ[i, k] += eta**2 * sum(signs[j] * signs[n] * I4(i, k, j, n) for j in range(K + M) for n in range(K + M))
    return dQ, dR


@pytest.mark.parametrize(("K", "M"), [(1, 1), (3, 3), (2, 4), (4, 2)])
def test_plain_committee_is_the_one_of_saad_and_solla(K: int, M: int, record_check: Callable[..., None]) -> None:
    X = np.random.default_rng(K).standard_normal((K + M, K + M + 3)) / np.sqrt(K + M)
    S = X @ X.T
    Q, R, T = S[:K, :K], S[:K, K:], S[K:, K:]
    plain = plain_committee(Q, R, T, np.ones(K), np.ones(M))
    by_modes = OrderParameters(Q_modes=Q, R_modes=R, T=T, sigma=np.ones(K), xi_out=np.eye(K), v=np.ones(K), v_teacher=np.ones(M))
    assert plain == by_modes
    result = motion(plain, LearningRule(eta_xi_in=0.9))
    dQ, dR = saad_solla_rates(Q, R, T, 0.9)
    error = largest_difference(result, {**result, "Q_modes": dQ, "R_modes": dR})
    record_check("right-hand side, plain committee: difference", "Saad and Solla's equations (1995)", error, 1e-12)
    wrong_dQ, wrong_dR = saad_solla_rates(Q, R, T, 0.9 * 1.001)
    assert not largest_difference(result, {**result, "Q_modes": wrong_dQ, "R_modes": wrong_dR}) < 1e-6


def test_modes_of_a_plain_committee_learn_like_it() -> None:
    """An orthogonal xi_out and xi_in = xi_out^T W turn the plain dynamics into modes that give the same Q and R."""
    K, M = 3, 2
    state = random_state(K, K, M)
    frame, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((K, K)))
    plain = plain_committee(state.Q_modes, state.R_modes, state.T, state.v, state.v_teacher)
    turned = replace(plain, Q_modes=frame.T @ plain.Q_modes @ frame, R_modes=frame.T @ plain.R_modes, xi_out=frame)
    rule = LearningRule(eta_xi_in=0.9, noise=0.1, weight_decay=0.1)
    first, second = motion(plain, rule), motion(turned, rule)
    assert np.abs(frame @ second["Q_modes"] @ frame.T - first["Q_modes"]).max() < ROUNDING
    assert np.abs(frame @ second["R_modes"] - first["R_modes"]).max() < ROUNDING


def rescaled(state: OrderParameters, scale: FloatArray) -> OrderParameters:
    """Return `state` with xi_in times `scale` and sigma divided by it, (P,)."""
    return replace(
        state,
        Q_modes=state.Q_modes * np.outer(scale, scale),
        R_modes=state.R_modes * scale[:, None],
        sigma=state.sigma / scale,
    )


def test_scale_shared_by_modes_and_strengths_does_not_matter() -> None:
    state = random_state(4, 3, 2)
    other = rescaled(state, np.array([0.3, 1.0, 2.5]))
    assert abs(other.eps_g() - state.eps_g()) < ROUNDING
    assert np.abs(other.Q - state.Q).max() < ROUNDING
    assert not abs(replace(other, sigma=state.sigma).eps_g() - state.eps_g()) < 1e-3


def test_scale_does_not_matter_along_a_trajectory_with_mapped_rates() -> None:
    """With sigma / s the gradient of xi_in is 1/s as large, and xi_in s times as large: eta s^2, and kappa / s^2."""
    state, s = random_state(4, 3, 2), 1.7
    rule = LearningRule(eta_xi_in=0.8, noise=0.2, weight_decay=0.05, batch_size=2)
    mapped = replace(rule, eta_xi_in=rule.eta_xi_in * s**2, weight_decay=rule.weight_decay / s**2)
    other = rescaled(state, np.full(3, s))

    def errors(problem: Problem) -> FloatArray:
        return np.asarray(integrate(problem, 50.0, rtol=1e-10, progress=False)["eps_g"].values)

    reference = errors(Problem(state, rule))
    assert np.abs(errors(Problem(other, mapped)) - reference).max() < 1e-8
    assert not np.abs(errors(Problem(other, rule)) - reference).max() < 1e-3
    assert not np.abs(errors(Problem(other, replace(rule, eta_xi_in=mapped.eta_xi_in))) - reference).max() < 1e-3
