"""Mode-decomposed multilayer perceptrons on data; needs scikit-learn, `pip install 'teacher_student[deep]'`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teacher_student.deep import cost as cost
    from teacher_student.deep import data as data
    from teacher_student.deep import figures as figures
    from teacher_student.deep import fits as fits
    from teacher_student.deep import importance as importance
    from teacher_student.deep import latent as latent
    from teacher_student.deep import stream as stream
    from teacher_student.deep import widths as widths
    from teacher_student.deep.data import load_data as load_data
    from teacher_student.deep.estimators import ModeMLPClassifier as ModeMLPClassifier
    from teacher_student.deep.estimators import ModeMLPRegressor as ModeMLPRegressor
    from teacher_student.deep.model_file import load_model as load_model
    from teacher_student.deep.model_file import save_model as save_model
    from teacher_student.deep.training import uninterrupted as uninterrupted

# Imported on first use, so that the command line can describe itself without scikit-learn.
_WHERE = {
    "ModeMLPClassifier": "estimators",
    "ModeMLPRegressor": "estimators",
    "load_data": "data",
    "load_model": "model_file",
    "save_model": "model_file",
    "uninterrupted": "training",
}
_MODULES = ("cost", "data", "figures", "fits", "importance", "latent", "stream", "widths")

__all__ = [*_WHERE, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"teacher_student.deep.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"teacher_student.deep.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'teacher_student.deep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
