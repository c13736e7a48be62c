"""Compiled code is kept from one process to the next, also where the package cannot be written, or else it is said."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import teacher_student as ts
from teacher_student import compiled_code
from teacher_student.sgd import weights
from teacher_student.sgd.run import METHODS

Run = Callable[[Path], tuple[str, str]]

PROGRAM = """
import numpy, numba, teacher_student
from teacher_student.rates import is_constant
is_constant(numpy.zeros((4, 5)))
print(sum(is_constant.stats.cache_hits.values()), numba.config.CACHE_DIR)
"""


@pytest.fixture
def run_read_only(tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs `PROGRAM` with a copy of the package that cannot be written."""
    package = tmp_path / "package" / "teacher_student"
    shutil.copytree(Path(ts.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    command = [sys.executable, "-c", PROGRAM]
    if os.access(package, os.W_OK):  # as root, whom permissions do not stop until that right is given up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root can write everywhere")
        command = [setpriv, "--bounding-set=-dac_override", *command]

    def run(home: Path) -> tuple[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
        environment = {**kept, "HOME": str(home), "PYTHONPATH": str(package.parent), "TMPDIR": str(tmp_path)}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip(), done.stderr

    yield run
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="needs permissions of files")
def test_a_package_that_cannot_be_written(run_read_only: Run, tmp_path: Path) -> None:
    """The user's cache folder serves from the second process on; without one every process compiles, and says so."""
    home = tmp_path / "home"
    home.mkdir()
    assert run_read_only(home) == ("0", "")
    assert run_read_only(home) == ("1", "")
    shutil.rmtree(home)
    home.mkdir(mode=0o555)
    out, message = run_read_only(home)
    hits, place = out.split()
    assert hits == "0"
    assert place.startswith(str(tmp_path / "teacher_student-"))
    assert "RuntimeWarning: no lasting place for compiled code" in message
    assert not Path(place).exists()


def test_simulations_compile_in_a_process_of_their_own_where_they_never_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is waited for if that is asked for, and ended with the block if not; the collector of garbage rests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiled_code, "_is_compiled", lambda method: method == "weights")
    monkeypatch.setattr(compiled_code, "_BESIDE_THE_THEORY", "open('compiled', 'w')")
    with compiled_code.compiling_simulations() as wait:
        wait()
        assert Path("compiled").exists()
    monkeypatch.setattr(compiled_code, "_BESIDE_THE_THEORY", "import time; time.sleep(600)")
    with compiled_code.compiling_simulations() as wait:
        process = wait.__self__  # type: ignore[attr-defined]  # the method of a process
        assert process.poll() is None
        assert not gc.isenabled()
    assert process.poll() is not None
    assert gc.isenabled()


def test_what_is_compiled_is_not_compiled_ahead(make_problem: Callable[..., ts.Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("weights", "overlaps"):
        ts.simulate(make_problem(), [0.1], n_inputs=20, method=method, progress=False)
        assert compiled_code._is_compiled(method)
    with monkeypatch.context() as patch:
        patch.setattr(compiled_code.subprocess, "Popen", None)
        with compiled_code.compiling_simulations() as wait:
            wait()
    monkeypatch.setattr(weights.run_steps._cache._cache_file, "_source_stamp", "of other sources")
    assert not compiled_code._is_compiled("weights")


def test_what_is_compiled_ahead_are_all_methods() -> None:
    for method in METHODS:
        assert f'"{method}"' in compiled_code._BESIDE_THE_THEORY
