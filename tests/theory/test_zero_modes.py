"""Zero modes of the Jacobian: symmetries, families and conserved quantities, each against J x = 0 or the flow, by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import teacher_student as ts
from teacher_student.theory.coordinates import coordinates_of, state_vector
from teacher_student.theory.right_hand_side import right_hand_side
from teacher_student.theory.stability.fixed_points import FixedPoint
from teacher_student.theory.stability.symmetries import change_of


def flow_of(state: ts.OrderParameters, rule: ts.LearningRule) -> tuple[np.ndarray, object]:
    coordinates = coordinates_of(state, rule)
    return right_hand_side(state, rule, coordinates)(0.0, state_vector(state)[coordinates.moving]), coordinates


def transformed(state: ts.OrderParameters, A: np.ndarray, xi_out: np.ndarray, sigma: np.ndarray) -> ts.OrderParameters:
    return dataclasses.replace(state, Q_modes=A @ state.Q_modes @ A.T, R_modes=A @ state.R_modes, xi_out=xi_out, sigma=sigma)


def decomposed(sigma: list[float]) -> ts.OrderParameters:
    """Return a student of two modes near a teacher of two units."""
    return ts.OrderParameters(
        Q_modes=[[1.1, 0.1], [0.1, 1.0]],
        R_modes=[[1.0, 0.1], [0.0, 0.9]],
        T=np.eye(2),
        sigma=sigma,
        xi_out=[[1.0, 0.1], [0.05, 0.9]],
        v=[1.0, 1.0],
        v_teacher=[1.0, 1.3],
    )


def test_rotations_of_equally_strong_modes_are_symmetries_and_rescalings_are_not() -> None:
    rule = ts.LearningRule(eta_xi_in=0.8, eta_xi_out=0.3, eta_v=0.2, noise=0.3, weight_decay=0.05)
    state = decomposed([0.8, -0.8])
    f, coordinates = flow_of(state, rule)
    angle = 0.7
    G = np.array([[0.0, 1.0], [-1.0, 0.0]])
    A = scipy.linalg.expm(angle * G)
    back = np.diag(state.sigma) @ A.T @ np.diag(1 / state.sigma)
    g, _ = flow_of(transformed(state, A, state.xi_out @ back, state.sigma), rule)
    # The rotation acts linearly on the coordinates, and on the velocities f as it does on them.
    matrix = linear_map(state, coordinates, A, back)
    np.testing.assert_allclose(g, matrix @ f, atol=1e-14)
    A, back = np.diag([2.0, 1.0]), np.diag([0.5, 1.0])
    h, _ = flow_of(transformed(state, A, state.xi_out @ back, state.sigma), rule)
    assert np.abs(h - linear_map(state, coordinates, A, back) @ f).max() > 1e-2


def linear_map(state: ts.OrderParameters, coordinates: object, A: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return Q_modes -> A Q_modes A^T, R_modes -> A R_modes, xi_out -> xi_out back as a matrix on the coordinates."""
    P, M, K = state.n_modes, state.n_teacher, state.n_units
    full = scipy.linalg.block_diag(np.kron(A, A), np.kron(A, np.eye(M)), np.eye(P), np.kron(np.eye(K), back.T), np.eye(K))
    n = len(coordinates.moving)
    columns = [coordinates.expand(row) for row in np.eye(n)]
    fixed = coordinates.expand(np.zeros(n))
    return np.array([full @ (column - fixed) for column in columns]).T[coordinates.moving]


def test_a_noisy_fixed_point_of_rotating_modes_has_the_rotation_as_its_only_zero_mode() -> None:
    rule = ts.LearningRule(eta_xi_in=0.8, eta_xi_out=0.3, noise=0.2, weight_decay=0.02)
    problem = ts.Problem(initial=decomposed([0.8, 0.8]), rule=rule)
    point = ts.fixed_point(problem, near=3000.0)
    assert [(mode.kind, mode.name) for mode in point.zero_modes] == [("symmetry", "rotation of modes 0 and 1")]
    assert np.linalg.norm(point.jacobian @ point.zero_modes[0].direction) < 1e-9
    assert point.n_unstable == 0
    other = dataclasses.replace(problem, initial=decomposed([0.8, 0.7]))
    assert ts.fixed_point(other, near=3000.0).zero_modes == ()


def quadratic_point(v_last: float, v_teacher_last: float) -> FixedPoint:
    """Return where two noisy units with outputs x^2 end, with these weights of the second unit and the second teacher unit."""
    lengths = np.array([1.0, np.sqrt(v_teacher_last / v_last)])
    state = ts.plain_committee(
        Q=np.diag(lengths**2), R=np.diag(lengths), T=np.eye(2), v=[1.0, v_last], v_teacher=[1.0, v_teacher_last]
    )
    return ts.fixed_point(ts.Problem(initial=state, rule=ts.LearningRule("quadratic", eta_xi_in=0.02, noise=0.1)), near=10.0)


def test_quadratic_units_rotate_into_each_other_and_inputs_in_the_span_of_an_isotropic_teacher() -> None:
    units, inputs = "rotation of units 0 and 1", "rotation of the inputs that leaves the teacher as it is"
    names = {
        key: [(mode.kind, mode.name) for mode in quadratic_point(*key).zero_modes] for key in ((1.0, 1.2), (1.2, 1.0), (1.2, 1.2))
    }
    assert names == {(1.0, 1.2): [("symmetry", units)], (1.2, 1.0): [("symmetry", inputs)], (1.2, 1.2): []}
    # On the way both are broken; where units are equal and the teacher is isotropic, a finite rotation carries the flow along.
    state = decomposed([1.0, 1.0])
    state = ts.plain_committee(Q=state.Q, R=state.R, T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    rule = ts.LearningRule("quadratic", eta_xi_in=0.3, noise=0.3, weight_decay=0.05)
    A = scipy.linalg.expm(0.7 * np.array([[0.0, 1.0], [-1.0, 0.0]]))
    f, coordinates = flow_of(state, rule)
    of_units, _ = flow_of(dataclasses.replace(state, Q_modes=A @ state.Q @ A.T, R_modes=A @ state.R), rule)
    np.testing.assert_allclose(of_units, linear_map(state, coordinates, A, np.eye(2)) @ f, atol=1e-13)
    of_inputs, _ = flow_of(dataclasses.replace(state, R_modes=state.R @ A), rule)
    np.testing.assert_allclose(of_inputs[:3], f[:3], atol=1e-13)
    np.testing.assert_allclose(of_inputs[3:].reshape(2, 2), f[3:].reshape(2, 2) @ A, atol=1e-13)


def test_linear_units_have_overlaps_without_gradient_or_rotate_with_their_output_weights() -> None:
    state = ts.plain_committee(Q=np.diag([0.3, 0.4]), R=[[0.1], [0.05]], T=[[1.0]], v=[1.0, 0.7], v_teacher=[1.0])
    problem = ts.Problem(initial=state, rule=ts.LearningRule("linear", eta_xi_in=0.1, noise=0.2))
    assert [mode.kind for mode in ts.fixed_point(problem, near=1000.0).zero_modes] == ["conserved", "conserved"]
    learning = ts.LearningRule("linear", eta_xi_in=0.1, eta_v=0.06, noise=0.2, weight_decay=0.01)
    point = ts.fixed_point(dataclasses.replace(problem, rule=learning), near=3000.0)
    assert [(mode.kind, mode.name) for mode in point.zero_modes] == [("symmetry", "rotation of units 0 and 1")]


def three_units(activation: str, v: list[float], rule: dict[str, float]) -> ts.Problem:
    """Return a student of three units and two modes near a teacher of two units."""
    state = ts.OrderParameters(
        Q_modes=[[1.1, 0.1], [0.1, 1.0]],
        R_modes=[[1.0, 0.1], [0.0, 0.9]],
        T=np.eye(2),
        sigma=[0.8, 0.6],
        xi_out=[[1.0, 0.1], [0.05, 0.9], [0.4, -0.3]],
        v=v,
        v_teacher=[1.0, 1.3],
    )
    return ts.Problem(initial=state, rule=ts.LearningRule(activation, **rule))


def named(point: FixedPoint) -> list[tuple[str, str]]:
    """Return kinds and names of the zero modes, each a direction that J takes to zero, as many as there are zero eigenvalues."""
    assert len(point.zero_modes) == np.sum(np.abs(point.eigenvalues) < 1e-7)
    for mode in point.zero_modes:
        assert np.linalg.norm(point.jacobian @ mode.direction) < 1e-9
    return [(mode.kind, mode.name) for mode in point.zero_modes]


def turned_rows(problem: ts.Problem, turn: np.ndarray, with_v: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow where the rows of xi_out, and perhaps v, have turned by `turn`, and the flow before, turned."""
    f, coordinates = flow_of(problem.initial, problem.rule)
    state = problem.initial
    turned = dataclasses.replace(state, xi_out=turn @ state.xi_out, v=turn @ state.v if with_v else state.v)
    g, _ = flow_of(turned, problem.rule)
    full = np.zeros(len(state_vector(state)))
    full[coordinates.moving] = f
    K, P = state.xi_out.shape
    at = len(full) - K - K * P
    full[at : at + K * P] = (turn @ full[at : at + K * P].reshape(K, P)).ravel()
    full[-K:] = turn @ full[-K:] if with_v else full[-K:]
    return g, full[coordinates.moving]


def test_rows_of_xi_out_turn_with_the_output_weights_of_linear_units() -> None:
    rates = {"eta_xi_in": 0.1, "eta_xi_out": 0.1, "eta_v": 0.06, "noise": 0.2}
    problem = three_units("linear", [0.7, 1.0, 0.4], {**rates, "weight_decay": 0.02})
    names = named(ts.fixed_point(problem, near=3000.0))
    assert len(names) == 2  # a column of xi_out and v lie in one line at the fixed point, which turns in two ways
    assert all(kind == "symmetry" and name.startswith("rotation of units") for kind, name in names)
    turn = scipy.linalg.expm(0.7 * np.array([[0.0, 1.0, 0.3], [-1.0, 0.0, 0.2], [-0.3, -0.2, 0.0]]))
    np.testing.assert_allclose(*turned_rows(problem, turn, with_v=True), atol=1e-13)
    other = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, activation="erf"))
    g, expected = turned_rows(other, turn, with_v=True)
    assert np.abs(g - expected).max() > 1e-3
    # Without decay any other weights of the same output are fixed points too.
    point = ts.fixed_point(three_units("linear", [0.7, 1.0, 0.4], {**rates, "eta_xi_in": 0.0}), near=300.0)
    assert point.eps_g > 0.1
    families = [f"rescaling of xi_out[{k}] against v[{k}]" for k in range(3)] + [
        "change of sigma, xi_out and v that leaves the output as it is"
    ]
    assert [name for kind, name in named(point) if kind == "family"] == families
    assert len(point.zero_modes) == 3 + 3 * 2 - 2  # numbers that learn, less those that the output depends on


def test_rows_of_xi_out_turn_between_quadratic_units_of_equal_weight() -> None:
    rates = {"eta_xi_in": 0.02, "eta_xi_out": 0.03, "eta_sigma": 0.01, "noise": 0.2, "weight_decay": 0.02}
    turn = scipy.linalg.block_diag(scipy.linalg.expm(0.7 * np.array([[0.0, 1.0], [-1.0, 0.0]])), 1.0)
    equal, unequal = (three_units("quadratic", [0.8, v, 0.5], rates) for v in (0.8, 0.9))
    np.testing.assert_allclose(*turned_rows(equal, turn, with_v=False), atol=1e-13)
    g, expected = turned_rows(unequal, turn, with_v=False)
    assert np.abs(g - expected).max() > 1e-3
    assert ("symmetry", "rotation of units 0 and 1") in named(ts.fixed_point(equal, near=300.0))


def test_relu_units_trade_output_weights_against_rows_of_xi_out() -> None:
    state = decomposed([0.8, 0.6])
    rule = ts.LearningRule("relu", eta_xi_in=0.0, eta_xi_out=0.1, eta_v=0.2, noise=0.3)
    problem = ts.Problem(initial=state, rule=rule)
    point = ts.fixed_point(problem, near=300.0)
    assert point.eps_g > 1e-3
    assert named(point) == [("family", f"rescaling of xi_out[{k}] against v[{k}]") for k in range(2)]
    # A rescaled fixed point is another one, and modes that learn learn as before.
    factors = np.array([2.0, 0.5])
    other = dataclasses.replace(point.state, xi_out=factors[:, np.newaxis] * point.state.xi_out, v=point.state.v / factors)
    assert np.abs(flow_of(other, rule)[0]).max() < 1e-11
    learning = dataclasses.replace(rule, eta_xi_in=0.3)
    of_modes, of_others = (flow_of(at, learning)[0][: 3 + 4] for at in (point.state, other))
    np.testing.assert_allclose(of_others, of_modes, atol=1e-13)
    assert np.abs(of_modes).max() > 1e-3
    # |xi_out[k]|^2 / eta_xi_out - v[k]^2 / eta_v tells the members of the family apart.
    for activation, kept in (("relu", True), ("erf", False)):
        activated = dataclasses.replace(learning, activation=activation)
        run = ts.integrate(dataclasses.replace(problem, rule=activated), [0.0, 100.0], progress=False)
        norms = (run["xi_out"].values ** 2).sum(axis=-1) / 0.1 - run["v"].values ** 2 / 0.2
        assert np.allclose(norms[0], norms[1], rtol=0.0, atol=1e-6) == kept
    decaying = dataclasses.replace(problem, rule=dataclasses.replace(rule, weight_decay=0.01))
    assert named(ts.fixed_point(decaying, near=3000.0)) == []


def test_output_weights_trade_against_sigma_where_xi_out_does_not_learn() -> None:
    rule = ts.LearningRule("leaky_relu", eta_xi_in=0.0, eta_sigma=0.1, eta_v=0.2, noise=0.3)
    problem = ts.Problem(initial=decomposed([0.8, 0.6]), rule=rule)
    assert named(ts.fixed_point(problem, near=300.0)) == [("family", "rescaling of sigma against v")]
    other = dataclasses.replace(problem, rule=dataclasses.replace(rule, activation="erf"))
    assert named(ts.fixed_point(other, near=300.0)) == []


def test_rows_of_xi_out_across_the_frozen_weights_of_linear_units_are_conserved() -> None:
    v = np.array([0.7, 1.0, 0.4])
    problem = three_units("linear", v.tolist(), {"eta_xi_out": 0.2, "noise": 0.3, "eta_xi_in": 0.0})
    point = ts.fixed_point(problem, near=300.0)
    assert named(point) == 4 * [("conserved", "parts of xi_out that get no gradient")]  # (K - 1) P
    across = scipy.linalg.null_space(v[np.newaxis])
    for mode in point.zero_modes:
        np.testing.assert_allclose(v @ mode.direction.reshape(3, 2), 0.0, atol=1e-9)
    for rule, kept in ((problem.rule, True), (dataclasses.replace(problem.rule, eta_v=0.1), False)):
        run = ts.integrate(dataclasses.replace(problem, rule=rule), [0.0, 30.0], progress=False)["xi_out"].values
        assert np.allclose(across.T @ run[0], across.T @ run[1], rtol=0.0, atol=1e-9) == kept
        assert not np.allclose(v @ run[0], v @ run[1], atol=1e-2)


def mode_names(state: ts.OrderParameters, **rule: float) -> list[tuple[str, str]]:
    point = ts.fixed_point(ts.Problem(initial=state, rule=ts.LearningRule(**rule)))
    assert point.eps_g == pytest.approx(0.0, abs=1e-14)
    return named(point)


def test_families_of_perfect_students() -> None:
    state = ts.OrderParameters(
        Q_modes=np.diag([4.0, 1.0]),
        R_modes=np.diag([2.0, 1.0]),
        T=np.eye(2),
        sigma=[0.5, 1.0],
        xi_out=np.eye(2),
        v=[1.0, 1.3],
        v_teacher=[1.0, 1.3],
    )
    rescalings = [("family", f"rescaling of xi_in[{a}] against sigma[{a}]") for a in (0, 1)]
    assert mode_names(state, eta_xi_in=0.5, eta_sigma=0.3) == rescalings
    assert mode_names(state, eta_xi_in=0.5) == []
    assert mode_names(state, eta_xi_in=0.5, eta_v=0.5) == []
    everything = mode_names(state, eta_xi_in=0.5, eta_sigma=0.3, eta_xi_out=0.2)
    assert len(everything) == 6  # P rescalings twice, and P (P - 1) mixings
    assert {kind for kind, _ in everything} == {"family"}
    # Weight decay tells the members of a family apart: the rescaling has cost its name and its zero.
    decaying = ts.LearningRule(eta_xi_in=0.5, eta_sigma=0.3, noise=0.1, weight_decay=0.01)
    point = ts.fixed_point(ts.Problem(initial=state, rule=decaying), near=3000.0)
    assert point.zero_modes == ()
    assert point.n_unstable == 0


def test_rescaled_factors_are_a_family_also_where_the_error_does_not_vanish_if_xi_in_does_not_learn() -> None:
    rule = ts.LearningRule(eta_xi_in=0.0, eta_sigma=0.5, eta_xi_out=0.4, noise=0.3)
    problem = ts.Problem(initial=decomposed([0.8, 0.6]), rule=rule)
    point = ts.fixed_point(problem, near=3000.0)
    assert point.eps_g > 0.01
    names = [f"rescaling of xi_out[:,{a}] against sigma[{a}]" for a in (0, 1)]
    assert [(mode.kind, mode.name) for mode in point.zero_modes] == [("family", name) for name in names]
    decaying = dataclasses.replace(problem, rule=dataclasses.replace(rule, weight_decay=0.01))
    assert ts.fixed_point(decaying, near=3000.0).zero_modes == ()


def test_a_family_changes_the_state_but_not_the_weights() -> None:
    state = decomposed([0.8, 0.6])
    coordinates = coordinates_of(state, ts.LearningRule(eta_xi_in=1.0, eta_sigma=1.0))
    unit = np.array([1.0, 0.0])
    change = change_of(state, coordinates, np.diag(unit), -state.sigma * unit, np.zeros((2, 2)))
    h = 1e-5
    A = np.diag([1.0 + h, 1.0])
    moved = transformed(state, A, state.xi_out, state.sigma / np.diagonal(A))
    np.testing.assert_allclose(moved.Q, state.Q, atol=1e-15)
    difference = (state_vector(moved) - state_vector(state))[coordinates.moving] / h
    np.testing.assert_allclose(difference, change, atol=1e-4)


def test_two_students_of_one_teacher_unit_share_its_output_weight_in_any_parts() -> None:
    state = ts.plain_committee(Q=np.ones((2, 2)), R=np.ones((2, 1)), T=[[1.0]], v=[0.6, 0.4], v_teacher=[1.0])
    names = mode_names(state, eta_xi_in=0.4, eta_v=0.3)
    assert ("family", "zero generalisation error") in names


def test_modes_that_the_student_does_not_use_keep_their_overlaps() -> None:
    xi_out = np.array([[1.0, 0.5]])
    state = ts.OrderParameters(
        Q_modes=[[1.25, 0.1], [0.1, 0.8]],
        R_modes=[[0.8], [0.4]],
        T=[[1.0]],
        sigma=[1.0, 1.0],
        xi_out=xi_out,
        v=[1.0],
        v_teacher=[1.0],
    )
    problem = ts.Problem(initial=state, rule=ts.LearningRule(eta_xi_in=0.5))
    unused = np.array([0.5, -1.0])
    run = ts.integrate(problem, [0.0, 300.0], progress=False)
    kept = np.einsum("a,tab,b->t", unused, run["Q_modes"].values, unused)
    assert kept[1] == pytest.approx(kept[0], rel=1e-8)
    point = ts.fixed_point(problem, near=300.0)
    kinds = [mode.kind for mode in point.zero_modes]
    assert kinds == ["conserved", "conserved"]  # one overlap of the unused combination with itself, one with the teacher


def test_a_teacher_of_low_rank_leaves_only_possible_directions() -> None:
    problem = ts.load_problem("li-huang-2023")
    point = ts.fixed_point(problem, near=1e5)
    P, rank = 3, 3
    assert len(point.labels) == 6 + P * 8
    assert len(point.eigenvalues) == 6 + P * rank
    assert point.n_unstable == 0
    null = scipy.linalg.null_space(problem.initial.T, rcond=1e-9)
    R_part = point.eigenvectors[6:].reshape(P, 8, -1)
    assert np.abs(np.einsum("amj,mn->anj", R_part, null)).max() < 1e-6
