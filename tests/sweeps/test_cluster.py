"""A sweep on a dask.distributed cluster, of which one worker is killed on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import teacher_student as ts
from teacher_student.sweeps import workers

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")

PROBLEM = {
    "initial": {"kind": "li-huang", "n_inputs": 30, "n_units": 2, "n_modes": 2, "seed": 1},
    "rule": {"eta_xi_in": 1.0},
    "run": {"alpha": [0.0, 4.0], "n_inputs": 200000, "replicas": 1},
}


def test_a_sweep_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    """The results are those of a sweep in this process, byte for byte."""
    plan = ts.Sweep(PROBLEM, {"rule.noise": {"linear": [0.0, 0.5, 12]}}, simulation="overlaps")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        first = next(iter(cluster.workers.values()))

        def kill_when_under_way() -> None:
            while not list((tmp_path / "cluster" / "results").glob("*.npz")):
                time.sleep(0.02)
            os.kill(first.pid, signal.SIGKILL)
            killed.append(len(list((tmp_path / "cluster" / "results").glob("*.npz"))))

        killed: list[int] = []
        assassin = threading.Thread(target=kill_when_under_way)
        assassin.start()
        ts.sweep(plan, tmp_path / "cluster", cluster=cluster.scheduler_address, progress=False)
        assassin.join()
        assert killed
        assert killed[0] < 12
    with ThreadPoolExecutor(1) as executor:
        ts.sweep(plan, tmp_path / "here", executor=executor, progress=False)
    assert (tmp_path / "cluster" / "sweep.nc").read_bytes() == (tmp_path / "here" / "sweep.nc").read_bytes()


def test_a_scheduler_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SECONDS_TO_CONNECT", 0.5)
    plan = ts.Sweep(PROBLEM, {"rule.noise": [0.1]})
    for address in ("tcp://127.0.0.1:9", "tls://127.0.0.1:9", "nowhere"):  # the second needs certificates
        with pytest.raises(ts.InvalidInput, match=rf"^cluster: got '{address}', expected the address of a dask scheduler"):
            ts.sweep(plan, tmp_path / "out", cluster=address, progress=False)
        assert dask.config.get("scheduler", None) is None
