"""Function pointers of a family's kernels, of the one type that all families share."""

from __future__ import annotations

from typing import Any

from numba import types

from teacher_student.kernels import cfunc

VECTOR, MATRIX = types.float64[::1], types.float64[:, ::1]
ACTIVATION_COVARIANCE = types.void(VECTOR, MATRIX, types.int64, MATRIX)
AVERAGES = types.void(VECTOR, MATRIX, VECTOR, types.int64, MATRIX, MATRIX, MATRIX, MATRIX)


def pointers(activation_covariance: Any, averages: Any) -> tuple[Any, Any]:
    """Return both compiled kernels, described in the package's docstring, as function pointers.

    They have numpy's error model like the kernels: an exception cannot leave a function pointer.
    """
    return (
        cfunc(ACTIVATION_COVARIANCE, cache=True, error_model="numpy")(activation_covariance.py_func),
        cfunc(AVERAGES, cache=True, error_model="numpy")(averages.py_func),
    )
