"""Heavy-ball momentum at finite N: how a velocity steps, for SGD on weights and for the chain (docs/theory.rst: `heavyball`)."""

from __future__ import annotations

from typing import NamedTuple

from teacher_student.tuple_types import remember_type


class HeavyBall(NamedTuple):
    """A velocity becomes `keep` times itself plus the step of plain SGD, and its factor moves by `scale` times it.

    At fixed beta these are beta and 1, with friction gamma they are 1 - gamma / N and 1 / N. `moves` says whether the input modes
    ever move: by a rate, or by velocities at the start. Kernels take None for a rule without velocities.
    """

    keep: float
    scale: float
    moves: bool


remember_type(HeavyBall)
