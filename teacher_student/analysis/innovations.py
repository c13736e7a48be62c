"""Innovations: what runs gain between times of measurement beyond their theory, in units of the predicted spread.

Between two times the propagator Phi of the linear noise carries on the deviation epsilon of a run from the ODE. The run gains the
innovation epsilon_j - Phi_j epsilon_(j-1). Innovations of different intervals are independent, with the covariance
V_j - Phi_j V_(j-1) Phi_j^T. Along its eigenvectors, in units of their deviation, all of them are independent and
standard normal, and their means are zero up to the predicted shift of order 1/N (docs/theory.rst: `innovation`).
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from teacher_student.arrays import BoolArray, FloatArray
from teacher_student.problem import RATES, LearningRule, Problem
from teacher_student.schedules import Schedule, scaled
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.theory.integrate import integrate
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.theory.noise.sampling_error import set_solutions
from teacher_student.trajectory_form import problem_of

Spans = tuple[tuple[float, float], ...]

# Intervals hold at least these many steps of all runs together, for the central limit; times are at most 6 a decade.
_STEPS_AND_RUNS = 2000
_TIMES_PER_DECADE = 6
# Directions whose predicted variance, relative to that of the coordinates, is below this are left out: the error of the
# quasi-random averages, and the next order in 1/N, are of that size.
_SMALLEST_EIGENVALUE = 0.05
# Variances that have decayed to less than this part of their peak, as where a student without noise arrives at its teacher,
# count as zero in the linear noise. Below the second, times N, the ODE's own error of 1e-9 shows in the deviations.
_SMALLEST_OF_PEAK = 1e-5
_SMALLEST_VARIANCE = 1e-14
_RELATIVE_STEP = 1e-3
# Times at which the error of sampled averages is larger than this, in standard errors of the runs' mean, are not judged.
_LARGEST_SAMPLING_ERROR = 0.5


@dataclass(frozen=True, eq=False)
class Sample:
    """Deviations of runs along whitened directions, and what is predicted for them.

    Shapes: `runs` (replica, directions), in units of the predicted standard deviation of one run; `shift` (directions,), the
    predicted mean; `sensitivity` (directions, parameters), its change per relative change of a parameter; `averages` (sets,
    directions), rows whose products sum to the covariance that sampled Gaussian averages give the theory, no rows without.
    """

    runs: FloatArray
    shift: FloatArray
    sensitivity: FloatArray
    averages: FloatArray

    @property
    def nonlinearity(self) -> float:
        """Root mean square of predicted mean over spread: the expansion's small parameter, of order 1 / sqrt(N)."""
        return float(np.sqrt(np.mean(self.shift**2))) if len(self.shift) else 0.0

    @property
    def sampling_error(self) -> float:
        """Root mean square error of the theory from sampled averages, in standard errors of the mean over the runs."""
        if self.averages.size == 0:
            return 0.0
        return float(np.sqrt(len(self.runs) * np.mean((self.averages**2).sum(axis=0))))


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence from which a verdict is made.

    Attributes
    ----------
    innovations, wholes : list of Sample
        Innovations of the intervals, and whole deviations at times, where the expansion in 1/N can be trusted.
    parameters : dict of str to float
        The rule's parameters that sensitivities belong to, those that are not zero, and their values; for a rate that is a
        schedule a common factor of it, 1.
    variance_error : float
        Relative error that the predicted variances may have: typical error of the quasi-random averages, and next order in 1/N.
    judged, left_out : tuple of (float, float)
        Intervals of alpha at whose ends the theory can and cannot be trusted: the expansion at this N, and sampled averages.
    reasons : tuple of str
        Why it cannot be trusted there, or why there is no innovation.
    """

    innovations: list[Sample]
    wholes: list[Sample]
    parameters: dict[str, float]
    variance_error: float
    judged: Spans
    left_out: Spans
    reasons: tuple[str, ...]


def gather(theory: xr.Dataset, simulation: xr.Dataset) -> Evidence:
    """Return the evidence of a simulation, given the theory with fluctuations at the same times."""
    problem = problem_of(theory)
    N, n_replicas = int(simulation.attrs["n_inputs"]), simulation.sizes["replica"]
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    y = moving_coordinates(theory, coordinates)
    deviation = moving_coordinates(simulation, coordinates) - y
    of_sets = set_solutions(theory)
    if len(of_sets):
        of_sets = (of_sets - of_sets.mean(axis=0)) / np.sqrt(len(of_sets) * (len(of_sets) - 1))
    parameters = _parameters(problem.rule)
    sensitivity = _sensitivities(problem, coordinates, theory["alpha"].values, y)
    # The next order moves means by about nonlinearity^3 spreads: that is to stay below 0.3 standard errors.
    largest = (0.3 / np.sqrt(n_replicas)) ** (1 / 3)
    innovations: list[Sample] = []
    wholes: list[Sample] = []
    spans: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    trusted_before = True
    known = known_noise(theory)
    reasons = []
    for i, j in itertools.pairwise(check_times(theory["alpha"].values, N, n_replicas)):
        if not known[j]:
            reasons.append(f"the linear noise ends {theory.attrs['fluctuations_ended']}")
            spans[False].append((float(theory["alpha"][i]), float(theory["alpha"][j])))
            continue
        innovation, whole = (_sample(theory, deviation, of_sets, sensitivity, start, j, N) for start in (i, None))
        objection = _objection(whole, largest, N, n_replicas)
        trusted = objection is None
        if objection is None:
            wholes.append(whole)
        else:
            reasons.append(objection)
        if trusted and trusted_before and innovation.runs.shape[1] > 0 and innovation.nonlinearity <= largest:
            innovations.append(innovation)
        spans[trusted].append((float(theory["alpha"][i]), float(theory["alpha"][j])))
        trusted_before = trusted
    # What is quadratic in the deviations, with the mean of the shift, has twice the square of its mean as variance; and the
    # length of an input fluctuates, as do its M + P components along teacher and modes.
    quadratic = 2.0 * max((sample.nonlinearity for sample in innovations), default=0.0) ** 2
    discrete = (problem.initial.n_modes + problem.initial.n_teacher + 2) / N
    variance_error = _covariance_error(theory) + quadratic + discrete
    if not innovations and not reasons:
        reasons.append(f"the runs are short: an interval needs {_STEPS_AND_RUNS} steps of all {n_replicas} run(s) together")
    told = tuple(dict.fromkeys(reasons))
    return Evidence(innovations, wholes, parameters, variance_error, _merged(spans[True]), _merged(spans[False]), told)


def _objection(whole: Sample, largest: float, n_inputs: int, n_replicas: int) -> str | None:
    """Return why the theory cannot be trusted at the time of `whole`, or None; `largest` is that of the small parameter."""
    if whole.runs.shape[1] == 0:
        return "nothing fluctuates"
    if whole.nonlinearity > largest:
        return (
            f"the expansion in 1/N is not good enough at N = {n_inputs} for errors as small as those of {n_replicas} run(s): "
            "larger N helps"
        )
    if whole.sampling_error > _LARGEST_SAMPLING_ERROR:
        return f"the error of sampled Gaussian averages is more than half a standard error of the mean of {n_replicas} run(s)"
    return None


def known_noise(theory: xr.Dataset) -> BoolArray:
    """Return at which times the linear noise of `theory` is known, (alpha,): up to where it ended."""
    return np.asarray(np.isfinite(theory["shift"].values).all(axis=1))


def check_times(alpha: FloatArray, n_inputs: int, n_replicas: int) -> list[int]:
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


def whitening(covariance: FloatArray, floor: float | FloatArray) -> FloatArray:
    """Return the matrix (directions, n) that makes a vector of this covariance one of independent unit variances.

    Coordinates with variances up to `floor`, a number or (n,), are left out.
    """
    variance = np.diagonal(covariance)
    varies = variance > floor
    scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    eigenvalues, vectors = np.linalg.eigh(scale[:, np.newaxis] * covariance * scale)
    used = eigenvalues > _SMALLEST_EIGENVALUE
    return (vectors[:, used] / np.sqrt(eigenvalues[used])).T * scale


def _sample(
    theory: xr.Dataset,
    deviation: FloatArray,
    of_sets: FloatArray,
    sensitivity: FloatArray,
    start: int | None,
    end: int,
    n_inputs: int,
) -> Sample:
    """Return the innovations from output time `start` to `end`, or (None) the whole deviation at `end`.

    `deviation` (replica, alpha, n) is that of the runs from the ODE, `of_sets` (sets, alpha, n) that of sets of points.
    """
    V, m = theory["covariance"].values, theory["shift"].values
    if start is None:
        covariance, shift, change = V[end], m[end], sensitivity[end]
        gained, gained_of_sets = deviation[:, end], of_sets[:, end]
    else:
        propagator = np.eye(V.shape[1])
        for step in range(start + 1, end + 1):
            propagator = theory["propagator"].values[step] @ propagator
        covariance = V[end] - propagator @ V[start] @ propagator.T
        shift = m[end] - propagator @ m[start]
        change = sensitivity[end] - propagator @ sensitivity[start]
        gained, gained_of_sets = (each[:, end] - each[:, start] @ propagator.T for each in (deviation, of_sets))
    floor = np.maximum(_SMALLEST_OF_PEAK * np.diagonal(V[: end + 1], axis1=1, axis2=2).max(axis=0), _SMALLEST_VARIANCE * n_inputs)
    matrix = whitening(covariance, floor)
    root = np.sqrt(n_inputs)
    return Sample(root * gained @ matrix.T, matrix @ shift / root, root * matrix @ change, root * gained_of_sets @ matrix.T)


def _covariance_error(theory: xr.Dataset) -> float:
    """Return the typical relative error of the predicted variances, the median over coordinates at the worst time."""
    known = known_noise(theory)
    known[0] = False
    variance, error = (np.diagonal(theory[name].values[known], axis1=1, axis2=2) for name in ("covariance", "covariance_error"))
    return float(np.median(np.abs(error) / np.maximum(variance, 1e-300), axis=1).max(initial=0.0))


def _parameters(rule: LearningRule) -> dict[str, float]:
    """Return the parameters of `rule` that can be estimated, by name."""
    constants = {"noise": rule.noise, "weight_decay": rule.weight_decay, "friction": rule.friction or 0.0}
    parameters: dict[str, float] = {}
    for name, largest in zip(RATES, rule.largest_rates, strict=True):
        scheduled = isinstance(getattr(rule, name), Schedule)
        parameters |= {f"factor of {name}": 1.0} if scheduled and largest > 0 else {name: float(largest)}
    return {name: value for name, value in (parameters | constants).items() if value > 0}


def _sensitivities(problem: Problem, coordinates: Coordinates, alpha: FloatArray, y: FloatArray) -> FloatArray:
    """Return dy / d ln parameter, (alpha, n, parameters), of the solution `y` (alpha, n), in the order of `_parameters`."""
    changes = []
    for parameter in _parameters(problem.rule):
        name = parameter.removeprefix("factor of ")
        larger: dict[str, Any] = {name: scaled(getattr(problem.rule, name), 1.0 + _RELATIVE_STEP)}
        rule = dataclasses.replace(problem.rule, **larger)
        changed = integrate(dataclasses.replace(problem, rule=rule), alpha, progress=False)
        changes.append((moving_coordinates(changed, coordinates) - y) / _RELATIVE_STEP)
    return np.stack(changes, axis=-1)


def _merged(spans: list[tuple[float, float]]) -> Spans:
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)
