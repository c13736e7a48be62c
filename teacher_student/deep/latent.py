"""The geometry of a layer's activity: its dimension, and how far the subspaces of classes are apart."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.activations import get_activation
from teacher_student.deep.checks import checked_samples
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.gradient import forward
from teacher_student.deep.threads import one_blas_thread
from teacher_student.errors import check_whole, refuse


def participation_ratio(h: Array) -> float:
    """Return (tr C)^2 / tr C^2 of the covariance C of activities `h`, (samples, neurons).

    It is d if d directions have the same variance and the others none. From few samples it comes out too small: of n samples of
    d equal directions about 1 / (1 / d + 1 / n).
    """
    centred = h - h.mean(axis=0, dtype=np.float64)
    gram = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    total = np.trace(gram)
    return float(total**2 / (gram**2).sum()) if total > 0 else 0.0


def principal_angles(A: Array, B: Array) -> Array:
    """Return the principal angles in degrees, ascending, between the row spaces of orthonormal `A` and `B`, both (k, neurons)."""
    cosines = np.linalg.svd(A @ B.T, compute_uv=False)
    return np.degrees(np.arccos(np.clip(cosines, 0.0, 1.0)))


def class_angles(h: Array, y: Array, k: int = 2) -> Array:
    """Return the mean principal angle in degrees between the class subspaces of each pair of classes, (pairs,).

    A class's subspace is spanned by the `k` leading right singular vectors of its activities minus the mean of all classes: it
    holds the direction of the class mean, by which a linear readout tells the class, and the directions of its widest spread.
    The mean over the k angles is taken, since the smallest alone is decided by one shared direction. `k` should be
    below half of the dimension, for two k-dimensional spaces in fewer than 2 k dimensions must intersect.
    """
    check_directions(k, h.shape[1], y)
    centred = h.astype(np.float64) - h.mean(axis=0, dtype=np.float64)
    frames = []
    for label in np.unique(y):
        frames.append(np.linalg.svd(centred[y == label], full_matrices=False)[2][:k])
    return np.array([principal_angles(A, B).mean() for A, B in itertools.combinations(frames, 2)])


def check_directions(k: object, n_neurons: int, y: Array) -> None:
    """Refuse `k` directions a class if a layer has fewer neurons, or one of the classes `y` fewer samples."""
    check_whole("k", k)
    most = min(n_neurons, int(np.unique(y, return_counts=True)[1].min()))
    if k > most:  # type: ignore[operator]
        refuse("k", k, f"at most the number of neurons and of samples of each class, here {most}")


@dataclass(frozen=True, eq=False)
class Latent:
    """Geometry of the input and of every hidden layer, (layers,): dimension, mean angle of class pairs in degrees, and the same
    with labels permuted, which is what subspaces of no classes would show."""

    dimension: Array
    angle: Array
    permuted_angle: Array


def latent_geometry(model: ModeMLPClassifier, X: Array, y: Array, k: int = 2, seed: int = 0) -> Latent:
    """Return dimension and class separation of the activity of `model`, layer by layer, on inputs `X` with classes `y`.

    Raises `InvalidInput` unless these are (samples, features) and (samples,), with the features of the model.
    """
    layers = model.layers_
    X, y = checked_samples(X, y, model.architecture_.sizes[0])
    activities = forward(layers, get_activation(model.architecture_.activation), X).activity
    permuted = np.random.default_rng(seed).permutation(y)
    with one_blas_thread():
        return Latent(
            np.array([participation_ratio(h) for h in activities]),
            np.array([class_angles(h, y, k).mean() for h in activities]),
            np.array([class_angles(h, permuted, k).mean() for h in activities]),
        )
