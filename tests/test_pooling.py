"""Simulations put together are the runs of all; trajectories in another order are read as what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.animation import animate
from teacher_student.trajectory import normalized_overlaps
from teacher_student.trajectory_form import seeds_of

PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array([0.0, 0.5, 1.0, 2.0]))


def runs(seed: int, replicas: int = 3, problem: ts.Problem = PROBLEM, N: int = 50, method: str = "overlaps") -> xr.Dataset:
    return ts.simulate(problem, n_inputs=N, replicas=replicas, seed=seed, method=method, progress=False)


def reversed_dimensions(trajectory: xr.Dataset) -> xr.Dataset:
    return trajectory.transpose(*reversed(list(trajectory.dims)))


def test_a_pool_has_the_replicas_of_all_and_tells_their_seeds(tmp_path: Path) -> None:
    first, second, third = runs(3), runs(2**70, 5), runs(7, 2)
    pooled = ts.pool([ts.pool([first, reversed_dimensions(second)]), third])
    for name in ("Q", "R", "eps_g", "xi_out"):
        expected = np.concatenate([each[name].values for each in (first, second, third)])
        np.testing.assert_array_equal(pooled[name].values, expected)
    assert pooled["T"].identical(first["T"])
    assert pooled.attrs["seed"] == f"3, {2**70}, 7"
    assert pooled.attrs["replicas_of_seeds"] == "3, 5, 2"
    assert {name: pooled.attrs[name] for name in ("n_inputs", "method", "source", "problem")} == {
        name: first.attrs[name] for name in ("n_inputs", "method", "source", "problem")
    }
    assert ts.warm_restart(pooled, replica=4).seed == 2**70 + 1
    ts.save_trajectory(pooled, tmp_path / "pool.nc")
    loaded = ts.load_trajectory(tmp_path / "pool.nc")
    assert loaded.identical(pooled)
    assert seeds_of(loaded) == (3, 2**70, 7)


def test_a_pool_is_compared_like_one_simulation_of_as_many_runs() -> None:
    """Deviations are those of all runs together; what xarray puts together is refused."""
    parts = [runs(seed, 10, N=500) for seed in (1, 2)]
    theory = ts.integrate(PROBLEM, parts[0]["alpha"].values, fluctuations=True, progress=False)
    result = ts.compare(theory, ts.pool(parts))
    v = np.concatenate([part["v"].values[:, 2, 1] for part in parts])
    expected = (v.mean() - theory["v"].values[2, 1]) / (v.std(ddof=1) / np.sqrt(20))
    assert result.z["v"].values[2, 1] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ts.InvalidInput) as caught:
        ts.compare(theory, xr.concat(parts, "replica", data_vars="all"))
    assert str(caught.value) == (
        "simulation: got \"T with dimensions ('replica', 'teacher', 'teacher_')\", expected ('teacher', 'teacher_') "
        "(teacher_student.pool puts simulations together)"
    )


def test_what_differs_is_not_pooled() -> None:
    first = runs(3)
    faster = dataclasses.replace(PROBLEM, rule=dataclasses.replace(PROBLEM.rule, eta_v=0.9))
    without_seed = runs(4)
    del without_seed.attrs["seed"]
    messages = {
        "simulations[1]: got 'another rule.eta_v', expected the problem of simulations[0]": runs(4, problem=faster),
        "simulations[1]: got 'n_inputs 60', expected 50, as in simulations[0]": runs(4, N=60),
        "simulations[1]: got 'method weights', expected overlaps, as in simulations[0]": runs(4, method="weights"),
        "simulations[1]: got 'alpha [0.0, 0.5]', expected the output times of simulations[0]": runs(4).isel(alpha=slice(2)),
        "simulations[1]: got 'seed 3 again', expected another seed than the ones before, whose runs these are": first,
        "simulations[1].attrs['seed']: got None, expected the seed of its runs": without_seed,
        "simulations[1]: got 'a trajectory of theory', expected a trajectory of simulate": ts.integrate(PROBLEM, progress=False),
    }
    for message, other in messages.items():
        with pytest.raises(ts.InvalidInput) as caught:
            ts.pool([first, other])
        assert str(caught.value) == message
    pooled = ts.pool([first, runs(4)])
    with pytest.raises(ts.InvalidInput, match=r"^simulations\[0\]: got '2 replicas of a pool of 3, 3', expected a whole pool"):
        ts.pool([pooled.isel(replica=[1, 4])])
    renamed = dataclasses.replace(PROBLEM, name="other name", seed=5)  # settings of runs, not of what learns
    assert ts.pool([first, runs(4, problem=renamed)]).sizes["replica"] == 6


def test_the_order_of_dimensions_changes_no_number(tmp_path: Path) -> None:
    """On a teacher of units of length 1 and 4, where rows and columns of R are not alike."""
    initial = ts.plain_committee(
        Q=[[1.0, 0.2], [0.2, 0.5]], R=[[0.3, 0.9], [0.1, -0.4]], T=np.diag([1.0, 4.0]), v=[1.0, 1.0], v_teacher=[1.0, 1.0]
    )
    problem = ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=0.4), alpha=np.array([0.0, 0.5, 1.0]))
    theory = ts.integrate(problem, fluctuations=True, progress=False)
    simulation = runs(1, 6, problem, 100)
    for trajectory in (theory, simulation):
        turned = reversed_dimensions(trajectory)
        assert turned["R"].dims != trajectory["R"].dims
        assert normalized_overlaps(turned).identical(normalized_overlaps(trajectory))
        which = {"replica": 2} if "replica" in trajectory.dims else {}
        assert ts.warm_restart(turned, **which) == ts.warm_restart(trajectory, **which)
        assert ts.specialization(turned).identical(ts.specialization(trajectory))
        for name, each in (("a", trajectory), ("b", turned)):
            animate(each, tmp_path / f"{name}.gif", n_frames=2)
        assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    np.testing.assert_allclose(normalized_overlaps(theory).values[0], [[0.3, 0.45], [0.1 / np.sqrt(0.5), -0.2 / np.sqrt(0.5)]])
    xr.testing.assert_identical(ts.predict(reversed_dimensions(theory), 100), ts.predict(theory, 100))
    results = [
        ts.compare(turn(theory), turn(simulation), turn(runs(2, 6, problem, 100))) for turn in (lambda t: t, reversed_dimensions)
    ]
    assert results[0].verdict.outcome == results[1].verdict.outcome
    assert results[0].z.identical(results[1].z)
    assert results[0].agreement == results[1].agreement
