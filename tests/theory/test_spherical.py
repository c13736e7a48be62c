"""Rules that keep the length of every mode: the right-hand side, one linear unit in closed form, and the linear noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.layout import unpack
from teacher_student.problem_file import parse_problem
from teacher_student.theory.coordinates import Coordinates, coordinates_of, sizes_of, state_vector
from teacher_student.theory.noise import diffusion
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.theory.noise.spherical import moments_at_fixed_lengths
from teacher_student.theory.right_hand_side import SampledDrift, right_hand_side


def free(problem: ts.Problem) -> ts.LearningRule:
    return dataclasses.replace(problem.rule, spherical=False)


def rescaled(full: np.ndarray, problem: ts.Problem) -> np.ndarray:
    """Return the state vector with every mode at its length in `problem`."""
    factors = unpack(full, sizes_of(problem.initial))
    scale = np.sqrt(problem.initial.Q_modes.diagonal() / factors["Q_modes"].diagonal())
    factors["Q_modes"] = factors["Q_modes"] * np.outer(scale, scale)
    factors["R_modes"] = factors["R_modes"] * scale[:, np.newaxis]
    return np.concatenate([part.ravel() for part in factors.values()])


def free_flow(problem: ts.Problem, **changes: object) -> tuple[Coordinates, np.ndarray]:
    rule = dataclasses.replace(free(problem), **changes)
    coordinates = coordinates_of(problem.initial, rule)
    y = coordinates.start[coordinates.moving]
    return coordinates, right_hand_side(problem.initial, rule, coordinates)(0.0, y)


def test_right_hand_side_is_a_short_way_along_the_free_one_and_back_to_the_sphere(
    make_problem: Callable[..., ts.Problem],
) -> None:
    """Also where a large decay pulls the free state away from the sphere: it drops out of Q_modes and R_modes."""
    problem = make_problem(spherical=True, weight_decay=0.7)
    coordinates = coordinates_of(problem.initial, problem.rule)
    assert [label for label in coordinates.labels if label.startswith("Q")] == ["Q_modes[0,1]", "Q_modes[0,2]", "Q_modes[1,2]"]
    got = right_hand_side(problem.initial, problem.rule, coordinates)(0.0, coordinates.start[coordinates.moving])
    for xi_in_decays in (True, False):
        around, flow = free_flow(problem)
        if not xi_in_decays:
            _, without = free_flow(problem, weight_decay=0.0)
            flow = np.where(around.moving < problem.initial.n_modes * (problem.initial.n_modes + 2), without, flow)
        y, step = around.start[around.moving], 1e-5
        ahead, back = (rescaled(around.expand(y + sign * step * flow), problem) for sign in (1, -1))
        expected = ((ahead - back) / (2 * step))[coordinates.moving]
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-9)


def test_sampled_right_hand_side(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(2, 2, 2, spherical=True, weight_decay=0.7)
    coordinates = coordinates_of(problem.initial, problem.rule)
    y = coordinates.start[coordinates.moving]
    closed = right_hand_side(problem.initial, problem.rule, coordinates)(0.0, y)
    sampled = SampledDrift(problem.initial, problem.rule, coordinates)
    assert (np.abs(sampled(0.0, y) - closed) < 5 * sampled.error(0.0, y) + 1e-12).all()
    unscaled = SampledDrift(problem.initial, free(problem), coordinates)
    assert (np.abs(unscaled(0.0, y) - closed) > 5 * sampled.error(0.0, y) + 1e-12).any()


@pytest.mark.parametrize("eta", [0.3, 1.0, 1.7])
def test_linear_unit_in_closed_form(eta: float, record_check: Callable[..., None]) -> None:
    """Q = T = 1: dR/dalpha = eta (1 - R) (1 + (1 - eta) R), so (1 + (1 - eta) R) / (1 - R) grows as exp((2 - eta) eta alpha)."""
    times, c = np.array([0.5, 1.0, 3.0]), 1.0 - eta
    initial = ts.plain_committee(Q=[[1.0]], R=[[0.1]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    rule = ts.LearningRule("linear", eta_xi_in=eta, spherical=True, weight_decay=0.4)
    theory = ts.integrate(ts.Problem(initial=initial, rule=rule), times, progress=False)
    grown = (1 + c * 0.1) / 0.9 * np.exp((2 - eta) * eta * times)
    error = np.abs(theory["R"].values.ravel() - (grown - 1) / (grown + c)).max()
    record_check("spherical linear unit: difference", "closed form", error, 1e-8)
    assert (theory["Q"].values == 1.0).all()


def first_order(mean: np.ndarray, covariance: np.ndarray, correction: np.ndarray, *others: object) -> tuple[np.ndarray, ...]:
    """The moments without the second order of the rescaling."""
    right = moments_at_fixed_lengths(mean, covariance, correction, *others)
    no_step = 0.0 * mean, 0.0 * covariance, correction, *others[:2], 0.0, *others[3:]
    return *right[:2], moments_at_fixed_lengths(*no_step)[2]


def not_projected(mean: np.ndarray, covariance: np.ndarray, correction: np.ndarray, *others: object) -> tuple[np.ndarray, ...]:
    """The moments with the covariance of steps before the rescaling."""
    right = moments_at_fixed_lengths(mean, covariance, correction, *others)
    kept = np.searchsorted(others[-1], others[1].moving)
    return right[0], covariance[np.ix_(kept, kept)], right[2]


@pytest.mark.parametrize("changes", [{}, {"batch_size": 3, "weight_decay": 1.0}], ids=["b=1", "b=3, decay"])
def test_linear_noise_is_that_of_the_chain(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch, record_check: Callable[..., None]
) -> None:
    """At N = 60 and 120: the shift of means within 4 standard errors of 3,000 runs, variances within 12 % at the larger N.

    Negative controls: without the second order of the rescaling, and with the covariance of steps before it.
    """
    initial = ts.plain_committee(Q=[[0.6, 0.1], [0.1, 0.4]], R=[[0.3], [-0.1]], T=[[1.0]], v=[1.0, 0.8], v_teacher=[1.0])
    rule = ts.LearningRule(eta_xi_in=3.0, eta_v=0.2, noise=0.3, spherical=True, **changes)
    problem, times, replicas = ts.Problem(initial=initial, rule=rule), [0.5, 1.5], 3000
    coordinates = coordinates_of(initial, rule)
    theories = []
    for moments in (moments_at_fixed_lengths, first_order, not_projected):
        monkeypatch.setattr(diffusion, "moments_at_fixed_lengths", moments)
        theories.append(ts.integrate(problem, times, fluctuations=True, progress=False))
    y = moving_coordinates(theories[0], coordinates)
    for N in (60, 120):
        runs = ts.simulate(problem, times, n_inputs=N, replicas=replicas, seed=N, method="overlaps", progress=False)
        x = moving_coordinates(runs, coordinates)
        error = N * x.std(axis=0) / np.sqrt(replicas)
        z = [np.abs((N * (x.mean(axis=0) - y) - theory["shift"].values) / error).max() for theory in theories]
        record_check("shift of the mean, spherical: largest |z|", f"chain at N = {N}", z[0], 4.0)
        assert z[1] > 4.0
    variance = [N * x.var(axis=0) / np.diagonal(theory["covariance"].values, axis1=1, axis2=2) - 1 for theory in theories]
    record_check("variance between runs, spherical: relative error", f"chain at N = {N}", np.abs(variance[0]).max(), 0.12)
    assert np.abs(variance[2]).max() > 0.24


def test_fixed_point_of_a_perfect_student_and_its_rate() -> None:
    """One linear unit, Q = T = 1: deviations 1 - R decay at the rate eta (2 - eta)."""
    initial = ts.plain_committee(Q=[[1.0]], R=[[0.9]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    problem = ts.Problem(initial=initial, rule=ts.LearningRule("linear", eta_xi_in=0.5, spherical=True))
    point = ts.fixed_point(problem)
    assert point.labels == ("R_modes[0,0]",)
    assert point.state.R.item() == pytest.approx(1.0, abs=1e-12)
    assert point.eigenvalues.real.tolist() == pytest.approx([-0.75], abs=1e-8)
    shorter = ts.plain_committee(Q=[[0.9]], R=[[0.9]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    with pytest.raises(ts.InvalidInput, match=r"^near: got \[0\.9\], expected the lengths of the problem's modes"):
        ts.fixed_point(problem, near=shorter)


def test_toml_and_refusals(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(spherical=True)
    assert "\nspherical = true\n" in problem.to_toml()
    assert parse_problem(problem.to_toml()) == problem
    assert parse_problem(make_problem().to_toml()).rule.spherical is False
    with pytest.raises(ts.InvalidInput, match=r"^spherical: got 1, expected true or false$"):
        make_problem(spherical=1)
    empty = ts.plain_committee(Q=[[0.0]], R=[[0.0]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
    with pytest.raises(ts.InvalidInput, match=r"^initial\.Q_modes: got \[\[0\.0\]\], expected modes of a length above 0"):
        ts.Problem(initial=empty, rule=problem.rule)


def test_cut_in_two(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(2, 2, 2, spherical=True)
    whole = ts.integrate(problem, [2.0], progress=False)
    last = ts.integrate(ts.warm_restart(ts.integrate(problem, [0.8], progress=False)), [1.2], progress=False)
    np.testing.assert_allclose(last["R"].values, whole["R"].values, atol=1e-8)
    assert state_vector(problem.initial)[0] == last["Q_modes"].values[0, 0, 0]
