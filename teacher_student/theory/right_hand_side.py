"""f(alpha, y) = dy/dalpha on the moving coordinates, from Gaussian averages in closed form or over quasi-random fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages import averages_of
from teacher_student.gaussian_averages.sampled import symmetric_points
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.schedules import schedule_rows
from teacher_student.theory.assembly import model_of
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.equations import Equations, equations_of, slope

N_POINTS = 2**15
N_SETS = 8


class ClosedDrift:
    """f(alpha, y) = dy/dalpha on the moving coordinates, per unit of alpha, from Gaussian averages in closed form.

    Attributes
    ----------
    equations : teacher_student.theory.equations.Equations
        The same for compiled code.
    """

    def __init__(self, state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> None:
        self.equations = equations_of(model_of(state, rule, coordinates.sizes), coordinates)

    def __call__(self, alpha: float, y: FloatArray) -> FloatArray:
        return _slope(self.equations, alpha, y)


class SampledDrift:
    """f(alpha, y) = dy/dalpha on the moving coordinates, with the standard error that sampling gives it.

    The points are the same throughout an integration, so that the right-hand side is a deterministic function of the state,
    smooth if g' is. They come in independently scrambled sets; the spread of the sets' means is the error of the average.

    Parameters
    ----------
    state, rule, coordinates : OrderParameters, LearningRule, Coordinates
        Shapes, teacher and rule.
    n_points : int
        Points in all sets together, about.
    seed : int
        Seed of the scrambling.
    """

    def __init__(
        self, state: OrderParameters, rule: LearningRule, coordinates: Coordinates, n_points: int = N_POINTS, seed: int = 0
    ) -> None:
        self.coordinates, self.rule = coordinates, rule
        g = get_activations(rule.activation, rule.teacher_activation)[0].g.ctypes
        even = all(abs(g(x) - g(-x)) <= 1e-12 * abs(g(x)) for x in np.linspace(0.1, 5.0, 50))
        sizes = state.n_teacher, state.n_modes, n_points // N_SETS
        self.point_sets = [symmetric_points(*sizes, even, seed * N_SETS + i) for i in range(N_SETS)]
        self._model = model_of(state, rule, coordinates.sizes)

    @property
    def n_points(self) -> int:
        """Points in all sets together."""
        return sum(len(points) for points in self.point_sets)

    def __call__(self, alpha: float, y: FloatArray) -> FloatArray:
        return np.asarray(self.by_set(alpha, y).mean(axis=0))

    def error(self, alpha: float, y: FloatArray) -> FloatArray:
        """Return the standard error of the right-hand side at `y`, (n,)."""
        return np.asarray(self.by_set(alpha, y).std(axis=0, ddof=1) / np.sqrt(N_SETS))

    def relative_error(self, y: FloatArray) -> float:
        """Return the largest standard error at `y`, in units of the largest component, at the largest rates of the schedules."""
        rows = self.by_set(None, y)
        largest = float(np.abs(rows.mean(axis=0)).max())
        error = float(rows.std(axis=0, ddof=1).max()) / np.sqrt(N_SETS)
        return error / largest if largest > 0.0 else float(error > 0.0)

    def is_rough(self, y: FloatArray) -> bool:
        """Return whether jumps of g' leave the right-hand side without a usable derivative at `y`.

        Single points whose field crosses a jump then decide about its differences over short steps: those over two lengths,
        along the slope, disagree by as much as they are. Where g' is continuous they differ by less than 1 %. All at the largest
        rates of the schedules.
        """
        start = self.by_set(None, y)
        mean = start.mean(axis=0)
        largest = float(np.abs(mean).max())
        if largest == 0.0:
            return False
        direction = mean / largest
        long, short = ((self.by_set(None, y + step * direction) - start) / step for step in (1e-3, 1e-4))
        return bool(np.abs(long - short).max() > 0.1 * np.abs(long).max())

    def by_set(self, alpha: float | None, y: FloatArray) -> FloatArray:
        """Return the right-hand side from each set of points, (sets, n), at the time `alpha` or at the largest rates."""
        model = self._model
        if alpha is None:
            largest = schedule_rows(self.rule.without_momentum.largest_rates.tolist())
            model = model._replace(rule=model.rule._replace(schedules=largest))
        rows = []
        for points in self.point_sets:
            of_set = model._replace(points=np.ascontiguousarray(points))
            rows.append(_slope(equations_of(of_set, self.coordinates), alpha or 0.0, y))
        return np.array(rows)


def _slope(equations: Equations, alpha: float, y: FloatArray) -> FloatArray:
    out = np.empty(len(y))
    slope(equations, float(alpha), np.ascontiguousarray(y), out)
    return out


@dataclass(frozen=True, eq=False)
class DriftAt:
    """y -> f(alpha, y) at one time, `drift` being a `ClosedDrift` or any such function."""

    drift: Callable[[float, FloatArray], FloatArray]
    alpha: float

    def __call__(self, y: FloatArray) -> FloatArray:
        return self.drift(self.alpha, y)


def right_hand_side(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> ClosedDrift | SampledDrift:
    """Return f(alpha, y) = dy/dalpha on the moving coordinates (per unit of alpha): closed, or sampled where it has to be."""
    if averages_of(*get_activations(rule.activation, rule.teacher_activation)) is None:
        return SampledDrift(state, rule, coordinates)
    return ClosedDrift(state, rule, coordinates)
