"""SGD on N-dimensional weights, one fresh Gaussian input a sample, in compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.networks import Weights, draw_weights
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import is_constant, rates_at
from teacher_student.sgd.gradient import add_gradient, step_slow_factors
from teacher_student.sgd.inputs import draw_input

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightsReplica:
    """One run in progress: its weights, which are updated in place, and its random stream.

    `lengths` (P,) are those of the input modes at the start, in units of sqrt(N).
    """

    weights: Weights
    lengths: FloatArray
    rng: np.random.Generator


def start(initial: OrderParameters, n_inputs: int, rng: np.random.Generator) -> WeightsReplica:
    """Return a run that starts from weights with exactly the overlaps of `initial`."""
    return WeightsReplica(draw_weights(initial, n_inputs, rng), np.sqrt(initial.Q_modes.diagonal()), rng)


def advance(
    replica: WeightsReplica,
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    spherical: bool,
    n_inputs: int,
    first_step: int,
    n_steps: int,
) -> int:
    """Take `n_steps` SGD steps in place, the first of them the run's step `first_step`, and return how many were taken.

    They are fewer than `n_steps` if the error left the finite numbers.
    """
    w = replica.weights
    return run_steps(
        g,
        g_prime,
        g_teacher,
        w.xi_in,
        w.sigma,
        w.xi_out,
        w.v,
        w.W_teacher,
        w.v_teacher,
        schedules,
        noise,
        weight_decay,
        batch_size,
        replica.lengths if spherical else np.empty(0),
        first_step,
        n_steps,
        replica.rng,
    )


def measure(replica: WeightsReplica) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of the present weights."""
    w = replica.weights
    n_inputs = w.xi_in.shape[1]
    return {
        "Q_modes": w.xi_in @ w.xi_in.T / n_inputs,
        "R_modes": w.xi_in @ w.W_teacher.T / n_inputs,
        "sigma": w.sigma.copy(),
        "xi_out": w.xi_out.copy(),
        "v": w.v.copy(),
    }


# Sums over N may be reordered into vector lanes; NaN and infinity keep their meaning, divergence is detected by them.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def project(rows: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """Write rows . x / sqrt(N), (n_rows,), into `out`."""
    scale = 1.0 / np.sqrt(len(x))
    for a in range(rows.shape[0]):
        total = 0.0
        for i in range(len(x)):
            total += rows[a, i] * x[i]
        out[a] = total * scale


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def rescale(rows: FloatArray, lengths: FloatArray) -> None:
    """Give row a of `rows` (P, N) the length `lengths[a]` sqrt(N)."""
    P, N = rows.shape
    for a in range(P):
        total = 0.0
        for i in range(N):
            total += rows[a, i] * rows[a, i]
        scale = lengths[a] * np.sqrt(N / total)
        for i in range(N):
            rows[a, i] *= scale


@njit(cache=True, nogil=True)
def run_steps(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    xi_in: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    W_teacher: FloatArray,
    v_teacher: FloatArray,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    lengths: FloatArray,
    first_step: int,
    n_steps: int,
    rng: np.random.Generator,
) -> int:
    """Take `n_steps` SGD steps on the student's factors in place; return the number of steps taken.

    Shapes as in `Weights`; `schedules` are those of a `LearningRule`, taken at alpha = step / N for the run's steps from
    `first_step` on; input modes are rescaled to `lengths` (P,) after each step, or not if it is empty. All right-hand sides use
    the values before the step. Stops before a step whose error is not finite.
    """
    P, N = xi_in.shape
    K = len(v)
    x = np.empty(N)
    u = np.empty(P)
    rho = np.empty(W_teacher.shape[0])
    work = np.empty((2, K))
    d = np.empty(P)
    slow = np.zeros(P + K * P + K)
    rates = np.empty(4)
    constant = is_constant(schedules)
    rate, keep = 0.0, 1.0
    # A batch is summed here, for every sample of it sees the weights before the step.
    summed = np.zeros((P, N)) if batch_size > 1 else np.zeros((0, N))
    for step in range(n_steps):
        if step == 0 or not constant:
            rates_at(schedules, (first_step + step) / N, rates)
            rate = rates[0] / (np.sqrt(N) * batch_size)
            keep = 1.0 - rates[0] * weight_decay / N
        for _ in range(batch_size):
            draw_input(rng, x)
            project(xi_in, x, u)
            project(W_teacher, x, rho)
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(g, g_prime, g_teacher, u, rho, label_noise, sigma, xi_out, v, v_teacher, work, d, slow)
            if not np.isfinite(delta):
                return step
            if rates[0] == 0.0:
                continue
            for a in range(P):
                h = -rate * delta * d[a]
                if batch_size == 1:
                    for i in range(N):
                        xi_in[a, i] = keep * xi_in[a, i] + h * x[i]
                else:
                    for i in range(N):
                        summed[a, i] += h * x[i]
        if batch_size > 1 and rates[0] > 0.0:
            for a in range(P):
                for i in range(N):
                    xi_in[a, i] = keep * xi_in[a, i] + summed[a, i]
                    summed[a, i] = 0.0
        if rates[0] > 0.0 and len(lengths) > 0:
            rescale(xi_in, lengths)
        step_slow_factors(slow, sigma, xi_out, v, rates, weight_decay, batch_size, N)
    return n_steps
