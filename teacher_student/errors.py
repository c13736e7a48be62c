"""What goes wrong, named: input that is refused, and runs that leave every bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import xarray as xr


class InvalidInput(ValueError):
    """Input refused before any work: one line with the field, its value and what was expected."""


class Diverged(ArithmeticError):
    """A run left every reasonable bound.

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
    shown = " ".join(repr(value).split())
    if len(shown) > 80:
        shown = shown[:77] + "..."
    raise InvalidInput(f"{field}: got {shown}, expected {expected}")
