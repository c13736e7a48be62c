"""SGD with heavy-ball momentum on N-dimensional weights, one fresh Gaussian input a sample, in compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.networks import Weights, draw_rows
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import rates_at
from teacher_student.sgd.gradient import add_gradient
from teacher_student.sgd.momentum import Momentum, measured, step_slow_velocities
from teacher_student.velocities import Velocities, joint_gram


@dataclass(frozen=True, eq=False)
class VelocityWeightsReplica:
    """One run in progress: its weights, the velocities `p` (P, N) of the input modes and `slow_velocity` (P + K P + K) of sigma,
    xi_out and v, all updated in place, and its random stream.
    """

    weights: Weights
    rng: np.random.Generator
    p: FloatArray
    slow_velocity: FloatArray
    momentum: Momentum


def start(
    initial: OrderParameters, velocity: Velocities, momentum: Momentum, n_inputs: int, rng: np.random.Generator
) -> VelocityWeightsReplica:
    """Return a run that starts from weights with exactly the overlaps of `initial` and of `velocity`."""
    M, P = initial.n_teacher, initial.n_modes
    rows = draw_rows(joint_gram(initial, velocity), n_inputs, rng)
    w = Weights(
        xi_in=np.ascontiguousarray(rows[M : M + P]),
        sigma=initial.sigma.copy(),
        xi_out=initial.xi_out.copy(),
        v=initial.v.copy(),
        W_teacher=np.ascontiguousarray(rows[:M]),
        v_teacher=initial.v_teacher.copy(),
    )
    return VelocityWeightsReplica(w, rng, np.ascontiguousarray(rows[M + P :]), velocity.of_slow_factors, momentum)


def advance(
    replica: VelocityWeightsReplica,
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    n_inputs: int,
    first_step: int,
    n_steps: int,
) -> int:
    """Take `n_steps` steps in place, the first of them the run's step `first_step`, and return how many were taken.

    They are fewer than `n_steps` if the error left the finite numbers.
    """
    w = replica.weights
    return run_steps(
        g,
        g_prime,
        g_teacher,
        w.xi_in,
        replica.p,
        w.sigma,
        w.xi_out,
        w.v,
        replica.slow_velocity,
        w.W_teacher,
        w.v_teacher,
        schedules,
        noise,
        weight_decay,
        batch_size,
        replica.momentum.keep,
        replica.momentum.scale,
        first_step,
        n_steps,
        replica.rng,
    )


def measure(replica: VelocityWeightsReplica) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of the present weights, and if they are slow the velocities."""
    w = replica.weights
    rows = np.vstack([w.xi_in, replica.p])
    N = rows.shape[1]
    gram, with_teacher = rows @ rows.T / N, rows @ w.W_teacher.T / N
    return measured(gram, with_teacher, w.sigma, w.xi_out, w.v, replica.slow_velocity, replica.momentum)


@njit(cache=True, nogil=True)
def draw_input(rng: np.random.Generator, x: FloatArray) -> None:
    """Write i.i.d. N(0, 1) components into `x`, (N,)."""
    for i in range(len(x)):
        x[i] = rng.standard_normal()


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


@njit(cache=True, nogil=True)
def run_steps(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    xi_in: FloatArray,
    p: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    slow_velocity: FloatArray,
    W_teacher: FloatArray,
    v_teacher: FloatArray,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    keep: float,
    scale: float,
    first_step: int,
    n_steps: int,
    rng: np.random.Generator,
) -> int:
    """Take `n_steps` SGD steps on the student's factors in place; return the number of steps taken.

    Shapes as in `Weights` and `VelocityWeightsReplica`; `keep` and `scale` as in `Momentum`, the rest as in
    `teacher_student.sgd.weights.run_steps`. Gradients are those at the weights before the step.
    """
    P, N = xi_in.shape
    x = np.empty(N)
    u = np.empty(P)
    rho = np.empty(W_teacher.shape[0])
    work = np.empty((2, len(v)))
    d = np.empty(P)
    slow = np.zeros_like(slow_velocity)
    rates = np.empty(4)
    for step in range(n_steps):
        rates_at(schedules, (first_step + step) / N, rates)
        rate = rates[0] / (np.sqrt(N) * batch_size)
        decay = rates[0] * weight_decay / N
        for a in range(P):
            for i in range(N):
                p[a, i] = keep * p[a, i] - decay * xi_in[a, i]
        for _ in range(batch_size):
            draw_input(rng, x)
            project(xi_in, x, u)
            project(W_teacher, x, rho)
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(g, g_prime, g_teacher, u, rho, label_noise, sigma, xi_out, v, v_teacher, work, d, slow)
            if not np.isfinite(delta):
                return step
            for a in range(P):
                h = -rate * delta * d[a]
                for i in range(N):
                    p[a, i] += h * x[i]
        for a in range(P):
            for i in range(N):
                xi_in[a, i] += scale * p[a, i]
        step_slow_velocities(slow, sigma, xi_out, v, slow_velocity, rates, weight_decay, batch_size, N, keep, scale)
    return n_steps
