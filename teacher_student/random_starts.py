"""Random starts: networks of given norms and correlations in random directions, as SGD usually starts from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_non_negative, check_seed, check_whole, refuse
from teacher_student.networks import draw_rows
from teacher_student.order_parameters import OrderParameters, as_array, check_shape, plain_committee


def random_committee(
    n_inputs: int,
    n_units: int,
    n_teacher: int,
    seed: int,
    *,
    student_norm: float = 0.5,
    student_correlation: float = 0.0,
    teacher_norm: float = 1.0,
    teacher_correlation: float = 0.0,
    v: float | npt.ArrayLike = 1.0,
    v_teacher: float | npt.ArrayLike = 1.0,
) -> OrderParameters:
    """Return a plain committee whose student lies in random directions relative to its teacher.

    Student and teacher are each drawn uniformly among all networks of the given overlaps, independently of each other. R_km has
    mean zero and the standard deviation sqrt(student_norm teacher_norm / N).

    Parameters
    ----------
    n_inputs, n_units, n_teacher : int
        N, K and M. Only R depends on N; runs of a problem may have another one.
    seed : int
        The seed of the directions.
    student_norm, teacher_norm : float
        Squared lengths Q_kk and T_mm.
    student_correlation, teacher_correlation : float
        Cosine of the angle between any two units of the student, and of the teacher, from -1 / (units - 1) to 1.
    v, v_teacher : float or arrays (K,) and (M,)
        Output weights; a number is that of every unit.

    Raises
    ------
    InvalidInput
        For N below K + M, for a cosine that so many units cannot have, and for impossible numbers.
    """
    n_units, n_teacher = check_whole("n_units", n_units, least=1), check_whole("n_teacher", n_teacher, least=1)
    n_inputs = check_whole("n_inputs", n_inputs, n_units + n_teacher, f"a whole number of at least K + M = {n_units + n_teacher}")
    rng = np.random.default_rng(check_seed("seed", seed))
    Q = _overlaps("student", n_units, student_norm, student_correlation)
    T = _overlaps("teacher", n_teacher, teacher_norm, teacher_correlation)
    student, teacher = draw_rows(Q, n_inputs, rng), draw_rows(T, n_inputs, rng)
    R = student @ teacher.T / n_inputs
    return plain_committee(Q, R, T, v=_weights("v", v, n_units), v_teacher=_weights("v_teacher", v_teacher, n_teacher))


def _overlaps(who: str, n: int, norm: object, correlation: object) -> FloatArray:
    """Return the overlaps of `n` units of one squared length and one cosine between any two."""
    length = check_non_negative(f"{who}_norm", norm)
    least = -1.0 / (n - 1) if n > 1 else -1.0
    expected = f"a cosine from {least:g} to 1, as {n} units can have"
    if isinstance(correlation, bool) or not isinstance(correlation, (int, float, np.integer, np.floating)):
        refuse(f"{who}_correlation", correlation, expected)
    if not least <= correlation <= 1.0:
        refuse(f"{who}_correlation", correlation, expected)
    return length * ((1.0 - correlation) * np.eye(n) + correlation * np.ones((n, n)))


def _weights(name: str, weights: Any, n: int) -> FloatArray:
    """Return output weights of `n` units, (n,), given as an array or as one number."""
    if isinstance(weights, (int, float, np.integer, np.floating)) and not isinstance(weights, bool):
        return as_array(name, np.array([weights] * n), 1)
    array = as_array(name, weights, 1)
    check_shape(name, array, (n,), "a number for each unit, or one number")
    return array
