"""Points that the moments of a step are averaged over: quasi-random ones, or few that are exact where all is polynomial."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from teacher_student.activations import get_activations, shared_family
from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.sampled import kept_points
from teacher_student.problem import LearningRule
from teacher_student.tuple_types import remember_type

_MOST_EXACT = 2**13


class Points(NamedTuple):
    """Points `z` (n, n_dimensions) with `weights` (n,), which add up to 1; the last dimension is that of the label noise."""

    z: FloatArray
    weights: FloatArray

    def first(self, n: int) -> Points:
        """Return the first `n` points, or all if there are fewer, with equal weights."""
        return self if n >= len(self.z) else equally_weighted(self.z[:n])


remember_type(Points)


def equally_weighted(z: FloatArray) -> Points:
    """Return the points `z` with equal weights."""
    return Points(z, np.full(len(z), 1.0 / len(z)))


def point_sets(rule: LearningRule, n_dimensions: int, n_points: int) -> list[Points]:
    """Return the sets of points that averages under `rule` are taken over: one that is exact, or two independent ones.

    Two have `n_points` (a power of 2) together; half the difference of averages over them is the standard error of their mean.
    """
    exact = _exact_points(rule, n_dimensions)
    if exact is not None:
        return [exact]
    return [equally_weighted(kept_points(n_dimensions, n_points // 2, seed)) for seed in (0, 1)]


def _exact_points(rule: LearningRule, n_dimensions: int) -> Points | None:
    """Return Gauss-Hermite points that are exact if the activations are polynomials, None otherwise or if they are many.

    With h of degree 1 for linear activations and 3 for quadratic ones, the increments of overlaps have the degree of h h, 2 or 6.
    They are squared, and q points a dimension are exact up to degree 2 q - 1. The label noise enters in a square at most: its
    two values are 1 and -1.
    """
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    if shared_family(student, teacher) != "polynomial":
        return None
    n_points = 3 if student.families["polynomial"][2] == teacher.families["polynomial"][2] == 0.0 else 7
    if 2 * n_points ** (n_dimensions - 1) > _MOST_EXACT:
        return None
    z, weights = np.polynomial.hermite_e.hermegauss(n_points)
    dimensions = [(z, weights / weights.sum())] * (n_dimensions - 1) + [(np.array([-1.0, 1.0]), np.array([0.5, 0.5]))]
    grid = np.array(list(itertools.product(*(each for each, _ in dimensions))))
    products = np.array([np.prod(each) for each in itertools.product(*(each for _, each in dimensions))])
    return Points(grid, products)
