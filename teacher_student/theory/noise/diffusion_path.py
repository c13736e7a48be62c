"""The moments of a step along a solution of the ODEs, as piecewise polynomials of alpha."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.mehler import converges
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.noise.diffusion import StepAverages, StepMoments
from teacher_student.theory.noise.points import Points, point_sets
from teacher_student.theory.stretches import smooth_stretches

# Chebyshev points of an interval [0, 1], ends included, and the barycentric weights of the polynomial through them.
_NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(5) / 4)
_WEIGHTS = np.array([0.5, -1.0, 1.0, -1.0, 0.5])
# The quadratic through ends and middle, at the two other points: its error bounds that of the polynomial generously.
_QUADRATIC = np.array([[(1 - 2 * x) * (1 - x), 4 * x * (1 - x), x * (2 * x - 1)] for x in _NODES[[1, 3]]])
_TOLERANCE = 3e-2
# Points of a set that the path begins with, and that the interior of an interval has where its ends have more: for smooth
# activations, and for others, whose averages over few points jump.
_FEW, _FEW_WITH_JUMPS = 256, 2048
# Standard error of the diffusion matrix, relative to its diagonal, above which the next interval has four times as many points.
_LARGEST_ERROR = 7e-3
# A shorter interval describes a smooth path better. After as many cuts that do not help, the averages jump, and no cut helps.
_VAIN_CUTS = 1


class NoiseUnknown(ArithmeticError):
    """The linear noise cannot be trusted, or not be computed, from some time on; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class DiffusionPath:
    """Diffusion matrix and mean correction at any alpha of a solution, from few evaluations.

    Averages are exact where all activations are polynomials and fields are few. Else they are taken over two independent sets of
    quasi-random points: their mean is used, and half their difference is its standard error. Where that is above 0.7 % of the
    diagonal, the next interval has four times as many points, up to all of them; below 0.17 % it has a quarter. Intervals are as
    long as a quadratic through three of their five points describes the diffusion matrix to 3 % of its diagonal; the polynomial
    through all five does so far better. They end where a schedule jumps.
    The interior of an interval needs few points: by how much averages over few differ from those over all is interpolated
    between its ends. Where g' has jumps, so have the averages, each time that a point's field crosses one. Intervals are then as
    long as the quadratic is off by three standard errors, and one with a large jump is kept as it is, for the jump is a part of
    the points' error.

    Parameters
    ----------
    state, rule, coordinates : OrderParameters, LearningRule, Coordinates
        Shapes, teacher and rule.
    solution : callable
        The moving coordinates (n,) at a time alpha.
    n_points : int
        The most points in both sets together, a power of 2.
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
        self.coordinates, self.solution = coordinates, solution
        self.averages = StepAverages(state, rule, coordinates)
        n_dimensions = state.n_modes * (1 if rule.friction is None else 2) + state.n_teacher + 1
        self.point_sets: list[Points] = point_sets(rule, n_dimensions, n_points)
        self.most_points = len(self.point_sets[0].z)
        self.jumps = not all(converges(each) for each in get_activations(rule.activation, rule.teacher_activation))
        few = _FEW_WITH_JUMPS if self.jumps else _FEW
        self.few = self.most_points if self.is_exact else min(few, self.most_points)
        self.n_points = self.largest = self.few
        self.stretches = smooth_stretches(rule, last)
        self.ends = [0.0]
        self.values: list[FloatArray] = []
        self.width = 1.0
        self.peak = np.zeros(len(coordinates.moving))
        self.head: FloatArray | None = None

    @property
    def is_exact(self) -> bool:
        """Whether averages are exact."""
        return len(self.point_sets) == 1

    @property
    def most_used(self) -> int:
        """The most points of all sets together that an average was taken over."""
        return len(self.point_sets) * self.largest

    def __call__(self, alpha: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the diffusion matrix (n, n), its standard error (n, n), mean correction and lag (n,) at time `alpha`."""
        while self.ends[-1] < alpha:
            self._extend()
        if not self.values:
            self._extend()
        i = max(0, int(np.searchsorted(self.ends, alpha)) - 1)
        x = (alpha - self.ends[i]) / (self.ends[i + 1] - self.ends[i]) - _NODES
        if (x == 0.0).any():
            return self._split(self.values[i][int(np.flatnonzero(x == 0.0)[0])])
        weights = _WEIGHTS / x
        return self._split(weights @ self.values[i] / weights.sum())

    def _split(self, packed: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        n = len(self.coordinates.moving)
        diffusion, error = packed[: 2 * n * n].reshape(2, n, n)
        return diffusion, error, packed[-2 * n : -n], packed[-n:]

    def _evaluate(self, alpha: float, counts: tuple[int, ...]) -> FloatArray:
        """Return the moments at the time `alpha` over the first `counts` points of each set, (counts, ...)."""
        full = self.coordinates.expand(self.solution(alpha))
        sets = [points.first(count) for count in counts for points in self.point_sets]
        moments = self.averages.at(full, self.stretches[0].within(alpha), sets)
        n_sets = len(self.point_sets)
        return np.array(
            [_packed(first, last) for first, last in zip(moments[::n_sets], moments[n_sets - 1 :: n_sets], strict=True)]
        )

    def _point_error(self, packed: FloatArray) -> float:
        """Return the largest standard error of a diffusion matrix, in units of its diagonal."""
        diffusion, error, _, _ = self._split(packed)
        scale = np.sqrt(np.diagonal(diffusion) + 1e-6 * self.peak + 1e-300)
        return float((np.abs(error) / np.outer(scale, scale)).max(initial=0.0))

    def _head(self, start: float, jumped: bool) -> FloatArray:
        """Return the moments at `start` over as many points as they need, and over few, (2, ...)."""
        if self.head is None or jumped:
            self.head = self._evaluate(start, (self.n_points, self.few))
        while self.n_points < self.most_points and self._point_error(self.head[0]) > _LARGEST_ERROR:
            self.n_points = min(4 * self.n_points, self.most_points)
            self.largest = max(self.largest, self.n_points)
            self.head = self._evaluate(start, (self.n_points, self.few))
        if self._point_error(self.head[0]) < 0.25 * _LARGEST_ERROR:
            self.n_points = max(self.n_points // 4, self.few)
        return self.head

    def _over_few(self, start: float, width: float) -> FloatArray:
        """Return the moments over few points at the four points of an interval after the first, (4, ...)."""
        return np.concatenate([self._evaluate(time, (self.few,)) for time in (start + width * _NODES[1:]).tolist()])

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
        head = self._head(start, jumped)
        tolerance = _TOLERANCE
        if self.jumps:
            tolerance = min(max(_TOLERANCE, 3.0 * self._point_error(head[0])), 10.0 * _TOLERANCE)
        vain, wanted, width_before, error_before = 0, self.width, np.inf, np.inf
        while True:
            width = min(self.width, end - start)
            values = np.concatenate([head[1:], self._over_few(start, width)])
            diagonal = values[:, : n * n : n + 1]
            # A variance a million times below its peak, or a thousand times below the largest of the interval, is as good as
            # zero: it has fallen, or rates that begin at zero are about to raise it.
            self.peak = np.maximum(self.peak, diagonal.max(axis=0))
            scale = np.sqrt(np.maximum(diagonal[[1, 3]], 0.0) + 1e-3 * diagonal.max(axis=0) + 1e-6 * self.peak + 1e-300)
            deviation = values[[1, 3], : n * n] - _QUADRATIC @ values[[0, 2, 4], : n * n]
            relative = deviation.reshape(2, n, n) / (scale[:, :, np.newaxis] * scale[:, np.newaxis])
            error = float(np.abs(relative).max()) / tolerance
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
        self.head = values[[-1, -1]]
        if self.n_points > self.few:
            self.head[0] = self._evaluate(self.ends[-1], (self.n_points,))[0]
            x = _NODES[:, np.newaxis]
            values = values + (1.0 - x) * (head[0] - head[1]) + x * (self.head[0] - self.head[1])
        self.values.append(values)


def _packed(first: StepMoments, second: StepMoments) -> FloatArray:
    """Return mean and standard error of the diffusion matrix, mean correction and lag by two sets of points, as one vector."""
    diffusion, error = 0.5 * (first.covariance + second.covariance), 0.5 * (first.covariance - second.covariance)
    correction, lag = 0.5 * (first.mean_correction + second.mean_correction), 0.5 * (first.lag + second.lag)
    return np.concatenate([diffusion.ravel(), error.ravel(), correction, lag])
