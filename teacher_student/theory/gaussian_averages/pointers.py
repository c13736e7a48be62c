"""Function pointers of a family's kernels, of the one type that all families share."""

from __future__ import annotations

from typing import Any

from numba import cfunc

_MATRIX = "float64[:, ::1]"
_ACTIVATION_COVARIANCE = f"void(float64[::1], {_MATRIX}, int64, {_MATRIX})"
_AVERAGES = f"void(float64[::1], {_MATRIX}, float64[::1], int64, {_MATRIX}, {_MATRIX}, {_MATRIX}, {_MATRIX})"


def pointers(activation_covariance: Any, averages: Any) -> tuple[Any, Any]:
    """Return both compiled kernels, described in the package's docstring, as function pointers."""
    return (
        cfunc(_ACTIVATION_COVARIANCE, cache=True)(activation_covariance.py_func),
        cfunc(_AVERAGES, cache=True)(averages.py_func),
    )
