"""The paper's example runs as it stands, its references exist, and so do the files it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import teacher_student as ts

PAPER = Path(__file__).resolve().parents[1] / "paper" / "paper.md"
TEXT = PAPER.read_text(encoding="utf-8")


def test_the_example_runs_and_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, str(PAPER), "exec"), names)
    comparison = names["comparison"]
    assert isinstance(comparison, ts.analysis.compare.Comparison)
    assert capsys.readouterr().out.strip().splitlines()[-1] == comparison.verdict.outcome
    assert comparison.verdict.outcome.startswith("agrees")


def test_references_and_figures_exist() -> None:
    """Every citation has an entry, every entry is cited, and pictures are there."""
    entries = re.findall(r"^@\w+\{(\w+),", PAPER.with_name("paper.bib").read_text(encoding="utf-8"), re.MULTILINE)
    cited = set(re.findall(r"@(\w+\d{4})", TEXT))
    assert cited == set(entries)
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT)
    assert pictures
    assert all((PAPER.parent / picture).is_file() for picture in pictures)
