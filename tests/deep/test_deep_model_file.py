"""Models as files: what is read is what was written, and foreign files are refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teacher_student.deep import ModeMLPClassifier, ModeMLPRegressor
from teacher_student.deep.model_file import load_model, save_model
from teacher_student.deep.network import DECOMPOSITIONS
from teacher_student.errors import InvalidInput

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = np.array(["low", "high"])[(X[:, 0] > 0).astype(int)]
SETTINGS: dict[str, Any] = {"hidden_layer_sizes": (6, 5), "n_modes": 2, "max_iter": 3, "random_state": 1}


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
def test_a_classifier_survives_the_file(decomposition: str, tmp_path: Path) -> None:
    model = ModeMLPClassifier(**SETTINGS, decomposition=decomposition).fit(X, Y.astype(object))
    save_model(model, tmp_path / "m.npz", {"data": "none"})
    loaded, notes = load_model(tmp_path / "m.npz")
    assert notes == {"data": "none"}
    assert isinstance(loaded, ModeMLPClassifier)
    np.testing.assert_array_equal(loaded.theta_, model.theta_)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.decomposition == decomposition
    assert loaded.architecture_ == model.architecture_


@pytest.mark.parametrize("columns", [1, 2])
def test_a_regressor_survives_the_file(columns: int, tmp_path: Path) -> None:
    target = X[:, 0] if columns == 1 else X[:, :2]
    model = ModeMLPRegressor(**{**SETTINGS, "n_modes": np.array([2, 1, 3])}, dtype="float64").fit(X, target)
    save_model(model, tmp_path / "m.npz")
    loaded, _ = load_model(tmp_path / "m.npz")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.predict(X).shape == target.shape


def stored(tmp_path: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Return a saved model's path, arrays and header."""
    path = tmp_path / "m.npz"
    save_model(ModeMLPClassifier(**SETTINGS).fit(X, Y), path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return path, arrays, json.loads(arrays["header"].tobytes())


def write(path: Path, arrays: dict[str, Any], header: object) -> None:
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def refusal(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something else"}, "format: got 'something else', expected 'teacher_student deep model 1'"),
        ({"kind": "transformer"}, "kind: got 'transformer', expected classifier or regressor"),
        ({"sizes": [3, 6, 5]}, "sizes: got [3, 6, 5], expected hidden_layer_sizes of [6, 5] between inputs and outputs"),
        ({"sizes": [4, 6, 5, 2]}, "theta: got"),
        ({"sizes": "many"}, "sizes: got 'many'"),
        ({"parameters": {"n_modes": 0, "hidden_layer_sizes": [6, 5]}}, "n_modes: got 0"),
        ({"parameters": {"no_such_parameter": 1}}, "header: got TypeError"),
        ({"parameters": None}, "header: got TypeError"),
        (
            {"parameters": {"n_modes": 10**30, "hidden_layer_sizes": [6, 5]}},
            f"n_modes: got {10**30}, expected a whole number of at most",
        ),
        ({"parameters": {"n_modes": 10**18, "hidden_layer_sizes": [6, 5]}}, "theta: got 73 entries"),
        ({"parameters": {"n_modes": 2, "hidden_layer_sizes": [6, 5], "tol": 10**400}}, "tol"),
        (
            {"parameters": {"n_modes": 2, "hidden_layer_sizes": [9, 9]}},
            "sizes: got [3, 6, 5, 2], expected hidden_layer_sizes of [9, 9]",
        ),
        ({"notes": [1]}, "notes: got [1], expected a table"),
        ({"interrupted": "maybe"}, "interrupted: got 'maybe', expected true or false"),
        ({"parameters": {"n_modes": 2, "hidden_layer_sizes": [6, 5], "initialisation": "x"}}, "initialisation: got 'x'"),
        ({"parameters": {"n_modes": 2, "hidden_layer_sizes": [6, 5], "random_state": "a"}}, "random_state: got 'a'"),
        ({"feature_names": ["a", "b"]}, "feature_names: got ['a', 'b'], expected the names of 3 features, or none"),
    ],
)
def test_foreign_headers_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, arrays, header = stored(tmp_path)
    write(path, arrays, {**header, **change})
    assert message in refusal(path)


@pytest.mark.parametrize("name", ["theta", "classes", "loss_curve"])
def test_missing_and_foreign_arrays_are_refused(name: str, tmp_path: Path) -> None:
    path, arrays, header = stored(tmp_path)
    array = arrays.pop(name)
    write(path, arrays, header)
    assert f"{name}: got none" in refusal(path)
    write(path, {**arrays, name: array[None, :]}, header)
    assert f"{name}: got {array.dtype} of shape" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused_with_their_place(bad: float, tmp_path: Path) -> None:
    path, arrays, header = stored(tmp_path)
    arrays["theta"][3] = bad
    write(path, arrays, header)
    assert f"theta[3]: got {bad}, expected a finite number" in refusal(path)


@pytest.mark.parametrize(
    "classes", [np.array(["low", "high"]), np.array(["a", "a"]), np.array([1.0, np.nan]), np.array([1.0, np.inf])]
)
def test_classes_that_labels_cannot_be_looked_up_in_are_refused(classes: Any, tmp_path: Path) -> None:
    path, arrays, header = stored(tmp_path)
    write(path, {**arrays, "classes": classes}, header)
    assert "expected different labels in ascending order" in refusal(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"loss_curve": np.ones(9)}, "score_curve: got 3 entries, expected 9, as many as epochs"),
        ({"loss_curve": np.array([1.0, np.nan, 1.0])}, "loss_curve: got nan, expected finite numbers"),
        ({"score_curve": np.array([1.0, np.inf, 1.0])}, "score_curve: got inf, expected finite numbers"),
        ({"more": np.ones(2)}, "'more': got an array, expected none but classes, header, loss_curve, score_curve, theta"),
    ],
)
def test_other_curves_and_further_arrays_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, good, header = stored(tmp_path)
    write(path, {**good, **arrays}, header)
    assert message in refusal(path)


@pytest.mark.parametrize("one_column", [True, "no"])
def test_a_regressor_of_two_outputs_has_not_one_column(one_column: object, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    save_model(ModeMLPRegressor(**SETTINGS).fit(X, X[:, :2]), path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    write(path, arrays, {**json.loads(arrays["header"].tobytes()), "one_column": one_column})
    assert f"one_column: got {one_column!r}, expected true or false, as 2 outputs may have" in refusal(path)


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    path, arrays, header = stored(tmp_path)
    write(path, {**arrays, "classes": np.array(["a", None], dtype=object)}, header)
    assert "content: got Object arrays cannot be loaded" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1]), b"PK\x03\x04" + bytes(60)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    assert "content: got no zip archive, expected arrays in an npz archive" in refusal(tmp_path / "f")
    np.savez(tmp_path / "g.npz", a=np.zeros(3))
    assert "header: got none" in refusal(tmp_path / "g.npz")
    np.save(tmp_path / "h.npy", np.zeros(3))
    refusal(tmp_path / "h.npy")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path, _, _ = stored(tmp_path)
    content = path.read_bytes()
    for cut in range(0, len(content), 97):
        path.write_bytes(content[:cut])
        refusal(path)


def test_a_missing_file_and_a_model_that_is_not_fitted_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "absent.npz")
    with pytest.raises(InvalidInput, match=r"^model: got 'ModeMLPClassifier', expected a fitted model"):
        save_model(ModeMLPClassifier(), tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changed",
    [{"activation": "tanh"}, {"n_modes": 3}, {"hidden_layer_sizes": 6}, {"dtype": "float64"}, {"learning_rate": "fast"}],
)
def test_parameters_of_another_network_are_not_saved_with_this_one(changed: dict[str, Any], tmp_path: Path) -> None:
    model = ModeMLPClassifier(**SETTINGS).fit(X, Y).set_params(**changed)
    with pytest.raises(InvalidInput, match=f"^{next(iter(changed))}: got"):
        save_model(model, tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    model = ModeMLPClassifier(**SETTINGS).fit(X, Y)
    model.theta_[3] = np.inf
    with pytest.raises(InvalidInput, match=r"^theta_: got np.float32\(inf\), expected finite numbers"):
        save_model(model, tmp_path / "m.npz")


@pytest.mark.parametrize("notes", [[1], {"a": {1}}, {"folder": Path()}, {1: "a"}, "text"])
def test_notes_that_would_not_come_back_are_not_saved(notes: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^notes: got .*, expected a table"):
        save_model(ModeMLPClassifier(**SETTINGS).fit(X, Y), tmp_path / "m.npz", notes)
    assert list(tmp_path.iterdir()) == []


def test_parameters_in_other_types_are_saved_as_numbers_and_names(tmp_path: Path) -> None:
    settings = {"hidden_layer_sizes": range(3, 5), "n_modes": np.array(2), "dtype": np.dtype("float64"), "max_iter": np.int64(2)}
    model = ModeMLPClassifier(**settings, random_state=np.random.RandomState(0)).fit(X, Y)
    save_model(model, tmp_path / "m.npz")
    loaded, _ = load_model(tmp_path / "m.npz")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.architecture_ == model.architecture_
    assert (loaded.hidden_layer_sizes, loaded.n_modes, loaded.dtype, loaded.random_state) == ([3, 4], 2, "float64", None)


def test_feature_names_are_kept(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c"])
    save_model(ModeMLPClassifier(**SETTINGS).fit(table, Y), tmp_path / "m.npz")
    loaded, _ = load_model(tmp_path / "m.npz")
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    loaded.predict(table)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(table[["c", "b", "a"]])
