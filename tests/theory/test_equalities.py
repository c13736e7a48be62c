"""What is the same in a student stays the same, and what is nearly the same parts as runs at large N do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.equalities import classes_of, independent_coordinates
from teacher_student.velocities import at_rest


def two_units(distance: float = 0.0, v: float = 0.5, **rule: Any) -> ts.Problem:
    """Return two units of squared distance `distance` under a teacher of two orthogonal ones."""
    Q = 0.5 - 0.5 * distance * (1.0 - np.eye(2))
    state = ts.plain_committee(Q=Q, R=[[0.1, 0.2]] * 2, T=np.eye(2), v=[v] * 2, v_teacher=[1.0, 1.0])
    return ts.Problem(state, ts.LearningRule(**({"activation": "relu", "eta_xi_in": 1.0} | rule)))


def one_unit(v: float = 1.0, **rule: Any) -> ts.Problem:
    """Return the one unit that two equal ones of half its output weight amount to, at half their rate."""
    state = ts.plain_committee(Q=[[0.5]], R=[[0.1, 0.2]], T=np.eye(2), v=[v], v_teacher=[1.0, 1.0])
    return ts.Problem(state, ts.LearningRule(**({"activation": "relu", "eta_xi_in": 0.5} | rule)))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "erf"])
@pytest.mark.parametrize("options", [{}, {"rtol": 1e-12}, {"method": "LSODA"}, {"method": "Radau"}, {"method": "RK45"}])
def test_equal_units_are_one(activation: str, options: dict[str, Any]) -> None:
    """Two equal units are one of twice the output weight at half the rate, by every method."""
    both, one = (
        ts.integrate(problem(activation=activation), [0, 10, 100], progress=False, **options) for problem in (two_units, one_unit)
    )
    np.testing.assert_allclose(both["eps_g"], one["eps_g"], rtol=1e-10)
    np.testing.assert_array_equal(both["Q"], np.broadcast_to(both["Q"][:, :1, :1], (3, 2, 2)))
    if activation == "relu":
        np.testing.assert_allclose(both["eps_g"], [0.4784, 0.1307, 0.1020], atol=5e-5)


def test_fluctuations_of_equal_units_are_those_of_one() -> None:
    """Runs keep equal units equal: the linear noise has one coordinate for them, and the numbers of the one unit."""
    both, one = (ts.integrate(problem(), [0, 2], fluctuations=True, progress=False) for problem in (two_units, one_unit))
    assert list(both["coordinate"].values) == ["Q_modes[0,0]", "R_modes[0,0]", "R_modes[0,1]"]
    # Averages over quasi-random points of five dimensions and of four.
    np.testing.assert_allclose(both["covariance"], one["covariance"], atol=0.01)
    np.testing.assert_allclose(both["shift"], one["shift"], atol=0.02)
    spread = ts.predict(both, 1000).sel(moment="spread")
    np.testing.assert_allclose(spread["Q"][-1], np.full((2, 2), float(spread["Q"][-1, 0, 0])), rtol=1e-6)


def test_units_without_weights_stay_equal() -> None:
    """Two units that start at zero: runs of the chain at N = 4,000 keep them the same, and so does the theory."""
    state = ts.plain_committee(Q=np.zeros((2, 2)), R=np.zeros((2, 2)), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    problem = ts.Problem(state, ts.LearningRule(activation="relu", eta_xi_in=0.5))
    theory = ts.integrate(problem, [2.0], progress=False)
    runs = ts.simulate(problem, [2.0], n_inputs=4000, replicas=32, seed=1, method="overlaps", progress=False)
    Q, of_runs = theory["Q"].values[0], runs["Q"].values[:, 0]
    np.testing.assert_array_equal(Q, Q[0, 0])
    np.testing.assert_allclose(of_runs[:, 0, 0], of_runs[:, 0, 1], rtol=1e-9)
    error = of_runs[:, 0, 0].std(ddof=1) / np.sqrt(32)
    assert abs(of_runs[:, 0, 0].mean() - Q[0, 0]) < 4 * error
    assert abs(of_runs[:, 0, 0].mean() - 0.329) > 8 * error  # what units that part by rounding have


def test_nearly_equal_units_part_as_the_limit_of_small_distances() -> None:
    """The distance grows from any beginning; what becomes of it tends to a limit as the root of the beginning."""

    def distance(squared: float) -> float:
        Q = ts.integrate(two_units(squared), [1.0], progress=False)["Q"].values[0]
        return float(np.sqrt(Q[0, 0] - 2 * Q[0, 1] + Q[1, 1]))

    begins = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    ends = np.array([distance(begin) for begin in begins])
    differences = -np.diff(ends) / np.sqrt(begins[:-1])
    assert ends[-1] > 0.06
    np.testing.assert_allclose(differences, differences[-1], rtol=0.05)


def test_nearly_equal_units_follow_runs_at_large_n() -> None:
    """Units at an angle of 0.02 part as in the chain at N = 100,000, and not as equal ones."""
    problem = two_units(2e-4)
    theory = ts.integrate(problem, [3.0], progress=False)
    runs = ts.simulate(problem, [3.0], n_inputs=100_000, replicas=8, seed=4, method="overlaps", progress=False)

    def distances(trajectory: Any) -> Any:
        Q = trajectory["Q"].values[..., 0, :, :]
        return Q[..., 0, 0] - 2 * Q[..., 0, 1] + Q[..., 1, 1]

    of_runs = distances(runs)
    error = of_runs.std(ddof=1) / np.sqrt(8)
    assert abs(of_runs.mean() - distances(theory)) < 4 * error
    assert distances(theory) > 20 * error


def network(seed: int = 0) -> dict[str, Any]:
    """Return two units of three modes, of which the second and the third are the same and feed both units alike."""
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((3, 9)), rng.standard_normal((2, 9))
    X[2] = X[1]
    xi_out = np.array([[0.4, 0.7, 0.7], [1.1, -0.3, -0.3]])
    sigma, v = np.array([0.8, 1.2, 1.2]), np.array([0.6, 0.9])
    return {
        "Q_modes": X @ X.T / 9,
        "R_modes": X @ W.T / 9,
        "T": W @ W.T / 9,
        "sigma": sigma,
        "xi_out": xi_out,
        "v": v,
        "v_teacher": np.ones(2),
    }


RATES: dict[str, Any] = {"eta_xi_in": 0.4, "eta_sigma": 0.2, "eta_xi_out": 0.3, "eta_v": 0.1, "weight_decay": 0.01}


def test_equal_modes_stay_equal_when_all_factors_learn() -> None:
    """In the theory exactly, in the chain up to rounding; the theory has the mean of the runs."""
    problem = ts.Problem(ts.OrderParameters(**network()), ts.LearningRule(activation="relu", **RATES))
    theory = ts.integrate(problem, [3.0], progress=False).isel(alpha=0)
    runs = ts.simulate(problem, [3.0], n_inputs=3000, replicas=16, seed=2, method="overlaps", progress=False).isel(alpha=0)
    for trajectory, tolerance in ((theory, 0.0), (runs, 1e-9)):
        for name in ("sigma", "xi_out", "R_modes"):
            second, third = (trajectory[name].isel(mode=mode) for mode in (1, 2))
            np.testing.assert_allclose(second, third, rtol=tolerance)
    error = runs["sigma"].std("replica", ddof=1) / 4
    assert (abs(runs["sigma"].mean("replica") - theory["sigma"]) < 5 * error).all()


def test_classes_are_what_the_steps_respect() -> None:
    """Equal modes are one class only if their strengths and output modes are equal too; units only if their weights are."""
    same = ts.OrderParameters(**network())
    assert classes_of(same, at_rest(same)) == ([0, 1], [0, 1, 1])
    for name, entry, value in (("sigma", 2, 1.3), ("xi_out", (0, 2), 0.71)):
        changed = network()
        changed[name][entry] = value
        assert classes_of(ts.OrderParameters(**changed), at_rest(same)).are_single
    committee = two_units().initial
    assert classes_of(committee, at_rest(committee)) == ([0, 0], [0, 0])
    other = ts.plain_committee(Q=committee.Q, R=committee.R, T=committee.T, v=[0.5, 0.4], v_teacher=[1.0, 1.0])
    assert classes_of(other, at_rest(other)).are_single
    apart = two_units(1e-10).initial
    assert classes_of(apart, at_rest(apart)).are_single


def test_coordinates_without_equalities_are_all() -> None:
    """Where nothing is the same the coordinates are those of the problem; symmetric units of two directions are not the same."""
    state = ts.plain_committee(Q=0.5 * np.eye(2), R=np.full((2, 2), 0.1), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    rule = ts.LearningRule(activation="relu", eta_xi_in=0.5)
    assert independent_coordinates(state, rule).labels == coordinates_of(state, rule).labels


def test_lengths_that_the_rule_keeps_tie_what_is_the_same() -> None:
    """Under a spherical rule the overlap of equal modes is their length, which does not move."""
    tied = independent_coordinates(two_units().initial, two_units(spherical=True).rule)
    assert tied.labels == ("R_modes[0,0]", "R_modes[0,1]")
    theory = ts.integrate(two_units(spherical=True), [5.0], progress=False)
    np.testing.assert_array_equal(theory["Q"].values, 0.5)


def test_equal_units_stay_equal_with_friction() -> None:
    """Velocities of what is the same are the same; two units with friction are one at half the rate."""
    both, one = (ts.integrate(problem(friction=2.0), [0, 3], progress=False) for problem in (two_units, one_unit))
    np.testing.assert_allclose(both["eps_g"], one["eps_g"], rtol=1e-9)
    np.testing.assert_array_equal(both["C_velocities"].values[-1], both["C_velocities"].values[-1, 0, 0])


def test_leaps_keep_equal_units_equal() -> None:
    """The drift of leaps takes the same step for what is the same; their end is that of the ODEs up to the noise."""
    runs = ts.leap(two_units(), [10.0], n_inputs=10**8, replicas=2, seed=3, progress=False)
    Q = runs["Q"].values
    np.testing.assert_allclose(Q, np.broadcast_to(Q[..., :1, :1], Q.shape), atol=1e-9)
    np.testing.assert_allclose(runs["eps_g"], 0.1307, atol=1e-3)
