"""The two exceptions of the package, refused input and diverged runs, and the checks that refuse."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import xarray as xr


class InvalidInput(ValueError):
    """Input refused before any work: one line with the field, its value and what was expected."""


class Diverged(ArithmeticError):
    """A run has diverged: a number is not finite, or exceeds its bound.

    Attributes
    ----------
    trajectory : xarray.Dataset or None
        What was computed before, with the attribute ``status`` saying where it ended.
    """

    def __init__(self, message: str, trajectory: xr.Dataset | None = None) -> None:
        super().__init__(message)
        self.trajectory = trajectory


def refuse(field: str, value: object, expected: str) -> NoReturn:
    """Raise `InvalidInput` in the one form all refusals share."""
    raise InvalidInput(f"{field}: got {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """Return `value` as it stands in messages, in one line that is not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def check_non_negative(field: str, value: object, expected: str = "a number of at least 0") -> float:
    """Return `value` as a float; raises `InvalidInput`, which says what is `expected`, unless it is finite and at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        refuse(field, value, expected)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number >= 0):
        refuse(field, number, expected.replace("a number", "a finite number", 1))
    return number


def check_positive(field: str, value: object) -> float:
    """Return `value` as a float; raises `InvalidInput` unless it is a finite number above 0."""
    number = check_non_negative(field, value, "a number above 0")
    if number == 0:
        refuse(field, number, "a number above 0")
    return number


def check_fraction(field: str, value: object) -> float:
    """Return `value` as a float; raises `InvalidInput` unless it is a number between 0 and 1, neither of them included."""
    number = check_non_negative(field, value, "a number between 0 and 1")
    if not 0 < number < 1:
        refuse(field, number, "a number between 0 and 1")
    return number


def check_whole(field: str, value: object, least: int) -> int:
    """Return `value` as an int; raises `InvalidInput` unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        refuse(field, value, f"a whole number of at least {least}")
    return int(value)
