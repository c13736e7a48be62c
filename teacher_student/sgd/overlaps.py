"""The exact Markov chain of the order parameters at finite N: SGD without the N-dimensional weights.

The input enters a step only through its components along teacher and modes and through its length. In coordinates along an
orthonormal basis of an (M + P)-dimensional space that contains teacher and modes, the components z are N(0, 1) and the
squared length of the rest is chi-square with N - M - P degrees of freedom. The state is the triangular factor of the Gram
matrix of (W*, xi_in) / sqrt(N) in such a basis, F_teacher (M, M) above F (P, M + P):

    T = F_teacher F_teacher^T,     R_modes = F[:, :M] F_teacher^T,     Q_modes = F F^T,

so that no overlap is ever a difference of larger numbers, and a step costs O((P + M)^2), P^3 at worst, whatever N is.

`LANES` replicas are computed at once, one in each lane of the processor's vectors. Where there are fewer, the other lanes repeat
the first. The arrays of a replica alone have no axis of lanes, and the same kernels are compiled for numbers: the processor does
no more than a replica needs. Its units take the lanes while activations are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray, IntArray, WordArray
from teacher_student.kernels import njit
from teacher_student.networks import gram_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import is_constant, rates_at
from teacher_student.sgd.draws import empty_draws, refill
from teacher_student.sgd.lane_activations import lane_form
from teacher_student.sgd.lane_fields import SLOPE, VALUE, write_activities, write_fields
from teacher_student.sgd.lanes import ALL_LANES, LANES, absolute, load, store, vectors, which_above
from teacher_student.sgd.normals import normal_stream
from teacher_student.sgd.triangle import fold, rescale


@dataclass(frozen=True, eq=False)
class OverlapsReplicas:
    """Up to `LANES` runs in progress, updated in place: the factor of their overlaps, slow factors, and random streams.

    Attributes
    ----------
    F_teacher, v_teacher, lengths : arrays, (M, M), (M,) and (P,)
        The teacher, and the modes' lengths at the start in units of sqrt(N).
    F, sigma, xi_out, v : arrays, (copies, P, columns), (copies, P), (copies, K, P) and (copies, K), and an axis of LANES
        The state is copy 0. Batches are summed in a copy 1. `F` has M + P columns, lower triangular after the first M, and
        columns of zeros for the directions that a batch adds.
    streams, spares : arrays, (replicas, 4, words) and (lanes, 4)
        State of the generators of every replica's inputs, and of those that replace rejected numbers.
    draws : array
        Random numbers of the next steps (`teacher_student.sgd.draws`).
    used : array, (1,)
        For how many steps `draws` have been used.
    """

    F_teacher: FloatArray
    v_teacher: FloatArray
    lengths: FloatArray
    F: FloatArray
    sigma: FloatArray
    xi_out: FloatArray
    v: FloatArray
    streams: WordArray
    spares: WordArray
    draws: FloatArray
    used: IntArray


def start(initial: OrderParameters, n_inputs: int, batch_size: int, rngs: list[np.random.Generator]) -> OverlapsReplicas:
    """Return runs that start from the overlaps of `initial`, one for each of at most `LANES` generators.

    Their random numbers come from children of the seeds of `rngs`.
    """
    M, P = initial.n_teacher, initial.n_modes
    factor = gram_factor(initial)
    draws = empty_draws(n_inputs, M + P, batch_size, len(rngs))
    copies = 1 if batch_size == 1 else 2
    # The first child is that of SGD on weights, which is to be independent of the chain with the same seed.
    seeds = [rng.bit_generator.seed_seq.spawn(3)[1:] for rng in rngs]  # type: ignore[attr-defined]  # numpy's stubs lack it
    spares = [spare.generate_state(4, np.uint64) for _, spare in seeds]
    rows = np.pad(factor[M:], ((0, 0), (0, draws.shape[2] - 2 - M - P)))
    F, sigma, xi_out, v = (np.stack([array] * copies) for array in (rows, initial.sigma, initial.xi_out, initial.v))
    if len(rngs) > 1:
        F, sigma, xi_out, v = (_in_lanes(array) for array in (F, sigma, xi_out, v))
        spares += [spares[0]] * (LANES - len(rngs))
    return OverlapsReplicas(
        F_teacher=np.ascontiguousarray(factor[:M, :M]),
        v_teacher=initial.v_teacher.copy(),
        lengths=np.sqrt(initial.Q_modes.diagonal()),
        F=F,
        sigma=sigma,
        xi_out=xi_out,
        v=v,
        streams=np.array([normal_stream(stream) for stream, _ in seeds]),
        spares=np.array(spares, dtype=np.uint64),
        draws=draws,
        used=np.array([len(draws)]),
    )


def _in_lanes(array: FloatArray) -> FloatArray:
    """Return a copy of `array` in every lane."""
    out = vectors(*array.shape)
    out[...] = array[..., None]
    return out


def advance(
    replicas: OverlapsReplicas,
    student: Activation,
    teacher: Activation,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    spherical: bool,
    n_inputs: int,
    first_step: int,
    n_steps: int,
) -> IntArray:
    """Take `n_steps` steps in place, the first of them the runs' step `first_step`; return how many each replica took.

    `batch_size` is that of `start`. The counts are fewer than `n_steps` where the error left the finite numbers; the state of
    such a replica means nothing any more.
    """
    assert batch_size == replicas.draws.shape[1]
    (_, K, P), M = replicas.xi_out.shape[:3], len(replicas.v_teacher)
    alone = len(replicas.streams) == 1
    taken = np.full(LANES, n_steps)
    in_lanes = vectors(3, -(-(K + M) // LANES) if alone else K + M)
    run_steps(
        lane_form(student),
        student.g,
        student.g_prime,
        lane_form(teacher),
        teacher.g,
        replicas.F_teacher,
        replicas.v_teacher,
        replicas.lengths if spherical else np.empty(0),
        replicas.F,
        replicas.sigma,
        replicas.xi_out,
        replicas.v,
        in_lanes.reshape(3, -1) if alone else in_lanes,
        in_lanes,
        np.empty((2, P)) if alone else vectors(2, P),
        replicas.streams,
        replicas.spares,
        replicas.draws,
        np.empty(math.prod(replicas.draws.shape[:3])),
        replicas.used,
        schedules,
        noise,
        weight_decay,
        n_inputs,
        first_step,
        taken,
    )
    return taken[: len(replicas.streams)]


def measure(replicas: OverlapsReplicas) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of the present state with the lane as first axis, of one alone repeated."""
    M = len(replicas.v_teacher)
    state = (array[0] for array in (replicas.F, replicas.sigma, replicas.xi_out, replicas.v))
    alone = len(replicas.streams) == 1
    F, sigma, xi_out, v = (np.stack([array] * LANES) if alone else np.moveaxis(array, -1, 0) for array in state)
    return {
        "Q_modes": F @ np.swapaxes(F, 1, 2),
        "R_modes": F[:, :, :M] @ replicas.F_teacher.T,
        "sigma": sigma.copy(),
        "xi_out": xi_out.copy(),
        "v": v.copy(),
    }


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def run_steps(
    student: FloatArray,
    g: Any,
    g_prime: Any,
    teacher: FloatArray,
    g_teacher: Any,
    F_teacher: FloatArray,
    v_teacher: FloatArray,
    lengths: FloatArray,
    F: FloatArray,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    units: FloatArray,
    in_lanes: FloatArray,
    modes: FloatArray,
    streams: WordArray,
    spares: WordArray,
    draws: FloatArray,
    numbers: FloatArray,
    used: IntArray,
    schedules: FloatArray,
    noise: float,
    weight_decay: float,
    n_inputs: int,
    first_step: int,
    taken: IntArray,
) -> None:
    """Take taken[0] steps of the chain in place; write into `taken`, (LANES,), how many came before an error that is not finite.

    Shapes as in `OverlapsReplicas`; `student` and `teacher` are the `lane_form` of their activations. Work space are `numbers`,
    `modes` (2, P), `units` and `in_lanes` as in `write_activities`, the former without an axis of lanes for a replica alone.
    `schedules` are those of a `LearningRule`, taken at alpha = step / N for the runs' steps from `first_step` on; modes are
    rescaled to `lengths` (P,) after each step, or not if it is empty. All right-hand sides use the values before the step.
    """
    P, columns, K, M = F.shape[1], F.shape[2], v.shape[1], len(v_teacher)
    n_ahead, batch_size, width = draws.shape[:3]
    new = 0 if batch_size == 1 else 1
    rates = np.empty(4)
    constant = is_constant(schedules)
    eta_xi_in = eta_sigma = eta_xi_out = eta_v = 0.0
    alive = ALL_LANES
    now = used[0]
    for step in range(taken[0]):
        if step == 0 or not constant:
            rates_at(schedules, (first_step + step) / n_inputs, rates)
            eta_xi_in, eta_sigma, eta_xi_out, eta_v = rates[0], rates[1], rates[2], rates[3]
        if now == n_ahead:
            refill(draws, streams, spares, numbers, n_inputs, M + P)
            now = 0
        # The first sample of a batch adds to the state, shrunk, the others to what the first has made of it.
        base, shrink = 0, weight_decay / n_inputs
        for sample in range(batch_size):
            write_fields(F_teacher, F, sigma, xi_out, draws, now, sample, units, modes)
            write_activities(student, g, g_prime, teacher, g_teacher, K, M, units, in_lanes)
            delta = -noise * load(draws, (now, sample, width - 1))
            for m in range(M):
                delta -= v_teacher[m] * load(units, (VALUE, K + m))
            for k in range(K):
                weight = load(v, (0, k))
                delta += weight * load(units, (VALUE, k))
                store(units, (SLOPE, k), weight * load(units, (SLOPE, k)))
            finite = which_above(np.inf, absolute(delta))
            if finite & alive != alive:
                for lane in range(LANES):
                    if (alive & ~finite) >> lane & 1:
                        taken[lane] = step
                alive &= finite
            rate = -1.0 / (float(n_inputs) * batch_size) * delta
            for a in range(P):
                strength, rate_u = load(sigma, (0, a)), rate * load(modes, (0, a))
                keep, h = 1.0 - eta_xi_out * shrink, eta_xi_out * rate_u * strength
                back = 0.0 * strength
                for k in range(K):
                    slope = load(units, (SLOPE, k))
                    back += slope * load(xi_out, (0, k, a))
                    if eta_xi_out > 0.0:
                        store(xi_out, (new, k, a), keep * load(xi_out, (base, k, a)) + h * slope)
                if eta_xi_in > 0.0:
                    keep, h = 1.0 - eta_xi_in * shrink, eta_xi_in * rate * back * strength
                    for j in range(min(M + P + sample + 1, columns)):
                        store(F, (new, a, j), keep * load(F, (base, a, j)) + h * load(draws, (now, sample, j)))
                if eta_sigma > 0.0:
                    keep = 1.0 - eta_sigma * shrink
                    store(sigma, (new, a), keep * load(sigma, (base, a)) + eta_sigma * rate_u * back)
            if eta_v > 0.0:
                keep, h = 1.0 - eta_v * shrink, eta_v * rate
                for k in range(K):
                    store(v, (new, k), keep * load(v, (base, k)) + h * load(units, (VALUE, k)))
            base, shrink = new, 0.0
        if eta_xi_in > 0.0:
            fold(F, new, M)
            rescale(F, new, M, lengths)
        if new == 1:
            adopt(F, sigma, xi_out, v, rates)
        now += 1
        if alive == 0:
            break
    used[0] = now


@njit(cache=True, nogil=True, inline="always")
def adopt(F: FloatArray, sigma: FloatArray, xi_out: FloatArray, v: FloatArray, rates: FloatArray) -> None:
    """Make copy 1 of what moves the state, copy 0."""
    _, K, P = xi_out.shape[:3]
    for a in range(P):
        if rates[0] > 0.0:
            for j in range(F.shape[2]):
                store(F, (0, a, j), load(F, (1, a, j)))
        if rates[1] > 0.0:
            store(sigma, (0, a), load(sigma, (1, a)))
        if rates[2] > 0.0:
            for k in range(K):
                store(xi_out, (0, k, a), load(xi_out, (1, k, a)))
    if rates[3] > 0.0:
        for k in range(K):
            store(v, (0, k), load(v, (1, k)))
