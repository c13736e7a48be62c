"""Refusals of numbers, names and labels, for parameters, settings and files alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.errors import check_whole, refuse


def check_number(name: str, value: object, least: float, above: bool = False) -> None:
    """Raise `InvalidInput` unless `value` is a finite number of at least `least`, or `above` it."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not _is_finite(value) or value < least or (above and value == least):  # type: ignore[operator]
        refuse(name, value, f"a finite number {'above' if above else 'of at least'} {least:g}")


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number that no float can hold
        return False


def whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    """Return a whole number of at least 1, or a sequence of such, as a tuple; raises `InvalidInput` for anything else."""
    entries = np.atleast_1d(np.asarray(value, dtype=object))
    if entries.ndim > 1:
        refuse(name, value, "a whole number or a flat list of them, such as [70, 70, 70]")
    for entry in entries:
        check_whole(name, entry)
    return tuple(int(entry) for entry in entries)


def distinct_labels(name: str, labels: Any) -> Array:
    """Return the different labels in ascending order; raises `InvalidInput` for none, tables, NaN and what has no order."""
    try:
        found = np.unique(np.asarray(labels)) if np.ndim(labels) == 1 else np.empty(0)
        good = len(found) > 0 and (found.dtype.kind != "f" or bool(np.isfinite(found).all()))
    except (TypeError, ValueError):  # of different types, or of different lengths
        good = False
    if not good:
        refuse(name, labels, "a list of labels of one type")
    return found


def checked_samples(X: Any, y: Any, n_features: int) -> tuple[Array, Array]:
    """Return inputs (samples, features) and labels (samples,) as arrays; raises `InvalidInput` for other shapes and NaN."""
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or X.shape[1] != n_features or len(X) == 0:
        refuse("X", X.shape, f"an array of shape (samples, {n_features})")
    if X.dtype.kind not in "biuf" or not np.isfinite(X).all():
        refuse("X", X, "finite numbers")
    if y.shape != (len(X),):
        refuse("y", y.shape, f"an array of shape ({len(X)},), a label for each sample")
    return X, y
