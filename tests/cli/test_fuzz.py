"""Files and arguments as nobody would write them are refused in one line, or run: there is no third way."""

from __future__ import annotations

import contextlib
import io
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import fuzz
import pytest

import teacher_student as ts
from teacher_student import cli

TINY = """
[initial]
kind = "plain"
Q = [[0.2]]
R = [[0.1]]
T = [[1.0]]
v = [1.0]
v_teacher = [1.0]
[rule]
eta_xi_in = 0.5
[run]
alpha = [0.0, 0.1]
n_inputs = 20
replicas = 2
"""
SECONDS = 100


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(TINY)
    return tmp_path


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Fail what takes far too long, where the system has such a clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def fail(*_: object) -> None:
        raise AssertionError(f"it takes more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_command(arguments: list[str]) -> None:
    """Run a command and look at its status and at what it says."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(arguments)
        except SystemExit as end:  # how argparse refuses
            status = int(str(end.code))
    said = err.getvalue()
    assert status in (0, 1, 2, 3), said
    assert status != 1 or arguments[0] == "compare", said
    assert "Traceback" not in said
    if status == 2:
        assert said.startswith("teacher-student")
        assert said.count("\n") == 1
        assert said[:-1].isprintable()


def check_refusal(error: ts.InvalidInput) -> None:
    assert str(error).startswith("fuzzed.toml: ")
    assert ": got " in str(error)
    assert str(error).isprintable()


def check_problem(text: str, to_the_end: bool = True) -> None:
    """Read a problem and, if `to_the_end`, let a command refuse what is refused and take a first step of what is not."""
    Path("fuzzed.toml").write_text(text, "utf-8", errors="surrogatepass")
    try:
        problem = ts.load_problem("fuzzed.toml")
    except ts.InvalidInput as error:
        check_refusal(error)
        if to_the_end:
            check_command(["ode", "fuzzed.toml"])
        return
    if not to_the_end:
        return
    assert ts.problem_file.parse_problem(problem.to_toml()) == problem
    N = min(problem.n_inputs, 10**18)
    with contextlib.suppress(ts.InvalidInput, ts.Diverged):
        ts.integrate(problem, [0.0, 1e-3], progress=False)
    for method in ("overlaps", "weights") if N < 2000 and problem.rule.batch_size < 100 else ("overlaps",):
        if problem.rule.batch_size < 2**31:
            with contextlib.suppress(ts.InvalidInput, ts.Diverged):
                ts.simulate(problem, [0.0, 1.0 / N], method=method, progress=False)


class Here(Executor):
    """Runs in this thread what is submitted."""

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        job: Future[Any] = Future()
        job.set_result(function(*arguments, **options))
        return job


def check_sweep(text: str, folder: str, to_the_end: bool = True) -> None:
    """Read a sweep and all its problems and, if `to_the_end`, let a command refuse it or run what does not take long."""
    Path("fuzzed.toml").write_text(text, "utf-8", errors="surrogatepass")
    try:
        plan = ts.load_sweep("fuzzed.toml")
        problems = [plan.problem_at(index) for index in range(plan.n_points)]
    except ts.InvalidInput as error:
        assert ": got " in str(error)
        assert str(error).isprintable()
        if to_the_end:
            check_command(["sweep", "fuzzed.toml", "-o", folder])
            assert not Path(folder).exists()
        return
    if not to_the_end:
        return
    steps = [p.alpha[-1] * float(min(10**100, p.n_inputs * p.replicas * p.rule.batch_size)) for p in problems]
    if max(steps) < 1e4 and max(p.alpha[-1] for p in problems) < 10 and len(problems) < 20:
        with contextlib.suppress(ts.InvalidInput):
            ts.sweep(plan, folder, executor=Here(), workers=1, progress=False)


def check_problems(seed: int, count: int, part: float) -> None:
    rng, bases = random.Random(seed), fuzz.problems()
    for _ in range(count):
        text = fuzz.mutated(rng.choice(bases), rng)
        with limited(), showing(text):
            check_problem(text, to_the_end=rng.random() < part)


def check_sweeps(seed: int, count: int, part: float) -> None:
    rng, bases = random.Random(seed), fuzz.sweeps()
    for i in range(count):
        text = fuzz.mutated(rng.choice(bases), rng)
        with limited(), showing(text):
            check_sweep(text, f"out{i}", to_the_end=rng.random() < part)


def check_deep_problems(seed: int, count: int) -> None:
    rng, bases = random.Random(seed), fuzz.deep_problems()
    for _ in range(count):
        text = fuzz.mutated(rng.choice(bases), rng)
        Path("fuzzed.toml").write_text(text, "utf-8", errors="surrogatepass")
        for analysis in ("train", "latent", "widths", "cost"):
            with limited(), showing(text):
                check_command(["deep", analysis, "fuzzed.toml", "-o", "small.toml/x"])


def check_commands(seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        arguments = fuzz.command(rng)
        with limited(), showing(repr(arguments)):
            check_command(arguments)
        Path("small.toml").write_text(TINY)


@contextlib.contextmanager
def showing(case: str) -> Iterator[None]:
    """Let what goes wrong say of which case."""
    try:
        yield
    except Exception as error:
        error.add_note(f"with:\n{case[:2000]}")
        raise


def test_problems() -> None:
    check_problems(1, 150, part=1.0)


def test_sweeps() -> None:
    check_sweeps(2, 150, part=1.0)


def test_deep_problems() -> None:
    check_deep_problems(3, 30)


def test_commands() -> None:
    check_commands(4, 100)


def test_a_refusal_of_two_lines_or_a_traceback_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: commands that do what none may do."""
    with monkeypatch.context() as patch:
        patch.setattr("teacher_student.problem_file.tables", None)
        with pytest.raises(AssertionError, match="TypeError"):
            check_command(["ode", "small.toml"])
    check_command(["stages", "run.nc", "a\nb"])
    for module in ("errors", "outcome", "cli.commands"):
        monkeypatch.setattr(f"teacher_student.{module}.one_line", str)
    with pytest.raises(AssertionError):
        check_command(["stages", "run.nc", "a\nb"])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 104))
def test_many_problems(seed: int) -> None:
    check_problems(seed, 5000, part=0.2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 204))
def test_many_sweeps(seed: int) -> None:
    check_sweeps(seed, 5000, part=0.2)


@pytest.mark.long
def test_many_deep_problems() -> None:
    check_deep_problems(300, 400)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(400, 404))
def test_many_commands(seed: int) -> None:
    check_commands(seed, 300)
