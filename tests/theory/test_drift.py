"""The right-hand side against the mean increment of brute-force SGD steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.special

from teacher_student import LearningRule, OrderParameters
from teacher_student.arrays import FloatArray
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.right_hand_side import right_hand_side

SIZES = [(4, 3, 2), (2, 3, 4), (3, 2, 3)]  # (K, P, M): P between, P > K, P < K
N_BATCHES = 300_000
LARGEST_Z = 5.0  # standard errors, for every entry and for the chi-square of all of them
RULE = LearningRule(eta_xi_in=1.5, eta_sigma=0.7, eta_xi_out=0.9, eta_v=0.4, noise=0.3, weight_decay=0.2, batch_size=3)


@dataclass(frozen=True)
class Sampled:
    """Mean increments times N of the independent entries, and the covariance of these means."""

    mean: FloatArray
    covariance: FloatArray


def random_state(K: int, P: int, M: int, seed: int = 1) -> OrderParameters:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((P + M, P + M + 2)) / np.sqrt(P + M + 2)
    gram = X @ X.T
    return OrderParameters(
        Q_modes=gram[:P, :P],
        R_modes=gram[:P, P:],
        T=gram[P:, P:],
        sigma=rng.uniform(0.6, 1.4, P),
        xi_out=rng.standard_normal((K, P)),
        v=rng.uniform(0.5, 1.2, K) * rng.choice([-1.0, 1.0], K),
        v_teacher=rng.uniform(1.0, 2.0, M),
    )


def flat(Q_modes: FloatArray, *others: FloatArray) -> FloatArray:
    """Join arrays (n, ...) of the five blocks to (n, entries), of Q_modes the upper triangle only."""
    upper = np.triu_indices(Q_modes.shape[-1])
    return np.concatenate([Q_modes[:, upper[0], upper[1]], *[o.reshape(len(o), -1) for o in others]], axis=1)


def sample_steps(state: OrderParameters, rule: LearningRule, n: int, rng: np.random.Generator) -> FloatArray:
    """Return N times the increments, (n, entries), of SGD steps at N -> infinity: different inputs are orthogonal."""
    P, M, b = state.n_modes, state.n_teacher, rule.batch_size
    gram = np.block([[state.Q_modes, state.R_modes], [state.R_modes.T, state.T]])
    fields = rng.standard_normal((n, b, P + M)) @ np.linalg.cholesky(gram).T
    u, rho = fields[..., :P], fields[..., P:]
    local = u @ (state.xi_out * state.sigma).T
    student_g = scipy.special.erf(local / np.sqrt(2.0))
    label = scipy.special.erf(rho / np.sqrt(2.0)) @ state.v_teacher + rule.noise * rng.standard_normal((n, b))
    delta = student_g @ state.v - label
    back = delta[..., None] * state.v * np.sqrt(2.0 / np.pi) * np.exp(-(local**2) / 2.0)  # delta v_k g'(lambda_k)
    h = -rule.eta_xi_in * (back @ state.xi_out) * state.sigma
    hu = np.einsum("nba,nbc->nac", h, u) / b
    d_Q = hu + hu.transpose(0, 2, 1) + np.einsum("nba,nbc->nac", h, h) / b**2
    d_R = np.einsum("nba,nbm->nam", h, rho) / b
    d_sigma = -rule.eta_sigma * ((back @ state.xi_out) * u).mean(axis=1)
    d_xi_out = -rule.eta_xi_out * np.einsum("nbk,nba->nka", back, u) / b * state.sigma
    d_v = -rule.eta_v * (delta[..., None] * student_g).mean(axis=1)
    kappa = rule.weight_decay
    return flat(
        d_Q - 2.0 * rule.eta_xi_in * kappa * state.Q_modes,
        d_R - rule.eta_xi_in * kappa * state.R_modes,
        d_sigma - rule.eta_sigma * kappa * state.sigma,
        d_xi_out - rule.eta_xi_out * kappa * state.xi_out,
        d_v - rule.eta_v * kappa * state.v,
    )


@functools.cache
def sampled(K: int, P: int, M: int) -> Sampled:
    state, rng = random_state(K, P, M), np.random.default_rng(100 * K + 10 * P + M)
    chunks = 15
    total: FloatArray = np.zeros(())
    square: FloatArray = np.zeros(())
    for _ in range(chunks):
        increments = sample_steps(state, RULE, N_BATCHES // chunks, rng)
        total = total + increments.sum(axis=0)
        square = square + increments.T @ increments
    mean = total / N_BATCHES
    return Sampled(mean, (square / N_BATCHES - np.outer(mean, mean)) / (N_BATCHES - 1))


def theory(state: OrderParameters, rule: LearningRule) -> FloatArray:
    coordinates = coordinates_of(state, rule)
    return right_hand_side(state, rule, coordinates)(0.0, coordinates.start[coordinates.moving])


def agrees(rhs: FloatArray, reference: Sampled) -> bool:
    """Return whether all entries, and their chi-square, are within `LARGEST_Z` standard errors of the sampled means.

    sigma_a d(sigma_a) / eta_sigma = sum_k xi_out_ka d(xi_out_ka) / eta_xi_out up to weight decay, in every single step:
    such combinations have no variance and must agree to rounding.
    """
    error = np.sqrt(np.diag(reference.covariance))
    z = (rhs - reference.mean) / error
    eigenvalues, vectors = np.linalg.eigh(reference.covariance / np.outer(error, error))
    random = eigenvalues > 1e-9
    parts = vectors.T @ z
    degrees = int(random.sum())
    chi_square = float((parts[random] ** 2 / eigenvalues[random]).sum())
    return bool(
        np.abs(z).max() < LARGEST_Z
        and abs(chi_square - degrees) < LARGEST_Z * np.sqrt(2.0 * degrees)
        and (np.abs(parts[~random]) < 1e-6).all()
    )


@pytest.mark.parametrize(("K", "P", "M"), SIZES)
def test_all_blocks_are_the_mean_increment_of_a_step(K: int, P: int, M: int, record_check: Callable[..., None]) -> None:
    rhs = theory(random_state(K, P, M), RULE)
    assert len(rhs) == P * (P + 1) // 2 + P * M + P + K * P + K
    reference = sampled(K, P, M)
    assert agrees(rhs, reference)
    z = np.abs((rhs - reference.mean) / np.sqrt(np.diag(reference.covariance))).max()
    record_check("right-hand side, every factor learns: largest |z|", "sampled steps", z, LARGEST_Z)


MISTAKES = {
    "no eta^2 term": replace(RULE, batch_size=10**12),
    "no 1/b": replace(RULE, batch_size=1),
    "noise variance for deviation": replace(RULE, noise=RULE.noise**0.5),
    "no noise": replace(RULE, noise=0.0),
    "no weight decay": replace(RULE, weight_decay=0.0),
    "weight decay 5 % off": replace(RULE, weight_decay=RULE.weight_decay * 1.05),
    "eta_xi_in 5 % off": replace(RULE, eta_xi_in=RULE.eta_xi_in * 1.05),
    "eta_sigma 5 % off": replace(RULE, eta_sigma=RULE.eta_sigma * 1.05),
    "eta_xi_out 5 % off": replace(RULE, eta_xi_out=RULE.eta_xi_out * 1.05),
    "eta_v 5 % off": replace(RULE, eta_v=RULE.eta_v * 1.05),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(("K", "P", "M"), SIZES)
def test_a_deliberate_mistake_is_detected(K: int, P: int, M: int, mistake: str) -> None:
    assert not agrees(theory(random_state(K, P, M), MISTAKES[mistake]), sampled(K, P, M))


@pytest.mark.parametrize("entry", range(4))
def test_a_wrong_state_is_detected(entry: int) -> None:
    """A right-hand side of a slightly different sigma, xi_out, v or v_teacher does not pass."""
    state = random_state(4, 3, 2)
    name = ("sigma", "xi_out", "v", "v_teacher")[entry]
    wrong = getattr(state, name).copy()
    wrong.flat[0] *= 1.05
    assert not agrees(theory(replace(state, **{name: wrong}), RULE), sampled(4, 3, 2))
