"""Types of tuples for the compiler, found out once: to find them out again at every call takes longer than many calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from numba import typeof, types
from numba.extending import typeof_impl


def remember_type(kind: type[Any], key: Callable[[Any], Hashable] = lambda value: None) -> None:
    """Let the compiler remember the type of the named tuples of class `kind`, one for each `key` of them.

    Tuples with the same key have to have entries of the same types: numbers of the same kinds, arrays of the same dimensions and
    contiguous.
    """
    known: dict[Hashable, Any] = {}

    @typeof_impl.register(kind)
    def type_of(value: Any, context: Any) -> Any:
        sort = key(value)
        if sort not in known:
            known[sort] = types.NamedTuple([typeof(entry) for entry in value], kind)  # type: ignore[no-untyped-call]
        return known[sort]
