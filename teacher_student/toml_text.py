"""Values as TOML text."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from teacher_student.schedules import Cosine, Exponential, Piecewise, PowerLaw, Ramp, Schedule

SCHEDULES: dict[str, type[Schedule]] = {
    "piecewise": Piecewise,
    "power-law": PowerLaw,
    "cosine": Cosine,
    "exponential": Exponential,
    "ramp": Ramp,
}


def toml(value: Any) -> str:
    """Return `value` as the right-hand side of a line of TOML."""
    if isinstance(value, Schedule):
        kind = next(kind for kind, schedule in SCHEDULES.items() if isinstance(value, schedule))
        return toml({"kind": kind, **{f.name: getattr(value, f.name) for f in fields(value)}})
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def toml_key(key: str) -> str:
    """Return `key` as the left-hand side of a line of TOML."""
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else toml(key)
