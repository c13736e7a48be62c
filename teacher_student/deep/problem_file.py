"""What to train, on what, and what to measure, as TOML: files and presets of the deep commands."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teacher_student.dotted_fields import set_fields
from teacher_student.errors import refuse
from teacher_student.toml_files import presets, tables, text_of_problem

DEFAULT_PRESET = "digits"
_PACKAGE = "teacher_student.deep"

_KEYS = {
    "data": ("name", "folder", "test_fraction", "n_samples", "seed", "inputs"),
    "importance": ("matrix",),
    "widths": ("widths", "n_modes", "fraction", "seeds", "n_hidden"),
    "latent": ("seeds", "k"),
    "cost": ("n_modes",),
    "reproduce": ("networks", "first_ranks", "n_draws"),
}


@dataclass(frozen=True)
class DeepProblem:
    """Tables of a file: `data` for `load_data`, `model` for `ModeMLPClassifier`, and settings of each analysis."""

    name: str
    description: str
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    importance: dict[str, Any] = field(default_factory=dict)
    widths: dict[str, Any] = field(default_factory=dict)
    latent: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    reproduce: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)


def deep_presets() -> dict[str, str]:
    """Return the names of the presets, each with its description."""
    return presets(_PACKAGE)


def text_of_preset(name: str) -> str:
    """Return the TOML of a preset; raises `InvalidInput` if there is none of that name."""
    if name not in deep_presets():
        refuse("preset", name, "one of " + ", ".join(deep_presets()))
    return text_of_problem(name, _PACKAGE)


def load_deep_problem(source: str | Path, changes: dict[str, Any] | None = None) -> DeepProblem:
    """Return the problem in a TOML file, or the preset of that name, with `changes` of fields by dotted names.

    Raises `InvalidInput` at the first unknown key.
    """
    document = tables(text_of_problem(source, _PACKAGE, "a model, "), "problem", source)
    for name, value in (changes or {}).items():
        set_fields(document, name, value)
    return _parse(str(source), document)


def _parse(source: str, document: dict[str, Any]) -> DeepProblem:
    from teacher_student.deep.estimators import ModeMLPClassifier

    parameters = tuple(inspect.signature(ModeMLPClassifier).parameters)
    known = {**_KEYS, "model": parameters, "budget": ("seeds", "many_modes", "high_rate", *parameters)}
    for key, value in document.items():
        if key in ("name", "description"):
            if not isinstance(value, str):
                refuse(f"{source}: {key}", value, "text")
        elif key not in known:
            refuse(f"{source}: {key}", value, "no such key; known here: name, description, " + ", ".join(known))
        elif not isinstance(value, dict):
            refuse(f"{source}: {key}", value, f"a table [{key}]")
        else:
            for name in value:
                if name not in known[key]:
                    refuse(f"{source}: {key}.{name}", value[name], "no such key; known here: " + ", ".join(known[key]))
    return DeepProblem(**{"name": Path(source).stem, "description": "", **document})
