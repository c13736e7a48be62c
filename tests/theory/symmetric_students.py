"""Students that are all the same, and their fixed points, for several test modules."""

from __future__ import annotations

import numpy as np

import teacher_student as ts
from teacher_student.theory.stability.fixed_points import FixedPoint


def committee(K: int, Q: float, C: float, R: float, T: float = 1.0) -> ts.OrderParameters:
    """Return a symmetric state: Q and C on and off the diagonal of Q, all overlaps with the teacher R."""
    return ts.plain_committee(
        Q=C + (Q - C) * np.eye(K), R=np.full((K, K), R), T=T * np.eye(K), v=np.ones(K), v_teacher=np.ones(K)
    )


def symmetric_point(K: int, eta: float) -> FixedPoint:
    """Return the fixed point of students that are all the same."""
    initial = committee(K, 1 / (2 * K - 1), 1 / (2 * K - 1), 1 / np.sqrt(K * (2 * K - 1)))
    return ts.fixed_point(ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=eta)))


def two_units() -> FixedPoint:
    """Return the plateau's fixed point of two units on a teacher of norm 4, with a short plateau."""
    initial = committee(2, 1.27, 0.72, 1.376, T=4.0)
    return ts.fixed_point(ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.0)))
