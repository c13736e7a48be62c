"""The moments of a step along a solution of the ODEs, as piecewise polynomials of alpha."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.noise.diffusion import step_moments
from teacher_student.theory.stretches import smooth_stretches

# Chebyshev points of an interval [0, 1], ends included, and the barycentric weights of the polynomial through them.
_NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(5) / 4)
_WEIGHTS = np.array([0.5, -1.0, 1.0, -1.0, 0.5])
# The quadratic through ends and middle, at the two other points: its error bounds that of the polynomial generously.
_QUADRATIC = np.array([[(1 - 2 * x) * (1 - x), 4 * x * (1 - x), x * (2 * x - 1)] for x in _NODES[[1, 3]]])
_TOLERANCE = 1e-2
# A shorter interval describes a smooth path better. After as many cuts that do not help, the averages jump, and no cut helps.
_VAIN_CUTS = 1


class NoiseUnknown(ArithmeticError):
    """The linear noise cannot be trusted, or not be computed, from some time on; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class DiffusionPath:
    """Diffusion matrix and mean correction at any alpha of a solution, from few evaluations.

    Every average is taken over two independent sets of quasi-random points: their mean is used, and half their difference
    is its standard error. Intervals are as long as a quadratic through three of their five points describes the diffusion
    matrix to 1 % of its diagonal; the polynomial through all five does so far better. They end where a schedule jumps.
    Where g' has jumps, so have the averages, each time that a point's field crosses one: an interval with such a jump is kept as
    it is, for the jump is a part of the points' error.

    Parameters
    ----------
    state, rule, coordinates : OrderParameters, LearningRule, Coordinates
        Shapes, teacher and rule.
    solution : callable
        The moving coordinates (n,) at a time alpha.
    n_points : int
        Points in both sets together, a power of 2.
    last : float
        Time at which the path ends.
    most : int
        Intervals that the path may have; more raise `NoiseUnknown`, and so does a path that is not finite.
    """

    def __init__(
        self,
        state: OrderParameters,
        rule: LearningRule,
        coordinates: Coordinates,
        solution: Callable[[float], FloatArray],
        n_points: int,
        last: float,
        most: int = 10_000,
    ) -> None:
        self.most = most
        self.state, self.rule, self.coordinates, self.solution = state, rule, coordinates, solution
        n_dimensions = state.n_modes * (1 if rule.friction is None else 2) + state.n_teacher + 1
        self.point_sets = [gaussian_points(n_dimensions, n_points // 2, seed) for seed in (0, 1)]
        self.stretches = smooth_stretches(rule, last)
        self.ends = [0.0]
        self.values: list[FloatArray] = []
        self.width = 0.02
        self.peak = np.zeros(len(coordinates.moving))

    def __call__(self, alpha: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the diffusion matrix (n, n), its standard error (n, n), mean correction and lag (n,) at time `alpha`."""
        while self.ends[-1] < alpha:
            self._extend()
        if not self.values:
            self._extend()
        i = max(0, int(np.searchsorted(self.ends, alpha)) - 1)
        x = (alpha - self.ends[i]) / (self.ends[i + 1] - self.ends[i]) - _NODES
        if (x == 0.0).any():
            first, second, correction, lag = self._unpacked(self.values[i][int(np.flatnonzero(x == 0.0)[0])])
        else:
            weights = _WEIGHTS / x
            first, second, correction, lag = self._unpacked(weights @ self.values[i] / weights.sum())
        return 0.5 * (first + second), 0.5 * (first - second), correction, lag

    def _unpacked(self, packed: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        n = len(self.coordinates.moving)
        first, second = packed[: 2 * n * n].reshape(2, n, n)
        return first, second, packed[-2 * n : -n], packed[-n:]

    def _evaluate(self, alpha: float) -> FloatArray:
        full = self.coordinates.expand(self.solution(alpha))
        first, second = (
            step_moments(full, self.state, self.rule, self.coordinates, points, self.stretches[0].within(alpha))
            for points in self.point_sets
        )
        correction = 0.5 * (first.mean_correction + second.mean_correction)
        lag = 0.5 * (first.lag + second.lag)
        return np.concatenate([first.covariance.ravel(), second.covariance.ravel(), correction, lag])

    def _extend(self) -> None:
        """Append one interval."""
        start = self.ends[-1]
        if len(self.values) == self.most:
            raise NoiseUnknown("the covariance of a step, an average over fixed points, jumps too often")
        jumped = len(self.stretches) > 1 and start == self.stretches[0].end
        if jumped:
            self.stretches.pop(0)
        end = self.stretches[0].end
        n = len(self.coordinates.moving)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            head = self.values[-1][-1] if self.values and not jumped else self._evaluate(start)
            vain, wanted, width_before, error_before = 0, self.width, np.inf, np.inf
            while True:
                width = min(self.width, end - start)
                values = np.array([head, *pool.map(self._evaluate, start + width * _NODES[1:])])
                diagonal = values[:, : n * n : n + 1].max(axis=0)
                # A variance that has fallen a million times below its peak is as good as zero.
                self.peak = np.maximum(self.peak, diagonal)
                scale = np.sqrt(diagonal + 1e-6 * self.peak + 1e-300)
                deviation = values[[1, 3], : n * n] - _QUADRATIC @ values[[0, 2, 4], : n * n]
                error = float(np.abs(deviation.reshape(2, n, n) / np.outer(scale, scale)).max()) / _TOLERANCE
                if not np.isfinite(error):
                    raise NoiseUnknown("the covariance of a step is not finite")
                self.width = width * min(4.0, max(0.2, 0.9 * max(error, 1e-9) ** (-1 / 3)))
                vain += error * width_before > error_before * width
                if error <= 1.0 or vain > _VAIN_CUTS:
                    # What comes after a jump is as smooth as what came before.
                    self.width = max(self.width, wanted if error > 1.0 else 0.0)
                    break
                width_before, error_before = width, error
        # An interval is cut off at the end of its stretch; one that is only rounding short of it reaches it.
        self.ends.append(end if width == end - start else start + width)
        self.values.append(values)
