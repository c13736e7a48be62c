"""Sampled averages against SGD on weights: the mean over runs is the ODE's for tanh, a user's kinked function, a mixed pair."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr
from deviations import z_scores

import teacher_student as ts

LARGEST_Z = 4.5
TIMES = [0.5, 1.5, 3.0]
NAMES = ("Q", "R", "v", "eps_g")


@pytest.fixture(autouse=True)
def _kinked() -> None:
    """An activation with a kink where g' jumps and a place where g itself does not."""
    ts.register_activation(
        "kinked", lambda x: x if x > -0.5 else -0.5 - 0.4 * (x + 0.5), lambda x: 1.0 if x > -0.5 else (-0.4 if x < -0.5 else 0.3)
    )


def problem_of(student: str, teacher: str | None) -> ts.Problem:
    initial = ts.plain_committee(
        Q=[[0.3, 0.05], [0.05, 0.5]], R=[[0.2, 0.05], [0.0, 0.3]], T=[[1.0, 0.2], [0.2, 0.8]], v=[0.6, 0.9], v_teacher=[1.0, 0.7]
    )
    rule = ts.LearningRule(student, eta_xi_in=0.8, eta_v=0.2, noise=0.2, weight_decay=0.02, teacher_activation=teacher)
    return ts.Problem(initial=initial, rule=rule)


def largest_z(runs: xr.Dataset, theory: xr.Dataset) -> float:
    """Return the largest deviation of the mean of runs from the ODE in standard errors, for all that moves."""
    return float(max(np.abs(z_scores(runs, theory, (name,))).max() for name in NAMES))


@pytest.mark.parametrize(
    ("student", "teacher", "method"),
    [("tanh", None, "weights"), ("kinked", None, "weights"), ("erf", "relu", "weights"), ("sigmoid", "sign", "overlaps")],
)
def test_sgd_follows_the_sampled_ode(student: str, teacher: str | None, method: str) -> None:
    """Negative controls: rates 5 % off, and the eta^2 term left out."""
    problem = problem_of(student, teacher)
    runs = ts.simulate(problem, TIMES, n_inputs=2000, replicas=24, seed=4, method=method, progress=False)
    assert largest_z(runs, ts.integrate(problem, TIMES, progress=False)) < LARGEST_Z
    for mistake in ({"eta_xi_in": 0.84, "eta_v": 0.21}, {"batch_size": 10**12}):
        if student == "sigmoid" and "batch_size" in mistake:
            continue  # its slope of 1/4 leaves of the eta^2 term next to nothing
        wrong = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, **mistake))
        assert largest_z(runs, ts.integrate(wrong, TIMES, progress=False)) > LARGEST_Z, mistake
