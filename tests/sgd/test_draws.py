"""The chain's random numbers: chi-square of any number of degrees of freedom, and lanes that do not depend on each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from teacher_student.sgd.draws import empty_draws, refill
from teacher_student.sgd.lanes import LANES
from teacher_student.sgd.normals import normal_stream

RANK = 3
REFILLS = 120
LARGEST_Z = 4.5
SMALLEST_P = 1e-4


def numbers(n_inputs: int, batch_size: int, replicas: int = LANES, seed: int = 1, refills: int = REFILLS) -> np.ndarray:
    """Return (steps, batch, columns + 2, LANES)."""
    seeds = np.random.SeedSequence(seed).spawn(2 * replicas)
    streams = np.array([normal_stream(child) for child in seeds[:replicas]])
    spares = [child.generate_state(4, np.uint64) for child in seeds[replicas:]]
    spares = np.array(spares + [spares[0]] * (LANES - replicas))
    draws = empty_draws(n_inputs, RANK, batch_size, LANES)
    drawn = []
    for _ in range(refills):
        refill(draws, streams, spares, np.empty(draws.size // LANES), n_inputs, RANK)
        drawn.append(draws.copy())
    return np.concatenate(drawn)


def moments_z(x: np.ndarray, degrees: int) -> np.ndarray:
    """Return z-scores of the first three moments of chi-squares x over those of their law."""
    law = stats.chi2(degrees)
    u = (x - law.mean()) / law.std()
    # Central moments from cumulants: mu_(n+1) = sum over k > 0 of binom(n, k) kappa_(k+1) mu_(n-k).
    central = [1.0, 0.0]
    for n in range(1, 6):
        cumulants = [2.0**k * math.factorial(k) * degrees / law.std() ** (k + 1) for k in range(n + 1)]
        central.append(sum(math.comb(n, k) * cumulants[k] * central[n - k] for k in range(1, n + 1)))
    return np.array([(np.mean(u**n) - central[n]) / np.sqrt((central[2 * n] - central[n] ** 2) / len(u)) for n in (1, 2, 3)])


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 20, 100])
def test_chi_square_has_its_law(degrees: int, record_check: Callable[..., None]) -> None:
    """Kolmogorov-Smirnov and moments; as controls one degree more, the normal limit, and every proposal accepted."""
    drawn = numbers(RANK + degrees, 1)[:, 0, RANK]
    x = (drawn**2).ravel()
    p = stats.kstest(x, stats.chi2(degrees).cdf).pvalue
    record_check(
        f"chi-square with {degrees} degrees of freedom: -log10 p", "Kolmogorov-Smirnov", -np.log10(p), -np.log10(SMALLEST_P)
    )
    assert np.abs(moments_z(x, degrees)).max() < LARGEST_Z
    assert stats.kstest(x, stats.chi2(degrees + 1).cdf).pvalue < SMALLEST_P
    assert stats.kstest(x, stats.norm(degrees, np.sqrt(2 * degrees)).cdf).pvalue < SMALLEST_P
    for lane in range(LANES):
        assert stats.kstest(drawn[:, lane] ** 2, stats.chi2(degrees).cdf).pvalue > SMALLEST_P


@pytest.mark.parametrize("degrees", [2, 3])
def test_rejection_matters(degrees: int) -> None:
    """Control: proposals that are all accepted do not have the law."""
    d = degrees / 2 - 1 / 3
    x = np.random.default_rng(1).standard_normal(len(numbers(RANK + degrees, 1)) * LANES)
    x = 2 * d * np.maximum(1 + x / np.sqrt(9 * d), 0.0) ** 3
    assert stats.kstest(x, stats.chi2(degrees).cdf).pvalue < SMALLEST_P


@pytest.mark.parametrize("degrees", [10_000, 10**9])
def test_chi_square_of_many_degrees(degrees: int) -> None:
    """Mean and variance to their standard errors, and the skewness that a normal distribution would lack at 10,000."""
    x = (numbers(RANK + degrees, 1, refills=400)[:, 0, RANK] ** 2).ravel()
    z = moments_z(x, degrees) if degrees < 10**6 else [(x.mean() - degrees) / np.sqrt(2 * degrees / len(x))]
    assert np.abs(z).max() < LARGEST_Z
    spread = x.var() / (2 * degrees)
    assert abs(spread - 1.0) < LARGEST_Z * np.sqrt(2 / len(x))


@pytest.mark.parametrize(("n_outside", "batch_size"), [(9, 4), (2, 4), (5, 1)])
def test_batches_are_wishart(n_outside: int, batch_size: int) -> None:
    """The Gram matrix of a batch's parts outside the space has the mean and variances of a Wishart matrix; control: 10 % more."""
    n = n_outside
    drawn = np.moveaxis(numbers(RANK + n, batch_size), 3, 0).reshape(-1, batch_size, RANK + min(n, batch_size) + 2)
    outside = np.tril(drawn[..., RANK:-2])
    gram = outside @ np.swapaxes(outside, 1, 2)
    identity = np.eye(batch_size)
    variance = n * (1.0 + identity)
    error = np.sqrt(variance / len(gram))
    assert np.abs((gram.mean(0) - n * identity) / error).max() < LARGEST_Z
    squares = (gram - n * identity) ** 2
    assert np.abs((squares.mean(0) - variance) / (squares.std(0) / np.sqrt(len(gram)))).max() < LARGEST_Z
    assert np.abs((gram.mean(0) - 1.1 * n * identity) / error).max() > LARGEST_Z


def test_nothing_is_outside_a_space_of_all_dimensions() -> None:
    assert empty_draws(RANK, RANK, 2, LANES).shape[1:] == (2, RANK + 2, LANES)


def test_numbers_are_uncorrelated() -> None:
    """Between lanes and between the numbers of a sample, chi-square included."""
    drawn = numbers(RANK + 5, 1)[:, 0]
    rows = drawn.reshape(len(drawn), -1)
    correlation = np.corrcoef(rows.T)
    z = np.abs(correlation[np.triu_indices_from(correlation, 1)]) * np.sqrt(len(rows))
    assert z.max() < 5.0
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1


def test_lane_does_not_depend_on_their_number() -> None:
    """Also where proposals are rejected; lanes without a replica repeat the first."""
    alone, together = numbers(RANK + 2, 2, replicas=1, refills=5), numbers(RANK + 2, 2, replicas=8, refills=5)
    seeds = np.random.SeedSequence(1).spawn(16)
    assert not np.array_equal(alone[..., 0], together[..., 0])  # its spare numbers come from another seed here
    streams, spares = np.array([normal_stream(seeds[0])]), np.array([seeds[8].generate_state(4, np.uint64)] * LANES)
    draws = empty_draws(RANK + 2, RANK, 2, LANES)
    for t in range(5):
        refill(draws, streams, spares, np.empty(draws.size // LANES), RANK + 2, RANK)
        steps = slice(t * len(draws), (t + 1) * len(draws))
        assert np.array_equal(draws[..., 0], together[steps, ..., 0])
        assert all(np.array_equal(draws[..., lane], draws[..., 0]) for lane in range(LANES))


def test_replica_alone_has_the_numbers_of_its_lane() -> None:
    """Without an axis of lanes, where proposals are rejected too; rounding may differ where compilers fuse otherwise."""
    together = numbers(RANK + 2, 2, refills=5)
    seeds = np.random.SeedSequence(1).spawn(2 * LANES)
    streams, spares = np.array([normal_stream(seeds[0])]), np.array([seeds[LANES].generate_state(4, np.uint64)])
    draws = empty_draws(RANK + 2, RANK, 2, 1)
    for t in range(5):
        refill(draws, streams, spares, np.empty(draws.size), RANK + 2, RANK)
        steps = slice(t * len(draws), (t + 1) * len(draws))
        np.testing.assert_allclose(draws, together[steps, ..., 0], rtol=1e-13)
        assert np.abs(draws - together[steps, ..., 1]).max() > 0.1
