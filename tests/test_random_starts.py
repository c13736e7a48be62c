"""Random committees: exact norms and correlations, overlaps with the teacher of the right law, files, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.problem_file import parse_problem

GIVEN: dict[str, Any] = {"n_inputs": 50, "n_units": 3, "n_teacher": 2, "seed": 4}


def test_norms_and_correlations_are_exact() -> None:
    state = ts.random_committee(
        **GIVEN,
        student_norm=0.3,
        student_correlation=-0.4,
        teacher_norm=1.5,
        teacher_correlation=0.6,
        v=0.5,
        v_teacher=[1.0, -2.0],
    )
    np.testing.assert_allclose(state.Q, 0.3 * np.array([[1, -0.4, -0.4], [-0.4, 1, -0.4], [-0.4, -0.4, 1]]), rtol=1e-15)
    np.testing.assert_allclose(state.T, 1.5 * np.array([[1, 0.6], [0.6, 1]]), rtol=1e-15)
    np.testing.assert_array_equal(state.v, [0.5] * 3)
    np.testing.assert_array_equal(state.v_teacher, [1.0, -2.0])
    assert ts.random_committee(**GIVEN) == ts.random_committee(**GIVEN)
    assert ts.random_committee(**GIVEN) != ts.random_committee(**{**GIVEN, "seed": 5})


def test_overlaps_with_the_teacher_have_the_law_of_random_directions() -> None:
    """Mean zero and variance Q T / N, exactly at any N. Negative control: a variance of Q T / (N + 2) would be seen."""
    given = {**GIVEN, "n_inputs": 6}
    R = np.array([ts.random_committee(**{**given, "seed": seed}, student_norm=0.5, teacher_norm=2.0).R for seed in range(4000)])
    z = R * np.sqrt(6)
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(4000)
    square = (z**2).mean(axis=(1, 2))
    error = square.std(ddof=1) / np.sqrt(4000)
    assert abs(square.mean() - 1.0) < 4.5 * error
    assert abs(square.mean() - 6 / 8) > 4.5 * error


def test_a_file_states_a_random_start() -> None:
    text = "n_inputs = 50\nn_units = 3\nn_teacher = 2\nseed = 4\nteacher_correlation = 0.6\nv_teacher = [1.0, 2.0]"
    problem = parse_problem(f'[initial]\nkind = "random"\n{text}\n[rule]\neta_xi_in = 0.5')
    assert problem.initial == ts.random_committee(**GIVEN, teacher_correlation=0.6, v_teacher=[1.0, 2.0])
    assert parse_problem(problem.to_toml()) == problem
    with pytest.raises(ts.InvalidInput, match=r"^initial\.norm: got 1, expected no such key"):
        parse_problem(f'[initial]\nkind = "random"\n{text}\nnorm = 1\n[rule]\neta_xi_in = 0.5')
    with pytest.raises(ts.InvalidInput, match=r"^initial\.seed: got None, expected a value"):
        parse_problem('[initial]\nkind = "random"\nn_inputs = 9\nn_units = 1\nn_teacher = 1\n[rule]\neta_xi_in = 0.5')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_inputs": 4}, "n_inputs: got 4, expected a whole number of at least K \\+ M = 5"),
        ({"n_units": 0}, "n_units: got 0"),
        ({"student_norm": -1.0}, "student_norm: got -1.0, expected a finite number of at least 0"),
        ({"student_correlation": -0.6}, "student_correlation: got -0.6, expected a cosine from -0.5 to 1, as 3 units can have"),
        ({"teacher_correlation": "much"}, "teacher_correlation: got 'much', expected a cosine from -1 to 1"),
        ({"teacher_correlation": float("nan")}, "teacher_correlation: got nan, expected a cosine from -1 to 1"),
        ({"v": [1.0, 2.0]}, "v: got 'shape \\(2,\\)', expected shape \\(3,\\)"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_impossible_starts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ts.InvalidInput, match=f"^{message}"):
        ts.random_committee(**{**GIVEN, **change})
