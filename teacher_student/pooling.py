"""Pools: the replicas of several simulations as those of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from teacher_student.errors import refuse
from teacher_student.problem import difference_of
from teacher_student.trajectory_form import as_simulations, problem_of, seeds_of


def pool(simulations: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return one simulation with the replicas of all `simulations`, in their order.

    Parameters
    ----------
    simulations : sequence of xarray.Dataset
        Of the same problem at the same N and output times, by the same method, with different seeds. A pool may be pooled again.

    Returns
    -------
    xarray.Dataset
        A trajectory. Its attribute ``seed`` lists the seeds, with commas between, and ``replicas_of_seeds`` how many replicas
        there are of each. Attributes in which the simulations differ are left out.

    Raises
    ------
    InvalidInput
        If there are no simulations, they differ in more than seeds and replicas, or a seed occurs twice, for its replicas are the
        same runs.
    """
    given = as_simulations(simulations)
    counts: dict[int, int] = {}
    for i, simulation in enumerate(given):
        _check_same(given[0], simulation, f"simulations[{i}]")
        for seed, count in _replicas_of_seeds(simulation, f"simulations[{i}]").items():
            if seed in counts:
                refuse(f"simulations[{i}]", f"seed {seed} again", "another seed than the ones before, whose runs these are")
            counts[seed] = count
    pooled = xr.concat(given, "replica", data_vars="minimal", coords="minimal", compat="override", combine_attrs="drop_conflicts")
    pooled.attrs["problem"] = given[0].attrs["problem"]  # texts of one problem may differ in what decides no run, as its name
    pooled.attrs["seed"], pooled.attrs["replicas_of_seeds"] = (", ".join(map(str, each)) for each in (counts, counts.values()))
    return pooled


def _check_same(first: xr.Dataset, other: xr.Dataset, argument: str) -> None:
    """Raise `InvalidInput`, naming the `argument` that `other` is, unless it differs from `first` in its runs only."""
    difference = difference_of(problem_of(first, "simulations[0]"), problem_of(other, argument))
    if difference is not None:
        refuse(argument, f"another {difference}", "the problem of simulations[0]")
    for name in ("n_inputs", "method", "status", "version"):
        here, there = str(other.attrs.get(name)), str(first.attrs.get(name))
        if here != there:
            refuse(argument, f"{name} {here}", f"{there}, as in simulations[0]")
    if not np.array_equal(first["alpha"], other["alpha"]):
        refuse(argument, f"alpha {other['alpha'].values.tolist()}", "the output times of simulations[0]")
    names = set(first.data_vars) ^ set(other.data_vars)
    if names:
        refuse(argument, f"other variables ({', '.join(sorted(map(str, names)))} in one only)", "those of simulations[0]")


def _replicas_of_seeds(simulation: xr.Dataset, argument: str) -> dict[int, int]:
    """Return how many replicas there are of each seed; raises `InvalidInput` where that is not known."""
    seeds, n_replicas = seeds_of(simulation), simulation.sizes["replica"]
    if not seeds:
        refuse(f"{argument}.attrs['seed']", None, "the seed of its runs")
    text = n_replicas if len(seeds) == 1 else simulation.attrs.get("replicas_of_seeds")
    counts = [int(part) for part in str(text).split(",") if part.strip().isdecimal()]
    if len(counts) != len(seeds) or sum(counts) != n_replicas:
        refuse(argument, f"{n_replicas} replicas of a pool of {text}", "a whole pool, which tells the seed of every replica")
    return dict(zip(seeds, counts, strict=True))
