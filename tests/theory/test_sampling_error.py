"""The error of trajectories from sampled averages: against a trajectory whose averages are known in closed form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

import teacher_student as ts

# Student's t with the 7 degrees of freedom of 8 sets of points: of 48 values one exceeds 7.5 with probability 0.007, and they
# are correlated.
LARGEST_T = 7.5
NAMES = ("Q", "R", "v")
SCHEDULE = ts.Piecewise(rates=[0.6, 0.2], alpha=[2.0])


@pytest.fixture(autouse=True)
def erf_without_closed_form() -> None:
    ts.register_activation("sampled_erf", lambda x: math.erf(x * math.sqrt(0.5)))


def deviations(problem: ts.Problem, mistake: float = 1.0) -> np.ndarray:
    """Return how far a trajectory of sampled averages is from that in closed form (eta_v times `mistake`), in its errors."""
    times = [1.0, 2.0, 4.0]
    theory = ts.integrate(problem, times, progress=False)
    errors = ts.sampling_error(theory)
    exact = dataclasses.replace(problem.rule, activation="erf", eta_v=mistake * problem.rule.eta_v)
    reference = ts.integrate(dataclasses.replace(problem, rule=exact), times, progress=False)
    return np.concatenate([((theory[name] - reference[name]) / errors[name]).values.ravel() for name in NAMES])


def test_trajectories_are_off_by_what_their_error_says(
    make_problem: Callable[..., ts.Problem], record_check: Callable[..., None]
) -> None:
    rule = {"activation": "sampled_erf", "eta_sigma": 0.0, "eta_xi_out": 0.0, "eta_xi_in": SCHEDULE}
    problems = [make_problem(2, 1, 1, seed=seed, **rule) for seed in range(2)]
    t = np.concatenate([deviations(problem) for problem in problems])
    record_check("trajectory of sampled averages: largest |t|", "averages in closed form", np.abs(t).max(), LARGEST_T)
    assert 0.3 < np.sqrt(np.mean(t**2)) < 3.0
    assert np.abs(deviations(problems[0], mistake=1.01)).max() > LARGEST_T


def test_the_velocities_of_a_rule_with_friction_have_errors_too(
    make_problem: Callable[..., ts.Problem], record_check: Callable[..., None]
) -> None:
    names = ["C_velocities", "Q_velocities", "R_velocities", "v_velocity"]
    problem = make_problem(2, 1, 1, activation="sampled_erf", eta_sigma=0.0, eta_xi_out=0.0, friction=1.5)
    theory = ts.integrate(problem, [1.0, 2.0], progress=False)
    errors = ts.sampling_error(theory)
    t, wrong = [], []
    for found, friction in ((t, 1.5), (wrong, 1.51)):
        exact = dataclasses.replace(problem.rule, activation="erf", friction=friction)
        reference = ts.integrate(dataclasses.replace(problem, rule=exact), [1.0, 2.0], progress=False)
        for name in names:
            assert errors[name].dims == theory[name].dims
            assert (errors[name] > 0.0).all()
            found.append(((theory[name] - reference[name]) / errors[name]).values.ravel())
    largest = float(np.abs(np.concatenate(t)).max())
    record_check("velocities of sampled averages: largest |t|", "averages in closed form", largest, LARGEST_T)
    assert np.sqrt(np.mean(np.concatenate(t) ** 2)) > 0.2
    assert np.abs(np.concatenate(wrong)).max() > LARGEST_T


def test_averages_in_closed_form_have_no_error_and_runs_are_refused(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem()
    assert (ts.sampling_error(ts.integrate(problem, [0.0, 1.0], progress=False)).to_array() == 0.0).all()
    runs = ts.simulate(problem, [1.0], n_inputs=20, progress=False)
    with pytest.raises(ts.InvalidInput, match="theory: got 'a trajectory of simulation', expected a trajectory of integrate"):
        ts.sampling_error(runs)
