"""Mode-decomposed multilayer perceptrons on data; needs scikit-learn, `pip install 'teacher_student[deep]'`."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("sklearn") is None:
    raise ImportError("teacher_student.deep needs scikit-learn: pip install 'teacher_student[deep]'")

from teacher_student.deep.estimators import ModeMLPClassifier as ModeMLPClassifier
from teacher_student.deep.estimators import ModeMLPRegressor as ModeMLPRegressor

__all__ = ["ModeMLPClassifier", "ModeMLPRegressor"]
