"""Modes that are the same, opposite, or on a teacher unit stay so bit for bit in simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import teacher_student as ts
from teacher_student import networks
from teacher_student.sgd import chain
from teacher_student.sgd.repeats import repeats_of

RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch": {"batch_size": 3},
    "friction": {"friction": 2.0},
    "spherical": {"spherical": True, "eta_v": 0.0},
}


def three_units(sign: float, **rule: Any) -> ts.Problem:
    """Return three erf units of which the second is `sign` times the first."""
    S = np.diag([1.0, sign, 1.0])
    Q = S @ np.array([[0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.1, 0.1, 0.6]]) @ S
    R = S @ np.array([[0.1, 0.2], [0.1, 0.2], [0.0, 0.1]])
    state = ts.plain_committee(Q=Q, R=R, T=np.eye(2), v=[0.5, 0.5 * sign, 1.0], v_teacher=[1.0, 1.0])
    return ts.Problem(state, ts.LearningRule(**{"eta_xi_in": 0.8, "eta_v": 0.2, "noise": 0.1, **rule}))


def distance(problem: ts.Problem, sign: float, method: str, replicas: int) -> float:
    runs = ts.simulate(problem, [1.0, 20.0], n_inputs=30, replicas=replicas, seed=1, method=method, progress=False)
    return float(
        max(np.abs(runs[name].values[..., 0, :] - sign * runs[name].values[..., 1, :]).max() for name in ("Q_modes", "R_modes"))
        + np.abs(runs["v"].values[..., 0] - sign * runs["v"].values[..., 1]).max()
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("method", "replicas"), [("weights", 2), ("overlaps", 1), ("overlaps", 9)])
def test_units_stay_the_same_bit_for_bit(
    rule: dict[str, Any], sign: float, method: str, replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the comparison the chain's reflections part them, by rounding."""
    problem = three_units(sign, **rule)
    assert distance(problem, sign, method, replicas) == 0.0
    if method == "overlaps":
        monkeypatch.setattr(chain, "repeats_of", lambda rows: np.arange(len(rows)))
        assert 0.0 < distance(problem, sign, method, replicas) < 1e-10


def test_modes_that_become_different_are_left_alone() -> None:
    """Equal modes of unequal strengths part, in the chain as on weights and in the theory."""
    state = ts.OrderParameters(
        Q_modes=np.full((2, 2), 0.5),
        R_modes=[[0.1, 0.2]] * 2,
        T=np.eye(2),
        sigma=[1.0, 0.4],
        xi_out=np.eye(2),
        v=[1.0, 1.0],
        v_teacher=[1.0, 1.0],
    )
    problem = ts.Problem(state, ts.LearningRule(eta_xi_in=0.8))
    theory = ts.integrate(problem, [2.0], progress=False)["Q_modes"].values[0]
    for method in ("overlaps", "weights"):
        runs = ts.simulate(problem, [2.0], n_inputs=400, replicas=16, seed=3, method=method, progress=False)["Q_modes"].values[
            :, 0
        ]
        error = runs.std(axis=0, ddof=1) / 4
        assert (np.abs(runs.mean(axis=0) - theory) < 5 * error).all()
    assert abs(theory[0, 0] - theory[1, 1]) > 0.1


def test_rows_repeat_earlier_ones_or_their_opposites() -> None:
    rows = np.array([[1.0, 2.0], [0.5, 0.0], [-1.0, -2.0], [1.0, 2.0], [0.5, 1e-9]])
    assert repeats_of(rows).tolist() == [0, 1, 0, 0, 4]


def test_weights_and_factors_repeat_what_the_overlaps_say() -> None:
    """Rows equal by their overlaps up to rounding are equal bit for bit, also to teacher units; others are left alone."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((5, 40))
    X[3], X[4] = -X[1], X[0]
    gram = X @ X.T / 40 * (1.0 + 1e-15 * rng.standard_normal((5, 5)))
    gram = 0.5 * (gram + gram.T)
    for rows in (networks.triangular_factor(gram), networks.draw_rows(gram, 60, rng) / np.sqrt(60)):
        np.testing.assert_array_equal(rows[3], -rows[1])
        np.testing.assert_array_equal(rows[4], rows[0])
        np.testing.assert_allclose(rows @ rows.T, gram, atol=1e-12)
    near = X.copy()
    near[4] *= 1.0 + 1e-9
    assert not np.array_equal(*networks.draw_rows(near @ near.T / 40, 60, rng)[[0, 4]])
