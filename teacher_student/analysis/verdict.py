"""The verdict on a simulation: tests with a known rate of false alarms on the innovations of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
import xarray as xr

from teacher_student.analysis.innovations import Evidence, Sample, Spans, gather
from teacher_student.arrays import FloatArray
from teacher_student.summaries import html_table

AGREES = "agrees"
FINITE_N = "agrees, up to the predicted 1/N shift"
DIFFERS = "differs (model or code)"
NOT_JUDGED = "not judged"

FALSE_ALARM_RATE = 0.01

_MEANINGS = {
    AGREES: "Means and spread of the runs are those of the theory, within the errors of this many runs.",
    FINITE_N: "The means of the runs are off the limit N -> infinity by the shift of order 1/N that the theory predicts for runs "
    "of this N, and agree once it is included. Theory and simulation are both right, and at larger N the shift is smaller.",
    DIFFERS: "Means or spread of the runs differ by more than chance and the predicted shift of order 1/N explain: a rate, a "
    "noise or a factor of one side is not that of the other, or code is wrong. Look first at a parameter that is many errors "
    "from its value.",
}

# With this many replicas or more their own spread is used for the mean (Student's t), with fewer the predicted one.
_OWN_SPREAD_FROM = 8
# The error of sampled averages is known from 8 sets of points. Their variance times this is an upper limit, at 99 %, of the
# true one.
_UPPER_LIMIT = 7.0 / float(scipy.stats.chi2.ppf(0.01, 7))
# Eigenvalue of the correlation matrix of scores below which a combination of parameters cannot be estimated.
_SMALLEST_INFORMATION = 1e-8


@dataclass(frozen=True)
class Test:
    """One test of the verdict: its name, its result, and its p-value, which is corrected for the number of things it compared."""

    __test__ = False  # pytest takes it for a test of its own

    name: str
    finding: str
    p: float


@dataclass(frozen=True)
class Estimate:
    """A parameter estimated from the simulation, jointly with the others: value set, value estimated, and its standard error."""

    name: str
    value: float
    estimate: float
    error: float


@dataclass(frozen=True, repr=False)
class Verdict:
    """The outcome, and the tests and estimates behind it.

    Attributes
    ----------
    outcome : str
        "agrees", "agrees, up to the predicted 1/N shift" (the means are off by what the theory predicts for this N), "differs
        (model or code)", or "not judged".
    with_shift, without_shift : tuple of Test
        Tests of the mean with and without the predicted shift of order 1/N, and of the spread.
    estimates : tuple of Estimate
        Rates, noise and decay as estimated from the simulation (docs/theory.rst: `estimates`).
    z, z_shifted : (n_innovations,) arrays
        Standardised mean innovations, without and with the predicted shift: standard normal if theory and simulation agree.
    judged : tuple of (float, float)
        Intervals of alpha that were judged.
    left_out : tuple of (float, float)
        Intervals where the expansion in 1/N cannot be trusted at this N, as at the exit from a plateau, or where sampled averages
        are not known well enough for this many runs.
    reasons : tuple of str
        Why times, or all of them, were not judged.
    """

    outcome: str
    with_shift: tuple[Test, ...]
    without_shift: tuple[Test, ...]
    estimates: tuple[Estimate, ...]
    z: FloatArray
    z_shifted: FloatArray
    judged: Spans
    left_out: Spans
    reasons: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = (
            [f"smallest p = {min(test.p for test in self.with_shift):.2g} of {len(self.with_shift)}"] if self.with_shift else []
        )
        return f"Verdict({', '.join([self.outcome, *found])})"

    def _repr_html_(self) -> str:
        """Return the tests and the estimates as tables for a notebook."""
        tables = ""
        if self.with_shift:
            rows = [(a.name, a.finding, a.p, b.finding, b.p) for a, b in zip(self.without_shift, self.with_shift, strict=True)]
            tables += html_table("tests", rows, ("", "against the ODE", "p", "with the predicted shift", "p"))
        if self.estimates:
            rows_of_estimates = [(e.name, e.value, e.estimate, e.error) for e in self.estimates]
            tables += html_table("parameters", rows_of_estimates, ("", "set", "estimated", "standard error"))
        return html_table("verdict", [(self.outcome, self.meaning)]) + tables

    @property
    def meaning(self) -> str:
        """What the outcome means; if nothing was judged, why."""
        if self.outcome == NOT_JUDGED:
            return f"Nothing was judged: {'; '.join(self.reasons)}."
        return _MEANINGS[self.outcome]

    @property
    def passed(self) -> bool:
        """Whether simulation and theory agree, up to the predicted shift of order 1/N or without it."""
        return self.outcome in (AGREES, FINITE_N)


def not_judged(reasons: tuple[str, ...], left_out: Spans = ()) -> Verdict:
    """Return the verdict of a comparison that cannot be judged, for these `reasons`."""
    return Verdict(NOT_JUDGED, (), (), (), np.zeros(0), np.zeros(0), (), left_out, reasons)


def raises_alarm(tests: Sequence[Test]) -> bool:
    """Return whether a p-value is below what all `tests` together reach in `FALSE_ALARM_RATE` of correct simulations.

    A p-value that is no number raises the alarm: what could not be computed does not show agreement.
    """
    return not all(test.p * len(tests) >= FALSE_ALARM_RATE for test in tests)


def worst_of(p_values: Sequence[float], searched: int | None = None) -> float:
    """Return the smallest of `p_values` times the number `searched` through, by default theirs, at most 1; NaN if one is NaN."""
    return float(np.minimum(1.0, (len(p_values) if searched is None else searched) * np.min(p_values)))


def judge(theory: xr.Dataset, simulation: xr.Dataset) -> Verdict:
    """Return the verdict on a simulation, given the theory with fluctuations at the same times.

    All tests together raise a false alarm with probability `FALSE_ALARM_RATE`, as far as the expansion to first order in 1/N
    holds; where it does not is found from the size of the predicted shift, and left out.
    """
    evidence = gather(theory, simulation)
    if not evidence.innovations:
        return not_judged(evidence.reasons, evidence.left_out)
    spread = _spread_test(evidence)
    z, tests = _mean_tests(evidence, shifted=False)
    z_shifted, tests_shifted = _mean_tests(evidence, shifted=True)
    tests, tests_shifted = (*tests, spread), (*tests_shifted, spread)
    return Verdict(
        outcome=_outcome(tests, tests_shifted),
        with_shift=tests_shifted,
        without_shift=tests,
        estimates=_estimates(evidence),
        z=z,
        z_shifted=z_shifted,
        judged=evidence.judged,
        left_out=evidence.left_out,
        reasons=evidence.reasons,
    )


def _outcome(tests: Sequence[Test], tests_shifted: Sequence[Test]) -> str:
    if raises_alarm(tests_shifted):
        return DIFFERS
    return FINITE_N if raises_alarm(tests) else AGREES


def _z_of_mean(runs: FloatArray, expected: FloatArray) -> FloatArray:
    """Return standard normal deviates, (directions,), of the mean over `runs` (replica, directions) from `expected`."""
    n = len(runs)
    if n < _OWN_SPREAD_FROM:
        return np.sqrt(n) * (runs.mean(axis=0) - expected)
    t = np.sqrt(n) * (runs.mean(axis=0) - expected) / runs.std(axis=0, ddof=1)
    return -np.sign(t) * scipy.stats.norm.ppf(np.maximum(scipy.stats.t.sf(np.abs(t), n - 1), 1e-300))


def _mean_tests(evidence: Evidence, shifted: bool) -> tuple[FloatArray, tuple[Test, ...]]:
    """Return the standardised mean innovations, and the tests made of them and of whole deviations."""
    factor = 1.0 if shifted else 0.0
    plain = np.concatenate([_z_of_mean(sample.runs, factor * sample.shift) for sample in evidence.innovations])
    averages = np.concatenate([sample.averages for sample in evidence.innovations], axis=1)
    z = _discounted(plain, averages, len(evidence.innovations[0].runs))
    n = len(z)
    largest = float(np.abs(z).max())
    sums = []
    for whole in evidence.wholes:
        deviates = _z_of_mean(whole.runs, factor * whole.shift)
        sums.append(_two_sided(_discounted(deviates, whole.averages, len(whole.runs)), deviates))
    return z, (
        Test("largest innovation", f"z = {largest:.2f} of {n} (either sign)", worst_of([scipy.stats.norm.sf(largest)], 2 * n)),
        Test("all innovations", f"rms z = {np.sqrt(np.mean(z**2)):.3f} of {n}", _two_sided(z, plain)),
        Test("their distribution", "Kolmogorov-Smirnov, standard normal", float(scipy.stats.kstest(z, "norm").pvalue)),
        _parameter_test(evidence, factor),
        Test("whole deviation", f"worst of {len(sums)} times", worst_of(sums)),
    )


def _discounted(z: FloatArray, averages: FloatArray, n_replicas: int) -> FloatArray:
    """Return `z` (directions,) without the part that the error of sampled `averages` (sets, directions) may have in it.

    The covariance of z is at most 1 + n_replicas times the upper limit of that error; this is what z is whitened with.
    """
    _, sizes, directions = np.linalg.svd(np.sqrt(n_replicas * _UPPER_LIMIT) * averages, full_matrices=False)
    return z - directions.T @ ((1.0 - 1.0 / np.sqrt(1.0 + sizes**2)) * (directions @ z))


def _two_sided(z: FloatArray, plain: FloatArray) -> float:
    """Return the probabilities of sums of squares as large as that of `z`, and as small as that of `plain`, not discounted."""
    distribution = scipy.stats.chi2(len(z))
    return worst_of([distribution.sf((z**2).sum()), distribution.cdf((plain**2).sum())])


def _scores(innovations: list[Sample]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the innovations along the parameters' sensitivities, (replica, parameters), the part due to the shift, the
    predicted covariance of one run's scores, (parameters, parameters), and the scores of sampled averages, (sets, parameters)."""
    scores = sum((sample.runs @ sample.sensitivity for sample in innovations), np.zeros(1))
    expected = sum((sample.shift @ sample.sensitivity for sample in innovations), np.zeros(1))
    information = sum((sample.sensitivity.T @ sample.sensitivity for sample in innovations), np.zeros(1))
    averages = sum((sample.averages @ sample.sensitivity for sample in innovations), np.zeros(1))
    return scores, expected, information, averages


def _parameter_test(evidence: Evidence, factor: float) -> Test:
    """Test the scores of all parameters that the mean depends on; the shift counts `factor` times."""
    scores, expected, information, averages = _scores(evidence.innovations)
    spread = np.sqrt(np.diagonal(information))
    seen = np.flatnonzero(spread > 0.0)
    if len(seen) == 0:
        return Test("parameters", "the mean depends on none", 1.0)
    z = np.abs(_z_of_mean(scores[:, seen] / spread[seen], factor * expected[seen] / spread[seen]))
    z /= np.sqrt(1.0 + _UPPER_LIMIT * len(scores) * (averages[:, seen] ** 2).sum(axis=0) / spread[seen] ** 2)
    which = int(z.argmax())
    finding = f"{list(evidence.parameters)[seen[which]]} at z = {z[which]:.2f} (either sign)"
    return Test("parameters", finding, worst_of([scipy.stats.norm.sf(z[which])], 2 * len(seen)))


def _estimates(evidence: Evidence) -> tuple[Estimate, ...]:
    """Return generalised least-squares estimates of all parameters together, from the innovations less the predicted shift.

    A parameter that the runs do not determine, alone or jointly with others, has an infinite error.
    """
    scores, expected, information, averages = _scores(evidence.innovations)
    diagonal = np.diagonal(information)
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    eigenvalues, vectors = np.linalg.eigh(scale[:, np.newaxis] * information * scale)
    told = eigenvalues > _SMALLEST_INFORMATION
    unknown = (vectors[:, ~told] ** 2).sum(axis=1) > _SMALLEST_INFORMATION
    inverse = scale[:, np.newaxis] * (vectors[:, told] / eigenvalues[told] @ vectors[:, told].T) * scale
    changes = (scores - expected) @ inverse
    n = len(changes)
    own = changes.std(axis=0, ddof=1) if n >= _OWN_SPREAD_FROM else np.sqrt(np.diagonal(inverse))
    of_averages = ((averages @ inverse) ** 2).sum(axis=0)
    errors = np.where(unknown, np.inf, np.sqrt(own**2 / n + of_averages))
    return tuple(
        Estimate(name, value, float(value * (1.0 + change)), float(value * error))
        for (name, value), change, error in zip(evidence.parameters.items(), changes.mean(axis=0), errors, strict=True)
    )


def _spread_test(evidence: Evidence) -> Test:
    """Compare the variance of the innovations over replicas with the predicted one.

    The test allows for the sampling error and for the error that the prediction itself may have.
    """
    runs = np.concatenate([sample.runs for sample in evidence.innovations], axis=1)
    n = len(runs)
    if n < 2:
        return Test("spread", "one run has none", 1.0)
    squares = ((runs - runs.mean(axis=0)) ** 2).mean(axis=1) * n / (n - 1)
    ratio = float(squares.mean())
    # With few replicas the normal law gives a better error of the squares than the replicas themselves. The ratio is taken as
    # chi-square with the degrees of freedom that have this error, because few directions and replicas make it skewed.
    error = max(float(squares.std(ddof=1)) / np.sqrt(n), np.sqrt(2.0 / (runs.shape[1] * (n - 1))))
    allowed = evidence.variance_error
    chi2 = scipy.stats.chi2(2.0 / error**2)
    below = chi2.cdf(ratio * 2.0 / error**2 / (1.0 - allowed)) if allowed < 1.0 else 1.0
    p = worst_of([chi2.sf(ratio * 2.0 / error**2 / (1.0 + allowed)), below])
    return Test("spread", f"variance / predicted = {ratio:.3f} +- {error:.3f}, allowed for {allowed:.3f}", p)
