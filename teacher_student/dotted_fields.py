"""Fields of a problem's tables by dotted names, as "rule.noise" or "initial.R.0.1", and their values on the command line."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable
from typing import Any

from teacher_student.errors import refuse


def set_fields(document: dict[str, Any], names: str, value: Any) -> None:
    """Set the fields of dotted `names`, with commas between, to `value`; raises `InvalidInput` if there is no place for one."""
    for name in names.split(","):
        name = name.strip()
        *path, last = name.split(".")
        place: Any = document
        for step in path:
            if isinstance(place, dict):
                place = place.setdefault(step, {})
            else:
                place = place[_position(place, step, name, value)]
        if isinstance(place, dict):
            place[last] = copy.deepcopy(value)
        else:
            place[_position(place, last, name, value)] = copy.deepcopy(value)


def _position(place: Any, step: str, name: str, value: Any) -> int:
    if not isinstance(place, list):
        refuse(name, value, f"a field of the problem, but there is {place!r} where {step!r} should be an entry")
    if not step.isdecimal() or int(step) >= len(place):
        refuse(name, value, f"a field of the problem, but {step!r} is no position in an array of {len(place)}")
    return int(step)


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields of `texts` such as "rule.noise=0.1", with values in TOML; a word that is no TOML is text.

    Raises `InvalidInput` for a text without a name and an equals sign, and for a name that comes twice.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            refuse("set", text, "a field of the problem and its value, as rule.eta_xi_in=0.3")
        if name in settings:
            refuse("set", text, f"each field once, but {name} is set before")
        settings[name] = _value(value.strip())
    return settings


def _value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text
