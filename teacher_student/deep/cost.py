"""What training costs: parameters, operations and seconds, beside the accuracy they buy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from teacher_student.deep.data import Data
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.network import Architecture, n_parameters
from teacher_student.deep.parameters import check_modes
from teacher_student.deep.threads import one_blas_thread
from teacher_student.deep.training import uninterrupted
from teacher_student.errors import check_whole


def operations_per_sample(architecture: Architecture) -> int:
    """Return the multiply-adds in the products of a forward and a backward pass, a sample.

    A decomposed matrix takes 3 P (N_in + N_out): forward, the gradient of both factors, and the fields' gradient sent back. One
    that is not takes 3 N_in N_out. The first matrix need not send back to the inputs.
    """
    total = 0
    for layer, P in enumerate(architecture.n_modes):
        n_in, n_out = architecture.sizes[layer : layer + 2]
        total += 3 * P * (n_in + n_out) if P > 0 else 3 * n_in * n_out
        if layer == 0:
            total -= P * n_in if P > 0 else n_in * n_out
    return total


@dataclass(frozen=True)
class Cost:
    """One training run: parameters, operations of all epochs, seconds of processor and of clock, and test accuracy."""

    decomposition: str
    n_modes: int
    parameters: int
    operations: int
    cpu_seconds: float
    seconds: float
    accuracy: float


def training_cost(data: Data, model: ModeMLPClassifier) -> Cost:
    """Fit `model` to the data and return what it took; a `decomposition` of "none" has 0 modes. Ctrl-C is passed on."""
    cpu, clock = time.process_time(), time.perf_counter()
    model.fit(data.X_train, data.y_train)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    architecture = uninterrupted(model).architecture_
    return Cost(
        model.decomposition,
        max(architecture.n_modes),
        n_parameters(architecture),
        operations_per_sample(architecture) * len(data.X_train) * model.n_iter_,
        cpu,
        clock,
        float(model.score(data.X_test, data.y_test)),
    )


def compare_costs(data: Data, n_modes: list[int], settings: dict[str, Any]) -> list[Cost]:
    """Return the costs of standard training and of training with each number of modes; `settings` as in `ModeMLPClassifier`."""
    check_modes(settings)
    for P in n_modes:
        check_whole("n_modes", P)
    models = [ModeMLPClassifier(**{**settings, "decomposition": "none"})]
    models += [ModeMLPClassifier(**{**settings, "n_modes": P}) for P in n_modes]
    for model in models[:2]:  # compiled code is loaded, or compiled, before the clock starts
        uninterrupted(clone(model).set_params(max_iter=1, verbose=False).fit(data.X_train, data.y_train))
    with one_blas_thread():  # around all, for BLAS threads that have just been put to rest spin for a while
        return [training_cost(data, model) for model in models]
