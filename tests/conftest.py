"""Problems that several test modules share."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS, Activation

RecordCheck = Callable[[str, str, float, float], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --checks, the file that `record_check` appends to; docs/checks.py makes a page of it."""
    parser.addoption("--checks", type=Path, help="append what tests measured to this file, as JSON lines")


@pytest.fixture(autouse=True)
def _forget_registered_activations() -> Iterator[None]:
    """What a test registers is gone after it: which tests share a process changes from run to run."""
    before = dict(ACTIVATIONS)
    yield
    ACTIVATIONS.clear()
    ACTIVATIONS.update(before)


@pytest.fixture(scope="session")
def compiled_arctangent() -> Activation:
    """Return an activation of the user's own, compiled once for all tests that ask for `arctangent`."""
    ts.register_activation("arctangent", lambda x: math.atan(x), lambda x: 1.0 / (1.0 + x * x))
    return ACTIVATIONS.pop("arctangent")


@pytest.fixture
def arctangent(compiled_arctangent: Activation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the activation "arctangent" for one test."""
    monkeypatch.setitem(ACTIVATIONS, "arctangent", compiled_arctangent)


@pytest.fixture(scope="session")
def compiled_jump() -> Activation:
    """Return the function sign as an activation of the user's own, whose Gaussian averages are sampled, compiled once."""
    ts.register_activation("jump", lambda x: 1.0 if x > 0.0 else (-1.0 if x < 0.0 else x), lambda x: 0.0)
    return ACTIVATIONS.pop("jump")


@pytest.fixture
def jump(compiled_jump: Activation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the activation "jump" for one test."""
    monkeypatch.setitem(ACTIVATIONS, "jump", compiled_jump)


@pytest.fixture
def leave_temporary() -> Callable[[Path], Path]:
    """Return a function that leaves what a process leaves that is killed while it writes a file, and returns where."""
    program = """
import os, sys
from pathlib import Path
from teacher_student.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    os._exit(1)
"""

    def leave(path: Path) -> Path:
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
        return Path(done.stdout.strip())

    return leave


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT interrupt this process and those that it starts, also where tests are run with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def record_check(request: pytest.FixtureRequest) -> RecordCheck:
    """Return a function that asserts `measured` <= `allowed` and records both, with what was checked against what."""
    path = request.config.getoption("--checks")

    def record(what: str, against: str, measured: float, allowed: float) -> None:
        if path is not None:
            entry = {"what": what, "against": against, "measured": float(measured), "allowed": float(allowed)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**entry, "test": request.node.nodeid.split("[")[0]}) + "\n")
        assert measured <= allowed, f"{what}: {measured:.3g}, allowed {allowed:.3g}"

    return record


def build_problem(
    n_units: int = 4, n_modes: int = 3, n_teacher: int = 2, teacher_rank: int = 6, seed: int = 5, **rule: object
) -> ts.Problem:
    """Return a problem with generic overlaps in which, unless `rule` says otherwise, every factor learns.

    Overlaps are those of random vectors in few dimensions; a `teacher_rank` below `n_teacher` makes T singular.
    """
    rng = np.random.default_rng(seed)
    W_teacher = rng.standard_normal((n_teacher, teacher_rank)) @ rng.standard_normal((teacher_rank, 9)) / np.sqrt(teacher_rank)
    xi_in = 0.5 * rng.standard_normal((n_modes, 9)) + 0.3 * rng.standard_normal((n_modes, n_teacher)) @ W_teacher
    initial = ts.OrderParameters(
        Q_modes=xi_in @ xi_in.T / 9,
        R_modes=xi_in @ W_teacher.T / 9,
        T=W_teacher @ W_teacher.T / 9,
        sigma=1.0 + 0.3 * rng.standard_normal(n_modes),
        xi_out=np.eye(n_units, n_modes) + 0.4 * rng.standard_normal((n_units, n_modes)),
        v=0.8 + 0.3 * rng.standard_normal(n_units),
        v_teacher=1.0 + 0.2 * rng.standard_normal(n_teacher),
    )
    default = {
        "eta_xi_in": 1.0,
        "eta_sigma": 0.5,
        "eta_xi_out": 0.7,
        "eta_v": 0.4,
        "noise": 0.2,
        "weight_decay": 0.05,
        "batch_size": 2,
    }
    return ts.Problem(initial=initial, rule=ts.LearningRule(**{**default, **rule}))


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., ts.Problem]:
    """Return `build_problem`."""
    return build_problem
