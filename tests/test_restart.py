"""Warm restarts: a course cut in two and continued is the course that was never cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import teacher_student as ts

TIMES = np.array([0.3, 0.7, 1.0, 1.6, 2.4, 3.1])
SCHEDULES = {
    "eta_xi_in": ts.Cosine(start=1.2, end=0.1, period=0.8, repeats=3),
    "eta_sigma": ts.PowerLaw(start=0.8, alpha=0.5, exponent=1.0),
    "eta_xi_out": ts.Piecewise(rates=[0.5, 0.1, 0.8], alpha=[1.0, 2.0]),
    "eta_v": 0.3,
}


@pytest.mark.parametrize("cut", [0.5, 1.0, 1.6, 2.2])
def test_theory_cut_in_two_is_the_uncut_one(
    make_problem: Callable[..., ts.Problem], cut: float, record_check: Callable[..., None]
) -> None:
    """Cut between the jumps of schedules and at them; begun anew instead of continued, schedules lead elsewhere."""
    problem = make_problem(2, 2, 2, **SCHEDULES)
    whole = ts.integrate(problem, TIMES, progress=False)
    after = TIMES[cut < TIMES]
    first = ts.integrate(problem, [cut], progress=False)
    second = ts.integrate(ts.warm_restart(first), after - cut, progress=False)
    anew = ts.integrate(ts.warm_restart(first, problem.rule), after - cut, progress=False)
    error, of_anew = (
        max(np.abs(part[name].values - whole[name].values[-len(after) :]).max() for name in ("Q_modes", "R_modes", "sigma", "v"))
        for part in (second, anew)
    )
    record_check("theory restarted: difference", "theory not interrupted", error, 1e-7)
    assert of_anew > 1e-3


def test_restarted_twice(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(2, 2, 2, **SCHEDULES)
    whole = ts.integrate(problem, [3.1], progress=False)
    last = ts.integrate(problem, [0.7], progress=False)
    for duration in (0.9, 1.5):
        last = ts.integrate(ts.warm_restart(last), [duration], progress=False)
    np.testing.assert_allclose(last["Q"].values, whole["Q"].values, atol=1e-7)


@pytest.mark.parametrize("method", ["weights", "overlaps"])
def test_state_of_the_replica_and_time_asked_for(make_problem: Callable[..., ts.Problem], method: str) -> None:
    problem = make_problem(2, 2, 2, **SCHEDULES)
    runs = ts.simulate(problem, [0.4, 1.2], n_inputs=50, replicas=3, seed=8, method=method, progress=False)
    for replica, asked, position in ((0, 0.4, 0), (2, 1.209, 1), (1, None, 1)):
        restarted = ts.warm_restart(runs, alpha=asked, replica=replica)
        point = runs.isel(replica=replica, alpha=position)
        for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v", "T", "v_teacher"):
            np.testing.assert_allclose(getattr(restarted.initial, name), point[name].values, atol=1e-14)
        assert restarted.rule.eta_v == 0.3
        assert {getattr(restarted.rule, name).elapsed for name in SCHEDULES if name != "eta_v"} == {(0.4, 1.2)[position]}
        assert restarted.seed == 9
        assert restarted == dataclasses.replace(problem, initial=restarted.initial, rule=restarted.rule, seed=9)
    assert ts.warm_restart(runs.isel(replica=[1])).initial == ts.warm_restart(runs, replica=1).initial


def test_saved_and_loaded(make_problem: Callable[..., ts.Problem], tmp_path: object) -> None:
    theory = ts.integrate(make_problem(2, 2, 2, **SCHEDULES), [0.6], progress=False)
    ts.save_trajectory(theory, tmp_path / "theory.nc")
    assert ts.warm_restart(ts.load_trajectory(tmp_path / "theory.nc")) == ts.warm_restart(theory)


def test_a_student_too_short_for_its_overlaps_by_the_integrators_error_goes_on() -> None:
    """As sampled averages leave it at perfect learning; what is off by more is a mistake and refused."""
    perfect = ts.plain_committee(Q=np.eye(2), R=np.eye(2), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    theory = ts.integrate(ts.Problem(initial=perfect, rule=ts.LearningRule(eta_xi_in=0.3)), [1.0], progress=False)
    missing = np.array([[1.0, 0.5], [0.5, 0.25]])  # a second direction keeps its length
    for size in (1e-8, 1e-5):
        theory["Q_modes"][0] = np.eye(2) + size * (0.8 * np.array([[0.25, -0.5], [-0.5, 1.0]]) - missing)
        initial = ts.warm_restart(theory).initial
        expected = np.eye(2) + size * 0.8 * np.array([[0.25, -0.5], [-0.5, 1.0]])
        np.testing.assert_allclose(initial.Q_modes, expected, atol=1e-14)
        np.testing.assert_array_equal(initial.R_modes, theory["R_modes"][0])
    theory["Q_modes"][0] = np.eye(2) - 1e-3 * missing
    with pytest.raises(ts.InvalidInput, match="R_modes: got 'smallest eigenvalue"):
        ts.warm_restart(theory)


def test_only_at_output_times(make_problem: Callable[..., ts.Problem]) -> None:
    """Between them and beyond the last no state is known; rounding of a time is no other time."""
    theory = ts.integrate(make_problem(2, 2, 2), [0.0, 1.0 / 3.0, 2.0], progress=False)
    for alpha, position in ((0.0, 0), (1.0 - 2.0 / 3.0, 1), (2.0 + 4e-16, 2)):
        expected = theory["Q_modes"].values[position]
        np.testing.assert_array_equal(ts.warm_restart(theory, alpha=alpha).initial.Q_modes, expected)
    expected = "expected an output time of the trajectory; the nearest"
    for alpha, nearest in ((1e6, "is 2.0"), (1.4, f"are {1 / 3} and 2.0"), (0.3333, f"are 0.0 and {1 / 3}")):
        with pytest.raises(ts.InvalidInput) as caught:
            ts.warm_restart(theory, alpha=alpha)
        assert str(caught.value) == f"alpha: got {alpha}, {expected} {nearest}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"replica": 3}, "replica: got 3, expected a number from 0 to 2"),
        ({"replica": True}, "replica: got True, expected a whole number of at least 0"),
        ({}, "replica: got None, expected a number from 0 to 2"),
        ({"alpha": -1.0, "replica": 0}, "alpha: got -1.0, expected a finite number of at least 0"),
        ({"alpha": 0.13, "replica": 0}, "alpha: got 0.13, expected an output time of the trajectory; the nearest is 0.1"),
        ({"alpha": 0.0, "replica": 0}, "alpha: got 0.0, expected an output time of the trajectory; the nearest is 0.1"),
        ({"rule": 0.5, "replica": 0}, "rule: got 0.5, expected a LearningRule"),
    ],
)
def test_refusals(make_problem: Callable[..., ts.Problem], arguments: dict[str, object], message: str) -> None:
    runs = ts.simulate(make_problem(2, 2, 2), [0.1], n_inputs=20, replicas=3, progress=False)
    with pytest.raises(ts.InvalidInput) as caught:
        ts.warm_restart(runs, **arguments)
    assert str(caught.value) == message
    with pytest.raises(ts.InvalidInput, match=r"^trajectory: got 'Problem', expected a trajectory"):
        ts.warm_restart(make_problem())
    with pytest.raises(ts.InvalidInput, match=r"^replica: got 0, expected none for a trajectory of the theory$"):
        ts.warm_restart(ts.integrate(make_problem(2, 2, 2), [0.1], progress=False), replica=0)
