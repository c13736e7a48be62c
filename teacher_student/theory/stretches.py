"""The time cut where schedules jump: integrators, linear noise and leaps go from one jump to the next."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from teacher_student.problem import LearningRule


@dataclass(frozen=True)
class Stretch:
    """A stretch of alpha, from `start` to `end`, on which no schedule jumps; `margin` is how well its ends are known."""

    start: float
    end: float
    margin: float

    def within(self, alpha: float) -> float:
        """Return the time nearest `alpha` with rates of this stretch, for at its ends those of its neighbours may hold."""
        return min(max(alpha, self.start + self.margin), self.end - self.margin)


def smooth_stretches(rule: LearningRule, last: float) -> list[Stretch]:
    """Return the stretches that the jumps of the schedules of `rule` cut the time from 0 to `last` into."""
    margin = rule.rounding(np.array(last)).item()
    jumps = rule.jumps
    ends = [0.0, *jumps[jumps < last - margin].tolist(), last]
    return [Stretch(start, end, min(margin, 0.25 * (end - start))) for start, end in itertools.pairwise(ends) if start < end]
