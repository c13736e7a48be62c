"""Two simulations of one law agree at the stated rate, and those of different laws do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.analysis.agreement import agreement

PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array([0.0, 1.0, 2.0, 4.0]))


def chain(seed: int, replicas: int, problem: ts.Problem = PROBLEM) -> xr.Dataset:
    return ts.simulate(problem, n_inputs=100, replicas=replicas, seed=seed, method="overlaps")


def smallest_p(first: xr.Dataset, second: xr.Dataset) -> float:
    return min(1.0, 3 * min(test.p for test in agreement(first, second)))


def test_p_values_of_one_law_are_at_least_uniform() -> None:
    p = np.array([smallest_p(chain(2 * seed, 40), chain(2 * seed + 1, 8)) for seed in range(60)])
    # Corrected for several times that are correlated, p-values are larger than uniform ones, never smaller: of 60 below 0.1
    # there are 6 +- 2.3 at most, and not none for all thresholds.
    assert (p < 0.1).sum() <= 6 + 4 * 2.3
    assert p.min() < 0.7


@pytest.mark.parametrize("mistake", [{"eta_xi_in": 0.6}, {"noise": 0.5}, {"eta_v": 0.3}], ids=lambda mistake: next(iter(mistake)))
def test_another_law_is_found(mistake: dict[str, float]) -> None:
    other = dataclasses.replace(PROBLEM, rule=dataclasses.replace(PROBLEM.rule, **mistake))
    second = chain(1, 64, other)
    second.attrs["problem"] = PROBLEM.to_toml()  # as a mistake in one of the two codes would have it
    assert smallest_p(chain(0, 128), second) < 1e-3


def test_weights_agree_with_the_chain() -> None:
    weights = ts.simulate(PROBLEM, n_inputs=100, replicas=16, seed=5, method="weights")
    assert smallest_p(chain(4, 128), weights) > 0.01


def test_few_or_short_runs_are_not_tested_and_other_sizes_refused() -> None:
    assert agreement(chain(0, 3), chain(1, 40)) == ()
    with pytest.raises(ts.InvalidInput, match=r"^second: got 'N = 50', expected 100, as in first"):
        agreement(chain(0, 8), ts.simulate(PROBLEM, n_inputs=50, replicas=8))


def test_the_same_runs_are_no_second_simulation() -> None:
    """A copy, or a pool with a seed of the first, would agree at any rate; the same seed of the other method makes other runs."""
    first = chain(3, 8)
    for again in (first.copy(), chain(3, 4), ts.pool([chain(4, 4), chain(3, 4)])):
        with pytest.raises(ts.InvalidInput, match=r"^second: got 'seed 3 again', expected other runs than those of first"):
            agreement(first, again)
    assert agreement(first, ts.simulate(PROBLEM, n_inputs=100, replicas=8, seed=3, method="weights"))
