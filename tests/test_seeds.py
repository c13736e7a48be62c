"""Seeds are whole numbers of any size, as NumPy advises: from the command line to the file and back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student import cli

SEEDS = [2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**39 + 1, 10**4000 - 1]

PROBLEM = """
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
alpha = [0.0, 0.5]
n_inputs = 20
replicas = 2
seed = 18446744073709551617
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(PROBLEM)
    return tmp_path


@pytest.mark.parametrize("seed", SEEDS, ids=[f"{seed.bit_length()} bits" for seed in SEEDS])
def test_a_seed_is_the_same_after_all(folder: Path, seed: int) -> None:
    problem = ts.load_problem("small.toml")
    arguments = ["simulate", "small.toml", "-o", "s.nc", "--checkpoint", "state", "--seed", str(seed)]
    assert cli.main(arguments) == 0
    stored = ts.load_trajectory("s.nc")
    assert stored.attrs["seed"] == seed
    expected = ts.simulate(problem, replicas=2, seed=seed, progress=False)
    assert expected.attrs["seed"] == seed
    np.testing.assert_array_equal(stored["Q"], expected["Q"])
    # None of its digits is lost on the way to the random numbers.
    other = ts.simulate(problem, replicas=2, seed=seed - 1, progress=False)
    assert not np.array_equal(other["Q"], expected["Q"])
    assert cli.main(arguments) == 0  # from the checkpoint, which is that of this seed alone
    assert cli.main([*arguments[:-1], str(seed - 1)]) == 2
    again = ts.load_problem(folder / "small.toml").to_toml().replace(str(problem.seed), str(seed))
    (folder / "again.toml").write_text(again)
    assert ts.load_problem("again.toml").seed == seed


def test_a_comparison_and_its_report_have_the_seed(folder: Path) -> None:
    seed = 2**64
    assert cli.main(["compare", "small.toml", "-o", "out", "--seed", str(seed)]) in (0, 1)
    assert f"seed {seed}," in (folder / "out" / "report.md").read_text("utf-8")
    assert ts.load_trajectory("out/simulation-weights.nc").attrs["seed"] == seed + 1


def test_a_comparison_at_several_n_has_the_seed(folder: Path) -> None:
    arguments = ["--n-inputs", "20,30,40", "--replicas", "8", "--seed", str(2**64)]
    assert cli.main(["compare", "small.toml", "-o", "out", *arguments]) == 0
    assert ts.load_trajectory("out/simulation-40.nc").attrs["seed"] == 2**64 + 2


def test_leaps_have_the_seed() -> None:
    problem = ts.load_problem("saad-solla-1995")
    runs = [ts.leap(problem, [1.0], n_inputs=10**6, seed=seed, progress=False) for seed in (2**64, 2**64, 2**64 + 1)]
    assert runs[0].attrs["seed"] == 2**64
    assert runs[0].identical(runs[1])
    assert not runs[0].equals(runs[2])


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_sweeps_take_such_seeds_for_the_design_and_for_points(folder: Path, pool: Executor) -> None:
    options = {"simulation": "overlaps", "theory": False}
    seeds = [3, 2**64, 10**30]
    plan = ts.Sweep(folder / "small.toml", {"run.seed": seeds}, **options)
    dataset = ts.sweep(plan, "points", executor=pool, workers=1, progress=False)
    with xr.open_dataset("points/sweep.nc", engine="h5netcdf") as stored:
        assert [int(seed) for seed in stored["seed"].values] == [int(seed) for seed in dataset["seed"].values] == seeds
    problem = ts.load_problem("small.toml")
    expected = ts.simulate(problem, replicas=2, seed=10**30, method="overlaps", progress=False)
    np.testing.assert_array_equal(dataset["simulated_Q"].isel({"run.seed": 2}), expected["Q"])
    drawn = {"rule.noise": {"uniform": [0.0, 1.0]}}
    designs = [ts.Sweep(folder / "small.toml", drawn, design="sobol", points=4, seed=seed) for seed in (2**64, 2**64 + 1)]
    assert designs[0].values != designs[1].values
    assert designs[0].seed_at(0) != designs[1].seed_at(0)
