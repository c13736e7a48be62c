"""TOML of problems, sweeps and networks on data is read alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import teacher_student as ts
from teacher_student.deep.problem_file import load_deep_problem

LI_HUANG = """
rule.eta_xi_in = 0.5
[initial]
kind = "li-huang"
n_inputs = 9
n_units = 2
n_modes = 2
seed = 1
"""
READERS: list[tuple[Callable[[Path], object], str]] = [
    (
        ts.load_problem,
        '[initial]\nkind = "li-huang"\nn_inputs = 9\nn_units = 2\nn_modes = 2\nseed = 1\n[rule]\neta_xi_in = 0.5\n',
    ),
    (ts.load_sweep, 'problem = "staircase"\n[vary]\nrule.noise = [0.0, 0.25]\n'),
    (load_deep_problem, '[data]\nname = "digits"\n'),
]


@pytest.mark.parametrize(("read", "text"), READERS, ids=["problem", "sweep", "deep"])
def test_files_of_any_editor_are_read_or_refused_in_one_line(tmp_path: Path, read: Callable[[Path], object], text: str) -> None:
    """A byte-order mark is no part of the text; another encoding and other damages are refused."""
    path = tmp_path / "file.toml"
    path.write_text(text, "utf-8")
    plain = read(path)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    marked = read(path)
    assert repr(marked) == repr(plain)
    for content in (text.encode("utf-16"), b"\xff" + text.encode(), b"[[", b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(ts.InvalidInput, match=": got ") as caught:
            read(path)
        assert str(caught.value).isprintable()
    for there in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ts.InvalidInput, match=r"^(problem|sweep): got "):
            read(there)
