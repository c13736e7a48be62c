"""Finite-size scaling: how the spread between runs and the mean's deviation from the ODE fall with N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats
import xarray as xr

from teacher_student.analysis.innovations import whitening
from teacher_student.analysis.verdict import FALSE_ALARM_RATE
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.errors import check_flag, check_whole, refuse
from teacher_student.problem import difference_of
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.theory.integrate import integrate
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.trajectory_form import as_simulations, problem_of

LEAST_REPLICAS = 8
# The ratio of runs at N to those at the largest N. Costs grow as N, so that small N can have more runs.
_REPLICAS_EXPONENT = 0.75

AS_PREDICTED = "falls with N as predicted"
NOT_AS_PREDICTED = "does not fall with N as predicted"
NOT_RESOLVED = "not decided"
_MEANINGS = {
    AS_PREDICTED: "The spread between runs falls as N^(-1/2) and the deviation of their mean from the ODE as 1/N, within the "
    "errors of these runs: theory and simulation differ by effects of finite N only.",
    NOT_AS_PREDICTED: "The spread between runs or the deviation of their mean does not fall with the predicted power of N: a "
    "part of the difference stays at large N (model or code), or the smallest N are too small for the leading order in 1/N.",
    NOT_RESOLVED: "The fitted powers do not contradict the predicted ones, but an error is too large to tell N^(-1/2) from 1/N: "
    "more runs, or other N, decide.",
}
# Relative corrections are about (M + P + 2) / (2 N), that is a few 1/N.
_NEXT_ORDER = 3.0
# Half the difference between both exponents.
_LARGEST_ERROR = 0.25


@dataclass(frozen=True)
class Exponent:
    """A fitted power of N, amplitude N^value, with its standard error, the chi-square of the fit, and the `predicted` power."""

    value: float
    error: float
    amplitude: float
    chi_square: float
    degrees: int
    predicted: float = math.nan


@dataclass(frozen=True, eq=False)
class Scaling:
    """Spread and deviation of runs at several N, in units of the theory's V and y_1 (docs/theory.rst: `covariance`, `shift`).

    Attributes
    ----------
    n_inputs, replicas : tuple of int
        The N, and the runs at each.
    spread, spread_error : (n,) arrays
        Root mean square over coordinates and times of standard deviation / sqrt(V_ii); predicted is N^(-1/2).
    deviation, deviation_error : (n,) arrays
        The mean's deviation from the ODE projected on the predicted shift y_1, in units of y_1; predicted is N^(-1). It may be
        negative if the runs are too few to resolve it.
    spread_exponent, deviation_exponent : Exponent
        Fitted powers of N, predicted to be -1/2 and -1 with amplitude 1.
    """

    n_inputs: tuple[int, ...]
    replicas: tuple[int, ...]
    spread: FloatArray
    spread_error: FloatArray
    deviation: FloatArray
    deviation_error: FloatArray
    spread_exponent: Exponent
    deviation_exponent: Exponent

    @property
    def next_order(self) -> float:
        """How far the next order in 1/N may move an exponent: its relative size at the smallest N."""
        return _NEXT_ORDER / min(self.n_inputs)

    @property
    def p_values(self) -> tuple[float, float]:
        """Of both exponents, the probability of one as far from the predicted one, beyond `next_order`."""
        fits = (self.spread_exponent, self.deviation_exponent)
        distances = [np.maximum(0.0, abs(fit.value - fit.predicted) - self.next_order) / fit.error for fit in fits]
        first, second = (float(2.0 * scipy.stats.norm.sf(distance)) for distance in distances)
        return first, second

    @property
    def outcome(self) -> str:
        """Whether both effects fall with N as predicted, or an exponent is not known well enough to tell."""
        if not all(p * 2 >= FALSE_ALARM_RATE for p in self.p_values):
            return NOT_AS_PREDICTED
        resolved = max(self.spread_exponent.error, self.deviation_exponent.error) <= _LARGEST_ERROR
        return AS_PREDICTED if resolved else NOT_RESOLVED

    @property
    def meaning(self) -> str:
        """What the outcome means."""
        return _MEANINGS[self.outcome]

    def report(self, title: str = "problem", command: str | None = None) -> str:
        """Return verdict, fits and measured values as Markdown, with `title` and perhaps the `command` that gave them."""
        from teacher_student.analysis.scaling_report import scaling_report  # what measures does not know how it is told

        return scaling_report(self, title, command)


def replicas_for(n_inputs: Sequence[int], replicas_at_largest: int) -> tuple[int, ...]:
    """Return the number of runs at each N, `replicas_at_largest` at the largest and more at smaller ones.

    Raises `InvalidInput` unless these are whole numbers of at least 1, and there is one N.
    """
    if not isinstance(n_inputs, (list, tuple)) or not n_inputs:
        refuse("n_inputs", n_inputs, "a list of N")
    n_inputs = [check_whole(f"n_inputs[{i}]", N) for i, N in enumerate(n_inputs)]
    replicas_at_largest = check_whole("replicas_at_largest", replicas_at_largest)
    largest = max(n_inputs)
    return tuple(int(np.ceil(replicas_at_largest * (largest / N) ** _REPLICAS_EXPONENT)) for N in n_inputs)


def scaling(simulations: Sequence[xr.Dataset], progress: bool = True) -> Scaling:
    """Return the finite-size scaling of simulations of one problem at several N.

    Parameters
    ----------
    simulations : sequence of xarray.Dataset
        Trajectories with replicas, each at its own N; the theory is integrated at their times.
    progress : bool
        Show the theory's progress on a terminal.

    Raises
    ------
    InvalidInput
        If there are fewer than three N, an N occurs twice, there are fewer than two runs, problems differ, or numbers are not
        finite.
    """
    check_flag("progress", progress)
    simulations = as_simulations(simulations)
    sizes = tuple(int(simulation.attrs["n_inputs"]) for simulation in simulations)
    if len(sizes) < 3 or len(set(sizes)) < len(sizes):
        refuse("n_inputs", list(sizes), "at least three different N")
    first = problem_of(simulations[0], "simulations[0]")
    for i, simulation in enumerate(simulations):
        difference = difference_of(first, problem_of(simulation, f"simulations[{i}]"))
        if difference is not None:
            refuse(f"simulations[{i}]", f"another {difference}", "simulations of one problem")
        if simulation.sizes["replica"] < 2:
            refuse("replicas", simulation.sizes["replica"], "at least 2 runs at every N")
        if not (simulation["alpha"].values > 0).any():
            refuse(f"simulations[{i}]", "no output time above 0", "at least one")
    measured = [_measure(simulation, progress) for simulation in simulations]
    spread, spread_error, deviation, deviation_error = (np.array(column) for column in zip(*measured, strict=True))
    N = np.array(sizes, dtype=np.float64)
    return Scaling(
        n_inputs=sizes,
        replicas=tuple(simulation.sizes["replica"] for simulation in simulations),
        spread=spread,
        spread_error=spread_error,
        deviation=deviation,
        deviation_error=deviation_error,
        spread_exponent=fit_power(N, spread, spread_error, guess=-0.5),
        deviation_exponent=fit_power(N, deviation, deviation_error, guess=-1.0),
    )


def _measure(simulation: xr.Dataset, progress: bool) -> tuple[float, float, float, float]:
    """Return spread and deviation with their standard errors, by a jackknife over groups of replicas."""
    problem = problem_of(simulation)
    coordinates = independent_coordinates(problem.initial, problem.rule, problem.velocity)
    simulation = simulation.isel(alpha=simulation["alpha"].values > 0)
    theory = integrate(problem, simulation["alpha"].values, fluctuations=True, progress=progress)
    if "covariance" not in theory:
        refuse("rates", 0.0, "a problem in which something learns")
    if theory.attrs["fluctuations_ended"]:
        refuse(
            "alpha", float(simulation["alpha"][-1]), f"times with linear noise, which ends {theory.attrs['fluctuations_ended']}"
        )
    runs = moving_coordinates(simulation, coordinates) - moving_coordinates(theory, coordinates)
    variance = np.diagonal(theory["covariance"].values, axis1=1, axis2=2)
    shift = theory["shift"].values
    # The matched filter for a deviation along the shift in noise of covariance V.
    filters = [whitening(V, 1e-12 * float(np.diagonal(V).max())) for V in theory["covariance"].values]
    weights = np.array([matrix.T @ matrix @ m for matrix, m in zip(filters, shift, strict=True)])
    n_groups = min(len(runs), 40)
    groups = np.array_split(np.arange(len(runs)), n_groups)

    def both(chosen: IntArray) -> FloatArray:
        sample = runs[chosen]
        spread = np.sqrt(np.mean(sample.var(axis=0, ddof=1) / variance))
        return np.array([spread, (weights * sample.mean(axis=0)).sum() / (weights * shift).sum()])

    everything = np.arange(len(runs))
    whole = both(everything)
    without = np.array([both(np.setdiff1d(everything, group)) for group in groups])
    error = np.sqrt((n_groups - 1) / n_groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return float(whole[0]), float(error[0]), float(whole[1]), float(error[1])


def fit_power(N: FloatArray, values: FloatArray, errors: FloatArray, guess: float) -> Exponent:
    """Fit amplitude N^exponent to values with standard errors, by least squares on the values themselves.

    Values that are zero within their errors, or negative, have the same weight as all others.
    """
    centre = np.exp(np.average(np.log(N), weights=(N**guess / errors) ** 2))

    def residuals(parameters: FloatArray) -> FloatArray:
        logarithm, exponent = parameters
        return (np.exp(logarithm) * (N / centre) ** exponent * centre**guess - values) / errors

    solution = scipy.optimize.least_squares(residuals, np.array([0.0, guess]), x_scale=np.array([0.1, 0.1]))
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac)
    logarithm, exponent = solution.x
    return Exponent(
        value=float(exponent),
        error=float(np.sqrt(covariance[1, 1])),
        amplitude=float(np.exp(logarithm) * centre ** (guess - exponent)),
        chi_square=float(2.0 * solution.cost),
        degrees=len(N) - 2,
        predicted=guess,
    )
