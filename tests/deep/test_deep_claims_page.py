"""The page of claims has its numbers from the files that the commands wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from teacher_student.deep.reproduction.command import report
from teacher_student.deep.reproduction.estimates import Estimate
from teacher_student.deep.reproduction.verdict import Claim

DOCS = Path(__file__).parents[2] / "docs"
FOLDERS = ("deep_mnist", "deep_digits")

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")


def claims(folder: str) -> list[Claim]:
    document = json.loads((DOCS / folder / "claims.json").read_text("utf-8"))
    return [Claim(**claim) for claim in document["claims"]]


def estimates(numbers: Any) -> set[str]:
    """Return all estimates in numbers of claims, as text."""
    if isinstance(numbers, dict) and set(numbers) == {"mean", "error"}:
        return {str(Estimate(numbers["mean"], numbers["error"], 2, 1))}
    inside = numbers.values() if isinstance(numbers, dict) else numbers if isinstance(numbers, list) else ()
    return set().union(*map(estimates, inside))


@pytest.mark.parametrize("folder", FOLDERS)
def test_verdicts_on_the_page_are_those_of_the_numbers_beside_them(folder: str) -> None:
    assert report(claims(folder)) == (DOCS / folder / "claims.txt").read_text("utf-8")


def test_every_estimate_on_the_page_is_in_the_files() -> None:
    known = set().union(*(estimates(claim.numbers) for folder in FOLDERS for claim in claims(folder)))
    page = (DOCS / "deep_claims.rst").read_text("utf-8")
    found = re.findall(r"(-?\d+\.\d+) ± (\d+\.\d+)", page.replace("\u2212", "-"))
    assert len(found) > 20
    assert [f"{mean} +- {error}" for mean, error in found if f"{mean} +- {error}" not in known] == []
    assert "0.1234 +- 0.0056" not in known  # the negative control
