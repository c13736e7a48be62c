"""Replicas side by side: reproducible whatever computes them, refused when impossible, kept when they end early."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.sgd import chain, weights
from teacher_student.sgd.run import METHODS

TIMES = [0.0, 0.33, 2.0]
N_INPUTS = 40


def run(problem: ts.Problem, method: str = "weights", alpha: Any = TIMES, **options: Any) -> xr.Dataset:
    arguments = {"n_inputs": N_INPUTS, "replicas": 3, "seed": 4, "progress": False, **options}
    return ts.simulate(problem, alpha, method=method, **arguments)


@pytest.fixture(params=["one thread", "two threads", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        executor: Executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    else:
        executor = ThreadPoolExecutor(1 if request.param == "one thread" else 2)
    with executor:
        yield executor


def test_result_does_not_depend_on_the_executor(make_problem: Callable[..., ts.Problem], pool: Executor) -> None:
    for method in METHODS:
        assert run(make_problem(), method, executor=pool).identical(run(make_problem(), method))


@pytest.mark.parametrize("method", METHODS)
def test_executor_of_the_caller_stays_open(make_problem: Callable[..., ts.Problem], method: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        run(make_problem(), method, executor=pool)
        assert pool.submit(int, 3).result() == 3


@pytest.mark.parametrize("method", METHODS)
def test_replica_does_not_depend_on_their_number(make_problem: Callable[..., ts.Problem], method: str) -> None:
    two, four = (run(make_problem(), method, replicas=replicas) for replicas in (2, 4))
    assert two.equals(four.isel(replica=slice(2)))


@pytest.mark.parametrize("method", METHODS)
def test_result_does_not_depend_on_the_steps_per_call(
    make_problem: Callable[..., ts.Problem], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(make_problem(), method)
    monkeypatch.setattr("teacher_student.sgd.run._steps_per_call", lambda *_: 7)
    assert run(make_problem(), method).identical(expected)


@pytest.mark.parametrize("method", METHODS)
def test_replicas_and_seeds_differ(make_problem: Callable[..., ts.Problem], method: str) -> None:
    finals = [run(make_problem(), method, seed=seed).isel(alpha=-1)["eps_g"].values for seed in (4, 5)]
    assert len(np.unique(np.concatenate(finals))) == 6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_inputs", [5, 40, 500])
def test_initial_overlaps_are_exact(make_problem: Callable[..., ts.Problem], method: str, n_inputs: int) -> None:
    problem = make_problem()
    start = run(problem, method, n_inputs=n_inputs).isel(alpha=0)
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v", "Q", "R"):
        for replica in start[name].values:
            np.testing.assert_allclose(replica, getattr(problem.initial, name), rtol=0, atol=1e-13)
    np.testing.assert_allclose(start["eps_g"], problem.initial.eps_g(), rtol=1e-12)


def test_alpha_is_steps_over_n(make_problem: Callable[..., ts.Problem]) -> None:
    """Times are rounded to whole steps, those that coincide are kept once, and the attributes say what was run."""
    result = run(make_problem(), "overlaps", [0.0, 0.26, 0.34, 0.35, 1.0], n_inputs=10, seed=3)
    assert result["alpha"].values.tolist() == [0.0, 0.3, 0.4, 1.0]
    assert result.sizes["replica"] == 3
    kept = {name: result.attrs[name] for name in ("source", "method", "n_inputs", "seed", "status")}
    assert kept == {"source": "simulation", "method": "overlaps", "n_inputs": 10, "seed": 3, "status": "complete"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_inputs", 4),
        ("n_inputs", 0),
        ("n_inputs", True),
        ("n_inputs", 50.0),
        ("n_inputs", "50"),
        ("replicas", 0),
        ("replicas", True),
        ("replicas", 2.0),
        ("replicas", 10**12),
        ("n_inputs", 10**15),
        ("seed", -1),
        ("seed", 1.0),
        ("seed", False),
        ("method", "weight"),
        ("alpha", [1.0, 0.5]),
        ("alpha", [0.0, 1.0, 1.0]),
        ("alpha", [-1.0, 1.0]),
        ("alpha", [0.0, np.nan]),
        ("alpha", [0.0, np.inf]),
        ("alpha", []),
        ("alpha", [[0.0, 1.0]]),
        ("alpha", 0.0),
        ("alpha", -3.0),
        ("alpha", "now"),
        ("alpha", "5"),
        ("alpha", True),
    ],
)
def test_bad_input_is_refused(make_problem: Callable[..., ts.Problem], name: str, value: object) -> None:
    """N below P + M, booleans as numbers, unsorted times: one line that starts with the field."""
    with pytest.raises(ts.InvalidInput, match=rf"^{name}(\[\d+\])?: got .+, expected ") as caught:
        run(make_problem(), **{name: value})
    assert "\n" not in str(caught.value)


def test_smallest_n_runs(make_problem: Callable[..., ts.Problem]) -> None:
    for method in METHODS:
        assert run(make_problem(), method, n_inputs=5).attrs["status"] == "complete"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alpha", [[0.0, 0.025, 40.0], [40.0]], ids=["after outputs", "before any output"])
def test_divergence_keeps_the_trajectory(make_problem: Callable[..., ts.Problem], method: str, alpha: list[float]) -> None:
    problem = make_problem(eta_v=1000.0)
    with pytest.raises(ts.Diverged, match="simulation diverged at alpha = ") as caught:
        run(problem, method, alpha)
    kept = caught.value.trajectory
    assert kept["alpha"].values.tolist() == alpha[:-1]
    assert kept.sizes["replica"] == 3
    assert kept.attrs["status"].startswith("diverged at alpha = ")
    assert np.isfinite(kept["eps_g"]).all()


@pytest.mark.parametrize("n_outputs", [0, 2])
@pytest.mark.parametrize(("method", "module"), [("weights", weights), ("overlaps", chain)])
def test_interrupt_keeps_the_outputs(
    make_problem: Callable[..., ts.Problem], monkeypatch: pytest.MonkeyPatch, method: str, module: Any, n_outputs: int
) -> None:
    """Ctrl-C after some outputs, or before any, gives those with the status "interrupted"; a later run is complete.

    Three runs take turns here, an output time a turn; Ctrl-C comes in the second run's turn.
    """
    problem = dataclasses.replace(make_problem(), alpha=[0.25, 0.5, 0.75, 1.0])
    replicas = 2 * METHODS[method] + 1
    complete = run(problem, method, None, replicas=replicas)
    original, calls = module.advance, []

    def interrupted(*arguments: Any) -> int:
        calls.append(None)
        if len(calls) > 3 * n_outputs + 1:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(module, "advance", interrupted)
        patch.setattr("teacher_student.sgd.replicas._ELSEWHERE", -1.0)
        with pytest.warns(UserWarning, match=r"^simulation interrupted: the trajectory ") as caught:
            result = run(problem, method, None, replicas=replicas, executor=pool)
    assert caught[0].filename == __file__
    assert str(caught[0].message).split(", ")[0].endswith("ends at alpha = 0.5" if n_outputs else "holds no output time")
    assert result.attrs["status"] == "interrupted"
    assert result["alpha"].values.tolist() == problem.alpha[:n_outputs].tolist()
    assert result.equals(complete.isel(alpha=slice(n_outputs)))
    assert run(problem, method, None, replicas=replicas).identical(complete)


@pytest.mark.parametrize(("method", "module"), [("weights", weights), ("overlaps", chain)])
def test_control_c_is_answered(
    make_problem: Callable[..., ts.Problem], method: str, module: Any, monkeypatch: pytest.MonkeyPatch, ctrl_c: None
) -> None:
    """A run of days ends after the signal, with the outputs that every replica has passed; without an answer the test fails."""
    original = module.advance
    until = time.monotonic() + 120.0

    def advance(*arguments: Any) -> Any:
        assert time.monotonic() < until, "Ctrl-C is not answered"
        return original(*arguments)

    run(make_problem(), method)  # compiles
    monkeypatch.setattr(module, "advance", advance)
    threading.Timer(3.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.warns(UserWarning, match="^simulation interrupted"):
        result = run(make_problem(), method, [0.0, 1.0, 1e9], replicas=5)
    assert result.attrs["status"] == "interrupted"
    assert result["alpha"].values.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_replicas_do_not_wait_for_each_other(
    make_problem: Callable[..., ts.Problem], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Where the run of the first replica stands still, the other one goes through all its output times."""
    module, other_arrived = {"weights": weights, "overlaps": chain}[method], threading.Event()
    original, first = module.advance, []

    def advance(replica: Any, *arguments: Any) -> int:
        if not first:
            first.append(replica)
            assert other_arrived.wait(60.0)
        taken = original(replica, *arguments)
        if replica is not first[0] and arguments[-2] + np.min(taken) == N_INPUTS * TIMES[-1]:
            other_arrived.set()
        return taken

    replicas = METHODS[method] + 1
    expected = run(make_problem(), method, replicas=replicas)
    monkeypatch.setattr(module, "advance", advance)
    with ThreadPoolExecutor(2) as pool:
        assert run(make_problem(), method, replicas=replicas, executor=pool).identical(expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seconds", [-1.0, 1.0])
def test_the_earliest_divergence_is_reported(
    make_problem: Callable[..., ts.Problem], monkeypatch: pytest.MonkeyPatch, method: str, workers: int, seconds: float
) -> None:
    """Whichever replica is computed first: the report names the one that failed first, and the outputs before that are kept."""
    problem = make_problem(activation="quadratic", eta_xi_in={"weights": 3.0, "overlaps": 1.4}[method])
    times = np.linspace(0.0, 10.0, 81)
    alone = []
    for replicas in {"weights": range(1, 7), "overlaps": (1, 2, 3, 8, 11, 17)}[method]:
        with pytest.raises(ts.Diverged) as caught:
            run(problem, method, times, replicas=replicas)
        alone.append((float(str(caught.value).split("alpha = ")[1].split(":")[0]), int(str(caught.value).split()[-1])))
    assert alone == sorted(alone, reverse=True)  # one more replica can only bring an earlier failure
    assert len(set(alone)) > 1
    monkeypatch.setattr("teacher_student.sgd.replicas._ELSEWHERE", seconds)
    with ThreadPoolExecutor(workers) as pool, pytest.raises(ts.Diverged) as caught:
        run(problem, method, times, replicas=replicas, executor=pool)
    assert f"alpha = {alone[-1][0]:g}: " in str(caught.value)
    assert str(caught.value).endswith(f" in replica {alone[-1][1]}")
    kept = caught.value.trajectory
    assert kept["alpha"].values.tolist() == times[times < alone[-1][0]].tolist()


class InterruptedExecutor(ThreadPoolExecutor):
    """An executor during whose first submission Ctrl-C arrives."""

    def submit(self, *arguments: Any, **named: Any) -> Any:
        raise KeyboardInterrupt


def test_interrupt_of_the_first_step_keeps_the_start(make_problem: Callable[..., ts.Problem]) -> None:
    """Ctrl-C before any step has been handed out leaves the output at alpha = 0."""
    with InterruptedExecutor(1) as pool, pytest.warns(UserWarning, match="^simulation interrupted"):
        result = run(make_problem(), executor=pool)
    assert result.attrs["status"] == "interrupted"
    assert result.equals(run(make_problem()).isel(alpha=slice(1)))
