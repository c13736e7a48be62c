"""Files are whole or absent, whatever they are called."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

import teacher_student as ts
from teacher_student.files import alone, check_path, check_writable, output_folder, remove_leftovers, replacing


@pytest.mark.parametrize("letter", ["a", "\N{GREEK SMALL LETTER ALPHA}"])
def test_every_name_that_the_system_can_have_can_be_written(tmp_path: Path, letter: str) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") // len(letter.encode())
    path = tmp_path / (letter * longest)
    check_writable(path.parent, path)
    with replacing(path) as temporary:
        assert len(os.fsencode(temporary.name)) < 64
        temporary.write_text("whole")
    assert [(there.name, there.read_text()) for there in tmp_path.iterdir()] == [(path.name, "whole")]
    with pytest.raises(ts.InvalidInput, match=r"^output: got .*too long"):
        check_writable(path.parent, path.with_name(path.name + letter))


def test_what_can_be_no_path_is_refused_wherever_there_is_one(tmp_path: Path) -> None:
    for name in ("a\0b", b"bytes", 3, None):
        with pytest.raises(ts.InvalidInput, match=r"^there: got .*, expected a path"):
            check_path(name, "there")
    path = tmp_path / "a\0b"
    for refusing in (
        lambda: check_writable(path.parent, path),
        lambda: output_folder(path),
        lambda: ts.load_trajectory(path),
        lambda: ts.load_problem(path),
        lambda: ts.load_sweep(path),
        lambda: ts.sweep(ts.Sweep("staircase", {"rule.noise": [0.1]}), path),
        lambda: ts.simulate(ts.load_problem("staircase"), 1.0, checkpoint=path),
    ):
        with pytest.raises(ts.InvalidInput, match=r"got '.*a\\x00b'") as caught:
            refusing()
        assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_writes_that_still_runs_is_no_leftover(
    tmp_path: Path, leave_temporary: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is killed leaves a file to be removed; that of a living process stays, and that of another machine."""
    path = tmp_path / "state"
    left = leave_temporary(path)
    with replacing(path) as temporary, replacing(path) as second:
        temporary.write_text("one")
        second.write_text("two")
        with monkeypatch.context() as patch:
            patch.setattr(platform, "node", lambda: "another")
            remove_leftovers(tmp_path)
        assert left.exists()
        remove_leftovers(tmp_path, "state")
        assert set(tmp_path.iterdir()) == {temporary, second}
    assert [there.read_text() for there in tmp_path.iterdir()] == ["one"]


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    for _ in range(2):
        with (
            alone(tmp_path, tmp_path / "lock", "the first"),
            pytest.raises(ts.InvalidInput, match=r"^output: got .*, expected nobody else$"),
            alone(tmp_path, tmp_path / "lock", "nobody else"),
        ):
            pass
