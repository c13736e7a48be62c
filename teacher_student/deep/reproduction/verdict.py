"""What a verdict is: a claim, a sentence on whether it held, and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from teacher_student.deep.reproduction.estimates import Estimate, estimate


@dataclass(frozen=True)
class Claim:
    """What is claimed, one sentence on whether it held, and the numbers of the verdict by name."""

    claim: str
    verdict: str
    numbers: dict[str, Any] = field(default_factory=dict)


def word(supported: Iterable[bool], contradicted: Iterable[bool]) -> str:
    """Return the beginning of a verdict on a claim that is made of several matrices or layers."""
    for_it, against = list(supported), list(contradicted)
    if all(for_it):
        return "held"
    if any(for_it):
        return "held in part"
    if all(against):
        return "did not hold"
    return "not decided, contradicted in part" if any(against) else "not decided"


def listed(values: Iterable[Estimate]) -> str:
    """Return estimates as text."""
    return ", ".join(map(str, values))


def numbers(value: Estimate) -> dict[str, float]:
    """Return an estimate as JSON holds it."""
    return {"mean": round(value.mean, 6), "error": round(value.error, 6)}


def columns(values: Any) -> list[dict[str, float]]:
    """Return the estimate of each column of `values`, (networks, columns), as JSON holds it."""
    return [numbers(estimate(column)) for column in zip(*values, strict=True)]
