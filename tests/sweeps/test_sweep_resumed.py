"""Nothing of a sweep is lost, repeated or changed, however often it is killed and whatever fails in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sweep import SWEEP, Interrupting, sweep

import teacher_student as ts
from teacher_student import cli
from teacher_student.cli import jobs
from teacher_student.sweeps import points
from teacher_student.sweeps import run as sweeps_run


def test_an_interrupted_sweep_repeats_nothing_and_ends_in_the_same_bytes(folder: Path) -> None:
    whole = Interrupting(after=-1)
    sweep("s.toml", "whole", whole)
    assert sorted(whole.done) == list(range(6))
    first, second = Interrupting(after=2), Interrupting(after=-1)
    with pytest.raises(KeyboardInterrupt):
        sweep("s.toml", "parts", first)
    assert not Path("parts/sweep.nc").exists()
    sweep("s.toml", "parts", second)
    assert sorted(first.done + second.done) == list(range(6))
    assert 0 < len(first.done) < 6
    assert Path("parts/sweep.nc").read_bytes() == Path("whole/sweep.nc").read_bytes()
    sweep("s.toml", "parts", Interrupting(after=0))  # nothing is left to do, and nothing is submitted
    assert Path("parts/sweep.nc").read_bytes() == Path("whole/sweep.nc").read_bytes()


def one_bit_of_the_data(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") - 20] ^= 1  # within the last array, that of the numbers
    path.write_bytes(content)


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(3))


def other_headers(headers: Any) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        with np.load(path) as stored:
            data = stored["data"]
        with path.open("wb") as file:
            np.savez(file, header=np.frombuffer(json.dumps(headers).encode(), np.uint8), data=data)

    return replace


DAMAGES: list[Callable[[Path], Any]] = [
    lambda path: path.write_bytes(path.read_bytes()[:100]),
    one_bit_of_the_data,
    one_array,
    other_headers([3]),
    other_headers([{"index": 0, "arrays": []}]),
    other_headers([{"index": 99, "arrays": []}]),
    lambda path: shutil.rmtree(path.parent),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_of_results_is_computed_again(folder: Path, damage: Callable[[Path], Any]) -> None:
    sweep("s.toml", "out", Interrupting(after=-1))
    expected = Path("out/sweep.nc").read_bytes()
    damage(sorted(Path("out/results").iterdir())[0])
    again = Interrupting(after=-1)
    sweep("s.toml", "out", again)
    assert again.done[0] == 0
    assert Path("out/sweep.nc").read_bytes() == expected


def test_what_a_sweep_killed_while_it_wrote_has_left_is_removed(
    folder: Path, pool: Executor, leave_temporary: Callable[[Path], Path]
) -> None:
    Path("out/results").mkdir(parents=True)
    left = [leave_temporary(Path("out", name)) for name in ("sweep.nc", "sweep.toml", "results/00000000.npz", "mine")]
    assert all(path.exists() for path in left)
    sweep("s.toml", "out", pool)
    assert [path.name for path in Path("out").rglob(".*")] == [left[-1].name]


HOLDING = """
import fcntl, sys, time
file = open("out/results/lock", "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_the_same_sweep_in_the_same_folder_is_refused_while_the_first_runs(
    folder: Path, pool: Executor, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two that wrote the same files each could lose what the other has; a lock that was left by a killed one is none."""
    pytest.importorskip("fcntl")
    inner: list[int] = []

    class Second(Interrupting):
        def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
            inner.append(cli.main(["sweep", "s.toml", "-o", "out"]))
            return super().submit(function, *arguments, **options)

    first = Second(after=-1)
    dataset = sweep("s.toml", "out", first)
    assert set(inner) == {2}
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {
        "teacher-student: output: got 'out', expected a folder in which no sweep is running; wait for that one, or stop it"
    }
    assert (dataset["status"] == "complete").all()

    holding = subprocess.Popen([sys.executable, "-c", HOLDING], stdout=subprocess.PIPE, text=True)
    assert holding.stdout is not None
    assert holding.stdout.readline() == "held\n"
    assert cli.main(["sweep", "s.toml", "-o", "out"]) == 2
    holding.kill()
    holding.communicate()
    assert cli.main(["sweep", "s.toml", "-o", "out"]) == 0


SWEEPING = """
import teacher_student as ts
try:
    ts.sweep("s.toml", "out", workers=2, progress=False)
except ts.InvalidInput as error:
    print(error)
"""


def test_a_script_that_is_no_file_is_told_so_before_any_work(folder: Path) -> None:
    """Processes import the script that started them; one that came through a pipe is nowhere."""
    done = subprocess.run([sys.executable, "-"], input=SWEEPING, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.startswith("workers: got 2, expected a script in a file")
    assert done.stdout.count("\n") == 1
    assert not Path("out").exists()


def test_a_point_that_fails_leaves_the_others_and_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, first, second = (Interrupting(after=-1) for _ in range(3))
    sweep("s.toml", "whole", whole)
    right = points.problem_with

    def fail(document: dict[str, Any], settings: dict[str, Any]) -> ts.Problem:
        if settings == {"rule.eta_xi_in": 0.2, "rule.noise": 0.3}:
            raise MemoryError("not\nenough")
        return right(document, settings)

    with monkeypatch.context() as patch:
        patch.setattr(points, "problem_with", fail)
        dataset = sweep("s.toml", "parts", first)
    assert (dataset["status"] == "complete").sum() == 5
    point = dataset.isel({"rule.eta_xi_in": 0, "rule.noise": 1})
    assert point["status"] == point["simulated_status"] == "failed: MemoryError: not enough"
    assert np.isnan(point["eps_g"]).all()
    assert dataset["alpha"].dims == ("alpha",)
    assert jobs.report_status(dataset) == 3
    message = "1 of 6 points failed, see status and simulated_status; the same command tries them again\n"
    assert capsys.readouterr().err == f"teacher-student: {message}"
    sweep("s.toml", "parts", second)
    assert second.done == [1]
    assert Path("parts/sweep.nc").read_bytes() == Path("whole/sweep.nc").read_bytes()


def test_a_sweep_of_which_all_points_fail_says_why(folder: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "problem_with", None)
    with pytest.raises(ts.InvalidInput, match=r"^sweep: got \"failed: TypeError: .*\", expected a point that can be run"):
        sweep("s.toml", "out", pool)


def test_a_batch_that_takes_too_long_is_cut_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow points after fast ones: their batch was to take a second, and what is in it would be lost by a kill."""
    monkeypatch.setattr(points, "LONGEST", -1.0)
    work = points.work_at(ts.load_sweep("s.toml"), [2, 4, 5])
    assert [header["index"] for header in points.run_batch(work).headers] == [2]
    monkeypatch.setattr(sweeps_run, "_SECONDS_PER_BATCH", 1e9)
    cut = Interrupting(after=-1)
    dataset = sweep("s.toml", "out", cut)
    assert len(results("out")) == 6
    assert len(cut.done) > 6  # handed out more than once, run once
    assert (dataset["status"] == "complete").all()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (type("KilledWorker", (Exception,), {})("of distributed"), "a worker process died"),
        (CancelledError(), "the scheduler is gone"),
        (BrokenProcessPool("abruptly"), "a worker process died"),
    ],
)
def test_lost_workers_are_told_in_one_line(
    folder: Path, error: Exception, cause: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Losing(Interrupting):
        def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
            job: Future[Any] = super().submit(function, *arguments, **options)
            if len(self.done) > 3:
                job = Future()
                job.set_exception(error)
            return job

    @contextlib.contextmanager
    def cluster(address: str) -> Iterator[Any]:
        yield Losing(after=-1), lambda: 1

    monkeypatch.setattr(sweeps_run, "cluster_workers", cluster)
    assert cli.main(["sweep", "s.toml", "-o", "out", "--cluster", "there"]) == 130
    message = capsys.readouterr().err
    assert message.startswith(f"teacher-student: {cause}; ")
    assert message.endswith(" of 6 points are kept in out; the same command goes on from there\n")
    assert message.count("\n") == 1


# Points of a tenth of a second or so, so that there is time to kill the sweep between them.
SLOW = SWEEP.replace("[0.2, 0.5, 0.8]", "{ linear = [0.2, 1.0, 6] }").replace("replicas = 3", "replicas = 1")
SLOW = SLOW.replace("alpha = [0.0, 1.0, 2.0]", "alpha = [0.0, 4.0]").replace("n_inputs = 30", "n_inputs = 200000")


def results(folder: str) -> dict[Path, int]:
    """Return the files of results, and when each was written."""
    return {path: os.stat(path).st_mtime_ns for path in Path(folder, "results").glob("*.npz")}


def running(folder: str, group: bool = False) -> subprocess.Popen[str]:
    """Return a sweep on two processes that is under way: some points are finished, some are not."""
    command = [sys.executable, "-m", "teacher_student.cli", "sweep", "s.toml", "-o", folder, "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=group)
    before, until = results(folder), time.monotonic() + 120
    while results(folder) == before:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def children(pid: int) -> list[int]:
    return [int(task) for path in Path(f"/proc/{pid}/task").glob("*/children") for task in path.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for orphans in /proc")
def test_sigkill_sigterm_and_ctrl_c_lose_nothing_that_is_finished(folder: Path, ctrl_c: None) -> None:
    """Killed, interrupted and resumed, a sweep on processes writes the bytes of one that was left in peace.

    A batch system sends SIGTERM to all processes of a job, workers too.
    """
    (folder / "s.toml").write_text(SLOW)
    killed = running("parts")
    workers = children(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    kept = results("parts")
    assert 0 < len(kept) < 12
    assert len(workers) >= 2
    until = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_alive, workers))

    interrupted = running("parts")
    interrupted.send_signal(signal.SIGINT)
    message = interrupted.communicate(timeout=60)[1]
    assert interrupted.returncode == 130
    assert message.startswith("teacher-student: interrupted; ")
    assert "points are kept in parts" in message
    assert message.count("\n") == 1
    assert results("parts").items() >= kept.items()

    terminated = running("parts", group=True)
    os.killpg(terminated.pid, signal.SIGTERM)
    message = terminated.communicate(timeout=60)[1]
    assert terminated.returncode == 143
    assert message.startswith("teacher-student: interrupted; ")
    assert message.count("\n") == 1

    assert cli.main(["sweep", "s.toml", "-o", "parts", "--workers", "1"]) == 0
    assert results("parts").items() >= kept.items()
    sweep("s.toml", "whole", Interrupting(after=-1))
    assert Path("parts/sweep.nc").read_bytes() == Path("whole/sweep.nc").read_bytes()
    assert not list(Path("parts").rglob(".*"))


def test_batches_grow_until_they_take_about_a_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small points share a file, and no batch is so large that a worker would be left without one."""
    text = SWEEP.replace("noise = [0.0, 0.3]", "noise = { linear = [0.0, 0.3, 100] }")
    (folder / "s.toml").write_text("theory = false\n" + text.replace("replicas = 3", "replicas = 1"))
    sizes = []

    def store(folder: Path, results: points.Results) -> None:
        sizes.append(len(results.headers))
        right(folder, results)

    right = sweeps_run.store
    monkeypatch.setattr(sweeps_run, "store", store)
    monkeypatch.setattr(points.time, "perf_counter", iter(np.arange(0.0, 1000.0, 0.01)).__next__)
    sweep("s.toml", "out", Interrupting(after=-1))
    assert sum(sizes) == 300
    assert 5 < len(sizes) < 60
    assert max(sizes) <= 150
