"""The exact Markov chain of the order parameters under heavy-ball momentum: velocities are rows like the modes.

The state is the triangular factor of the Gram matrix of (W*, xi_in, p) / sqrt(N), of M + 2 P rows, and a step is that of
`teacher_student.sgd.overlaps` with the input added to the rows of p and these, by and by, to the rows of xi_in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import rates_at
from teacher_student.sgd.gradient import add_gradient
from teacher_student.sgd.momentum import Momentum, measured, step_slow_velocities
from teacher_student.velocities import Velocities, joint_gram


@dataclass(frozen=True, eq=False)
class VelocityOverlapsReplica:
    """One run in progress: the factor of its overlaps and the slow factors, updated in place, and its random stream.

    Shapes: `F_teacher` (M, M) and `F_rest` (2 P, 2 P) lower triangular, `F_along` (2 P, M), the latter two with rows for xi_in
    and then for its velocities; `sigma` (P,), `xi_out` (K, P), `v` (K,); their velocities `slow_velocity` (P + K P + K).
    """

    F_teacher: FloatArray
    F_along: FloatArray
    F_rest: FloatArray
    sigma: FloatArray
    xi_out: FloatArray
    v: FloatArray
    slow_velocity: FloatArray
    v_teacher: FloatArray
    momentum: Momentum
    rng: np.random.Generator


def start(
    initial: OrderParameters, velocity: Velocities, momentum: Momentum, n_inputs: int, rng: np.random.Generator
) -> VelocityOverlapsReplica:
    """Return a run that starts from the overlaps of `initial` and `velocity`; `n_inputs` enters only with the steps."""
    M = initial.n_teacher
    factor = triangular_factor(joint_gram(initial, velocity))
    return VelocityOverlapsReplica(
        F_teacher=np.ascontiguousarray(factor[:M, :M]),
        F_along=np.ascontiguousarray(factor[M:, :M]),
        F_rest=np.ascontiguousarray(factor[M:, M:]),
        sigma=initial.sigma.copy(),
        xi_out=initial.xi_out.copy(),
        v=initial.v.copy(),
        v_teacher=initial.v_teacher.copy(),
        rng=rng,
        slow_velocity=velocity.of_slow_factors,
        momentum=momentum,
    )


def advance(
    replica: VelocityOverlapsReplica,
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
    return run_steps(
        g,
        g_prime,
        g_teacher,
        replica.F_teacher,
        replica.F_along,
        replica.F_rest,
        replica.sigma,
        replica.xi_out,
        replica.v,
        replica.slow_velocity,
        replica.v_teacher,
        schedules,
        noise,
        weight_decay,
        batch_size,
        replica.momentum.keep,
        replica.momentum.scale,
        n_inputs,
        first_step,
        n_steps,
        replica.rng,
    )


def measure(replica: VelocityOverlapsReplica) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of the present state, and if they are slow the velocities."""
    gram = replica.F_along @ replica.F_along.T + replica.F_rest @ replica.F_rest.T
    with_teacher = replica.F_along @ replica.F_teacher.T
    factors = (replica.sigma, replica.xi_out, replica.v, replica.slow_velocity)
    return measured(gram, with_teacher, *factors, replica.momentum)


@njit(cache=True, nogil=True)
def rotate_into_triangle(F_rest: FloatArray, extra: FloatArray) -> None:
    """Make `F_rest` (P, P) lower triangular and `extra` (P, b) zero by rotations that keep F F^T + extra extra^T.

    Each Givens rotation turns one entry of row a to the right of the diagonal into the diagonal. It divides by the length of
    the two entries alone, so that a vanishing diagonal, a student within the teacher's span, needs no special case.
    """
    P, width = extra.shape
    for a in range(P):
        for j in range(a + 1, P + width):
            other = F_rest[a, j] if j < P else extra[a, j - P]
            if other == 0.0:
                continue
            length = np.sqrt(F_rest[a, a] ** 2 + other**2)
            cosine, sine = F_rest[a, a] / length, other / length
            F_rest[a, a] = length
            if j < P:
                F_rest[a, j] = 0.0
                for b in range(a + 1, P):
                    kept, turned = F_rest[b, a], F_rest[b, j]
                    F_rest[b, a] = cosine * kept + sine * turned
                    F_rest[b, j] = cosine * turned - sine * kept
            else:
                extra[a, j - P] = 0.0
                for b in range(a + 1, P):
                    kept, turned = F_rest[b, a], extra[b, j - P]
                    F_rest[b, a] = cosine * kept + sine * turned
                    extra[b, j - P] = cosine * turned - sine * kept


@njit(cache=True, nogil=True)
def draw_fields(
    F_teacher: FloatArray,
    F_along: FloatArray,
    F_rest: FloatArray,
    z: FloatArray,
    rho: FloatArray,
    u: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Draw the input's components `z` in the basis, and write the fields `rho` (M,) and, of the first P rows, `u` (P,)."""
    M = len(rho)
    for i in range(len(z)):
        z[i] = rng.standard_normal()
    for m in range(M):
        rho[m] = 0.0
        for n in range(m + 1):
            rho[m] += F_teacher[m, n] * z[n]
    for a in range(len(u)):
        u[a] = 0.0
        for m in range(M):
            u[a] += F_along[a, m] * z[m]
        for b in range(a + 1):
            u[a] += F_rest[a, b] * z[M + b]


@njit(cache=True, nogil=True)
def draw_outside(h: FloatArray, n_residual: int, sample: int, extra: FloatArray, rng: np.random.Generator) -> None:
    """Add `h` (P,) times the part of the batch's input number `sample` outside the space to `extra` (P, b).

    The parts of the batch are given by a Wishart matrix; drawn is one row of its triangular factor (Bartlett).
    """
    for j in range(min(sample + 1, n_residual)):
        if j == sample:
            component = np.sqrt(rng.chisquare(float(n_residual - j)))
        else:
            component = rng.standard_normal()
        for a in range(len(h)):
            extra[a, j] += h[a] * component


@njit(cache=True, nogil=True)
def run_steps(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    F_teacher: FloatArray,
    F_along: FloatArray,
    F_rest: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    slow_velocity: FloatArray,
    v_teacher: FloatArray,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    keep: float,
    scale: float,
    n_inputs: int,
    first_step: int,
    n_steps: int,
    rng: np.random.Generator,
) -> int:
    """Take `n_steps` steps of the chain in place; return the number of steps taken.

    Shapes as in `VelocityOverlapsReplica`; `keep` and `scale` as in `Momentum`, the rest as in
    `teacher_student.sgd.overlaps.run_steps`. Gradients are those at the state before the step.
    """
    P, M = len(sigma), len(v_teacher)
    n_residual = n_inputs - M - 2 * P
    z = np.empty(M + 2 * P)
    u = np.empty(P)
    rho = np.empty(M)
    work = np.empty((2, len(v)))
    d = np.empty(P)
    slow = np.zeros_like(slow_velocity)
    extra = np.zeros((2 * P, batch_size))
    along = np.zeros((P, M))
    rest = np.zeros((P, 2 * P))
    rates = np.empty(4)
    for step in range(n_steps):
        rates_at(schedules, (first_step + step) / n_inputs, rates)
        rate = rates[0] / (float(n_inputs) * batch_size)
        decay = rates[0] * weight_decay / n_inputs
        for sample in range(batch_size):
            draw_fields(F_teacher, F_along, F_rest, z, rho, u, rng)
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(g, g_prime, g_teacher, u, rho, label_noise, sigma, xi_out, v, v_teacher, work, d, slow)
            if not np.isfinite(delta):
                return step
            for a in range(P):
                h = -rate * delta * d[a]
                d[a] = h
                for m in range(M):
                    along[a, m] += h * z[m]
                for b in range(2 * P):
                    rest[a, b] += h * z[M + b]
            draw_outside(d, n_residual, sample, extra[P:], rng)
        for a in range(P):
            for m in range(M):
                F_along[P + a, m] = keep * F_along[P + a, m] - decay * F_along[a, m] + along[a, m]
                F_along[a, m] += scale * F_along[P + a, m]
                along[a, m] = 0.0
            for b in range(2 * P):
                F_rest[P + a, b] = keep * F_rest[P + a, b] - decay * F_rest[a, b] + rest[a, b]
                F_rest[a, b] += scale * F_rest[P + a, b]
                rest[a, b] = 0.0
            for j in range(batch_size):
                extra[a, j] = scale * extra[P + a, j]
        rotate_into_triangle(F_rest, extra)
        step_slow_velocities(slow, sigma, xi_out, v, slow_velocity, rates, weight_decay, batch_size, n_inputs, keep, scale)
    return n_steps
