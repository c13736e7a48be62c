"""Data sets to train on: digits that come with scikit-learn, files of the user's, OpenML by name, and Gaussian mixtures."""

from __future__ import annotations

import itertools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.checks import check_number
from teacher_student.deep.cifar import read_batch
from teacher_student.deep.idx import read_images_and_labels
from teacher_student.errors import InvalidInput, check_choice, check_whole, refuse

OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST", "cifar-10": "CIFAR_10"}
NAMES = ("digits", *OPENML_NAMES, "gaussian-mixture", "openml:NAME")
INPUTS = ("standardised", "unit-range")


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs (samples, features) in float32, scaled as `load_data` was asked to, and labels (samples,)."""

    name: str
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array


def load_data(
    name: str = "digits",
    folder: str | Path | None = None,
    *,
    test_fraction: float = 0.25,
    n_samples: int = 2000,
    seed: int = 0,
    inputs: str = "standardised",
) -> Data:
    """Return a data set by name.

    Parameters
    ----------
    name : str
        "digits": the 1797 images of 8 x 8 pixels that come with scikit-learn. "mnist", "fashion-mnist" (IDX files, gzipped or
        not) and "cifar-10" (python batches): read from `folder`, with their own test part, or without a folder fetched from
        OpenML. "openml:NAME": any data set of numbers on OpenML. "gaussian-mixture": see `gaussian_mixture`.
    folder : path, optional
        Where the user keeps the files.
    test_fraction, seed
        The part to test with, drawn from `seed` with every class in proportion, where the data have no test part of their own.
    n_samples : int
        Size of the Gaussian mixture.
    inputs : str
        "standardised": shifted and scaled to mean 0 and mean square 1. "unit-range": divided by the largest size of a number, so
        that pixels are between 0 and 1, as in Li and Huang (2023). Both by numbers of the training part.

    Raises `InvalidInput` for unknown names and for files that are damaged or not what they are called.
    """
    check_number("test_fraction", test_fraction, 0.0, above=True)
    if test_fraction >= 1:
        refuse("test_fraction", test_fraction, "a number between 0 and 1")
    check_whole("seed", seed, 0)
    if seed >= 2**32:
        refuse("seed", seed, f"a whole number from 0 to {2**32 - 1}")
    check_whole("n_samples", n_samples)
    check_choice("inputs", inputs, INPUTS)
    if not isinstance(name, str):
        refuse("data", name, "one of " + ", ".join(NAMES))
    if folder is not None and not isinstance(folder, (str, os.PathLike)):
        refuse("folder", folder, "the path of a folder")
    if folder is not None and name not in OPENML_NAMES:
        refuse("folder", str(folder), "no folder for " + repr(name) + "; only " + ", ".join(OPENML_NAMES) + " are read from one")
    if name == "digits":
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
    elif name == "gaussian-mixture":
        X, y = gaussian_mixture(n_samples, np.random.default_rng(seed))
    elif folder is not None:
        read = read_cifar if name == "cifar-10" else read_mnist
        return _scaled(name, inputs, *read(Path(folder)))
    elif name in OPENML_NAMES or name.startswith("openml:"):
        X, y = _from_openml(OPENML_NAMES.get(name) or name.removeprefix("openml:"))
        _check_openml(name, X, y)
    else:
        refuse("data", name, "one of " + ", ".join(NAMES))
    return _scaled(name, inputs, *_split(X, y, test_fraction, seed))


def gaussian_mixture(
    n_samples: int, rng: np.random.Generator, n_classes: int = 4, radius: float = 3.0, deviation: float = 1.0
) -> tuple[Array, Array]:
    """Return points in the plane, (samples, 2), and their classes: isotropic Gaussians with centres evenly on a circle.

    Raises `InvalidInput` for fewer than two points a class, and for a radius or deviation that is negative or not finite.
    """
    check_whole("n_classes", n_classes)
    check_whole("n_samples", n_samples, 2 * n_classes)
    check_number("radius", radius, 0.0)
    check_number("deviation", deviation, 0.0)
    y = rng.permutation(np.arange(n_samples) % n_classes)
    angle = 2 * np.pi * y / n_classes
    centres = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return centres + deviation * rng.standard_normal((n_samples, 2)), y


def read_mnist(folder: Path) -> tuple[Array, Array, Array, Array]:
    """Return training and test images, (samples, pixels), and labels from the four IDX files of MNIST or Fashion-MNIST."""
    kinds = ("images-idx3", "labels-idx1")
    (X, y), (X_test, y_test) = (
        read_images_and_labels(*(_find(folder, part, kind) for kind in kinds)) for part in ("train", "t10k")
    )
    size, size_test = (" x ".join(map(str, images.shape[1:])) for images in (X, X_test))
    if size_test != size:
        raise InvalidInput(f"{folder}: t10k images: got {size_test} pixels, expected {size}, as in the training images")
    if np.array_equal(X_test, X):
        raise InvalidInput(f"{folder}: t10k images: got the training images, expected others")
    return X.reshape(len(X), -1), y, X_test.reshape(len(X_test), -1), y_test


def _find(folder: Path, part: str, kind: str) -> Path:
    name = f"{part}-{kind}-ubyte"
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise InvalidInput(f"{folder}: got no file {name}, expected it there, or {name}.gz")


def read_cifar(folder: Path) -> tuple[Array, Array, Array, Array]:
    """Return training and test images, (samples, 3072), and labels from the six python batches of CIFAR-10."""
    inner = folder / "cifar-10-batches-py"
    folder = inner if inner.is_dir() else folder
    names = {f"data_batch_{number}": f"training batch {number} of 5" for number in range(1, 6)}
    names["test_batch"] = "testing batch 1 of 1"
    for file in names:
        if not (folder / file).is_file():
            raise InvalidInput(f"{folder}: got no file {file}, expected data_batch_1 to data_batch_5 and test_batch")
    batches = {file: read_batch(folder / file, name) for file, name in names.items()}
    for first, second in itertools.combinations(batches, 2):
        if np.array_equal(batches[first][0], batches[second][0]):
            raise InvalidInput(f"{folder / second}: data: got the images of {first}, expected others")
    *training, (X_test, y_test) = batches.values()
    X, y = (np.concatenate(column) for column in zip(*training, strict=True))
    return X, y, X_test, y_test


def _from_openml(name: str) -> tuple[Array, Array]:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X, y = fetch_openml(name, return_X_y=True, as_frame=False, parser="liac-arff")
        return np.asarray(X, np.float32), np.asarray(y)
    except Exception as error:
        # No network, no such name, no numbers: whatever it is, the user can do one thing, name a folder.
        reason = " ".join(str(error).split())[:100]
        raise InvalidInput(f"data: got {name!r} ({reason}), expected numbers that OpenML has, or a folder of files") from None


def _check_openml(name: str, X: Array, y: Array) -> None:
    """Refuse what OpenML may have and no classifier can be trained on: gaps in the inputs, and a target that is no class."""
    if not np.isfinite(X).all():
        refuse("data", name, "a data set without missing numbers")
    try:
        least = np.unique(y, return_counts=True)[1].min() if y.ndim == 1 and len(y) else 0
    except TypeError:  # text and missing entries have no order
        refuse("data", name, "a data set without missing classes")
    if least < 2:
        refuse("data", name, "a data set whose target is a class, with two samples or more of each")


def _split(X: Array, y: Array, test_fraction: float, seed: int) -> tuple[Array, Array, Array, Array]:
    from sklearn.model_selection import train_test_split

    try:
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=test_fraction, random_state=seed, stratify=y)
    except ValueError as error:
        refuse("test_fraction", test_fraction, f"parts with every class in both ({' '.join(str(error).split())})")
    return X_train, y_train, X_test, y_test


def _scaled(name: str, inputs: str, X_train: Array, y_train: Array, X_test: Array, y_test: Array) -> Data:
    """One shift and one scale for all features: pixels that never change stay constant."""
    mean, deviation = X_train.mean(dtype=np.float64), X_train.std(dtype=np.float64)
    if deviation == 0:
        raise InvalidInput(f"data: got {name!r} with all features equal, expected data that vary")
    shift, scale = (mean, deviation) if inputs == "standardised" else (0.0, np.abs(X_train).max())
    train, test = (((X - np.float32(shift)) / np.float32(scale)).astype(np.float32) for X in (X_train, X_test))
    return Data(name, train, y_train, test, y_test)
