"""The exact Markov chain of the order parameters at finite N: SGD without the N-dimensional weights.

The input enters a step only through its components along teacher and modes and through its length. In coordinates along an
orthonormal basis of an (M + P)-dimensional space that contains teacher and modes, the components z are N(0, 1) and the
squared length of the rest is chi-square with N - M - P degrees of freedom. The state is the triangular factor of the Gram
matrix of (W*, xi_in) / sqrt(N) in such a basis, F_teacher (M, M) above F (P, M + P):

    T = F_teacher F_teacher^T,     R_modes = F[:, :M] F_teacher^T,     Q_modes = F F^T,

so that no overlap is ever a difference of larger numbers, and a step costs O((P + M)^2), P^3 at worst, whatever N is
(docs/theory.rst: `factor`, `chain-step`). Velocities of the modes are P further rows of F below them, in a
basis of M + 2 P vectors (`factor-velocities`); the fields of a step are those of the modes alone.

`LANES` replicas are computed at once, one in each lane of the processor's vectors. Where there are fewer, the other lanes repeat
the first. The arrays of a replica alone have no axis of lanes, and the same kernels are compiled for numbers: the processor does
no more than a replica needs. Its units take the lanes while activations are computed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import Rule, Units, eta_at
from teacher_student.kernels import njit
from teacher_student.layout import Factors, Sizes, factors_of, join, slow_of, unpack
from teacher_student.networks import gram_of, triangular_factor
from teacher_student.order_parameters import OrderParameters
from teacher_student.rates import is_constant
from teacher_student.sgd.draws import empty_draws, refill
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.sgd.lane_activations import lane_form
from teacher_student.sgd.lane_fields import SLOPE, VALUE, write_activities, write_fields
from teacher_student.sgd.lanes import ALL_LANES, LANES, absolute, load, store, vectors, which_above
from teacher_student.sgd.normals import normal_stream
from teacher_student.sgd.repeats import compare_repeats, copy_repeats, repeats_of
from teacher_student.sgd.triangle import fold, rescale
from teacher_student.tuple_types import remember_type
from teacher_student.velocities import Velocities, joint_gram

# Which copy holds the velocities of the slow factors.
_VELOCITY = 2


class ChainReplicas(NamedTuple):
    """Up to `LANES` runs in progress, updated in place: the factor of their overlaps, slow factors, and random streams.

    Attributes
    ----------
    F_teacher, v_teacher, lengths : arrays, (M, M), (M,) and (P,)
        The teacher, and the modes' lengths at the start in units of sqrt(N).
    F, slow : arrays, (copies, memory rows P, columns) and (n_slow, copies), and an axis of LANES
        The state is copy 0. Batches are summed in a copy 1; where modes have velocities it is what the step adds, and copy 2 of
        the slow factors are their velocities. `F` has M + memory rows P columns, lower triangular after the first M, and columns
        of zeros for the directions that a batch adds.
    repeats : array, (memory rows P,)
        The first row of `F` that each row was the same as at the start, or opposite to (`teacher_student.sgd.repeats`).
    streams, spares : arrays, (replicas, 4, words) and (lanes, 4)
        State of the generators of every replica's inputs, and of those that replace rejected numbers.
    draws : array
        Random numbers of the next steps (`teacher_student.sgd.draws`).
    used : array, (1,)
        For how many steps `draws` have been used.
    sizes : Sizes
    """

    F_teacher: Any
    v_teacher: Any
    lengths: Any
    F: Any
    slow: Any
    repeats: Any
    streams: Any
    spares: Any
    draws: Any
    used: Any
    sizes: Sizes


class Work(NamedTuple):
    """What a step works with: arrays of `write_fields`, `write_activities` and `refill`, and the `lane_form` of activations."""

    units: Any
    in_lanes: Any
    modes: Any
    numbers: Any
    student: Any
    teacher: Any


remember_type(ChainReplicas, lambda run: run.F.ndim)
remember_type(Work, lambda work: work.units.ndim)


def start(
    initial: OrderParameters, velocity: Velocities | None, n_inputs: int, batch_size: int, rngs: list[np.random.Generator]
) -> ChainReplicas:
    """Return runs that start from the overlaps of `initial`, and of `velocity` if modes have one, for at most `LANES` generators.

    Their random numbers come from children of the seeds of `rngs`.
    """
    sizes = Sizes(initial.n_units, initial.n_modes, initial.n_teacher, 1 if velocity is None else 2)
    M, alone = sizes.M, len(rngs) == 1
    factor = triangular_factor(gram_of(initial) if velocity is None else joint_gram(initial, velocity))
    draws = empty_draws(n_inputs, len(factor), batch_size, len(rngs))
    # The first child is that of SGD on weights, which is to be independent of the chain with the same seed.
    seeds = [rng.bit_generator.seed_seq.spawn(3)[1:] for rng in rngs]  # type: ignore[attr-defined]  # numpy's stubs lack it
    spares = [spare.generate_state(4, np.uint64) for _, spare in seeds]
    repeats = repeats_of(factor[M:])
    F, slow = np.pad(factor[M:], ((0, 0), (0, draws.shape[2] - 2 - len(factor)))), slow_of(initial)
    if velocity is not None:
        F, slow = np.stack([F, 0.0 * F]), np.stack([slow, 0.0 * slow, slow_of(velocity, "_velocity")], axis=1)
    else:
        copies = 1 if batch_size == 1 else 2
        F, slow = np.stack([F] * copies), np.stack([slow] * copies, axis=1)
    if not alone:
        F, slow = _in_lanes(F), _in_lanes(slow)
        spares += [spares[0]] * (LANES - len(rngs))
    return ChainReplicas(
        F_teacher=np.ascontiguousarray(factor[:M, :M]),
        v_teacher=initial.v_teacher.copy(),
        lengths=np.sqrt(initial.Q_modes.diagonal()),
        F=F,
        slow=slow,
        repeats=repeats,
        streams=np.array([normal_stream(stream) for stream, _ in seeds]),
        spares=np.array(spares, dtype=np.uint64),
        draws=draws,
        used=np.array([len(draws)]),
        sizes=sizes,
    )


def _in_lanes(array: FloatArray) -> FloatArray:
    """Return a copy of `array` in every lane."""
    out = vectors(*array.shape)
    out[...] = array[..., None]
    return out


def advance(
    run: ChainReplicas,
    student: Activation,
    teacher: Activation,
    rule: Rule,
    heavy_ball: HeavyBall | None,
    n_inputs: int,
    first_step: int,
    n_steps: int,
) -> IntArray:
    """Take `n_steps` steps in place, the first of them the runs' step `first_step`; return how many each replica took.

    N and the batch size are those of `start`. The counts are fewer than `n_steps` where the error left the finite numbers; the
    state of such a replica means nothing any more.
    """
    assert rule.batch_size == run.draws.shape[1]
    K, P, M = run.sizes[:3]
    alone, taken = len(run.streams) == 1, np.full(LANES, n_steps)
    in_lanes = vectors(3, -(-(K + M) // LANES) if alone else K + M)
    work = Work(
        units=in_lanes.reshape(3, -1) if alone else in_lanes,
        in_lanes=in_lanes,
        modes=np.empty((2, P)) if alone else vectors(2, P),
        numbers=np.empty(math.prod(run.draws.shape[:3])),
        student=lane_form(student),
        teacher=lane_form(teacher),
    )
    units = Units(student.g, student.g_prime, teacher.g)
    run_steps(run, factors_of(run.slow, run.sizes), units, rule, heavy_ball, work, n_inputs, first_step, taken)
    return taken[: len(run.streams)]


def measure(run: ChainReplicas) -> dict[str, FloatArray]:
    """Return the named parts of the present state with the lane as first axis, of a replica alone repeated.

    Velocities are among them if there are any.
    """
    F, slow = run.F[0], run.slow[:, [0, _VELOCITY] if run.sizes.rows > 1 else [0]]
    alone = len(run.streams) == 1
    F, slow = (np.stack([array] * LANES) if alone else np.moveaxis(array, -1, 0) for array in (F, slow))
    with_teacher = F[:, :, : run.sizes.M] @ run.F_teacher.T
    return unpack(join(F @ np.swapaxes(F, 1, 2), with_teacher, np.swapaxes(slow, 1, 2)), run.sizes)


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def run_steps(
    run: ChainReplicas,
    factors: Factors,
    functions: Units,
    rule: Rule,
    heavy_ball: HeavyBall | None,
    work: Work,
    n_inputs: int,
    first_step: int,
    taken: IntArray,
) -> None:
    """Take taken[0] steps of the chain in place; write into `taken`, (LANES,), how many came before an error that is not finite.

    `factors` are views of `run.slow`. Rates are those of `rule` at alpha = step / N for the steps from `first_step` on. With
    `rule.spherical` modes are rescaled to their lengths after each step. All right-hand sides use the values before the step.
    """
    F_teacher, v_teacher, F, draws, used = run.F_teacher, run.v_teacher, run.F, run.draws, run.used
    slow, sigma, xi_out, v = factors.slow, factors.sigma, factors.xi_out, factors.v
    units, in_lanes, modes, student, teacher = work.units, work.in_lanes, work.modes, work.student, work.teacher
    streams, spares, numbers, lengths, schedules = run.streams, run.spares, work.numbers, run.lengths, rule.schedules
    noise, decay, spherical = rule.noise, rule.weight_decay, rule.spherical
    P, K, M, columns = len(sigma), len(v), len(v_teacher), F.shape[2]
    rank = M + F.shape[1]
    n_ahead, batch_size, width = draws.shape[:3]
    new = 0 if batch_size == 1 and heavy_ball is None else 1
    eta = eta_at(schedules, first_step / n_inputs)
    constant = is_constant(schedules)
    repeats, signs = run.repeats, np.empty(len(run.repeats))
    some_repeat = (repeats < np.arange(len(repeats))).any()
    alive = ALL_LANES
    now = used[0]
    for step in range(taken[0]):
        if not constant:
            eta = eta_at(schedules, (first_step + step) / n_inputs)
        eta_xi_in, eta_sigma, eta_xi_out, eta_v = eta
        moves = eta_xi_in > 0.0
        # The first sample of a batch adds to the state, shrunk, or to nothing by heavy ball, the others to what it has made.
        base, kept, shrink = 0, 1.0, decay / n_inputs
        if heavy_ball is not None:
            moves, kept = heavy_ball.moves, 0.0
        if now == n_ahead:
            refill(draws, streams, spares, numbers, n_inputs, rank)
            now = 0
        for sample in range(batch_size):
            write_fields(F_teacher, F, sigma, xi_out, draws, now, sample, units, modes)
            write_activities(functions, student, teacher, K, M, units, in_lanes)
            delta = -noise * load(draws, (now, sample, width - 1))
            for m in range(M):
                delta -= v_teacher[m] * load(units, (VALUE, K + m))
            for k in range(K):
                weight = load(v, (k, 0))
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
                strength, rate_u = load(sigma, (a, 0)), rate * load(modes, (0, a))
                keep, h = kept - eta_xi_out * shrink, eta_xi_out * rate_u * strength
                back = 0.0 * strength
                for k in range(K):
                    slope = load(units, (SLOPE, k))
                    back += slope * load(xi_out, (k, a, 0))
                    if eta_xi_out > 0.0:
                        store(xi_out, (k, a, new), keep * load(xi_out, (k, a, base)) + h * slope)
                if eta_xi_in > 0.0:
                    keep, h = kept - eta_xi_in * shrink, eta_xi_in * rate * back * strength
                    for j in range(min(rank + sample + 1, columns)):
                        store(F, (new, a, j), keep * load(F, (base, a, j)) + h * load(draws, (now, sample, j)))
                if eta_sigma > 0.0:
                    keep = kept - eta_sigma * shrink
                    store(sigma, (a, new), keep * load(sigma, (a, base)) + eta_sigma * rate_u * back)
            if eta_v > 0.0:
                keep, h = kept - eta_v * shrink, eta_v * rate
                for k in range(K):
                    store(v, (k, new), keep * load(v, (k, base)) + h * load(units, (VALUE, k)))
            base, kept, shrink = new, 1.0, 0.0
        if new == 1:
            adopt(F, slow, P, rank, moves, heavy_ball)
        if moves:
            repeating = some_repeat and compare_repeats(F, repeats, signs)
            fold(F, M)
            if spherical:
                rescale(F, M, lengths)
            if repeating:
                copy_repeats(F, repeats, signs)
        now += 1
        if alive == 0:
            break
    used[0] = now


@njit(cache=True, nogil=True, inline="always")
def adopt(F: FloatArray, slow: FloatArray, P: int, rank: int, moves: bool, heavy_ball: HeavyBall | None) -> None:
    """Make copy 1 the state, copy 0; where there are velocities it is what they take up, then they move the state.

    Leaves copy 1 as the next step needs it: of the columns from `rank` on, and where there are velocities of all, zero.
    """
    for i in range(len(slow)):
        if heavy_ball is None:
            store(slow, (i, 0), load(slow, (i, 1)))
        else:
            velocity = heavy_ball.keep * load(slow, (i, _VELOCITY)) + load(slow, (i, 1))
            store(slow, (i, _VELOCITY), velocity)
            store(slow, (i, 0), load(slow, (i, 0)) + heavy_ball.scale * velocity)
            store(slow, (i, 1), 0.0)
    if moves:
        for a in range(P):
            for j in range(F.shape[2]):
                if heavy_ball is None:
                    store(F, (0, a, j), load(F, (1, a, j)))
                    if j >= rank:
                        store(F, (1, a, j), 0.0)
                else:
                    velocity = heavy_ball.keep * load(F, (0, P + a, j)) + load(F, (1, a, j))
                    store(F, (0, P + a, j), velocity)
                    store(F, (0, a, j), load(F, (0, a, j)) + heavy_ball.scale * velocity)
                    store(F, (1, a, j), 0.0)
