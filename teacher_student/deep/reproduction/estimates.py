"""Means with standard errors, the slopes of ranked importance, and what sorted random numbers have instead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from scipy.stats import t as student

from teacher_student.arrays import Array

CONFIDENCE = 0.99
_SAMPLES = 4000


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, over how many networks, and the degrees of freedom of the error."""

    mean: float
    error: float
    n: int
    freedom: float

    @property
    def sign(self) -> int:
        """1 or -1 if the mean is above or below 0 in a two-sided t test at a level of 1 - `CONFIDENCE`, else 0."""
        return int(np.sign(self.mean)) if abs(self.mean) > self.half_width else 0

    @property
    def half_width(self) -> float:
        """Half of the interval of `CONFIDENCE` for the mean."""
        return float(student.ppf(0.5 + CONFIDENCE / 2, self.freedom) * self.error)

    def __str__(self) -> str:
        if self.error < 1e-9:
            return f"{self.mean:.4g}"
        digits = int(np.clip(np.ceil(-np.log10(self.error)) + 1, 2, 4))
        return f"{self.mean:.{digits}f} +- {self.error:.{digits}f}"


def estimate(values: npt.ArrayLike) -> Estimate:
    """Return the mean of the numbers of two or more independent networks."""
    numbers = np.asarray(values, dtype=float)
    n = len(numbers)
    return Estimate(float(numbers.mean()), float(numbers.std(ddof=1) / np.sqrt(n)), n, n - 1)


def difference_of_accuracies(first: Array, second: Array, same_test: bool) -> Estimate:
    """Return how much more often `first` is right than `second`, both (networks, test samples) of truth values, in pairs.

    Where all networks have the `same_test` samples, both networks and samples are drawn, and the variance of the mean is that
    over networks plus that over samples less that of what is left, which both have; with Satterthwaite's degrees of freedom
    (Biometrics Bull. 2, 110, 1946). Otherwise the spread over networks has it all.
    """
    difference = first.astype(float) - second
    by_network, by_sample = difference.mean(axis=1), difference.mean(axis=0)
    over_networks = estimate(by_network)
    if not same_test:
        return over_networks
    over_samples = estimate(by_sample)
    left = difference - by_network[:, None] - by_sample + difference.mean()
    freedoms = np.array([over_networks.freedom, over_samples.freedom, over_networks.freedom * over_samples.freedom])
    parts = np.array([over_networks.error**2, over_samples.error**2, -(left**2).sum() / freedoms[2] / left.size])
    variance = max(parts.sum(), parts.max())
    freedom = variance**2 / (parts**2 / freedoms).sum() if variance > 0 else freedoms[0]
    return Estimate(over_networks.mean, float(np.sqrt(variance)), over_networks.n, float(freedom))


@dataclass(frozen=True)
class Slopes:
    """Slopes of log tau against log rank on the first ranks and on the rest, and `bend`, the second less the first."""

    first: float
    second: float

    @property
    def bend(self) -> float:
        return self.second - self.first


def slopes(tau: Array, first_ranks: int) -> Slopes:
    """Return the slopes of `tau`, (P,) in any order, by least squares; the second is NaN with fewer than two further ranks."""
    first, second = _slopes(np.sort(tau)[None, ::-1], first_ranks)
    return Slopes(float(first[0]), float(second[0]))


def _slopes(ranked: Array, first_ranks: int) -> tuple[Array, Array]:
    """Return both slopes of each row of `ranked`, (samples, P), largest first."""
    x, y = np.log(np.arange(1, ranked.shape[1] + 1)), np.log(ranked)
    return _slope(x[:first_ranks], y[:, :first_ranks]), _slope(x[first_ranks:], y[:, first_ranks:])


def _slope(x: Array, y: Array) -> Array:
    if len(x) < 2:
        return np.full(len(y), np.nan)
    centred = x - x.mean()
    return np.asarray(y @ centred / (centred @ centred))


@dataclass(frozen=True)
class Null:
    """Mean slopes of sorted random numbers, and the standard deviation of the bend of one sample."""

    first: float
    second: float
    bend: float
    deviation: float


def gaussian_factors(P: int, n_in: int, n_out: int, share_in: float) -> Array:
    """Return samples of tau, (samples, P), of factors that are Gaussian as they start, in units of the mean of |sigma|.

    That is ``|g| / <|g|> + share_in chi(n_in) / <chi> + (1 - share_in) chi(n_out) / <chi>`` with g normal and chi(n) the length
    of n normal numbers; `share_in` is the part of |xi_in| in both lengths, so that no scale is left to choose.
    """
    return _gaussian_factors(P, n_in, n_out, round(share_in, 3))


@cache
def _gaussian_factors(P: int, n_in: int, n_out: int, share_in: float) -> Array:
    rng = np.random.default_rng(0)
    tau = np.abs(rng.standard_normal((_SAMPLES, P))) / np.sqrt(2 / np.pi)
    for n, share in ((n_in, share_in), (n_out, 1 - share_in)):
        lengths = np.sqrt(rng.chisquare(n, (_SAMPLES, P)))
        tau += share * lengths / lengths.mean()
    return tau


def gaussian_null(P: int, n_in: int, n_out: int, share_in: float, first_ranks: int) -> Null:
    """Return the null of sorted `gaussian_factors`."""
    return _null_of(gaussian_factors(P, n_in, n_out, share_in), first_ranks)


def log_normal_null(tau: Array, first_ranks: int) -> Null:
    """Return the null of log-normal numbers whose logarithms spread as those of each row of `tau`, (networks, P), on average."""
    deviation = float(np.log(tau).std(axis=1, ddof=1).mean())
    standard = _standard_null(tau.shape[1], first_ranks)  # slopes are proportional to the spread
    return Null(*(deviation * value for value in (standard.first, standard.second, standard.bend, standard.deviation)))


@cache
def _standard_null(P: int, first_ranks: int) -> Null:
    return _null_of(np.exp(np.random.default_rng(0).standard_normal((_SAMPLES, P))), first_ranks)


def _null_of(tau: Array, first_ranks: int) -> Null:
    first, second = _slopes(-np.sort(-tau, axis=1), first_ranks)
    bend = second - first
    return Null(float(first.mean()), float(second.mean()), float(bend.mean()), float(bend.std(ddof=1)))


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's correlation of the ranks of `a` and `b`, both (P,); NaN if either does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def removal_cost(accuracy: Array, random: Array) -> float:
    """Return how much accuracy an order of removal costs beyond a random one, the mean over the numbers of modes removed."""
    return float((random - accuracy).mean())
