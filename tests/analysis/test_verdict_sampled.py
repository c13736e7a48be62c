"""The verdict where Gaussian averages are sampled: their error counts, and mistakes are found all the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.analysis import innovations
from teacher_student.analysis.verdict import AGREES, DIFFERS, FINITE_N, judge
from teacher_student.theory.right_hand_side import SampledDrift

TIMES = np.array([0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
PROBLEM = ts.Problem(
    initial=ts.plain_committee(Q=[[0.5]], R=[[0.3]], T=[[1.0]], v=[1.0], v_teacher=[1.0]),
    rule=ts.LearningRule("tanh", eta_xi_in=1.0, noise=0.3),
    alpha=TIMES,
)


def theory(n_points: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Return the theory with `n_points` points in all sets, scrambled by `seed`; the same points serve the verdict."""
    monkeypatch.setattr(SampledDrift.__init__, "__defaults__", (n_points, seed))
    return ts.integrate(PROBLEM, fluctuations=True, progress=False)


def runs(n_inputs: int, replicas: int, **mistake: float) -> xr.Dataset:
    problem = dataclasses.replace(PROBLEM, rule=dataclasses.replace(PROBLEM.rule, **mistake))
    return ts.simulate(problem, n_inputs=n_inputs, replicas=replicas, seed=1, method="overlaps", progress=False)


def test_mistakes_are_found_and_correct_runs_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = theory(2**13, 0, monkeypatch)
    verdict = judge(expected, runs(2000, 100))
    assert verdict.outcome in (AGREES, FINITE_N)
    assert verdict.judged == ((0.0, 4.0),)
    assert judge(expected, runs(2000, 100, eta_xi_in=1.03)).outcome == DIFFERS
    assert judge(expected, runs(2000, 100, noise=0.3**2)).outcome == DIFFERS


def test_the_error_of_few_points_raises_no_alarm_unless_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = runs(20_000, 60)
    theories = [theory(2**10, seed, monkeypatch) for seed in range(4)]

    def alarms() -> int:
        outcomes = []
        for seed, expected in enumerate(theories):
            monkeypatch.setattr(SampledDrift.__init__, "__defaults__", (2**10, seed))
            outcomes.append(judge(expected, simulation).outcome)
        return outcomes.count(DIFFERS)

    assert alarms() == 0
    monkeypatch.setattr(innovations, "set_solutions", lambda theory: np.empty((0, len(TIMES), 2)))
    assert alarms() >= 2
