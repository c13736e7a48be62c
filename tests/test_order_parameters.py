"""Order parameters: what is refused, that they cannot change, and what follows from them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import scipy.special

from teacher_student import InvalidInput, OrderParameters, plain_committee
from teacher_student.arrays import FloatArray
from teacher_student.networks import draw_weights
from teacher_student.order_parameters import generalisation_error, unit_overlaps

FIELDS = ("Q_modes", "R_modes", "T", "sigma", "xi_out", "v", "v_teacher")


def good_fields() -> dict[str, Any]:
    """Return fields of a state with K = 4, P = 3 and M = 2."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((5, 8)) / np.sqrt(8)
    gram = X @ X.T
    return {
        "Q_modes": gram[:3, :3],
        "R_modes": gram[:3, 3:],
        "T": gram[3:, 3:],
        "sigma": rng.uniform(0.6, 1.4, 3),
        "xi_out": rng.standard_normal((4, 3)),
        "v": rng.standard_normal(4),
        "v_teacher": rng.uniform(0.5, 1.5, 2),
    }


def with_entry(name: str, index: tuple[int, ...], value: float) -> dict[str, Any]:
    fields = good_fields()
    array = np.array(fields[name])
    array[index] = value
    return fields | {name: array}


def assert_refused(field: str, fields: dict[str, Any]) -> None:
    """Require a message of one line that starts with the field's name, or that of one of its entries."""
    OrderParameters(**good_fields())
    with pytest.raises(InvalidInput, match=rf"\A{re.escape(field)}(\[[^\n]+\])?: got [^\n]+, expected [^\n]+\Z"):
        OrderParameters(**fields)


@pytest.mark.parametrize("name", ["Q_modes", "T"])
def test_asymmetric_overlaps_are_refused(name: str) -> None:
    asymmetric = np.array(good_fields()[name])
    asymmetric[0, 1] += 1e-6
    assert_refused(name, good_fields() | {name: asymmetric})
    asymmetric[0, 1] = asymmetric[1, 0] + 1e-13  # typing errors of the last digits are none
    OrderParameters(**(good_fields() | {name: asymmetric}))


@pytest.mark.parametrize("name", ["Q_modes", "T"])
def test_negative_eigenvalues_are_refused(name: str) -> None:
    assert_refused(name, with_entry(name, (0, 0), -0.1))
    indefinite = np.array(good_fields()[name])
    indefinite[0, 1] = indefinite[1, 0] = 1.01 * np.sqrt(indefinite[0, 0] * indefinite[1, 1])
    assert_refused(name, good_fields() | {name: indefinite})


def test_overlaps_with_the_teacher_that_are_too_large_are_refused() -> None:
    """|R_am| may reach sqrt(Q_aa T_mm) and no more."""
    unit = {"Q_modes": [[4.0]], "T": [[0.25]], "sigma": [1.0], "xi_out": [[1.0]], "v": [1.0], "v_teacher": [1.0]}
    for R in (1.0, -1.0):
        OrderParameters(R_modes=[[R]], **unit)  # type: ignore[arg-type]
        assert_refused("R_modes", unit | {"R_modes": [[R * 1.0001]]})
    fields = good_fields()
    assert_refused("R_modes", fields | {"R_modes": 10.0 * fields["R_modes"]})
    assert_refused("R_modes", fields | {"T": np.zeros((2, 2))})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FIELDS)
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    assert_refused(name, with_entry(name, (0,) * np.ndim(good_fields()[name]), bad))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Q_modes", (2, 2)),
        ("Q_modes", (3, 2)),
        ("Q_modes", (9,)),
        ("R_modes", (2, 3)),
        ("R_modes", (3, 3)),
        ("R_modes", (6,)),
        ("T", (3, 3)),
        ("T", (2,)),
        ("T", (1, 2, 2)),
        ("sigma", (3, 1)),
        ("sigma", ()),
        ("xi_out", (3, 4)),
        ("xi_out", (4, 2)),
        ("xi_out", (5, 3)),
        ("v", (4, 1)),
        ("v", ()),
        ("v_teacher", (2, 1)),
    ],
)
def test_wrong_shapes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    assert_refused(name, good_fields() | {name: np.zeros(shape)})


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_no_number_is_refused(name: str) -> None:
    value = np.asarray(good_fields()[name])
    wrongs: list[Any] = [value.astype(str), value > 0, value * 1j, value.astype(object), [[1.0], [1.0, 2.0]]]
    for wrong in [*wrongs, "1\n2", None, {}, [None]]:
        assert_refused(name, good_fields() | {name: wrong})


def test_sizes_of_zero_are_refused() -> None:
    """With no unit, no mode or no teacher unit at all, every shape fitting, the message names an empty field."""
    fields = good_fields()
    empty = np.zeros
    assert_refused("v", fields | {"xi_out": empty((0, 3)), "v": empty(0)})
    no_modes = {"Q_modes": empty((0, 0)), "R_modes": empty((0, 2)), "sigma": empty(0), "xi_out": empty((4, 0))}
    assert_refused("sigma", fields | no_modes)
    assert_refused("v_teacher", fields | {"R_modes": empty((3, 0)), "T": empty((0, 0)), "v_teacher": empty(0)})


def test_a_long_value_is_shown_in_one_short_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        OrderParameters(**(good_fields() | {"v": ["x"] * 10_000}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_states_do_not_change() -> None:
    fields = good_fields()
    state = OrderParameters(**fields)
    for name in FIELDS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(state, name)[...] = 0.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(state, name, fields[name])
        before = getattr(state, name).copy()
        fields[name][...] = 0.0  # nor through the arrays it was made of
        assert np.array_equal(getattr(state, name), before)


def test_states_compare_by_value() -> None:
    assert OrderParameters(**good_fields()) == OrderParameters(**good_fields())
    assert OrderParameters(**good_fields()) != OrderParameters(**with_entry("v", (0,), 0.5))
    assert OrderParameters(**good_fields()) != 1


def test_integers_and_lists_are_numbers() -> None:
    state = plain_committee([[1]], [[0]], [[2]], [3], [4])
    assert state.Q.dtype == np.float64
    assert (state.n_units, state.n_modes, state.n_teacher) == (1, 1, 1)


def test_singular_overlaps_are_accepted() -> None:
    """T of two identical and one vanishing teacher unit, and a student that equals the teacher."""
    T = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    state = plain_committee(T, T, T, np.ones(3), np.ones(3))
    assert abs(state.eps_g()) < 1e-15


def test_derived_overlaps() -> None:
    state = OrderParameters(**good_fields())
    W = state.xi_out @ np.diag(state.sigma)
    assert np.abs(state.B - W).max() < 1e-15
    assert np.abs(state.Q - W @ state.Q_modes @ W.T).max() < 1e-14
    assert np.abs(state.R - W @ state.R_modes).max() < 1e-14
    plain = plain_committee(state.Q, state.R, state.T, state.v, state.v_teacher)
    assert np.array_equal(plain.Q, state.Q)
    assert np.array_equal(plain.R_modes, state.R)
    assert abs(plain.eps_g() - state.eps_g()) < 1e-14


@pytest.mark.parametrize(
    ("field", "Q", "R"),
    [("Q", np.eye(3), np.zeros((2, 1))), ("R", np.eye(2), np.zeros((1, 2))), ("Q", [1.0, 1.0], np.zeros((2, 1)))],
)
def test_plain_committee_names_its_own_fields(field: str, Q: Any, R: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"\A{field}: got [^\n]+\Z"):
        plain_committee(Q, R, np.eye(1), np.ones(2), np.ones(1))


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\Aactivation: got 'tanhh', expected [^\n]+\Z"):
        OrderParameters(**good_fields()).eps_g("tanhh")


def test_generalisation_error_of_many_states_at_once() -> None:
    states = [OrderParameters(**with_entry("v", (0,), value)) for value in np.linspace(-1.0, 1.0, 6)]
    stacked = {
        name: np.array([getattr(s, name) for s in states]).reshape(2, 3, *getattr(states[0], name).shape) for name in FIELDS
    }
    Q, R = unit_overlaps(stacked)
    eps_g = generalisation_error(Q, R, states[0].T, stacked["v"], states[0].v_teacher, "erf")
    assert eps_g.shape == (2, 3)
    assert np.abs(eps_g.ravel() - [s.eps_g() for s in states]).max() < 1e-15


def test_eps_g_is_the_mean_squared_error_of_explicit_weights() -> None:
    """Half the mean squared error over random inputs, within 4 standard errors; a wrong eps_g must not pass."""
    state = OrderParameters(**good_fields())
    weights = draw_weights(state, 30, np.random.default_rng(1))
    x = np.random.default_rng(2).standard_normal((400_000, 30)) / np.sqrt(30)

    def output(W: FloatArray, v: FloatArray) -> FloatArray:
        return np.asarray(scipy.special.erf(x @ W.T / np.sqrt(2.0)) @ v)

    W = weights.xi_out @ np.diag(weights.sigma) @ weights.xi_in
    losses = (output(W, weights.v) - output(weights.W_teacher, weights.v_teacher)) ** 2 / 2.0

    def agrees(eps_g: float) -> bool:
        return bool(abs(losses.mean() - eps_g) < 4.0 * losses.std() / np.sqrt(len(losses)))

    assert agrees(state.eps_g())
    assert not agrees(2.0 * state.eps_g())
    wrong_R = state.R * np.array([[1.0], [1.0], [1.0], [0.9]])
    assert not agrees(float(generalisation_error(state.Q, wrong_R, state.T, state.v, state.v_teacher, "erf")))
    assert not agrees(dataclasses.replace(state, v=1.03 * state.v).eps_g())
