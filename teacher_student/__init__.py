"""Online learning of mode-decomposed committee machines: SGD at any N, and the order-parameter theory of it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from teacher_student.compiled_code import ensure_a_place

__version__ = "0.1.0"

if TYPE_CHECKING:
    from teacher_student import deep as deep
    from teacher_student import networks as networks
    from teacher_student import plots as plots
    from teacher_student.analysis.compare import compare as compare
    from teacher_student.analysis.scaling import replicas_for as replicas_for
    from teacher_student.analysis.scaling import scaling as scaling
    from teacher_student.analysis.specialization import specialization as specialization
    from teacher_student.analysis.stages import passage_times as passage_times
    from teacher_student.analysis.stages import stages as stages
    from teacher_student.errors import Diverged as Diverged
    from teacher_student.errors import InvalidInput as InvalidInput
    from teacher_student.leaps.run import leap as leap
    from teacher_student.learning_rule import LearningRule as LearningRule
    from teacher_student.order_parameters import OrderParameters as OrderParameters
    from teacher_student.order_parameters import plain_committee as plain_committee
    from teacher_student.output_scaling import with_output_scaling as with_output_scaling
    from teacher_student.pooling import pool as pool
    from teacher_student.problem import Problem as Problem
    from teacher_student.problem_file import load_problem as load_problem
    from teacher_student.random_starts import random_committee as random_committee
    from teacher_student.registration import register_activation as register_activation
    from teacher_student.restart import warm_restart as warm_restart
    from teacher_student.schedules import Cosine as Cosine
    from teacher_student.schedules import Exponential as Exponential
    from teacher_student.schedules import Piecewise as Piecewise
    from teacher_student.schedules import PowerLaw as PowerLaw
    from teacher_student.schedules import Ramp as Ramp
    from teacher_student.sgd.run import simulate as simulate
    from teacher_student.sweeps.design import Sweep as Sweep
    from teacher_student.sweeps.reductions import sweep_values as sweep_values
    from teacher_student.sweeps.run import sweep as sweep
    from teacher_student.sweeps.sweep_file import load_sweep as load_sweep
    from teacher_student.theory.integrate import integrate as integrate
    from teacher_student.theory.noise.predictions import predict as predict
    from teacher_student.theory.noise.sampling_error import sampling_error as sampling_error
    from teacher_student.theory.stability.continuation import continuation as continuation
    from teacher_student.theory.stability.fixed_points import fixed_point as fixed_point
    from teacher_student.theory.stability.plateau import escape_probability as escape_probability
    from teacher_student.theory.stability.plateau import plateau_length as plateau_length
    from teacher_student.theory.stationary import integrate_until_stationary as integrate_until_stationary
    from teacher_student.times import log_spaced_times as log_spaced_times
    from teacher_student.toml_files import presets as presets
    from teacher_student.trajectory import load_trajectory as load_trajectory
    from teacher_student.trajectory import resolved_eps_g as resolved_eps_g
    from teacher_student.trajectory import save_trajectory as save_trajectory
    from teacher_student.velocities import Velocities as Velocities

ensure_a_place()

# Names are imported on first use, so that `--help` need not wait for xarray, SciPy and matplotlib.
_WHERE = {
    "Diverged": "errors",
    "InvalidInput": "errors",
    "OrderParameters": "order_parameters",
    "plain_committee": "order_parameters",
    "random_committee": "random_starts",
    "LearningRule": "learning_rule",
    "Piecewise": "schedules",
    "PowerLaw": "schedules",
    "Cosine": "schedules",
    "Exponential": "schedules",
    "Ramp": "schedules",
    "register_activation": "registration",
    "Problem": "problem",
    "with_output_scaling": "output_scaling",
    "Velocities": "velocities",
    "log_spaced_times": "times",
    "load_problem": "problem_file",
    "presets": "toml_files",
    "warm_restart": "restart",
    "integrate": "theory.integrate",
    "integrate_until_stationary": "theory.stationary",
    "predict": "theory.noise.predictions",
    "simulate": "sgd.run",
    "leap": "leaps.run",
    "fixed_point": "theory.stability.fixed_points",
    "continuation": "theory.stability.continuation",
    "plateau_length": "theory.stability.plateau",
    "escape_probability": "theory.stability.plateau",
    "sampling_error": "theory.noise.sampling_error",
    "compare": "analysis.compare",
    "scaling": "analysis.scaling",
    "replicas_for": "analysis.scaling",
    "Sweep": "sweeps.design",
    "load_sweep": "sweeps.sweep_file",
    "sweep": "sweeps.run",
    "sweep_values": "sweeps.reductions",
    "stages": "analysis.stages",
    "passage_times": "analysis.stages",
    "specialization": "analysis.specialization",
    "load_trajectory": "trajectory",
    "pool": "pooling",
    "save_trajectory": "trajectory",
    "resolved_eps_g": "trajectory",
}
_MODULES = ("networks", "plots")
_WITH_EXTRA = ("deep",)  # needs scikit-learn, so that `import *` leaves it out

__all__ = ["__version__", *_WHERE, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES + _WITH_EXTRA:
        return importlib.import_module(f"teacher_student.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"teacher_student.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'teacher_student' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_WITH_EXTRA])
