"""Whether a simulation follows its theory: tests of known false-alarm rate on what happens between times of measurement.

Between two times the deviation xi of a run from the ODE is carried on by the propagator Phi of the linear noise and gains
something new, the innovation xi_j - Phi_j xi_(j-1). Innovations of different intervals are independent, with the covariance
W_j = V_j - Phi_j V_(j-1) Phi_j^T, so that along the eigenvectors of W_j, in units of their deviation, all of them are
independent and standard normal, and their means are zero up to the predicted shift of order 1/N.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats
import xarray as xr

from teacher_student.problem import Problem
from teacher_student.problem_file import parse_problem
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.integrate import integrate
from teacher_student.theory.predictions import moving_coordinates

FloatArray = npt.NDArray[np.float64]

AGREES = "agrees"
FINITE_N = "differs by a finite-N effect"
DIFFERS = "differs (model or code)"
NOT_JUDGED = "not judged"

FALSE_ALARM_RATE = 0.01

# Intervals hold at least these many steps of all runs together, for the central limit; times are at most 6 a decade.
_STEPS_AND_RUNS = 2000
_TIMES_PER_DECADE = 6
# Directions whose predicted variance, relative to that of the coordinates, is below this are left out: the error of the
# quasi-random averages, and the next order in 1/N, are of that size.
_SMALLEST_EIGENVALUE = 0.05
# From here on the replicas' own spread is used for the mean (Student's t), the predicted one below.
_OWN_SPREAD_FROM = 8
_PARAMETERS = ("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v", "noise", "weight_decay")
_RELATIVE_STEP = 1e-3


@dataclass(frozen=True)
class Test:
    """One test of the verdict: its name, what it found, and its p-value (already corrected for what it searched through)."""

    __test__ = False  # pytest takes it for a test of its own

    name: str
    finding: str
    p: float


@dataclass(frozen=True)
class Estimate:
    """A parameter as the simulation shows it, jointly with the others: value set, value estimated, and its standard error."""

    name: str
    value: float
    estimate: float
    error: float


@dataclass(frozen=True)
class Verdict:
    """The outcome, and what it rests on.

    Attributes
    ----------
    outcome : str
        "agrees", "differs by a finite-N effect" (the deviation is the predicted one, of order 1/N), "differs (model or
        code)", or "not judged".
    with_shift, without_shift : tuple of Test
        Tests of the mean with and without the predicted shift of order 1/N, and of the spread.
    estimates : tuple of Estimate
        What the simulation says its rates, noise and decay are.
    z, z_shifted : (n_innovations,) arrays
        Standardised mean innovations, without and with the predicted shift: standard normal if theory and simulation agree.
    judged : tuple of (float, float)
        Intervals of alpha that were judged.
    left_out : tuple of (float, float)
        Intervals where the expansion in 1/N cannot be trusted at this N, as at the exit from a plateau.
    """

    outcome: str
    with_shift: tuple[Test, ...]
    without_shift: tuple[Test, ...]
    estimates: tuple[Estimate, ...]
    z: FloatArray
    z_shifted: FloatArray
    judged: tuple[tuple[float, float], ...]
    left_out: tuple[tuple[float, float], ...]

    @property
    def passed(self) -> bool:
        """Whether nothing but finite N sets simulation and theory apart."""
        return self.outcome in (AGREES, FINITE_N)


@dataclass(frozen=True, eq=False)
class _Interval:
    """Innovations of one interval along whitened directions, and what is predicted for them.

    Shapes: `runs` (replica, directions), in units of the predicted standard deviation of one run; `shift` (directions,), the
    predicted mean; `sensitivity` (directions, parameters), its change per relative change of a parameter; `accumulated` and
    `accumulated_shift` the same for the whole deviation at the interval's end; `covariance_error`, the relative error of V.
    """

    runs: FloatArray
    shift: FloatArray
    sensitivity: FloatArray
    accumulated: FloatArray
    accumulated_shift: FloatArray
    covariance_error: float

    @property
    def nonlinearity(self) -> float:
        """Root mean square of predicted mean over spread: the expansion's small parameter, of order 1 / sqrt(N)."""
        return float(np.sqrt(np.mean(self.shift**2)))


def judge(theory: xr.Dataset, simulation: xr.Dataset) -> Verdict:
    """Return the verdict on a simulation, given the theory with fluctuations at the same times.

    All tests together raise a false alarm with probability `FALSE_ALARM_RATE`, as far as the expansion to first order in 1/N
    holds; where it does not is found from the size of the predicted shift, and left out.
    """
    problem = parse_problem(theory.attrs["problem"])
    N, n_replicas = int(simulation.attrs["n_inputs"]), simulation.sizes["replica"]
    coordinates = coordinates_of(problem.initial, problem.rule)
    runs, y = moving_coordinates(simulation, coordinates), moving_coordinates(theory, coordinates)
    V, m = theory["covariance"].values, theory["shift"].values
    nodes = _check_times(theory["alpha"].values, N, n_replicas)
    names, sensitivity = _sensitivities(problem, theory, y)
    # The next order moves means by about nonlinearity^3 spreads: that is to stay below 0.3 standard errors.
    largest = (0.3 / np.sqrt(n_replicas)) ** (1 / 3)
    trusted = _nonlinearity(V[nodes], m[nodes], N) <= largest
    intervals, judged, left_out = [], [], []
    for j, (i, k) in enumerate(itertools.pairwise(nodes)):
        span = (float(theory["alpha"][i]), float(theory["alpha"][k]))
        interval = _interval(theory, runs - y, sensitivity, i, k, N)
        if trusted[j] and trusted[j + 1] and interval.runs.shape[1] and interval.nonlinearity <= largest:
            intervals.append(interval)
            judged.append(span)
        else:
            left_out.append(span)
    if not intervals:
        return Verdict(NOT_JUDGED, (), (), (), np.zeros(0), np.zeros(0), (), _merged(left_out))
    spread = _spread_test(intervals)
    z, tests = _mean_tests(intervals, names, shifted=False)
    z_shifted, tests_shifted = _mean_tests(intervals, names, shifted=True)
    tests, tests_shifted = (*tests, spread), (*tests_shifted, spread)
    return Verdict(
        outcome=_outcome(tests, tests_shifted),
        with_shift=tests_shifted,
        without_shift=tests,
        estimates=_estimates(intervals, names, problem),
        z=z,
        z_shifted=z_shifted,
        judged=_merged(judged),
        left_out=_merged(left_out),
    )


def _outcome(tests: Sequence[Test], tests_shifted: Sequence[Test]) -> str:
    if min(test.p for test in tests_shifted) * len(tests_shifted) < FALSE_ALARM_RATE:
        return DIFFERS
    return FINITE_N if min(test.p for test in tests) * len(tests) < FALSE_ALARM_RATE else AGREES


def _check_times(alpha: FloatArray, n_inputs: int, n_replicas: int) -> list[int]:
    """Return the positions of 0 and of the output times between which innovations are taken."""
    nodes, last = [], 0.0
    if alpha[0] == 0.0:
        nodes.append(0)
    for i, time in enumerate(alpha):
        enough = (time - last) * n_inputs * n_replicas >= _STEPS_AND_RUNS
        if time > 0 and enough and time >= last * 10 ** (0.999 / _TIMES_PER_DECADE):
            nodes.append(i)
            last = float(time)
    if len(nodes) > 1 and nodes[-1] < len(alpha) - 1:
        nodes[-1] = len(alpha) - 1
    return nodes


def _nonlinearity(V: FloatArray, m: FloatArray, n_inputs: int) -> FloatArray:
    """Return the root mean square of shift / spread over the directions of V, the expansion's small parameter, at each time."""
    result = []
    for covariance, shift in zip(V, m, strict=True):
        whitening = _whitening(covariance)
        result.append(np.sqrt(np.mean((whitening @ shift) ** 2) / n_inputs) if len(whitening) else 0.0)
    return np.array(result)


def _whitening(covariance: FloatArray) -> FloatArray:
    """Return the matrix (directions, n) that makes a vector of this covariance one of independent unit variances."""
    variance = np.diagonal(covariance)
    varies = variance > 1e-12 * max(float(variance.max()), 1e-300)
    scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    eigenvalues, vectors = np.linalg.eigh(scale[:, np.newaxis] * covariance * scale)
    used = eigenvalues > _SMALLEST_EIGENVALUE
    return (vectors[:, used] / np.sqrt(eigenvalues[used])).T * scale


def _interval(theory: xr.Dataset, deviation: FloatArray, sensitivity: FloatArray, i: int, j: int, n_inputs: int) -> _Interval:
    """Return the innovations between the output times `i` and `j`; `deviation` (replica, alpha, n) is of runs from the ODE."""
    V, m = theory["covariance"].values, theory["shift"].values
    propagator = np.eye(V.shape[1])
    for step in range(i + 1, j + 1):
        propagator = theory["propagator"].values[step] @ propagator
    W = V[j] - propagator @ V[i] @ propagator.T
    whitening, accumulated = _whitening(W), _whitening(V[j])
    root = np.sqrt(n_inputs)
    relative = np.diagonal(theory["covariance_error"].values[j]) / np.maximum(np.diagonal(V[j]), 1e-300)
    return _Interval(
        runs=root * (deviation[:, j] - deviation[:, i] @ propagator.T) @ whitening.T,
        shift=whitening @ (m[j] - propagator @ m[i]) / root,
        sensitivity=root * whitening @ (sensitivity[j] - propagator @ sensitivity[i]),
        accumulated=root * deviation[:, j] @ accumulated.T,
        accumulated_shift=accumulated @ m[j] / root,
        covariance_error=float(np.median(np.abs(relative))),
    )


def _sensitivities(problem: Problem, theory: xr.Dataset, y: FloatArray) -> tuple[list[str], FloatArray]:
    """Return the parameters of the rule that are not zero, and dy / d ln parameter, (alpha, n, parameters)."""
    coordinates = coordinates_of(problem.initial, problem.rule)
    names = [name for name in _PARAMETERS if getattr(problem.rule, name) > 0]
    changes = []
    for name in names:
        rule = dataclasses.replace(problem.rule, **{name: getattr(problem.rule, name) * (1.0 + _RELATIVE_STEP)})
        changed = integrate(dataclasses.replace(problem, rule=rule), theory["alpha"].values, progress=False)
        changes.append((moving_coordinates(changed, coordinates) - y) / _RELATIVE_STEP)
    return names, np.stack(changes, axis=-1)


def _z_of_mean(runs: FloatArray, expected: FloatArray) -> FloatArray:
    """Return standard normal deviates, (directions,), of the mean over `runs` (replica, directions) from `expected`."""
    n = len(runs)
    if n < _OWN_SPREAD_FROM:
        return np.sqrt(n) * (runs.mean(axis=0) - expected)
    t = np.sqrt(n) * (runs.mean(axis=0) - expected) / runs.std(axis=0, ddof=1)
    return -np.sign(t) * scipy.stats.norm.ppf(np.maximum(scipy.stats.t.sf(np.abs(t), n - 1), 1e-300))


def _mean_tests(intervals: list[_Interval], names: list[str], shifted: bool) -> tuple[FloatArray, tuple[Test, ...]]:
    factor = 1.0 if shifted else 0.0
    z = np.concatenate([_z_of_mean(interval.runs, factor * interval.shift) for interval in intervals])
    n = len(z)
    largest = float(np.abs(z).max())
    square = float((z**2).sum())
    scores, expected = _scores(intervals)
    z_scores = _z_of_mean(scores, factor * expected)
    which = int(np.abs(z_scores).argmax())
    sums = []
    for interval in intervals:
        gathered = _z_of_mean(interval.accumulated, factor * interval.accumulated_shift)
        sums.append(_two_sided(float((gathered**2).sum()), len(gathered)))
    return z, (
        Test("largest innovation", f"|z| = {largest:.2f} of {n}", min(1.0, 2 * n * float(scipy.stats.norm.sf(largest)))),
        Test("all innovations", f"rms z = {np.sqrt(square / n):.3f} of {n}", _two_sided(square, n)),
        Test("their distribution", "Kolmogorov-Smirnov, standard normal", float(scipy.stats.kstest(z, "norm").pvalue)),
        Test(
            "parameters",
            f"{names[which]} at |z| = {abs(z_scores[which]):.2f}",
            min(1.0, 2 * len(names) * float(scipy.stats.norm.sf(abs(z_scores[which])))),
        ),
        Test("whole deviation", f"worst of {len(sums)} times", min(1.0, len(sums) * min(sums))),
    )


def _two_sided(square: float, degrees: int) -> float:
    distribution = scipy.stats.chi2(degrees)
    return float(min(1.0, 2.0 * min(distribution.sf(square), distribution.cdf(square))))


def _scores(intervals: list[_Interval]) -> tuple[FloatArray, FloatArray]:
    """Return the innovations along the parameters' sensitivities, (replica, parameters), and the part due to the shift."""
    scores = sum((interval.runs @ interval.sensitivity for interval in intervals), np.zeros(1))
    expected = sum((interval.shift @ interval.sensitivity for interval in intervals), np.zeros(1))
    return scores, expected


def _estimates(intervals: list[_Interval], names: list[str], problem: Problem) -> tuple[Estimate, ...]:
    """Return generalised least-squares estimates of all parameters together, from the innovations less the predicted shift."""
    information = sum((interval.sensitivity.T @ interval.sensitivity for interval in intervals), np.zeros(1))
    scores, expected = _scores(intervals)
    changes = (scores - expected) @ np.linalg.pinv(information, rcond=1e-10)
    n = len(changes)
    own = changes.std(axis=0, ddof=1) if n >= _OWN_SPREAD_FROM else np.sqrt(np.diagonal(np.linalg.pinv(information)))
    values = [getattr(problem.rule, name) for name in names]
    return tuple(
        Estimate(name, value, value * (1.0 + change), value * error / np.sqrt(n))
        for name, value, change, error in zip(names, values, changes.mean(axis=0), own, strict=True)
    )


def _spread_test(intervals: list[_Interval]) -> Test:
    """Compare the variance of the innovations over replicas with the predicted one.

    Allowed for, beside the sampling error, are the error of the quasi-random averages and the next order in 1/N: what is
    quadratic in the deviations, with the mean of the shift, has twice the square of its mean as variance.
    """
    runs = np.concatenate([interval.runs for interval in intervals], axis=1)
    n = len(runs)
    if n < 2:
        return Test("spread", "one run has none", 1.0)
    squares = ((runs - runs.mean(axis=0)) ** 2).mean(axis=1) * n / (n - 1)
    ratio = float(squares.mean())
    # The replicas' squares sum over many directions; for few replicas the normal law gives their error better than they do.
    error = max(float(squares.std(ddof=1)), np.sqrt(2.0 / runs.shape[1])) / np.sqrt(n)
    finite_n = 2.0 * max(interval.nonlinearity for interval in intervals) ** 2
    allowed = max(interval.covariance_error for interval in intervals) + finite_n
    excess = max(0.0, abs(ratio - 1.0) - allowed) / error
    return Test(
        "spread", f"variance / predicted = {ratio:.3f} +- {error:.3f}, allowed {allowed:.3f}", 2 * float(scipy.stats.norm.sf(excess))
    )


def _merged(spans: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)
