"""Commands end as they should wherever they are started, without a reader or a screen, and when a batch system ends them."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import teacher_student as ts
from teacher_student import cli
from teacher_student.cli import commands
from teacher_student.cli.surroundings import figures_without_a_screen
from teacher_student.deep import training
from teacher_student.sgd import replicas
from teacher_student.theory.ode.march import March

COMMAND = [sys.executable, "-m", "teacher_student.cli"]


def run_without_reader(arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Return a finished command whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    options: dict[str, Any] = {"stdout": writer, "stderr": subprocess.PIPE, "text": True, "timeout": 300}
    try:
        return subprocess.run([*COMMAND, *arguments], env={**os.environ, **variables}, check=False, **options)
    finally:
        os.close(writer)


@pytest.mark.parametrize("arguments", [["presets"], ["--help"], ["ode", "no-such-problem"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_that_nobody_listens_to_ends_like_any_other(arguments: list[str], unbuffered: str) -> None:
    done = run_without_reader(arguments, PYTHONUNBUFFERED=unbuffered)
    if arguments[0] == "ode":
        assert done.returncode == 2
        assert done.stderr.startswith("teacher-student: problem: got 'no-such-problem'")
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_the_main_job_needs_neither_a_reader_nor_the_backend_of_the_user(folder: Path) -> None:
    """A notebook in another environment leaves its backend to all that it starts."""
    arguments = ["compare", "small.toml", "-o", "out", "--replicas", "8"]
    done = run_without_reader(arguments, PYTHONUNBUFFERED="1", MPLBACKEND="module://no_such_package.backend")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"report.md", "comparison.png"} <= {path.name for path in (folder / "out").iterdir()}


@pytest.mark.parametrize("before", [None, "module://no_such_package.backend"])
def test_the_backend_of_the_user_is_given_back(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is None:
        monkeypatch.delenv("MPLBACKEND", raising=False)
    else:
        monkeypatch.setenv("MPLBACKEND", before)
    with figures_without_a_screen():
        assert os.environ["MPLBACKEND"] == "Agg"
    assert os.environ.get("MPLBACKEND") == before


def test_a_name_that_the_terminal_cannot_write_is_written_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(letters, "ascii"))
    assert cli.main(["ode", "small.toml", "-o", "B\u00e9zier-\u03bb.nc"]) == 0
    assert letters.getvalue() == rb"B\xe9zier-\u03bb.nc" + os.linesep.encode()
    assert (folder / "B\u00e9zier-\u03bb.nc").is_file()


class Full(io.StringIO):
    """A stream to a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_output_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["presets"]) == 2
    message = "output: got No space left on device, expected to write to the standard output"
    assert capsys.readouterr().err == f"teacher-student: {message}\n"


def test_closed_streams_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["presets"]) == 0
    assert cli.main(["ode", "no-such-problem"]) == 2


def test_help_and_presets_do_not_wait_for_compilers() -> None:
    program = "import sys; from teacher_student.cli import main; main(['presets']); print({'numba', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_mistake_of_the_package_has_a_status_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 says that theory and simulation differ."""

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(commands, "run_theory", fail)
    assert cli.main(["ode", "small.toml"]) == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2:] == ["RuntimeError: a mistake", "teacher-student: an internal error; what was saved before it is whole"]


@pytest.fixture
def sigterm() -> Iterator[Callable[..., None]]:
    """Return a function that does what a batch system does before it kills: it sends SIGTERM, and sometimes once more."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def send(*arguments: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)

    yield send
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)


def test_sigterm_keeps_a_simulation_and_its_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sigterm: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["simulate", "small.toml", "-o", "s.nc", "--checkpoint", "state"]
    with monkeypatch.context() as patch:
        patch.setattr(replicas, "tqdm", type("Bar", (replicas.tqdm,), {"update": sigterm}))
        assert cli.main(arguments) == 143
    assert capsys.readouterr().err == "teacher-student: simulation interrupted; what was computed is kept\n"
    assert ts.load_trajectory("s.nc").attrs["status"] == "interrupted"
    assert Path("state").is_file()
    assert cli.main(arguments) == 0
    assert cli.main(["simulate", "small.toml", "-o", "whole.nc"]) == 0
    assert Path("s.nc").read_bytes() == Path("whole.nc").read_bytes()


@pytest.mark.parametrize("command", [["ode", "small.toml", "-o", "out/theory.nc"], ["compare", "small.toml", "-o", "out"]])
def test_sigterm_keeps_the_theory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sigterm: Callable[..., None], command: list[str]
) -> None:
    (folder / "out").mkdir()
    monkeypatch.setattr(March, "go", sigterm)
    assert cli.main(command) == 143
    assert [path.name for path in (folder / "out").iterdir()] == ["theory.nc"]
    assert ts.load_trajectory("out/theory.nc").attrs["status"] == "interrupted"


def test_sigterm_keeps_the_best_network(folder: Path, monkeypatch: pytest.MonkeyPatch, sigterm: Callable[..., None]) -> None:
    right, epochs = training._epoch, []

    def epoch(*arguments: Any) -> Any:
        epochs.append(None)
        if len(epochs) > 2:
            sigterm()
        return right(*arguments)

    monkeypatch.setattr(training, "_epoch", epoch)
    assert cli.main(["deep", "train", "-o", "model.npz"]) == 143
    assert ts.deep.load_model("model.npz")[0].n_iter_ == 2


def test_sigterm_that_is_ignored_stays_so(folder: Path, monkeypatch: pytest.MonkeyPatch, sigterm: Callable[..., None]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    right = commands.run_theory

    def run_theory(*arguments: Any, **options: Any) -> Any:
        sigterm()
        return right(*arguments, **options)

    monkeypatch.setattr(commands, "run_theory", run_theory)
    assert cli.main(["ode", "small.toml"]) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
