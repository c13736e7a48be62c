"""Simulations that are interrupted or killed and resumed: bit for bit those that were not, or refused."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student import cli
from teacher_student.sgd import checkpoint, replicas, run

METHODS = ("weights", "overlaps")
TIMES = [0.0, 0.33, 1.0, 2.0]


def simulate(problem: ts.Problem, method: str, path: Path | None, **options: Any) -> xr.Dataset:
    arguments = {"n_inputs": 40, "replicas": 3, "seed": 4, "progress": False, **options}
    return ts.simulate(problem, arguments.pop("alpha", TIMES), method=method, checkpoint=path, **arguments)


def interrupt_after(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Ctrl-C arrive while the simulation waits for the end of a turn, the given one; a turn has at most 7 steps."""

    class Queue(SimpleQueue):  # type: ignore[type-arg]
        left = turns

        def get(self, *arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().get(*arguments)

    monkeypatch.setattr(replicas, "SimpleQueue", Queue)
    monkeypatch.setattr(run, "_steps_per_call", lambda *_: 7)
    monkeypatch.setattr(replicas, "_LONGEST", -1.0)
    monkeypatch.setattr(replicas, "_SHORTEST", -1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turns", [1, 2, 11, 30])
def test_a_resumed_run_is_the_uninterrupted_one(
    make_problem: Callable[..., ts.Problem], method: str, turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, number = tmp_path / "state", 2 * run.METHODS[method] + 1  # in three runs
    whole = simulate(make_problem(), method, None, replicas=number)
    with monkeypatch.context() as patch:
        interrupt_after(turns, patch)
        with pytest.warns(UserWarning, match="^simulation interrupted"):
            first = simulate(make_problem(), method, path, replicas=number)
    assert first.attrs["status"] == "interrupted"
    assert path.exists()
    assert first.sizes["alpha"] < 4
    assert simulate(make_problem(), method, path, replicas=number).identical(whole)
    assert list(tmp_path.iterdir()) == [path]
    # What is finished is not run again.
    monkeypatch.setattr(replicas, "_go_on", None)
    assert simulate(make_problem(), method, path, replicas=number).identical(whole)


@pytest.mark.parametrize("method", METHODS)
def test_a_generator_that_is_not_restored_would_be_noticed(
    make_problem: Callable[..., ts.Problem], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The criterion above fails if a resumed run draws its random numbers from the beginning."""

    def without_generators(started: Any, name: str, arrays: dict[str, Any], states: dict[str, Any]) -> None:
        generators = started._asdict()
        states = {**states, **{f"{name}.{key}": value.bit_generator.state for key, value in generators.items() if key == "rng"}}
        of_chain = {f"{name}.{key}": generators[key] for key in ("streams", "draws", "used") if "streams" in generators}
        arrays = {**arrays, **of_chain}
        right(started, name, arrays, states)

    path = tmp_path / "state"
    with monkeypatch.context() as patch:
        interrupt_after(5, patch)
        with pytest.warns(UserWarning, match="^simulation interrupted"):
            simulate(make_problem(), method, path)
    right = checkpoint._restore
    monkeypatch.setattr(checkpoint, "_restore", without_generators)
    assert not simulate(make_problem(), method, path).equals(simulate(make_problem(), method, None))


KILLED = """
import sys, teacher_student as ts
from teacher_student.sgd import checkpoint, replicas, run
checkpoint.SECONDS_BETWEEN = 0.0
checkpoint._LARGEST_PART = 1.0
run._steps_per_call = lambda *_: 500
replicas._LONGEST = replicas._SHORTEST = -1.0
problem = ts.load_problem("both-layers")
ts.simulate(problem, [0.0, 10.0, 5000.0], n_inputs=50, replicas=2, seed=4, method=sys.argv[1], checkpoint="state")
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_killed_is_resumed(method: str, tmp_path: Path) -> None:
    """SIGKILL at no particular moment, twice."""
    path = tmp_path / "state"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, method], cwd=tmp_path)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with np.load(path, allow_pickle=False) as stored:
        assert stored["row v"].shape[0] < 6
    problem = ts.load_problem("both-layers")
    options: dict[str, Any] = {"alpha": [0.0, 10.0, 5000.0], "n_inputs": 50, "replicas": 2}
    assert simulate(problem, method, path, **options).identical(simulate(problem, method, None, **options))


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"seed": 5}, "seed 5, not 4"),
        ({"n_inputs": 41}, "n_inputs 41, not 40"),
        ({"replicas": 2}, "replicas 2, not 3"),
        ({"method": "overlaps"}, "method 'overlaps', not 'weights'"),
        ({"alpha": [0.0, 1.0]}, "alpha [0, 40], not [0, 13, 40, 80]"),
        ({"problem": {"noise": 0.25}}, "problem 'noise = 0.25', not 'noise = 0.2'"),
        ({"version": "9.9"}, "version '9.9', not "),
        ({"format": "checkpoint 9"}, "format 'checkpoint 9', not 'teacher_student checkpoint 2'"),
    ],
)
def test_a_checkpoint_of_another_simulation_is_refused_in_one_line(
    make_problem: Callable[..., ts.Problem],
    changed: dict[str, Any],
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "state"
    simulate(make_problem(), "weights", path)
    before = path.read_bytes()
    if "version" in changed:
        monkeypatch.setattr(ts, "__version__", changed.pop("version"))
    if "format" in changed:
        monkeypatch.setattr(checkpoint, "_FORMAT", changed.pop("format"))
    problem = make_problem(**changed.pop("problem", {}))
    with pytest.raises(ts.InvalidInput) as caught:
        simulate(problem, changed.pop("method", "weights"), path, **changed)
    assert str(caught.value) == f"checkpoint: got {str(path)!r}, expected one of a simulation with {shown}" + (
        "; or another file" if shown[-1] != " " else str(caught.value).split(shown)[1]
    )
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused(make_problem: Callable[..., ts.Problem], tmp_path: Path) -> None:
    path = tmp_path / "state"
    for content in (b"", b"text", b"PK\x03\x04 damaged"):
        path.write_bytes(content)
        with pytest.raises(ts.InvalidInput, match=r"^checkpoint: got '.*state', expected a checkpoint of a simulation, or a"):
            simulate(make_problem(), "overlaps", path)
        assert path.read_bytes() == content
    for place in (tmp_path, tmp_path / "missing" / "state", tmp_path / ("a" * 300), 3):
        with pytest.raises(ts.InvalidInput, match=r"^checkpoint: got .*, expected "):
            simulate(make_problem(), "overlaps", place)


def stored_arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def with_about(arrays: dict[str, Any], about: Any) -> dict[str, Any]:
    return {**arrays, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)}


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: with_about(arrays, [1]),
        lambda arrays: with_about(arrays, {"settings": 3}),
        lambda arrays: with_about(arrays, {"settings": {"array": 1, "dtype": "none"}}),
        lambda arrays: with_about(arrays, {**json.loads(arrays["about"].tobytes()), "steps": [1]}),
        lambda arrays: {name: array for name, array in arrays.items() if name != "run 0.arrays.rows"},
        lambda arrays: {**arrays, "run 0.arrays.rows": np.zeros(3)},
    ],
)
def test_a_checkpoint_whose_state_is_another_than_it_says_is_refused(
    make_problem: Callable[..., ts.Problem], change: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    """Such as one of this version of the package at another commit, or a file of NumPy's that is something else."""
    path = tmp_path / "state"
    simulate(make_problem(), "weights", path)
    changed = change(stored_arrays(path))
    with path.open("wb") as file:
        np.savez(file, **changed)
    with pytest.raises(ts.InvalidInput, match=r"^checkpoint: got '.*state', expected a checkpoint of a simulation, or a"):
        simulate(make_problem(), "weights", path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ts.InvalidInput, match=r"^checkpoint: got '.*state', expected a checkpoint of a simulation, or a"):
        simulate(make_problem(), "weights", path)


def test_output_times_that_differ_late_are_shown_where_they_do(make_problem: Callable[..., ts.Problem], tmp_path: Path) -> None:
    times = np.linspace(0.0, 1.0, 41)
    simulate(make_problem(), "overlaps", tmp_path / "state", alpha=times)
    with pytest.raises(ts.InvalidInput, match=r" alpha \.\.\..* 38, 39, 80\], not \.\.\..* 38, 39, 40\]; or another file$"):
        simulate(make_problem(), "overlaps", tmp_path / "state", alpha=[*times[:-1], 2.0])


def test_what_a_run_killed_while_it_wrote_has_left_is_removed(
    make_problem: Callable[..., ts.Problem], tmp_path: Path, leave_temporary: Callable[[Path], Path]
) -> None:
    own, other = leave_temporary(tmp_path / "state"), leave_temporary(tmp_path / "other")
    assert own.exists()
    simulate(make_problem(), "overlaps", tmp_path / "state")
    assert {path.name for path in tmp_path.iterdir()} == {"state", other.name}


@dataclass(frozen=True)
class Inner:
    words: np.ndarray
    count: int


@dataclass(frozen=True)
class Outer:
    x: np.ndarray
    inner: Inner
    rng: np.random.Generator
    constant: np.ndarray


@pytest.mark.parametrize("bits", [np.random.SFC64, np.random.PCG64, np.random.Philox, np.random.MT19937])
def test_any_replica_of_arrays_numbers_and_generators_comes_back(bits: Any, tmp_path: Path) -> None:
    def start(seed: int) -> Outer:
        rng = np.random.Generator(bits(seed))
        words = rng.integers(2**64, size=(4, 3), dtype=np.uint64)
        constant = np.arange(3.0)
        constant.flags.writeable = False
        return Outer(rng.standard_normal((2, 0, 3)), Inner(words, seed), rng, constant)

    rows = [[{"v": np.array([1.0, np.nan])}, {"v": np.array([2.0, 3.0])}], [{"v": np.array([4.0, 5.0])}]]
    old = [start(1), start(2)]
    old[1].rng.standard_normal(7)
    checkpoint.Checkpoint(tmp_path / "state", {"seed": 1}).save(old, rows, [12, 7])
    new = [start(3), start(4)]
    loaded, steps = checkpoint.Checkpoint(tmp_path / "state", {"seed": 1}).load(new) or ([], [])
    assert steps == [12, 7]
    assert [[row["v"].tolist() for row in of_run] for of_run in loaded[1:]] == [[[4.0, 5.0]]]
    np.testing.assert_array_equal([row["v"] for row in loaded[0]], [row["v"] for row in rows[0]])
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.inner.words, b.inner.words)
        assert a.inner.count == b.inner.count
        np.testing.assert_array_equal(a.rng.standard_normal(5), b.rng.standard_normal(5))


def test_the_command_line_resumes_after_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(dataclasses.replace(ts.load_problem("both-layers"), alpha=TIMES).to_toml())
    arguments = ["simulate", "small.toml", "--n-inputs", "50", "--replicas", "2"]
    assert cli.main([*arguments, "-o", "whole.nc"]) == 0
    with monkeypatch.context() as patch:
        interrupt_after(5, patch)
        assert cli.main([*arguments, "-o", "parts.nc", "--checkpoint", "state"]) == 130
    assert ts.load_trajectory("parts.nc").attrs["status"] == "interrupted"
    assert cli.main([*arguments, "-o", "parts.nc", "--checkpoint", "state"]) == 0
    assert Path("parts.nc").read_bytes() == Path("whole.nc").read_bytes()
    assert cli.main([*arguments, "--seed", "2", "-o", "parts.nc", "--checkpoint", "state"]) == 2
    assert cli.main([*arguments, "-o", "new.nc", "--checkpoint", "./new.nc"]) == 2  # the one would replace the other
    assert not Path("new.nc").exists()
