"""Readers, on small files that the tests write: whole ones, and ones that are damaged, truncated or mislabelled."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teacher_student.arrays import Array
from teacher_student.deep import cifar
from teacher_student.deep.data import gaussian_mixture, load_data, read_mnist
from teacher_student.deep.idx import read_idx, read_images_and_labels
from teacher_student.deep.stream import Teacher
from teacher_student.errors import InvalidInput

Write = Callable[[Path], None]


def idx(array: Array) -> bytes:
    """Return `array` of bytes as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def images(n_samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n_samples, 4, 5))


def write_mnist(folder: Path, packed: bool) -> None:
    for part, n in (("train", 30), ("t10k", 20)):
        for kind, array in (("images-idx3", images(n)), ("labels-idx1", np.arange(n) % 10)):
            path = folder / (f"{part}-{kind}-ubyte" + (".gz" if packed else ""))
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_a_folder(tmp_path: Path, packed: bool) -> None:
    write_mnist(tmp_path, packed)
    X, y, X_test, y_test = read_mnist(tmp_path)
    np.testing.assert_array_equal(X, images(30).reshape(30, 20))
    np.testing.assert_array_equal(y, np.arange(30) % 10)
    assert (X_test.shape, y_test.shape) == ((20, 20), (20,))
    data = load_data("fashion-mnist", tmp_path)
    assert data.X_train.dtype == np.float32
    assert abs(data.X_train.mean()) < 1e-6
    assert abs(data.X_train.std() - 1) < 1e-6


def test_pixels_of_unit_range_keep_what_is_black(tmp_path: Path) -> None:
    write_mnist(tmp_path, packed=False)
    data = load_data("mnist", tmp_path, inputs="unit-range")
    np.testing.assert_allclose(data.X_train, images(30).reshape(30, 20) / images(30).max(), rtol=1e-6)
    assert (data.X_train.min(), data.X_train.max(), data.X_train.dtype) == (0, 1, np.float32)
    mixture = load_data("gaussian-mixture", inputs="unit-range")
    assert np.abs(mixture.X_train).max() == 1
    with pytest.raises(InvalidInput, match=r"^inputs: got 'pixels', expected one of standardised, unit-range"):
        load_data("digits", inputs="pixels")


def test_a_gzipped_file_may_lack_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(idx(images(3))))
    np.testing.assert_array_equal(read_idx(tmp_path / "a", 3), images(3))


DAMAGED_IDX = {
    "empty": (b"", "offset 0: got 0 bytes, expected the 4 bytes"),
    "not IDX": (b"PK\x03\x04" + bytes(40), "offset 0: got 50 4b, expected 00 00"),
    "floats": (b"\0\0\x0d\x03" + bytes(40), "offset 2: got type code 0x0d, expected 0x08"),
    "labels for images": (idx(np.arange(5)), "offset 3: got 1 dimensions, expected 3, those of images"),
    "sizes cut": (idx(images(3))[:10], "offset 4: got 6 bytes, expected 3 sizes"),
    "data cut": (idx(images(3))[:-7], "offset 16: got 53 bytes, expected 60, for sizes 3 x 4 x 5"),
    "data too long": (idx(images(3)) + b"x", "offset 76: got more data, expected the end of the file"),
    "no images": (idx(np.zeros((0, 4, 5))), "offset 4: got sizes 0 x 4 x 5, expected between 1 and"),
    "absurd sizes": (b"\0\0\x08\x03" + b"\xff" * 12, "offset 4: got sizes 4294967295 x 4294967295"),
    "gzip cut": (gzip.compress(idx(images(9)))[:-12], "got damaged gzip data (Compressed file ended"),
    "gzip changed": (gzip.compress(idx(images(9)))[:-8] + bytes(8), "got damaged gzip data (CRC check failed"),
    "gzip of one byte": (b"\x1f\x8b\x08", "offset 0: got damaged gzip data"),
    "more after gzip": (gzip.compress(idx(images(9))) + b"junk", "got damaged gzip data (Not a gzipped file"),
}


@pytest.mark.parametrize("name", DAMAGED_IDX)
def test_damaged_idx_files_are_refused_with_file_and_offset(name: str, tmp_path: Path) -> None:
    content, message = DAMAGED_IDX[name]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_idx(tmp_path / "train-images-idx3-ubyte", 3)
    assert str(caught.value).startswith(f"{tmp_path / 'train-images-idx3-ubyte'}: offset ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(idx(images(4)))
    (tmp_path / "l").write_bytes(idx(np.array([1, 2, 3])))
    with pytest.raises(InvalidInput, match=r"l: offset 4: got 3 labels, expected 4, one for each image in i"):
        read_images_and_labels(tmp_path / "i", tmp_path / "l")
    (tmp_path / "l").write_bytes(idx(np.array([1, 2, 10, 3])))
    with pytest.raises(InvalidInput, match=r"l: offset 10: got label 10, expected a label between 0 and 9"):
        read_images_and_labels(tmp_path / "i", tmp_path / "l")
    with pytest.raises(InvalidInput, match=r"got no file train-images-idx3-ubyte"):
        read_mnist(tmp_path)
    with pytest.raises(InvalidInput, match=r"nowhere: got No such file"):
        read_idx(tmp_path / "nowhere", 1)


def test_digits_are_split_with_every_class_in_proportion() -> None:
    data = load_data("digits", test_fraction=0.25, seed=1)
    assert (len(data.X_train), len(data.X_test)) == (1347, 450)
    assert abs(float(np.square(data.X_train).mean()) - 1) < 1e-4
    counts = np.bincount(data.y_test)
    assert counts.min() >= 43
    again, other = load_data("digits", seed=1), load_data("digits", seed=2)
    np.testing.assert_array_equal(again.y_test, data.y_test)
    assert (other.y_test != data.y_test).any()


def test_gaussian_mixture_has_the_moments_it_is_asked_for() -> None:
    X, y = gaussian_mixture(8000, np.random.default_rng(0), n_classes=4, radius=3.0, deviation=0.5)
    for label, centre in enumerate([(3, 0), (0, 3), (-3, 0), (0, -3)]):
        points = X[y == label]
        assert len(points) == 2000
        assert np.all(np.abs(points.mean(axis=0) - centre) < 4 * 0.5 / np.sqrt(2000))
        assert np.all(np.abs(points.std(axis=0) - 0.5) < 4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imagenet"}, "data: got 'imagenet', expected one of digits, mnist"),
        ({"name": "digits", "folder": "x"}, "folder: got 'x', expected no folder for 'digits'"),
        ({"name": "digits", "test_fraction": 0.0}, "test_fraction: got 0.0, expected a finite number above 0"),
        ({"name": "digits", "test_fraction": 1.0}, "test_fraction: got 1.0, expected a number between 0 and 1"),
        ({"name": "digits", "test_fraction": 0.001}, "test_fraction: got 0.001, expected parts with every class"),
        ({"name": "digits", "seed": -1}, "seed: got -1, expected a whole number of at least 0"),
        ({"name": "digits", "seed": 2**32}, "seed: got 4294967296, expected a whole number from 0 to 4294967295"),
        ({"name": "digits", "n_samples": -5}, "n_samples: got -5, expected a whole number of at least 1"),
        ({"name": "mnist", "folder": 5}, "folder: got 5, expected the path of a folder"),
        ({"name": "mnist", "folder": True}, "folder: got True, expected the path of a folder"),
        ({"name": "gaussian-mixture", "n_samples": 3}, "n_samples: got 3, expected a whole number of at least 8"),
        ({"name": "mnist", "folder": "no-such-folder"}, "no-such-folder: got no file train-images-idx3-ubyte"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_data(**arguments)
    assert str(caught.value).startswith(message)


def test_openml_without_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: Any, **options: Any) -> None:
        raise OSError("no\nroute")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", no_network)
    with pytest.raises(InvalidInput, match=r"^data: got 'mnist_784' \(no route\), expected .* or a folder of files$"):
        load_data("mnist")


def test_openml_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, **options: Any) -> tuple[Array, Array]:
        asked.append(name)
        return np.arange(80.0).reshape(40, 2), np.array(list("ab") * 20, dtype=object)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    assert load_data("openml:some").X_test.shape == (10, 2)
    assert set(load_data("fashion-mnist").y_train) == {"a", "b"}
    assert asked == ["some", "Fashion-MNIST"]


def test_images_of_another_shape_and_the_training_images_are_refused_as_test_images(tmp_path: Path) -> None:
    write_mnist(tmp_path, packed=False)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images(20).reshape(20, 2, 10)))
    with pytest.raises(InvalidInput, match=r"t10k images: got 2 x 10 pixels, expected 4 x 5, as in the training images$"):
        read_mnist(tmp_path)
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte").write_bytes((tmp_path / f"train-{kind}-ubyte").read_bytes())
    with pytest.raises(InvalidInput, match=r"t10k images: got the training images, expected others$"):
        read_mnist(tmp_path)


@pytest.mark.parametrize(
    ("X", "y", "expected"),
    [
        (np.where(np.arange(80) == 7, np.nan, 1.0).reshape(40, 2), np.arange(40) % 2, "without missing numbers"),
        (np.arange(80.0).reshape(40, 2), np.linspace(0, 1, 40), "whose target is a class, with two samples or more of each"),
        (np.arange(80.0).reshape(40, 2), np.zeros((40, 2)), "whose target is a class, with two samples or more of each"),
        (np.arange(80.0).reshape(40, 2), np.array([None, "a"] * 20, dtype=object), "without missing classes"),
    ],
)
def test_openml_data_that_no_classifier_takes_are_refused(X: Array, y: Array, expected: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda name, **options: (X, y))
    with pytest.raises(InvalidInput, match=rf"^data: got 'openml:some', expected a data set {expected}$"):
        load_data("openml:some")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_classes": 0}, "n_classes: got 0, expected a whole number of at least 1"),
        ({"deviation": -1.0}, "deviation: got -1.0, expected a finite number of at least 0"),
        ({"radius": np.nan}, "radius: got nan, expected a finite number of at least 0"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gaussian_mixture(100, np.random.default_rng(0), **changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": -1.0}, "noise: got -1.0, expected a finite number of at least 0"),
        ({"v": np.ones(2)}, "v: got (2,), expected an array (3,), an entry for each row of W"),
        ({"W": np.ones(5)}, "W: got (5,), expected an array (M, N)"),
        ({"activation": "step"}, "activation: got 'step', expected"),
    ],
)
def test_teachers_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Teacher(**{"W": np.ones((3, 5)), "v": np.ones(3), **changes})
    assert str(caught.value).startswith(message)


def test_figures_of_deep_networks_load_neither_theory_nor_on_line_simulation() -> None:
    text = "import sys, teacher_student.deep.figures; print(*sys.modules)"
    here = {**os.environ, "PYTHONPATH": str(Path(cifar.__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, env=here)
    loaded = {name.split(".")[1] for name in result.stdout.split() if name.startswith("teacher_student.")}
    assert not loaded & {"theory", "sgd", "trajectory"}
    assert "deep" in loaded
