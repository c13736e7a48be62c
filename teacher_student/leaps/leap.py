"""Leaps of many SGD steps (docs/theory.rst: `leap`, `leap-mean`): the drift carries the state, and kicks of noise at the two
Gauss points of a leap stand for all steps.

Let phi be any smooth function of the state at the end of a leap. To first order in 1/N noise changes its average by an integral
over the leap: of the effect that noise at the time s has through the drift from s to the end. Gauss's rule with two points,
which have the same weight, gives that integral with an error of length^4, so that mean and covariance of runs are right to this
order in their 1/N parts, while the drift itself is as exact as the method that integrates it.

The length of a leap follows from earlier ones, never from its own noise, and no leap is taken back: that would bias the noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.leaps.dormand_prince import carry
from teacher_student.leaps.model import LeapModel, slope_of
from teacher_student.leaps.noise import kick

# What the record of a run holds: the length wanted of the next leap, the step of the drift, the largest rate of the Jacobian; the
# number of leaps, the largest estimated error of one, how far overlaps were from those of vectors before they were put right, and
# the largest trace of the diffusion matrix.
WANTED, STEP, FASTEST, LEAPS, ERROR, DEFECT, PEAK = range(7)
# The first of Gauss's two points of [0, 1]. For the integral of exp(-z x) the rule has the relative error z^4 / 4320.
FIRST = 0.5 - np.sqrt(3.0) / 6.0
ERROR_CONSTANT = 4320.0
_TANGENT_STEP = 1e-6
# Noise that has fallen this far below its peak, as where learning ends without error, is as good as zero.
_NEGLIGIBLE = 1e-12
_ITERATIONS = 30


class Run(NamedTuple):
    """A run in progress, which leaps change in place, and what it draws noise from.

    `y` (n_full,) is the flat state, `tangent` (n_full,) of norm 1 the direction of its fastest rate, `record` as above, `points`
    (m, M + P + 1) quasi-random and Gaussian, of which every leap uses a block.
    """

    y: Any
    tangent: Any
    record: Any
    points: Any


class Settings(NamedTuple):
    """N, the relative error of the covariance that the noise of one leap adds, and the points that a leap uses."""

    n_inputs: float
    tolerance: float
    per_kick: int


@njit(cache=True, nogil=True)
def leap(
    model: LeapModel, alpha: float, run: Run, points: FloatArray, weights: FloatArray, length: float, n_inputs: float
) -> float:
    """Take one leap of `length` from `alpha` on, in place; `points` (m, M + P + 1), `weights` (2, m).

    Returns by how much the logarithm of the diffusion matrix's trace changes in a leap, or NaN if the state is no longer finite.
    """
    y, record = run.y, run.record
    traces = np.empty(2)
    done = 0.0
    for i in range(2):
        part = length * (FIRST if i == 0 else 1.0 - 2.0 * FIRST)
        record[STEP] = carry(model, y, alpha + done, part, record[STEP])
        if record[STEP] == 0.0:
            return np.nan
        done += part
        traces[i], defect = kick(model, alpha + done, y, points, weights[i], 0.5 * length, n_inputs)
        record[DEFECT] = max(record[DEFECT], defect)
    record[STEP] = carry(model, y, alpha + done, length - done, record[STEP])
    if record[STEP] == 0.0:
        return np.nan
    record[PEAK] = max(record[PEAK], traces.max())
    if record[PEAK] == 0.0:
        return 0.0
    traces += _NEGLIGIBLE * record[PEAK]
    return abs(np.log(traces[1] / traces[0])) / (1.0 - 2.0 * FIRST)


@njit(cache=True, nogil=True)
def rate_along(model: LeapModel, alpha: float, y: FloatArray, tangent: FloatArray) -> float:
    """Return the size of the Jacobian on `tangent`, and turn that towards the eigenvector of the largest eigenvalue."""
    here, there = np.empty_like(y), np.empty_like(y)
    slope_of(model.equations, alpha, y, here)
    slope_of(model.equations, alpha, y + _TANGENT_STEP * tangent, there)
    there -= here
    rate = np.sqrt(np.sum(there**2)) / _TANGENT_STEP
    if np.isfinite(rate) and rate > 0.0:
        tangent[:] = there / (_TANGENT_STEP * rate)
    return rate


@njit(cache=True, nogil=True)
def prepare(model: LeapModel, alpha: float, run: Run, tolerance: float) -> None:
    """Choose a first leap, short enough to see what comes: at the start, and where the rates have jumped."""
    record, rate = run.record, 0.0
    for _ in range(_ITERATIONS):
        rate = rate_along(model, alpha, run.y, run.tangent)
    if not (np.isfinite(rate) and rate > 1e-100):
        rate = 1e-100
    record[FASTEST] = rate
    record[WANTED] = 0.05 * (ERROR_CONSTANT * tolerance) ** 0.25 / rate
    record[STEP] = 0.01 / rate


@njit(cache=True, nogil=True)
def take_leaps(model: LeapModel, settings: Settings, alpha: float, span: float, run: Run, rng: np.random.Generator) -> float:
    """Take leaps over `span` from `alpha` on, in place; return how much was covered.

    It is less than `span` if the state is no longer finite or moves so fast that a leap would be shorter than a step of SGD.
    """
    record, points, n_inputs, per_kick = run.record, run.points, settings.n_inputs, settings.per_kick
    limit = (ERROR_CONSTANT * settings.tolerance) ** 0.25
    weights = np.empty((2, per_kick))
    done = 0.0
    while done < span:
        if not record[WANTED] > max(1.0 / n_inputs, 1e-13 * (alpha + span)):
            return done
        n_leaps = np.ceil((span - done) / record[WANTED])
        length = (span - done) / n_leaps
        block = int(rng.random() * (len(points) // per_kick)) * per_kick
        for i in range(2):
            for j in range(per_kick):
                weights[i, j] = rng.standard_normal()
        now = alpha + done
        change = leap(model, now, run, points[block : block + per_kick], weights, length, n_inputs)
        rate = rate_along(model, now + length, run.y, run.tangent)
        if not np.isfinite(change):
            return done
        if not np.isfinite(rate):  # next to overlaps of vectors lie some that are none
            rate = record[FASTEST]
        # Variances relax at twice the rate of deviations.
        rates = 2.0 * max(rate, record[FASTEST]) + change / length
        record[FASTEST] = rate
        record[LEAPS] += 1.0
        record[ERROR] = max(record[ERROR], (length * rates) ** 4 / ERROR_CONSTANT)
        record[WANTED] = min(2.0 * record[WANTED], max(0.2 * record[WANTED], limit / max(rates, 1e-100)))
        done = span if n_leaps == 1.0 else done + length
    return span
