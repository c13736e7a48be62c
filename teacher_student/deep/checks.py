"""Refusals of numbers, for parameters, settings and files alike."""

from __future__ import annotations

import math

import numpy as np

from teacher_student.errors import refuse


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


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Raise `InvalidInput` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        refuse(name, value, f"a whole number of at least {least}")


def check_flag(name: str, value: object) -> None:
    """Raise `InvalidInput` unless `value` is true or false: "no" and 0 would pass for one of them unnoticed."""
    if not isinstance(value, (bool, np.bool_)):
        refuse(name, value, "True or False")
