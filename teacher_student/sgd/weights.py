"""SGD on N-dimensional weights in compiled code: fresh Gaussian inputs, a block of them in one pass over the weights.

The block in use, its projections and how far it has been used are part of a replica. Calls may end within a block, at any step:
the weights are then those after that step, and the numbers of a run do not depend on where its calls end, bit for bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.activations import Activation
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.bundles import Rule, Units, eta_at
from teacher_student.kernels import njit
from teacher_student.layout import Factors, Sizes, factors_of, join, slow_of, unpack
from teacher_student.networks import Weights, draw_rows, gram_of
from teacher_student.order_parameters import OrderParameters
from teacher_student.rates import is_constant
from teacher_student.sgd.blocks import (
    BLOCK,
    TILE,
    Pending,
    draw_block,
    foresee,
    move_rows,
    rescale_step,
    squared_lengths,
)
from teacher_student.sgd.gradient import Work, add_gradient, rates_of_entries, step_slow_factors, work_space
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.sgd.normals import normal_stream
from teacher_student.tuple_types import remember_type
from teacher_student.velocities import Velocities, joint_gram


class Arrays(NamedTuple):
    """What a run in progress has in arrays: its weights, its stream of inputs, and the block of inputs that it is at.

    Attributes
    ----------
    rows : array, (memory rows P, N)
        The input modes, and below them, if they have any, their velocities.
    slow : array, (memory rows, n_slow)
        The slow factors as `teacher_student.layout` has them, and if they have any their velocities.
    W_teacher, v_teacher : arrays, (M, N) and (M,)
    lengths : array, (P,)
        Lengths of the modes at the start, in units of sqrt(N).
    stream : array
        Stream of the inputs (`teacher_student.sgd.normals`).
    inputs : array, (tile, BLOCK, TILE)
        The block: input s has the component i TILE + j at [i, s, j].
    products : array, (memory rows P + M + BLOCK, BLOCK)
        Scalar products / sqrt(N) of `rows`, the teacher's rows and the inputs with the inputs of the block.
    used : array, (1,)
        How many inputs of the block steps were taken with; at 0 the next step draws one.
    sizes : Sizes
    """

    rows: Any
    slow: Any
    W_teacher: Any
    v_teacher: Any
    lengths: Any
    stream: Any
    inputs: Any
    products: Any
    used: Any
    sizes: Sizes


remember_type(Arrays)


class WeightsReplica(NamedTuple):
    """One run in progress, updated in place: its arrays, and the stream of its label noise."""

    arrays: Arrays
    rng: np.random.Generator

    @property
    def weights(self) -> Weights:
        """Views of the student and teacher of the present."""
        arrays = self.arrays
        factors = factors_of(arrays.slow[0], arrays.sizes)
        xi_in = arrays.rows[: arrays.sizes.P]
        return Weights(xi_in, factors.sigma, factors.xi_out, factors.v, arrays.W_teacher, arrays.v_teacher)


def start(initial: OrderParameters, velocity: Velocities | None, n_inputs: int, rng: np.random.Generator) -> WeightsReplica:
    """Return a run that starts from weights with exactly the overlaps of `initial`, and of `velocity` if there is memory."""
    M, P = initial.n_teacher, initial.n_modes
    rows = draw_rows(gram_of(initial) if velocity is None else joint_gram(initial, velocity), n_inputs, rng)
    w = Weights(rows[M : M + P], initial.sigma, initial.xi_out, initial.v, rows[:M], initial.v_teacher)
    return replica_of(w, rng, None if velocity is None else (rows[M + P :], slow_of(velocity, "_velocity")))


def replica_of(
    weights: Weights, rng: np.random.Generator, velocity: tuple[FloatArray, FloatArray] | None = None
) -> WeightsReplica:
    """Return a run that starts from `weights`, which are copied; its inputs come from a child of the seed of `rng`.

    `velocity` are those of xi_in, (P, N), and of the slow factors, (n_slow,).
    """
    (P, N), M, K = weights.xi_in.shape, len(weights.W_teacher), len(weights.v)
    rows, slow = [weights.xi_in], [slow_of(weights)]
    if velocity is not None:
        rows, slow = [*rows, velocity[0]], [*slow, velocity[1]]
    arrays = Arrays(
        rows=_aligned(np.concatenate(rows)),
        slow=np.array(slow),
        W_teacher=_aligned(weights.W_teacher),
        v_teacher=weights.v_teacher.copy(),
        lengths=np.sqrt((weights.xi_in**2).sum(axis=1) / N),
        stream=normal_stream(rng.bit_generator.seed_seq.spawn(1)[0]),  # type: ignore[attr-defined]  # numpy's stubs lack it
        inputs=_aligned(np.zeros((-(-N // TILE), BLOCK, TILE))),
        products=np.zeros((len(rows) * P + M + BLOCK, BLOCK)),
        used=np.zeros(1, dtype=np.int64),
        sizes=Sizes(K, P, M, len(rows)),
    )
    return WeightsReplica(arrays, rng)


def _aligned(array: FloatArray) -> FloatArray:
    """Return a contiguous copy that begins at a cache line: vector loads across two of them take longer."""
    buffer = np.empty(array.size + 7)
    begin = -buffer.ctypes.data % 64 // 8
    copy = buffer[begin : begin + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def advance(
    run: WeightsReplica,
    student: Activation,
    teacher: Activation,
    rule: Rule,
    heavy_ball: HeavyBall | None,
    n_inputs: int,
    first_step: int,
    n_steps: int,
) -> IntArray:
    """Take `n_steps` SGD steps in place, the first of them the run's step `first_step`, and return how many were taken, (1,).

    They are fewer than `n_steps` if the error left the finite numbers. `n_inputs` is that of `start`.
    """
    units = Units(student.g, student.g_prime, teacher.g)
    arrays, rng = run
    factors, work = factors_of(arrays.slow[0], arrays.sizes), work_space(arrays.sizes)
    return np.array([run_steps(arrays, rng, factors, units, rule, heavy_ball, work, first_step, n_steps)])


def measure(run: WeightsReplica) -> dict[str, FloatArray]:
    """Return the named parts of the present state, velocities among them if there are any, with a first axis of length 1."""
    arrays = run.arrays
    rows, N = arrays.rows, arrays.rows.shape[1]
    parts = (rows @ rows.T / N, rows @ arrays.W_teacher.T / N, arrays.slow)
    return unpack(join(*(part[None] for part in parts)), arrays.sizes)


@njit(cache=True, nogil=True, error_model="numpy")
def run_steps(
    run: Arrays,
    rng: np.random.Generator,
    factors: Factors,
    units: Units,
    rule: Rule,
    heavy_ball: HeavyBall | None,
    work: Work,
    first_step: int,
    n_steps: int,
) -> int:
    """Take `n_steps` SGD steps on the student's factors in place; return the number of steps taken.

    `factors` are views of `run.slow`. Rates are those of `rule` at alpha = step / N for the run's steps from `first_step` on. All
    right-hand sides use the values before the step. Stops before a step whose error is not finite. With `rule.spherical` the
    modes are rescaled to their lengths after each step. A block holds as many whole batches as fit; a batch of more inputs takes
    several blocks.
    """
    rows, slow, sigma, xi_out, v = run.rows, run.slow, factors.sigma, factors.xi_out, factors.v
    W_teacher, v_teacher, lengths, stream = run.W_teacher, run.v_teacher, run.lengths, run.stream
    inputs, products, used = run.inputs, run.products, run.used
    u, rho, d, gradient, rate_of_entry, which = work.u, work.rho, work.d, work.gradient.slow, work.rate, work.which
    schedules, noise, batch_size, spherical = rule.schedules, rule.noise, rule.batch_size, rule.spherical
    (n_rows, N), P, M = rows.shape, len(lengths), len(v_teacher)
    keep, h, decay, moved = np.ones((P, BLOCK)), np.zeros((P, BLOCK)), np.zeros(BLOCK), np.zeros(BLOCK)
    pending = Pending(keep, h, decay, moved)
    rate = shrink = kept = 0.0
    shrinks = spherical or rule.weight_decay > 0.0
    squares = lengths**2
    constant = is_constant(schedules)
    several_blocks = batch_size > BLOCK
    usable = BLOCK if several_blocks else BLOCK - BLOCK % batch_size
    # Every sample of a batch sees the weights before the step: a sum over several blocks is gathered beside them.
    gathered = rows.copy() if several_blocks else rows
    eta = eta_at(schedules, first_step / N)
    moves = False
    if heavy_ball is not None:
        moves = heavy_ball.moves
    taken = 0
    while taken < n_steps:
        if taken == 0 or not constant:
            eta = eta_at(schedules, (first_step + taken) / N)
            rates_of_entries(eta, which, rate_of_entry)
            rate = eta.xi_in / (np.sqrt(N) * batch_size)
            shrink = eta.xi_in * rule.weight_decay / N
            if heavy_ball is None:
                kept = 1.0 - shrink
                moves |= eta.xi_in > 0.0
            else:
                kept = heavy_ball.keep
        begin = used[0]
        delta = 0.0
        for sample in range(batch_size):
            if used[0] == 0:
                draw_block(stream, rows, W_teacher, inputs, products)
                if spherical and not several_blocks:
                    squared_lengths(rows, squares)
            s = used[0]
            for a in range(P):
                u[a] = products[a, s]
            for m in range(M):
                rho[m] = products[n_rows + m, s]
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(units, sigma, xi_out, v, v_teacher, u, rho, label_noise, work)
            if not np.isfinite(delta):
                break
            for a in range(P):
                h[a, s] = -rate * delta * d[a]
            used[0] += 1
            if several_blocks and (used[0] == BLOCK or sample + 1 == batch_size):
                if sample < BLOCK:
                    keep[:, 0] = kept
                    decay[0] = shrink
                if heavy_ball is not None and sample + 1 == batch_size:
                    moved[s] = heavy_ball.scale
                if moves:
                    move_rows(gathered, inputs, shrinks, pending, heavy_ball)
                used[0] = 0
        if not np.isfinite(delta):
            h[:, begin:] = 0.0
            used[0] = begin
            break
        if several_blocks:
            if spherical and eta.xi_in > 0.0:
                squared_lengths(gathered, squares)
                for a in range(P):
                    scale = lengths[a] / np.sqrt(squares[a])
                    for i in range(N):  # not `gathered[a] *= scale`, for the same reason as below
                        gathered[a, i] *= scale
            for a in range(n_rows):
                for i in range(N):  # not `rows[:] = gathered`, which takes numba longer to compile
                    rows[a, i] = gathered[a, i]
        elif moves:
            keep[:, begin] = kept
            if heavy_ball is not None:
                decay[begin] = shrink
                moved[used[0] - 1] = heavy_ball.scale
            if spherical and eta.xi_in > 0.0:
                rescale_step(products, n_rows + M, begin, used[0], N, lengths, squares, keep, h)
            foresee(products, n_rows + M, begin, used[0], keep, h, shrink, heavy_ball)
        if used[0] == usable:
            if moves:
                move_rows(rows, inputs, shrinks, pending, heavy_ball)
            used[0] = 0
        step_slow_factors(slow, gradient, rate_of_entry, 1.0 / (float(batch_size) * N), rule.weight_decay / N, heavy_ball)
        taken += 1
    if moves and used[0] > 0:
        move_rows(rows, inputs, shrinks, pending, heavy_ball)
    return taken
