"""Equations that the sources cite exist, the list of equations is complete, and the first example runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "theory").glob("*.rst"))
LABELS = [label for page in PAGES for label in re.findall(r"^ +:label: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)]
SOURCES = sorted((ROOT / "teacher_student").rglob("*.py"))


def cited(text: str) -> list[str]:
    """Return the labels that a source cites as "docs/theory.rst: `step`, `increments`", over the ends of lines."""
    citations = re.findall(r"theory\.rst[:,]((?:[\s#,]|and|with velocities|`[\w-]+`)+)", text)
    return [label for citation in citations for label in re.findall(r"`([\w-]+)`", citation)]


def test_each_label_is_given_once_and_listed() -> None:
    """The index of the theory lists every equation that has a label, in the order of the pages, and no other."""
    index = (ROOT / "docs" / "theory.rst").read_text(encoding="utf-8")
    assert len(set(LABELS)) == len(LABELS) > 50
    assert sorted(re.findall(r"^     - ``([\w-]+)``$", index.partition("All equations\n")[2], re.MULTILINE)) == sorted(LABELS)


def test_labels_that_sources_cite_exist() -> None:
    """A docstring leads to an equation that is there."""
    missing = [(path.name, label) for path in SOURCES for label in cited(path.read_text(encoding="utf-8")) if label not in LABELS]
    assert missing == []


@pytest.mark.parametrize("text", ["(docs/theory.rst:\n    `no-such-label`)", "docs/theory.rst: `step`, `no-such-label`"])
def test_a_citation_is_found_wherever_its_line_ends(text: str) -> None:
    """Negative control: a label that does not exist is found, behind another one and on the next line too."""
    assert [label for label in cited(text) if label not in LABELS] == ["no-such-label"]


def test_the_first_example_is_the_same_everywhere_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README and home page show the same lines, which write a figure; the page has a title and the picture."""
    (lines,) = re.findall(
        r"## Ten lines of Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    page = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    assert textwrap.indent(lines, "   ") in page
    assert re.match(r"teacher_student\n=+\n", page)
    assert ".. image:: comparison.png" in page
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "README.md", "exec"), {})
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
