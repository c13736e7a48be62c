"""The exact Markov chain of the order parameters at finite N: SGD without the N-dimensional weights.

The input enters a step only through its components along teacher and modes and through its length. In coordinates along an
orthonormal basis of an (M + P)-dimensional space that contains teacher and modes, the components z are N(0, 1) and the
squared length of the rest is chi-square with N - M - P degrees of freedom. The state is the triangular factor of the Gram
matrix of (W*, xi_in) / sqrt(N) in such a basis,

    [[ F_teacher, 0      ],      T       = F_teacher F_teacher^T
     [ F_along,   F_rest ]],     R_modes = F_along F_teacher^T,   Q_modes = F_along F_along^T + F_rest F_rest^T,

so that no overlap is ever a difference of larger numbers, and a step costs O((P + M)^2), P^3 at worst, whatever N is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.networks import gram_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import is_constant, rates_at
from teacher_student.sgd.gradient import add_gradient, step_slow_factors

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OverlapsReplica:
    """One run in progress: the factor of its overlaps and the slow factors, updated in place, and its random stream.

    Shapes: `F_teacher` (M, M) and `F_rest` (P, P) lower triangular, `F_along` (P, M), `sigma` (P,), `xi_out` (K, P), `v` (K,);
    `lengths` (P,) are those of the modes at the start, in units of sqrt(N).
    """

    F_teacher: FloatArray
    F_along: FloatArray
    F_rest: FloatArray
    sigma: FloatArray
    xi_out: FloatArray
    v: FloatArray
    v_teacher: FloatArray
    lengths: FloatArray
    rng: np.random.Generator


def start(initial: OrderParameters, n_inputs: int, rng: np.random.Generator) -> OverlapsReplica:
    """Return a run that starts from the overlaps of `initial`; `n_inputs` enters only later, with the steps."""
    M = initial.n_teacher
    factor = gram_factor(initial)
    return OverlapsReplica(
        F_teacher=np.ascontiguousarray(factor[:M, :M]),
        F_along=np.ascontiguousarray(factor[M:, :M]),
        F_rest=np.ascontiguousarray(factor[M:, M:]),
        sigma=initial.sigma.copy(),
        xi_out=initial.xi_out.copy(),
        v=initial.v.copy(),
        v_teacher=initial.v_teacher.copy(),
        lengths=np.sqrt(initial.Q_modes.diagonal()),
        rng=rng,
    )


def advance(
    replica: OverlapsReplica,
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
        replica.v_teacher,
        schedules,
        noise,
        weight_decay,
        batch_size,
        replica.lengths if spherical else np.empty(0),
        n_inputs,
        first_step,
        n_steps,
        replica.rng,
    )


def measure(replica: OverlapsReplica) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of the present state."""
    return {
        "Q_modes": replica.F_along @ replica.F_along.T + replica.F_rest @ replica.F_rest.T,
        "R_modes": replica.F_along @ replica.F_teacher.T,
        "sigma": replica.sigma.copy(),
        "xi_out": replica.xi_out.copy(),
        "v": replica.v.copy(),
    }


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
    v_teacher: FloatArray,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    lengths: FloatArray,
    n_inputs: int,
    first_step: int,
    n_steps: int,
    rng: np.random.Generator,
) -> int:
    """Take `n_steps` steps of the chain in place; return the number of steps taken.

    Shapes as in `OverlapsReplica`; `schedules` are those of a `LearningRule`, taken at alpha = step / N for the run's steps from
    `first_step` on; modes are rescaled to `lengths` (P,) after each step, or not if it is empty. All right-hand sides use the
    values before the step. Stops before a step whose error is not finite.
    """
    P, M = F_along.shape
    K = len(v)
    n_residual = n_inputs - M - P
    z = np.empty(M + P)
    u = np.empty(P)
    rho = np.empty(M)
    work = np.empty((2, K))
    d = np.empty(P)
    slow = np.zeros(P + K * P + K)
    along = np.zeros((P, M))
    rest = np.zeros((P, P))
    extra = np.zeros((P, batch_size))
    rates = np.empty(4)
    constant = is_constant(schedules)
    rate, keep = 0.0, 1.0
    for step in range(n_steps):
        if step == 0 or not constant:
            rates_at(schedules, (first_step + step) / n_inputs, rates)
            rate = rates[0] / (float(n_inputs) * batch_size)
            keep = 1.0 - rates[0] * weight_decay / n_inputs
        for sample in range(batch_size):
            draw_fields(F_teacher, F_along, F_rest, z, rho, u, rng)
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(g, g_prime, g_teacher, u, rho, label_noise, sigma, xi_out, v, v_teacher, work, d, slow)
            if not np.isfinite(delta):
                return step
            if rates[0] == 0.0:
                continue
            for a in range(P):
                h = -rate * delta * d[a]
                d[a] = h
                for m in range(M):
                    along[a, m] += h * z[m]
                for b in range(P):
                    rest[a, b] += h * z[M + b]
            draw_outside(d, n_residual, sample, extra, rng)
        if rates[0] > 0.0:
            for a in range(P):
                for m in range(M):
                    F_along[a, m] = keep * F_along[a, m] + along[a, m]
                    along[a, m] = 0.0
                for b in range(P):
                    F_rest[a, b] = keep * F_rest[a, b] + rest[a, b]
                    rest[a, b] = 0.0
            rotate_into_triangle(F_rest, extra)
            for a in range(len(lengths)):
                square = 0.0
                for m in range(M):
                    square += F_along[a, m] ** 2
                for b in range(a + 1):
                    square += F_rest[a, b] ** 2
                scale = lengths[a] / np.sqrt(square)
                for m in range(M):
                    F_along[a, m] *= scale
                for b in range(a + 1):
                    F_rest[a, b] *= scale
        step_slow_factors(slow, sigma, xi_out, v, rates, weight_decay, batch_size, n_inputs)
    return n_steps
