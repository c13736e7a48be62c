"""Fitted models as files: arrays and one JSON text in an npz archive, never a pickle."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.estimators import ModeMLPClassifier, ModeMLPRegressor
from teacher_student.deep.network import build_architecture, n_parameters
from teacher_student.deep.parameters import check_parameters, check_same_network, generator, hidden_sizes
from teacher_student.errors import InvalidInput, refuse
from teacher_student.files import replacing

FORMAT = "teacher_student deep model 1"
_KINDS = {"classifier": ModeMLPClassifier, "regressor": ModeMLPRegressor}
_ARRAYS = {"header", "theta", "loss_curve", "score_curve"}

Model = ModeMLPClassifier | ModeMLPRegressor


def save_model(model: Model, path: str | Path, notes: dict[str, Any] | None = None) -> None:
    """Write a fitted model to `path`, with `notes` that JSON can hold (such as the data it was trained on).

    Training does not go on from a loaded model: the state of the optimiser and of the random numbers is not in the file.
    Raises `InvalidInput` for a model that is not fitted, or whose parameters have been set to those of another network since, for
    class labels that are no numbers or text, for other notes, and for places that cannot be written.
    """
    if not hasattr(model, "theta_"):
        refuse("model", type(model).__name__, "a fitted model")
    check_parameters(model)
    check_same_network(model)
    if not np.isfinite(model.theta_).all():
        refuse("theta_", model.theta_[~np.isfinite(model.theta_)][0], "finite numbers")
    kind = next(name for name, estimator in _KINDS.items() if isinstance(model, estimator))
    arrays = {
        "theta": model.theta_,
        "loss_curve": np.asarray(model.loss_curve_, dtype=float),
        "score_curve": np.asarray(model.score_curve_, dtype=float),
    }
    if isinstance(model, ModeMLPClassifier):
        classes = model.classes_
        if classes.dtype == object and all(isinstance(label, str) for label in classes):
            classes = classes.astype(str)
        if classes.dtype.kind not in "biufU":
            refuse("classes", classes.tolist(), "numbers or text, which the file can hold without a pickle")
        arrays["classes"] = classes
    names = getattr(model, "feature_names_in_", None)
    header = {
        "format": FORMAT,
        "kind": kind,
        "parameters": _plain_parameters(model),
        "sizes": list(model.architecture_.sizes),
        "feature_names": None if names is None else names.tolist(),
        "one_column": getattr(model, "one_column_", None),
        "interrupted": model.interrupted_,
        "notes": _checked_notes(notes),
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _plain_parameters(model: Model) -> dict[str, Any]:
    """Return the parameters as JSON has them; a random state that is no number is left out."""
    parameters = model.get_params()
    for name in ("hidden_layer_sizes", "n_modes"):  # also ranges, and whatever else is taken for whole numbers
        parameters[name] = np.asarray(parameters[name], dtype=object)
    parameters["dtype"] = np.dtype(model.dtype).name
    parameters = {
        name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value for name, value in parameters.items()
    }
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None
    return parameters


def _checked_notes(notes: object) -> dict[str, Any]:
    """Return `notes` if they will be read as they are written."""
    notes = {} if notes is None else notes
    try:
        kept = isinstance(notes, dict) and json.loads(json.dumps(notes)).keys() == notes.keys()
    except (TypeError, ValueError, RecursionError):
        kept = False
    if not kept:
        refuse("notes", notes, "a table with names of text and what JSON can hold")
    return cast("dict[str, Any]", notes)


def load_model(path: str | Path) -> tuple[Model, dict[str, Any]]:
    """Return a saved model and its notes; raises `InvalidInput` for a file that `save_model` has not written."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                _refuse(path, "content", "no zip archive", "arrays in an npz archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                stored = {name: archive[name] for name in archive.files}
    except InvalidInput:
        raise
    except FileNotFoundError:
        raise InvalidInput(f"model: got {str(path)!r}, expected a file") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        # What NumPy and zipfile raise, in words that help, for a file that is no such archive.
        _refuse(path, "content", " ".join(str(error).split())[:80] or type(error).__name__, "arrays in an npz archive")
    except Exception as error:
        # zlib and struct errors of damaged archives, and whatever else they bring.
        _refuse(path, "content", f"damaged data ({type(error).__name__})", "arrays in an npz archive")
    header = _header(path, stored)
    try:
        return _build(path, header, stored), header["notes"]
    except InvalidInput as error:
        raise InvalidInput(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        _refuse(path, "header", f"{type(error).__name__} ({error})", f"what {FORMAT!r} has")


def _header(path: Path, stored: dict[str, Any]) -> dict[str, Any]:
    text = stored.get("header")
    if not isinstance(text, np.ndarray) or text.dtype != np.uint8:
        _refuse(path, "header", "none", f"the JSON text of a {FORMAT!r}")
    try:
        header = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        _refuse(path, "header", f"no JSON ({error})", f"the JSON text of a {FORMAT!r}")
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        _refuse(path, "format", repr(found)[:60], repr(FORMAT))
    return header


def _build(path: Path, header: dict[str, Any], stored: dict[str, Any]) -> Model:
    if not isinstance(header["notes"], dict):
        _refuse(path, "notes", repr(header["notes"])[:60], "a table")
    if header["kind"] not in tuple(_KINDS):
        _refuse(path, "kind", repr(header["kind"])[:60], "classifier or regressor")
    model = _KINDS[header["kind"]](**header["parameters"])
    check_parameters(model)
    generator(model.random_state)
    arrays = _ARRAYS | ({"classes"} if isinstance(model, ModeMLPClassifier) else set())
    for name in stored.keys() - arrays:
        _refuse(path, repr(name)[:60], "an array", "none but " + ", ".join(sorted(arrays)))
    sizes = header["sizes"]
    if not isinstance(sizes, list) or len(sizes) < 2 or not all(isinstance(size, int) and 0 < size < 2**31 for size in sizes):
        _refuse(path, "sizes", repr(sizes)[:60], "the whole numbers of neurons a layer")
    if tuple(sizes[1:-1]) != hidden_sizes(model):
        _refuse(path, "sizes", repr(sizes)[:60], f"hidden_layer_sizes of {model.hidden_layer_sizes!r} between inputs and outputs")
    architecture = build_architecture(tuple(sizes), model.n_modes, model.decomposition, model.activation)
    theta = _array(path, stored, "theta", np.dtype(model.dtype).kind, n_parameters(architecture))
    if theta.dtype != np.dtype(model.dtype):
        _refuse(path, "theta", f"{theta.dtype} numbers", f"{model.dtype} numbers")
    if not np.isfinite(theta).all():
        wrong = int(np.flatnonzero(~np.isfinite(theta))[0])
        _refuse(path, f"theta[{wrong}]", str(theta[wrong]), "a finite number")
    model.architecture_, model.theta_ = architecture, theta
    model.n_features_in_, model.n_outputs_ = architecture.sizes[0], architecture.sizes[-1]
    if isinstance(model, ModeMLPClassifier):
        model.classes_ = _array(path, stored, "classes", "biufU", model.n_outputs_)
        finite = model.classes_.dtype.kind != "f" or np.isfinite(model.classes_).all()
        if not finite or not np.array_equal(np.unique(model.classes_), model.classes_):
            _refuse(path, "classes", repr(model.classes_.tolist())[:60], "different labels in ascending order")
    else:
        model.one_column_ = header["one_column"]
        if not isinstance(model.one_column_, bool) or (model.one_column_ and model.n_outputs_ > 1):
            _refuse(path, "one_column", repr(model.one_column_)[:60], f"true or false, as {model.n_outputs_} outputs may have")
    names = header.get("feature_names")
    if names is not None:
        if not isinstance(names, list) or len(names) != sizes[0] or not all(isinstance(name, str) for name in names):
            _refuse(path, "feature_names", repr(names)[:60], f"the names of {sizes[0]} features, or none")
        model.feature_names_in_ = np.array(names, dtype=object)
    model.loss_curve_ = _curve(path, stored, "loss_curve")
    model.n_iter_ = len(model.loss_curve_)
    model.score_curve_ = _curve(path, stored, "score_curve", model.n_iter_)
    model.loss_ = model.loss_curve_[-1] if model.loss_curve_ else math.nan
    model.interrupted_ = header["interrupted"]
    if not isinstance(model.interrupted_, bool):
        _refuse(path, "interrupted", repr(model.interrupted_)[:60], "true or false")
    model.adam_ = None
    model.rng_ = np.random.default_rng(0)
    return model


def _curve(path: Path, stored: dict[str, Any], name: str, length: int | None = None) -> list[float]:
    curve = _array(path, stored, name, "f", length, "as many as epochs")
    if not np.isfinite(curve).all():
        _refuse(path, name, str(curve[~np.isfinite(curve)][0]), "finite numbers")
    return curve.tolist()


def _array(
    path: Path, stored: dict[str, Any], name: str, kinds: str, length: int | None = None, reason: str = "for this architecture"
) -> Array:
    array = stored.get(name)
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "none"
        _refuse(path, name, got, "a list of " + ("labels" if name == "classes" else "numbers"))
    if length is not None and len(array) != length:
        _refuse(path, name, f"{len(array)} entries", f"{length}, {reason}")
    return array


def _refuse(path: Path, field: str, got: str, expected: str) -> NoReturn:
    raise InvalidInput(f"{path}: {field}: got {got}, expected {expected}")
