"""Velocities as part of a problem: stored, restarted from, carried by trajectories, and refused where impossible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.layout import VELOCITIES as DIMENSIONS
from teacher_student.problem import RATES
from teacher_student.problem_file import parse_problem
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.theory.noise.sampling_error import set_solutions
from teacher_student.velocities import at_rest

MakeProblem = Callable[..., ts.Problem]


@pytest.fixture
def moving(make_problem: MakeProblem) -> ts.Problem:
    """A problem that has run for a while with friction, so that its velocities are generic."""
    return ts.warm_restart(ts.integrate(make_problem(3, 2, 2, friction=1.5), [0.4], progress=False))


def test_problem_with_velocities_survives_its_file(moving: ts.Problem, tmp_path: Path) -> None:
    assert moving.velocity is not None
    assert parse_problem(moving.to_toml()) == moving
    trajectory = ts.integrate(moving, [0.2], progress=False)
    ts.save_trajectory(trajectory, tmp_path / "moving.nc")
    loaded = ts.load_trajectory(tmp_path / "moving.nc")
    for name in DIMENSIONS:
        np.testing.assert_array_equal(loaded[name].values, trajectory[name].values)
    assert parse_problem(loaded.attrs["problem"]) == moving


def test_velocities_are_there_with_friction_only(make_problem: MakeProblem) -> None:
    for rule, there in (({"friction": 1.0}, True), ({"momentum": 0.5}, False), ({}, False)):
        problem = make_problem(2, 2, 2, **rule)
        runs = ts.simulate(problem, [0.1], n_inputs=30, replicas=2, progress=False)
        for trajectory in (ts.integrate(problem, [0.1], progress=False), runs):
            assert [name in trajectory for name in DIMENSIONS] == [there] * len(DIMENSIONS)


def test_theory_restarted_with_its_velocities_is_the_uncut_one(make_problem: MakeProblem) -> None:
    """Without its velocities it is not: that is a restart from rest."""
    problem = make_problem(3, 2, 2, friction=1.5)
    whole = ts.integrate(problem, [2.0], progress=False)
    restarted = ts.warm_restart(ts.integrate(problem, [0.8], progress=False))
    second = ts.integrate(restarted, [1.2], progress=False)
    from_rest = ts.integrate(dataclasses.replace(restarted, velocity=None), [1.2], progress=False)
    for name in ("Q_modes", "v", *DIMENSIONS):
        np.testing.assert_allclose(second[name].values, whole[name].values, atol=1e-7)
    assert np.abs(from_rest["Q_modes"].values - whole["Q_modes"].values).max() > 1e-2


@pytest.mark.parametrize("method", ["weights", "overlaps"])
def test_simulations_start_with_the_velocities_given(moving: ts.Problem, method: str) -> None:
    runs = ts.simulate(moving, [0.0, 0.1], n_inputs=40, replicas=2, method=method, progress=False)
    for name in DIMENSIONS:
        np.testing.assert_allclose(runs[name].values[1, 0], getattr(moving.velocity, name), atol=1e-12)


def test_frozen_factors_have_no_velocities(make_problem: MakeProblem) -> None:
    problem = make_problem(3, 2, 2, friction=1.0, eta_sigma=0.0, eta_xi_in=0.0)
    theory = ts.integrate(problem, [1.0], progress=False)
    runs = ts.simulate(problem, [1.0], n_inputs=30, replicas=2, method="overlaps", progress=False)
    for trajectory in (theory, runs):
        for name in ("Q_velocities", "R_velocities", "C_velocities", "sigma_velocity"):
            assert not trajectory[name].values.any()
        assert trajectory["v_velocity"].values.any()
    assert np.array_equal(runs["sigma"].values[0, -1], problem.initial.sigma)


def test_a_factor_that_no_longer_learns_moves_on(make_problem: MakeProblem) -> None:
    """All four under friction alone, in theory and simulations, and on from a restart after the end of a schedule."""
    gamma, N = 0.5, 40
    ended = {name: ts.Piecewise(rates=[rate, 0.0], alpha=[0.4]) for name, rate in zip(RATES, (1.0, 0.5, 0.7, 0.4), strict=True)}
    problem = make_problem(3, 2, 2, friction=gamma, **ended)
    restarted = ts.warm_restart(ts.integrate(problem, [0.5], progress=False))
    assert not restarted.rule.largest_rates.any()
    state, velocity = restarted.initial, restarted.velocity
    assert velocity is not None
    # The way that is left is that of one step a time 1 / N, or of a continuous time.
    ways = {"theory": (1 - np.exp(-gamma)) / gamma, "simulation": sum((1 - gamma / N) ** n for n in range(1, N + 1)) / N}
    ends = {"theory": [ts.integrate(restarted, [1.0], progress=False).isel(alpha=-1)], "simulation": []}
    for method in ("weights", "overlaps"):
        runs = ts.simulate(restarted, [1.0], n_inputs=N, replicas=1, method=method, progress=False)
        ends["simulation"].append(runs.isel(alpha=-1, replica=0))
    for kind, way in ways.items():
        C = velocity.C_velocities
        Q_modes = state.Q_modes + way * (C + C.T) + way**2 * velocity.Q_velocities
        for end in ends[kind]:
            np.testing.assert_allclose(end["Q_modes"].values, Q_modes, atol=1e-8)
            np.testing.assert_allclose(end["R_modes"].values, state.R_modes + way * velocity.R_velocities, atol=1e-8)
            for name in ("sigma", "xi_out", "v"):
                expected = getattr(state, name) + way * getattr(velocity, f"{name}_velocity")
                np.testing.assert_allclose(end[name].values, expected, atol=1e-8)
    whole = ts.integrate(problem, [1.5], progress=False)
    np.testing.assert_allclose(ends["theory"][0]["Q_modes"].values, whole["Q_modes"].values[-1], atol=1e-7)


def test_the_error_of_sampled_averages_is_that_of_solutions_with_the_velocities_given(make_problem: MakeProblem) -> None:
    problem = make_problem(2, 2, 2, friction=1.5, activation="tanh")
    restarted = ts.warm_restart(ts.integrate(problem, [0.4], progress=False))
    theory = ts.integrate(restarted, [0.3], progress=False)
    y = moving_coordinates(theory, coordinates_of(restarted.initial, restarted.rule, restarted.velocity))
    np.testing.assert_allclose(set_solutions(theory).mean(axis=0), y, atol=1e-3)


def changed(velocity: ts.Velocities, **arrays: object) -> ts.Velocities:
    return dataclasses.replace(velocity, **arrays)


def test_refusals(make_problem: MakeProblem, moving: ts.Problem) -> None:
    rest = at_rest(moving.initial)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: make_problem(momentum=1.0), r"^momentum: got 1\.0, expected a number from 0 to below 1$"),
        (lambda: make_problem(momentum=-0.1), r"^momentum: got -0\.1, expected a finite number from 0 to below 1$"),
        (lambda: make_problem(friction=-1.0), r"^friction: got -1\.0, expected a finite number of at least 0$"),
        (lambda: make_problem(friction="much"), r"^friction: got 'much', expected a number of at least 0$"),
        (lambda: make_problem(friction=1.0, momentum=0.5), r"^friction: got 1\.0, expected either friction or a momentum"),
        (lambda: make_problem(friction=1.0, spherical=True), r"^spherical: got True, expected false, for the rule has"),
        (lambda: make_problem(momentum=0.5, spherical=True), r"^spherical: got True, expected false, for the rule has"),
        (lambda: dataclasses.replace(moving, n_inputs=5), r"^n_inputs: got 5, expected a whole number N of at least 2 P \+ M"),
        (lambda: ts.simulate(moving, [0.1], n_inputs=5), r"^n_inputs: got 5, expected a whole number N of at least 2 P \+ M"),
        (
            lambda: ts.simulate(make_problem(2, 2, 2, friction=50.0), [0.1], n_inputs=40),
            r"^friction: got 50\.0, expected at most N = 40",
        ),
        (
            lambda: ts.Sweep(moving, vary={"rule.friction": [1.0, 501.0]}, simulation="overlaps").problem_at(1),
            r"^friction: got 501\.0, expected at most N = 500.* \(at rule\.friction = 501\.0\)$",
        ),
        (lambda: ts.fixed_point(moving), r"^rule\.friction: got 1\.5, expected no friction"),
        (
            lambda: dataclasses.replace(moving, rule=dataclasses.replace(moving.rule, friction=None)),
            r"^velocity: got 'velocities', expected none, for the rule has no friction$",
        ),
        (lambda: dataclasses.replace(moving, velocity=0.5), r"^velocity: got 0\.5, expected an instance of Velocities$"),
        (lambda: changed(rest, sigma_velocity=[np.nan, 0.0]), r"^sigma_velocity: got nan, expected finite numbers only$"),
        (
            lambda: dataclasses.replace(moving, velocity=changed(rest, v_velocity=[0.0])),
            r"^velocity\.v_velocity: got 'shape \(1,\)', expected shape \(3,\)",
        ),
        (
            lambda: dataclasses.replace(moving, velocity=changed(rest, C_velocities=np.eye(2))),
            r"^velocity\.C_velocities: got 'smallest eigenvalue .*, expected a Gram matrix",
        ),
        (
            lambda: parse_problem(moving.to_toml().replace("C_velocities", "D_velocities")),
            r"^velocity\.D_velocities: got .*, expected no such key",
        ),
        (
            lambda: parse_problem("velocity = 3\n" + dataclasses.replace(moving, velocity=None).to_toml()),
            r"^velocity: got 3, expected a table \[velocity\]$",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ts.InvalidInput, match=message):
            call()
