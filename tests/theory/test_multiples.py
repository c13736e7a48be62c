"""Units that are multiples of one another, or opposite, stay so in the theory, as they do in runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.activations import ACTIVATIONS
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.equalities import independent_coordinates, smallest_distance
from teacher_student.theory.multiples import parity_of
from teacher_student.theory.right_hand_side import right_hand_side

RATES: dict[str, Any] = {"eta_xi_in": 0.4, "eta_v": 0.3}


def parallel(factor: float, of_weight: float | None = None) -> ts.OrderParameters:
    """Return two units of which the second is `factor` times the first, and its output weight `of_weight` times, or as much."""
    Q, R = 0.5 * np.outer([1.0, factor], [1.0, factor]), np.outer([1.0, factor], [0.1, 0.2])
    v = [0.5, 0.5 * (factor if of_weight is None else of_weight)]
    return ts.plain_committee(Q=Q, R=R, T=np.eye(2), v=v, v_teacher=[1.0, 1.0])


def alone(factor: float) -> ts.OrderParameters:
    """Return the one unit that they amount to if it learns at 1 / (1 + factor^2) of their rate."""
    return ts.plain_committee(Q=[[0.5]], R=[[0.1, 0.2]], T=np.eye(2), v=[0.5 * (1.0 + factor**2)], v_teacher=[1.0, 1.0])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("options", [{}, {"method": "LSODA"}])
def test_parallel_units_are_one(activation: str, options: dict[str, Any]) -> None:
    """A balanced pair is one unit; with output weights that are not in the ratio of the vectors it is not."""
    rule = ts.LearningRule(activation, eta_xi_in=0.4)
    slower = ts.LearningRule(activation, eta_xi_in=0.4 / 5.0)
    times = [0.0, 10.0, 100.0]
    both = ts.integrate(ts.Problem(parallel(2.0), rule), times, progress=False, **options)
    one = ts.integrate(ts.Problem(alone(2.0), slower), times, progress=False, **options)
    np.testing.assert_allclose(both["eps_g"], one["eps_g"], rtol=1e-8)
    np.testing.assert_allclose(both["Q"][:, 0, 0], one["Q"][:, 0, 0], rtol=1e-8)
    np.testing.assert_array_equal(both["Q"][:, 1, 1], 4.0 * both["Q"][:, 0, 0])
    np.testing.assert_array_equal(both["R"][:, 1], 2.0 * both["R"][:, 0])
    if activation == "relu":
        assert abs(both["eps_g"].values[-1] - 0.10199) < 5e-6
    unbalanced = ts.integrate(ts.Problem(parallel(2.0, 1.0), rule), [1.0], progress=False)["Q"].values[0]
    assert unbalanced[0, 0] * unbalanced[1, 1] - unbalanced[0, 1] ** 2 > 1e-6


@pytest.mark.parametrize(
    ("rule", "time"), [(RATES, 20.0), ({"eta_xi_in": 0.4, "spherical": True}, 20.0), ({**RATES, "friction": 2.0}, 60.0)]
)
def test_parallel_units_follow_runs(rule: dict[str, Any], time: float) -> None:
    """The chain at N = 20,000, whatever the rule. Negative control: the units parted, as rounding parts them, would be seen."""
    problem = ts.Problem(parallel(2.0), ts.LearningRule("relu", **rule))
    theory = ts.integrate(problem, [time], progress=False)
    runs = ts.simulate(problem, [time], n_inputs=20_000, replicas=8, seed=1, method="overlaps", progress=False)
    error = runs["eps_g"].std("replica", ddof=1) / np.sqrt(8)
    assert (abs(runs["eps_g"].mean("replica") - theory["eps_g"]) < 5 * error).all()
    nearly = parallel(2.0)
    Q = nearly.Q_modes - 1e-9 * (1.0 - np.eye(2))
    state = ts.plain_committee(Q=Q, R=nearly.R_modes, T=nearly.T, v=nearly.v, v_teacher=nearly.v_teacher)
    parted = ts.integrate(ts.Problem(state, problem.rule), [time], progress=False)
    assert (abs(runs["eps_g"].mean("replica") - parted["eps_g"]) > 5 * error).all()


OPPOSITE = {
    # Output weights of the opposite unit, and what two units amount to: one with twice the output weight at half the rate.
    "erf": -1.0,
    "tanh": -1.0,
    "linear": -1.0,
    "quadratic": 1.0,
    "hermite3": -1.0,
}


@pytest.mark.parametrize("activation", OPPOSITE)
def test_opposite_units_are_one(activation: str) -> None:
    """If g is odd and the output weights opposite, or g even and they are the same; not for the other sign."""
    sign = OPPOSITE[activation]
    state = parallel(-1.0, sign)
    rule = ts.LearningRule(activation, eta_xi_in=0.1, eta_v=0.1, noise=0.1)
    both = independent_coordinates(state, rule)
    assert both.labels == ("Q_modes[0,0]", "R_modes[0,0]", "R_modes[0,1]", "v[0]")
    np.testing.assert_array_equal(both.expand(both.start[both.moving]), both.start)
    theory = ts.integrate(ts.Problem(state, rule), [3.0], progress=False, method="LSODA").isel(alpha=0)
    np.testing.assert_array_equal(theory["Q"].values, theory["Q"].values[0, 0] * np.array([[1.0, -1.0], [-1.0, 1.0]]))
    np.testing.assert_array_equal(theory["v"].values[1], sign * theory["v"].values[0])
    same = ts.integrate(ts.Problem(parallel(1.0, 1.0), rule), [3.0], progress=False, method="LSODA").isel(alpha=0)
    # Averages of tanh and Hermite polynomials are taken over points that have no mirror images.
    sampled = activation in ("tanh", "hermite3")
    np.testing.assert_allclose(theory["eps_g"], same["eps_g"], rtol=5e-3 if sampled else 1e-6)
    other = parallel(-1.0, -sign)
    assert independent_coordinates(other, rule).labels == coordinates_of(other, rule).labels


def test_modes_that_are_the_same_up_to_a_sign_are_one_where_all_factors_learn() -> None:
    """A mode of the other sign with output modes of the other sign is the same mode, for any g."""
    rng = np.random.default_rng(2)
    X, W = rng.standard_normal((3, 9)), rng.standard_normal((2, 9))
    X[2] = -X[1]
    xi_out = np.array([[0.4, 0.7, -0.7], [1.1, -0.3, 0.3]])
    state = ts.OrderParameters(
        Q_modes=X @ X.T / 9,
        R_modes=X @ W.T / 9,
        T=W @ W.T / 9,
        sigma=[0.8, 1.2, 1.2],
        xi_out=xi_out,
        v=[0.6, 0.9],
        v_teacher=[1.0, 1.0],
    )
    rule = ts.LearningRule("relu", eta_xi_in=0.4, eta_sigma=0.2, eta_xi_out=0.3, eta_v=0.1, weight_decay=0.01)
    theory = ts.integrate(ts.Problem(state, rule), [3.0], progress=False).isel(alpha=0)
    np.testing.assert_array_equal(theory["R_modes"].values[1], -theory["R_modes"].values[2])
    np.testing.assert_array_equal(theory["xi_out"].values[:, 1], -theory["xi_out"].values[:, 2])
    np.testing.assert_array_equal(theory["sigma"].values[1], theory["sigma"].values[2])
    free = coordinates_of(state, rule)
    assert len(independent_coordinates(state, rule).labels) < len(free.labels)
    runs = ts.simulate(ts.Problem(state, rule), [3.0], n_inputs=3000, replicas=16, seed=2, method="overlaps", progress=False)
    error = runs["sigma"].std("replica", ddof=1) / 4
    assert (abs(runs["sigma"].isel(alpha=0).mean("replica") - theory["sigma"]) < 5 * error.isel(alpha=0)).all()


def test_fluctuations_of_parallel_units_are_those_of_one() -> None:
    """The one unit at a fifth of the rate; averages are over quasi-random points of five dimensions and of four."""
    both, one = (
        ts.integrate(ts.Problem(state, ts.LearningRule("relu", eta_xi_in=eta)), [0.0, 2.0], fluctuations=True, progress=False)
        for state, eta in ((parallel(2.0), 0.4), (alone(2.0), 0.08))
    )
    assert both["coordinate"].size == one["coordinate"].size == 3
    np.testing.assert_allclose(both["covariance"], one["covariance"], atol=0.01)
    np.testing.assert_allclose(both["shift"], one["shift"], atol=0.02)


ACTIVATIONS_TRIED = ("erf", "relu", "leaky_relu", "linear", "quadratic", "centred_quadratic")


def random_multiples(rng: np.random.Generator) -> ts.Problem:
    """Return a problem whose units and modes are multiples of one another now and then, under a rule of any kind."""
    K, M = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    X, W, v = rng.standard_normal((K, K + M + 3)), rng.standard_normal((M, K + M + 3)), rng.uniform(0.3, 1.0, K)
    for k in range(1, K):
        if rng.random() < 0.6:
            j, factor = int(rng.integers(k)), float(rng.choice([1.0, -1.0, 2.0, -2.0, 0.5]))
            X[k], v[k] = factor * X[j], v[j] * float(rng.choice([factor, 1.0, -1.0, abs(factor)]))
    rule: dict[str, Any] = {"eta_xi_in": 0.1, "noise": 0.1, "batch_size": int(rng.choice([1, 3]))}
    xi_out, modes_learn = np.eye(K), rng.random() < 0.3
    if modes_learn:
        xi_out = rng.standard_normal((K, K))
        for k in range(1, K):
            if rng.random() < 0.5:
                xi_out[:, k] = xi_out[:, k - 1] * rng.choice([1.0, -1.0])
        rule |= {"eta_sigma": 0.1, "eta_xi_out": 0.07}
    options: list[dict[str, Any]] = [{}, {"eta_v": 0.1}, {"weight_decay": 0.05}, {"spherical": True}, {"friction": 2.0}]
    rule |= options[rng.integers(len(options))]
    state = ts.OrderParameters(
        Q_modes=X @ X.T / X.shape[1],
        R_modes=X @ W.T / X.shape[1],
        T=W @ W.T / X.shape[1],
        sigma=np.ones(K),
        xi_out=xi_out,
        v=v,
        v_teacher=np.ones(M),
    )
    return ts.Problem(state, ts.LearningRule(str(rng.choice(ACTIVATIONS_TRIED)), **rule))


def test_the_right_hand_side_keeps_all_multiples_that_are_found() -> None:
    """Without ties its slopes have the multiples of the coordinates. Negative control: multiples without their signs."""
    rng, n_tied, with_signs = np.random.default_rng(0), 0, 0
    for _ in range(200):
        problem = random_multiples(rng)
        state, rule = problem.initial, problem.rule
        free, tied = coordinates_of(state, rule), independent_coordinates(state, rule)
        if len(tied.moving) == len(free.moving):
            continue
        n_tied += 1
        slope = free.expand_change(right_hand_side(state, rule, free)(0.0, free.start[free.moving]))
        np.testing.assert_allclose(tied.start, free.start, atol=1e-12)
        size = np.abs(slope).max()
        np.testing.assert_allclose(tied.expand_change(slope[tied.moving]), slope, atol=1e-11 * size)
        if (tied.multiples < 0.0).any():
            unsigned = dataclasses.replace(tied, multiples=np.abs(tied.multiples))
            with_signs += np.abs(unsigned.expand_change(slope[tied.moving]) - slope).max() > 1e-3 * size
    assert n_tied > 40
    assert with_signs > 10


def test_parity_is_that_of_the_functions() -> None:
    parities = {"erf": -1, "tanh": -1, "sign": -1, "linear": -1, "hermite3": -1, "quadratic": 1, "hermite4": 1}
    for name, activation in ACTIVATIONS.items():
        assert parity_of(activation) == {**dict.fromkeys(("hermite2", "centred_quadratic"), 1), **parities}.get(name, 0)


def test_only_what_stays_the_same_counts_as_no_distance() -> None:
    """Parallel units whose output weights are not in their ratio part from a distance of directions of zero."""
    rule = ts.LearningRule("relu", eta_xi_in=0.4)
    assert smallest_distance(parallel(2.0), rule) == np.inf
    assert smallest_distance(parallel(2.0, 1.0), rule) < 1e-15
    assert smallest_distance(parallel(2.0), ts.LearningRule("relu", eta_xi_in=0.4, eta_sigma=0.1)) < 1e-15
    apart = ts.plain_committee(Q=np.eye(2), R=np.zeros((2, 1)), T=[[1.0]], v=[1.0, 1.0], v_teacher=[1.0])
    assert smallest_distance(apart, rule) == 2.0
