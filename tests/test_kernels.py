"""Compiled code is used no more once a source that it was made of has changed, be it in another file, or once it is damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import teacher_student as ts

# A kernel of `draws` calls one of `normals`.
PROGRAM = """
import numpy as np
from teacher_student.sgd import draws
print(draws.next_pair(np.arange(1, 5, dtype=np.uint64).reshape(1, 4), 0)[0], sum(draws.next_pair.stats.cache_hits.values()))
"""
RADIUS, DOUBLED = "return np.sqrt(exponent", "return 2.0 * np.sqrt(exponent"


def run(folder: Path, **variables: str) -> tuple[float, int]:
    """Return a normal number, and whether the code that made it was compiled before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CACHE")}
    environment = {**kept, "PYTHONPATH": str(folder), **variables}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    number, hits = done.stdout.split()
    return float(number), int(hits)


@pytest.mark.parametrize(("locator", "twice"), [("", True), ("InTreeCacheLocator", False)])
def test_code_is_compiled_again_when_what_it_calls_has_changed(tmp_path: Path, locator: str, twice: bool) -> None:
    """Twice the radius is twice the number; the control is numba's own rule, which goes on with the old one."""
    shutil.copytree(Path(ts.__file__).parent, tmp_path / "teacher_student", ignore=shutil.ignore_patterns("__pycache__"))
    variables = {"NUMBA_CACHE_LOCATOR_CLASSES": locator}
    number, _ = run(tmp_path, **variables)
    assert run(tmp_path, **variables) == (number, 1)
    normals = tmp_path / "teacher_student" / "sgd" / "normals.py"
    text = normals.read_text("utf-8")
    assert text.count(RADIUS) == 1
    normals.write_text(text.replace(RADIUS, DOUBLED), "utf-8")
    assert run(tmp_path, **variables) == ((2.0 * number, 0) if twice else (number, 1))


def test_code_is_compiled_again_when_its_file_is_cut(tmp_path: Path) -> None:
    """A full disk or a crash cuts files; the run after that compiles, and the next one need not."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_CACHE_LOCATOR_CLASSES": ""}
    folder = Path(ts.__file__).parents[1]
    number, hits = run(folder, **cache)
    assert hits == 0
    for ending, length in (("nbi", 0), ("nbi", 40), ("nbc", 0), ("nbc", 2000)):
        files = [path for path in (tmp_path / "cache").rglob(f"*.{ending}") if path.name.startswith("draws.next_pair")]
        assert files
        for path in files:
            assert path.stat().st_size > length
            path.write_bytes(path.read_bytes()[:length])
        assert run(folder, **cache) == (number, 0)
    assert run(folder, **cache) == (number, 1)
