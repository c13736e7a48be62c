"""SGD on weights in plain NumPy, and the inputs that a compiled run draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import erf

import teacher_student as ts
from teacher_student.arrays import WordArray
from teacher_student.networks import Weights
from teacher_student.sgd.blocks import BLOCK, TILE, draw_inputs

TRAINED = ("xi_in", "sigma", "xi_out", "v")
PLAIN = {
    "erf": (lambda x: erf(x / np.sqrt(2)), lambda x: np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2)),
    "quadratic": (lambda x: x**2, lambda x: 2 * x),
}


def drawn_inputs(stream: WordArray, n_inputs: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the inputs of a run in the order of its steps: whole batches in a block, or a batch in blocks of its own."""
    tiles = -(-n_inputs // TILE)
    block = np.zeros((tiles, BLOCK, TILE))
    count = BLOCK - BLOCK % batch_size if batch_size <= BLOCK else BLOCK
    while True:
        for begin in range(0, max(batch_size, count), BLOCK):
            for tile in range(tiles):
                draw_inputs(stream, n_inputs, block, tile)
            inputs = block.transpose(1, 0, 2).reshape(BLOCK, -1)[:, :n_inputs]
            yield from inputs[: min(count, max(batch_size, count) - begin)].copy()


def plain_sgd(
    w: Weights, rule: ts.LearningRule, n_steps: int, inputs: Iterator[np.ndarray], rng: np.random.Generator
) -> dict[str, Any]:
    """Return the student after `n_steps` steps: down the mean gradient of delta^2 / 2, with decay; label noise is from `rng`.

    It ends earlier before a step whose delta is not finite; "steps" are those taken.
    """
    g, g_prime = PLAIN[rule.activation]
    xi_in, sigma, xi_out, v = w.xi_in.copy(), w.sigma.copy(), w.xi_out.copy(), w.v.copy()
    N = xi_in.shape[1]
    for step in range(n_steps):
        gradients = [np.zeros_like(factor) for factor in (xi_in, sigma, xi_out, v)]
        for _ in range(rule.batch_size):
            x = next(inputs)
            label = w.v_teacher @ g(w.W_teacher @ x / np.sqrt(N))
            if rule.noise > 0:
                label += rule.noise * rng.standard_normal()
            u = xi_in @ x / np.sqrt(N)
            field = xi_out @ (sigma * u)
            activity, slope = g(field), g_prime(field)
            delta = v @ activity - label
            if not np.isfinite(delta):
                return {**dict(zip(TRAINED, (xi_in, sigma, xi_out, v), strict=True)), "steps": step}
            back = (v * slope) @ xi_out
            gradients[0] += delta * np.outer(back * sigma, x) * np.sqrt(N)
            gradients[1] += delta * u * back
            gradients[2] += delta * np.outer(v * slope, u * sigma)
            gradients[3] += delta * activity
        rates = [rate if isinstance(rate, float) else plain_rate(rate, step / N) for rate in rates_of(rule)]
        shrunk_and_moved = [
            factor - rate / N * (gradient / rule.batch_size + rule.weight_decay * factor)
            for factor, rate, gradient in zip((xi_in, sigma, xi_out, v), rates, gradients, strict=True)
        ]
        lengths = np.linalg.norm(xi_in, axis=1, keepdims=True)
        xi_in, sigma, xi_out, v = shrunk_and_moved
        if rule.spherical:
            xi_in *= lengths / np.linalg.norm(xi_in, axis=1, keepdims=True)
    return {**dict(zip(TRAINED, (xi_in, sigma, xi_out, v), strict=True)), "steps": n_steps}


def rates_of(rule: ts.LearningRule) -> list[float | ts.PowerLaw]:
    return [rule.eta_xi_in, rule.eta_sigma, rule.eta_xi_out, rule.eta_v]


def plain_rate(schedule: ts.PowerLaw, alpha: float) -> float:
    return schedule.start * (1.0 + alpha / schedule.alpha) ** -schedule.exponent
