"""Epochs of batches: the loop that both estimators train with."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.activations import get_activation
from teacher_student.deep.gradient import Fields, add_orthogonality, backward, forward, network_output, new_fields
from teacher_student.deep.network import as_layers, factors
from teacher_student.deep.optimiser import Adam, scheduled_rate, sgd_step
from teacher_student.deep.threads import one_blas_thread

_SEEN = 32


@dataclass(eq=False)
class Training:
    """Parameters to keep, (n_parameters,), mean loss and score of every epoch, whether Ctrl-C ended it, and how it diverged."""

    theta: Array
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    interrupted: bool = False
    diverged: str | None = None


@dataclass(eq=False)
class _Memory:
    """What every step writes over: the gradient and the fields of a batch."""

    gradient: Array
    fields: Fields


def train(estimator: Any, X: Array, target: Array, held_out: tuple[Array, Array] | None, n_epochs: int) -> Training:
    """Train the parameters of `estimator` on `X`, (samples, N_0), and `target`; return what to keep.

    With `held_out` inputs and targets that is the epoch of the best score on them, and training stops when this has not risen
    by ``tol`` for ``n_iter_no_change`` epochs. Otherwise it is the last epoch; if Ctrl-C or divergence ends training, the epoch
    of lowest loss.
    """
    theta = estimator.theta_.copy()
    layers = as_layers(estimator.architecture_, theta)
    memory = _Memory(np.empty_like(theta), new_fields(layers, min(estimator.batch_size, len(X))))
    if estimator.optimiser != "adam":
        estimator.adam_ = None
    elif estimator.adam_ is None:
        estimator.adam_ = Adam(len(theta), theta.dtype)
    # The last step of an epoch is not in its loss: these outputs show where it has led.
    seen = X[:_SEEN] if held_out is None else held_out[0]
    kept = Training(estimator.theta_)
    best, waited = -np.inf, 0
    lowest, lowest_theta = np.inf, estimator.theta_
    try:
        # Overflow is not warned of but found in loss, parameters and outputs, which are then not finite.
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for epoch in range(n_epochs):
                loss, score = _epoch(estimator, theta, X, target, epoch / n_epochs, memory)
                output = network_output(layers, estimator.architecture_.activation, seen)
                wrong = _not_finite(loss, theta, output)
                if wrong:
                    kept.diverged = f"training diverged: {wrong} in epoch {epoch + 1}; a lower learning_rate may help"
                    break
                if held_out is not None:
                    score = estimator._score_of(output, held_out[1])
                kept.losses.append(loss)
                kept.scores.append(score)
                if estimator.verbose:
                    kind = "validation" if held_out is not None else "training"
                    print(
                        f"epoch {epoch + 1:3d}/{n_epochs}  loss {loss:.4f}  {kind} score {score:.4f}", file=sys.stderr, flush=True
                    )
                if loss < lowest:
                    lowest, lowest_theta = loss, theta.copy()
                if held_out is None:
                    continue
                waited = 0 if score > best + estimator.tol else waited + 1
                if score > best:
                    best, kept.theta = score, theta.copy()
                if waited >= estimator.n_iter_no_change:
                    break
    except KeyboardInterrupt:
        kept.interrupted = True
    if held_out is None:
        kept.theta = lowest_theta if kept.interrupted or kept.diverged else theta
    return kept


def uninterrupted(estimator: Any) -> Any:
    """Return a fitted `estimator`; if Ctrl-C ended its training, pass that on."""
    if estimator.interrupted_:
        raise KeyboardInterrupt
    return estimator


def _not_finite(loss: float, theta: Array, output: Array) -> str | None:
    """Return which of these is not finite, in words."""
    if not math.isfinite(loss):
        return f"loss {loss}"
    if not np.isfinite(theta).all():
        return "parameters not finite"
    return None if np.isfinite(output).all() else "outputs not finite"


def _epoch(estimator: Any, theta: Array, X: Array, target: Array, done: float, memory: _Memory) -> tuple[float, float]:
    """Take one pass of steps on `theta` in place; return the mean loss and the mean score of the batches before their steps."""
    activation = get_activation(estimator.architecture_.activation)
    layers = as_layers(estimator.architecture_, theta)
    gradient_layers = as_layers(estimator.architecture_, memory.gradient)
    rate = scheduled_rate(estimator.learning_rate, estimator.schedule, done)
    decay = rate * estimator.weight_decay * _decays(estimator.architecture_, theta) if estimator.weight_decay else None
    order = estimator.rng_.permutation(len(X))
    total_loss = total_score = 0.0
    for start in range(0, len(X), estimator.batch_size):
        batch = order[start : start + estimator.batch_size]
        x, y = X[batch], target[batch]
        memory_of_batch = memory.fields if len(x) == estimator.batch_size else memory.fields.first(len(x))
        fields = forward(layers, activation, x, memory_of_batch)
        output = fields.fields[-1]
        loss, output_gradient = estimator._loss(output, y)
        if not math.isfinite(loss):
            return loss, np.nan
        total_score += len(batch) * estimator._score_of(output, y)
        backward(layers, activation, fields, output_gradient, gradient_layers)
        if estimator.architecture_.orthogonal:
            loss += add_orthogonality(layers, gradient_layers, estimator.orthogonality)
        total_loss += len(batch) * loss
        if estimator.adam_ is not None:
            estimator.adam_.step(theta, memory.gradient, rate, decay)
        else:
            sgd_step(theta, memory.gradient, rate, decay)
    return total_loss / len(X), total_score / len(X)


def _decays(architecture: Any, theta: Array) -> Array:
    """Return 1 for parameters that weight decay shrinks and 0 for biases."""
    marks = np.ones_like(theta)
    for name, view in factors(architecture, marks).items():
        if name.startswith("bias"):
            view[...] = 0
    return marks
