"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_problem import PROBLEM


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with small.toml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(PROBLEM)
    return tmp_path
