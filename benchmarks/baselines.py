"""The same SGD in NumPy, PyTorch and JAX, each written as its users would for speed: steps a second of one run.

A plain committee with erf, K = M = 4, learns its first layer on line: draw x, project it, apply the rank-one update. Inputs come
from each library's own generator, in blocks. The teacher, which does not learn, answers a block at once, by one product of
matrices. One thread; compilation and warm-up are not timed.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import erf
from timing import least_seconds

K = M = 4
ETA = 0.5
# Components of a block of inputs that is drawn at once; all three are slower with ten times as many, which leave the cache.
CACHED = 500_000

Run = Callable[[int], None]


def weights(n_inputs: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of student and teacher, (4, N) each, with components of order one."""
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((K, n_inputs)).astype(dtype), rng.standard_normal((M, n_inputs)).astype(dtype)


def block_length(n_inputs: int) -> int:
    """Return how many inputs are drawn at once."""
    return max(20, CACHED // n_inputs)


def numpy_run(n_inputs: int, dtype: str) -> Run:
    """Return a loop over steps in NumPy."""
    student, teacher = weights(n_inputs, dtype)
    rng = np.random.default_rng(1)
    scale = student.dtype.type(1.0 / math.sqrt(n_inputs))
    rate = student.dtype.type(ETA / math.sqrt(n_inputs) * math.sqrt(2.0 / math.pi))
    half = student.dtype.type(math.sqrt(0.5))
    buffer, length = np.empty((K, n_inputs), dtype), block_length(n_inputs)

    def run(n_steps: int) -> None:
        for _ in range(n_steps // length):
            inputs = rng.standard_normal((length, n_inputs), dtype=dtype)
            labels = erf(half * scale * (inputs @ teacher.T)).sum(axis=1)
            for x, label in zip(inputs, labels, strict=True):
                fields = (student @ x) * scale
                delta = erf(half * fields).sum() - label
                h = rate * delta * np.exp(-0.5 * fields**2)
                np.multiply(h[:, None], x, out=buffer)
                np.subtract(student, buffer, out=student)

    return run


def torch_run(n_inputs: int, dtype: str) -> Run:
    """Return the loop in PyTorch, the update written by hand without autograd."""
    import torch

    torch.set_num_threads(1)
    student, teacher = (torch.from_numpy(rows) for rows in weights(n_inputs, dtype))
    generator = torch.Generator().manual_seed(1)
    scale, rate = 1.0 / math.sqrt(n_inputs), ETA / math.sqrt(n_inputs)
    slope, half = math.sqrt(2.0 / math.pi), math.sqrt(0.5)
    length = block_length(n_inputs)

    @torch.no_grad()
    def run(n_steps: int) -> None:
        for _ in range(n_steps // length):
            inputs = torch.randn((length, n_inputs), dtype=student.dtype, generator=generator)
            labels = torch.mm(inputs, teacher.T).mul_(half * scale).erf_().sum(dim=1)
            for x, label in zip(inputs, labels, strict=True):
                fields = torch.mv(student, x).mul_(scale)
                delta = torch.erf(half * fields).sum().sub_(label)
                h = torch.exp(-0.5 * fields**2).mul_(delta)
                student.addr_(h, x, alpha=-rate * slope)

    return run


def jax_run(n_inputs: int, dtype: str) -> Run:
    """Return the loop as a compiled scan in JAX over a block of inputs that is drawn before it."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    student, teacher = (jnp.asarray(rows) for rows in weights(n_inputs, dtype))
    scale, rate = 1.0 / math.sqrt(n_inputs), ETA / math.sqrt(n_inputs)
    slope, half = math.sqrt(2.0 / math.pi), math.sqrt(0.5)
    length = block_length(n_inputs)

    def step(student: Any, example: Any) -> Any:
        x, label = example
        fields = (student @ x) * scale
        delta = jax.lax.erf(half * fields).sum() - label
        h = (rate * slope) * delta * jnp.exp(-0.5 * fields**2)
        return (student - h[:, None] * x).astype(student.dtype), None

    @jax.jit
    def block(student: Any, key: Any) -> Any:
        key, part = jax.random.split(key)
        inputs = jax.random.normal(part, (length, n_inputs), dtype=dtype)
        labels = jax.lax.erf((half * scale) * (inputs @ teacher.T)).sum(axis=1)
        return jax.lax.scan(step, student, (inputs, labels))[0], key

    state = [(student, jax.random.PRNGKey(1))]

    def run(n_steps: int) -> None:
        for _ in range(n_steps // length):
            state[0] = block(*state[0])
        state[0][0].block_until_ready()

    return run


BASELINES = {"NumPy": ("numpy", numpy_run), "PyTorch": ("torch", torch_run), "JAX": ("jax", jax_run)}


def measure(n_inputs: int, n_steps: int) -> dict[str, float | None]:
    """Return steps a second by library and precision; None where the library is not installed."""
    found: dict[str, float | None] = {}
    for name, (module, make) in BASELINES.items():
        for dtype in ("float64", "float32"):
            installed = importlib.util.find_spec(module) is not None
            found[f"{name} {dtype}"] = n_steps / least_seconds(partial(make(n_inputs, dtype), n_steps)) if installed else None
    return found
