"""What is measured on one network, as lists and numbers that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.data import Data
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.importance import importance_parts, removal_accuracy, with_modes
from teacher_student.deep.latent import latent_geometry
from teacher_student.deep.network import ModeLayer, factors
from teacher_student.deep.reproduction.plan import Part, Plan
from teacher_student.deep.training import uninterrupted


def measure(part: Part, plan: Plan, data: Data) -> dict[str, Any]:
    """Train the network of `part` on `data` and return what its section needs. Ctrl-C is passed on."""
    model = ModeMLPClassifier(**part.model)
    if part.section == "networks":
        return _look_into(model, plan, data)
    if part.small_start:
        _start_small(model, data)
    uninterrupted(model.fit(data.X_train, data.y_train))
    return _accuracies(model, data)


def _accuracies(model: ModeMLPClassifier, data: Data) -> dict[str, Any]:
    """Return accuracies, and which test samples are right as the digits of a hexadecimal number, four samples a digit."""
    right = model.predict(data.X_test) == data.y_test
    return {
        "accuracy": float(right.mean()),
        "training_accuracy": float(model.score(data.X_train, data.y_train)),
        "loss": float(model.loss_),
        "right": np.packbits(right).tobytes().hex(),
    }


def right_samples(result: Mapping[str, Any], n_samples: int) -> Array:
    """Return for each test sample whether the network was right, (n_samples,)."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(result["right"]), np.uint8))[:n_samples].astype(bool)


def _look_into(model: ModeMLPClassifier, plan: Plan, data: Data) -> dict[str, Any]:
    """Return importance and geometry before and after training, and accuracies while modes are removed."""
    before = _snapshot(model.initialise(data.X_train, data.y_train), plan, data)
    uninterrupted(model.fit(data.X_train, data.y_train))
    after = _snapshot(model, plan, data)
    tau_before = [_tau(parts) for parts in before["importance"]] if model.decomposition != "none" else None
    rng = np.random.default_rng(model.random_state)
    removal = []
    for matrix in range(len(model.layers_)):
        orders = _orders(model, matrix, _tau(after["importance"][matrix]), tau_before[matrix] if tau_before else None)
        P = len(next(iter(orders.values())))
        draws = [rng.permutation(P) for _ in range(plan.n_draws)]
        accuracy = removal_accuracy(model, data.X_test, data.y_test, matrix, [*orders.values(), *draws])
        rows = dict(zip(orders, accuracy, strict=False)) | {"random": accuracy[len(orders) :].mean(axis=0)}
        removal.append({name: np.round(row, 6).tolist() for name, row in rows.items()})
    return {**_accuracies(model, data), "before": before, "after": after, "removal": removal}


def _snapshot(model: ModeMLPClassifier, plan: Plan, data: Data) -> dict[str, Any]:
    geometry = latent_geometry(model, data.X_test, data.y_test, plan.k)
    parts = [importance_parts(layer) for layer in model.layers_]
    return {
        "importance": [{name: values.tolist() for name, values in matrix._asdict().items()} for matrix in parts],
        "dimension": geometry.dimension.tolist(),
        "angle": geometry.angle.tolist(),
        "permuted_angle": geometry.permuted_angle.tolist(),
    }


def _tau(parts: Mapping[str, Any]) -> Array:
    return np.sum([parts[name] for name in ("sigma", "xi_in", "xi_out")], axis=0)


def _orders(model: ModeMLPClassifier, matrix: int, tau: Array, tau_before: Array | None) -> dict[str, Array]:
    """Return orders of removal by name: by tau, by the tau of before, and by the product of the three factors' sizes.

    The singular modes of a whole matrix after training are other modes than those before, so that these have no tau of before.
    """
    modes: ModeLayer = with_modes(model.layers_[matrix])
    product = np.abs(modes.sigma) * np.linalg.norm(modes.xi_in, axis=1) * np.linalg.norm(modes.xi_out, axis=0)
    orders = {"descending": np.argsort(-tau), "ascending": np.argsort(tau), "product": np.argsort(-product)}
    if tau_before is not None:
        orders |= {"before, descending": np.argsort(-tau_before), "before, ascending": np.argsort(tau_before)}
    return orders


def _start_small(model: ModeMLPClassifier, data: Data) -> None:
    """Give each matrix the Frobenius norm that it has from a spectral start, by its sigma alone, and let `fit` start there.

    The spectral start differs from this in its directions and in how the factors share the norm.
    """
    spectral = ModeMLPClassifier(**{**model.get_params(), "initialisation": "spectral"}).initialise(data.X_train, data.y_train)
    model.initialise(data.X_train, data.y_train)
    views = factors(model.architecture_, model.theta_)
    for index, (small, layer) in enumerate(zip(spectral.layers_, model.layers_, strict=True)):
        assert isinstance(small, ModeLayer)
        assert isinstance(layer, ModeLayer)
        W = (layer.xi_out * layer.sigma) @ layer.xi_in
        views[f"sigma{index}"] *= np.linalg.norm(small.sigma) / np.linalg.norm(W)
    model.set_params(warm_start=True)
