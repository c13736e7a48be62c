"""The problems that come with the package, as TOML; listed without what problems are made of, which takes longer to import."""

from __future__ import annotations

import tomllib
from importlib import resources

_FOLDER = resources.files("teacher_student") / "presets"


def presets() -> dict[str, str]:
    """Return the names of the presets, each with its description."""
    names = sorted(entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))
    return {name[:-5]: tomllib.loads(preset_text(name[:-5]))["description"] for name in names}


def preset_text(name: str) -> str:
    """Return the text of the preset `name`, which is one of `presets`."""
    return (_FOLDER / f"{name}.toml").read_text("utf-8")
