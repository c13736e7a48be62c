"""What a deep command was asked for: its problem, its data, and the network to look at, saved or to be trained."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from teacher_student.deep.data import Data, load_data
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.model_file import load_model
from teacher_student.deep.parameters import check_parameters
from teacher_student.deep.problem_file import DeepProblem, deep_presets, load_deep_problem
from teacher_student.deep.training import uninterrupted
from teacher_student.dotted_fields import settings_of
from teacher_student.errors import check_whole, refuse


def requested_problem(options: argparse.Namespace) -> DeepProblem:
    """Return the problem with what the command line replaces."""
    problem = load_deep_problem(options.problem, settings_of(options.changes))
    data = _data_settings({"name": "digits", **problem.data}, options)
    model = dict(problem.model) if options.seed is None else {**problem.model, "random_state": options.seed}
    check_whole("random_state", model.get("random_state", 0), 0)
    check_parameters(ModeMLPClassifier(**model))
    return replace(problem, data=data, model=model)


def _data_settings(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return settings of `load_data` with what the command line replaces; a folder is that of the data it was given for."""
    settings = dict(settings)
    if options.data is not None and options.data != settings.get("name"):
        settings["name"] = options.data
        settings.pop("folder", None)
    if options.folder is not None:
        settings["folder"] = str(options.folder)
    return settings


def with_modes(model: dict[str, Any]) -> dict[str, Any]:
    """Return parameters of a network that has modes, for what compares these with standard training."""
    return {**model, "decomposition": "modes"} if model.get("decomposition") == "none" else model


def requested_data(problem: DeepProblem) -> Data:
    """Return the data of a problem."""
    return load_data(**problem.data)


def trained(problem: DeepProblem, data: Data, **changes: Any) -> ModeMLPClassifier:
    """Return a classifier trained as the problem says, but for `changes` of its parameters, with progress shown."""
    return untrained(problem, **changes).fit(data.X_train, data.y_train)


def untrained(problem: DeepProblem, **changes: Any) -> ModeMLPClassifier:
    """Return the classifier of a problem, but for `changes` of its parameters, which shows progress when trained."""
    return ModeMLPClassifier(**{**problem.model, **changes, "verbose": True})


def requested_network(options: argparse.Namespace) -> tuple[ModeMLPClassifier, int, Callable[[], Data]]:
    """Return a saved classifier, or train one as a problem says; which weight matrix to look at; and what returns the data.

    The data of a saved classifier are loaded by that only: its modes can be looked at without them.
    """
    if not _is_model(options.problem):
        problem = requested_problem(options)
        n_matrices = 1 + np.size(ModeMLPClassifier(**problem.model).hidden_layer_sizes)
        matrix = _matrix(options, problem, n_matrices)
        data = requested_data(problem)
        return uninterrupted(trained(problem, data)), matrix, lambda: data
    if options.seed is not None:
        refuse("seed", options.seed, "none with a saved model, which is not trained again")
    if options.changes:
        refuse("set", options.changes[0], "none with a saved model, which is not trained again")
    loaded, notes = load_model(options.problem)
    if not isinstance(loaded, ModeMLPClassifier):
        refuse("model", options.problem, "a classifier")
    settings = notes.get("data") if isinstance(notes, dict) else None
    settings = _data_settings(settings if isinstance(settings, dict) else {}, options)
    problem = DeepProblem(name=Path(options.problem).stem, description="", data=settings)
    return loaded, _matrix(options, problem, len(loaded.layers_)), lambda: _data_for(loaded, problem, options.problem)


def _data_for(model: ModeMLPClassifier, problem: DeepProblem, path: str) -> Data:
    """Return the data of the model saved at `path`, refused unless they have as many features."""
    try:
        data = requested_data(problem)
    except TypeError:
        refuse("model", path, "notes on its data that load_data understands")
    if data.X_test.shape[1] != model.n_features_in_:
        refuse("data", problem.data.get("name", "digits"), f"inputs of {model.n_features_in_} features, as the model has")
    return data


def _is_model(source: str) -> bool:
    """Return whether `source` is meant as a saved model, which may have any name, rather than a preset or a TOML file."""
    return source.endswith(".npz") or (source not in deep_presets() and zipfile.is_zipfile(source))


def _matrix(options: argparse.Namespace, problem: DeepProblem, n_matrices: int) -> int:
    """Return the weight matrix of the command line, of the problem, or the middle one."""
    chosen = options.matrix if options.matrix is not None else problem.importance.get("matrix", n_matrices // 2)
    expected = f"one of the weight matrices 0 to {n_matrices - 1}"
    if check_whole("matrix", chosen, 0, expected) >= n_matrices:
        refuse("matrix", chosen, expected)
    return int(chosen)
