"""The two exceptions of the package, refused input and diverged runs, and the checks that refuse."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    import xarray as xr

Kind = TypeVar("Kind")

# What an array of whole numbers holds.
LARGEST_WHOLE = 2**63 - 1


_BEYOND_SEEDS = 10**4000  # Python writes 4300 digits at most


class InvalidInput(ValueError):
    """Input refused before any work: one line with the field, its value and what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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


def warn_of_interruption(trajectory: xr.Dataset, stacklevel: int) -> None:
    """Warn, `stacklevel` calls above, that `trajectory` ends early if Ctrl-C has ended it: a notebook goes on after it."""
    if trajectory.attrs["status"] != "interrupted":
        return
    times = trajectory["alpha"].values
    until = f"ends at alpha = {times[-1]:.6g}" if len(times) else "holds no output time"
    text = f"{trajectory.attrs['source']} interrupted: the trajectory {until}, and its status is 'interrupted'"
    warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)


def refuse(field: str, value: object, expected: str) -> NoReturn:
    """Raise `InvalidInput` in the one form all refusals share."""
    raise InvalidInput(f"{field}: got {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """Return `value` as it stands in messages, in one line that is not too long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return f"{type(value).__name__} with a whole number of thousands of digits"
    except Exception:  # of an object whose own code fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def one_line(text: str) -> str:
    """Return `text` with what cannot be printed, such as a line break in the name of a file, written as in Python's strings."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


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


def check_whole(field: str, value: object, least: int = 1, expected: str | None = None, most: int | None = LARGEST_WHOLE) -> int:
    """Return `value` as an int; raises `InvalidInput`, which says what is `expected`, unless it is whole and in these bounds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        refuse(field, value, expected or f"a whole number of at least {least}")
    number = int(value)
    if most is not None and number > most:
        refuse(field, number, f"a whole number of at most {most}")
    return number


def check_executor(value: object) -> None:
    """Raise `InvalidInput` unless `value` is None or takes jobs as a concurrent.futures.Executor does."""
    if value is not None and (isinstance(value, type) or not callable(getattr(value, "submit", None))):
        refuse("executor", value, "a concurrent.futures.Executor")


def check_seed(field: str, value: object) -> int:
    """Return `value` as an int; raises `InvalidInput` unless it is a whole number from 0 on, of any size that Python writes."""
    seed = check_whole(field, value, least=0, most=None)
    if seed >= _BEYOND_SEEDS:
        refuse(field, value, "a whole number of at most 4000 digits")
    return seed


def check_flag(field: str, value: object) -> bool:
    """Return `value` as a bool; raises `InvalidInput` unless it is true or false: "no" and 0 would pass for one unnoticed."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's, without the time that importing it takes
        refuse(field, value, "true or false")
    return bool(value)


def check_choice(field: str, value: object, known: Iterable[str]) -> str:
    """Return `value`; raises `InvalidInput` unless it is one of the names that are `known`."""
    if not isinstance(value, str) or value not in known:
        refuse(field, value, "one of " + ", ".join(known))
    return value


def check_instance(field: str, value: object, kind: type[Kind], expected: str | None = None) -> Kind:
    """Return `value`; raises `InvalidInput`, which says what is `expected`, unless it is an instance of `kind`."""
    if not isinstance(value, kind):
        refuse(field, value, expected or f"an instance of {kind.__name__}")
    return value
