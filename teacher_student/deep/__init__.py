"""Mode-decomposed multilayer perceptrons on data; needs scikit-learn, `pip install 'teacher_student[deep]'`.

Every function and class is a name of this package, as those of the rest are of `teacher_student`; `figures` is a module of
functions that draw, as `teacher_student.plots` is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teacher_student.deep import figures as figures
    from teacher_student.deep.cost import compare_costs as compare_costs
    from teacher_student.deep.cost import operations_per_sample as operations_per_sample
    from teacher_student.deep.cost import training_cost as training_cost
    from teacher_student.deep.data import Data as Data
    from teacher_student.deep.data import gaussian_mixture as gaussian_mixture
    from teacher_student.deep.data import load_data as load_data
    from teacher_student.deep.estimators import ModeMLPClassifier as ModeMLPClassifier
    from teacher_student.deep.estimators import ModeMLPRegressor as ModeMLPRegressor
    from teacher_student.deep.fits import fit_power_laws as fit_power_laws
    from teacher_student.deep.fits import fit_width_laws as fit_width_laws
    from teacher_student.deep.fits import width_verdict as width_verdict
    from teacher_student.deep.importance import Ablation as Ablation
    from teacher_student.deep.importance import ablate as ablate
    from teacher_student.deep.importance import importance_parts as importance_parts
    from teacher_student.deep.importance import mode_importance as mode_importance
    from teacher_student.deep.importance import removal_accuracy as removal_accuracy
    from teacher_student.deep.latent import class_angles as class_angles
    from teacher_student.deep.latent import latent_geometry as latent_geometry
    from teacher_student.deep.latent import participation_ratio as participation_ratio
    from teacher_student.deep.latent import principal_angles as principal_angles
    from teacher_student.deep.model_file import load_model as load_model
    from teacher_student.deep.model_file import save_model as save_model
    from teacher_student.deep.stream import Teacher as Teacher
    from teacher_student.deep.stream import on_line_sgd as on_line_sgd
    from teacher_student.deep.training import uninterrupted as uninterrupted
    from teacher_student.deep.widths import least_modes as least_modes

# Imported on first use, so that the command line can describe itself without scikit-learn.
_WHERE = {
    "Ablation": "importance",
    "Data": "data",
    "ModeMLPClassifier": "estimators",
    "ModeMLPRegressor": "estimators",
    "Teacher": "stream",
    "ablate": "importance",
    "class_angles": "latent",
    "compare_costs": "cost",
    "fit_power_laws": "fits",
    "fit_width_laws": "fits",
    "gaussian_mixture": "data",
    "importance_parts": "importance",
    "latent_geometry": "latent",
    "least_modes": "widths",
    "load_data": "data",
    "load_model": "model_file",
    "mode_importance": "importance",
    "on_line_sgd": "stream",
    "operations_per_sample": "cost",
    "participation_ratio": "latent",
    "principal_angles": "latent",
    "removal_accuracy": "importance",
    "save_model": "model_file",
    "training_cost": "cost",
    "uninterrupted": "training",
    "width_verdict": "fits",
}

_MODULES = ("figures",)

__all__ = [*_WHERE, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"teacher_student.deep.{_WHERE[name]}"), name)
    # A module is an attribute once it has been imported; that it is one before, too, leaves nothing to the order of calls.
    if name in _MODULES or name in _WHERE.values():
        return importlib.import_module(f"teacher_student.deep.{name}")
    raise AttributeError(f"module 'teacher_student.deep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
