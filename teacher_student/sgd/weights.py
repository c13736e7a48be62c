"""SGD on N-dimensional weights in compiled code: fresh Gaussian inputs, a block of them in one pass over the weights.

The block in use, its projections and how far it has been used are part of a replica. Calls may end within a block, at any step:
the weights are then those after that step, and the numbers of a run do not depend on where its calls end, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray, IntArray, WordArray
from teacher_student.kernels import njit
from teacher_student.networks import Weights, draw_weights
from teacher_student.order_parameters import OrderParameters
from teacher_student.schedules import is_constant, rates_at
from teacher_student.sgd.blocks import BLOCK, TILE, draw_block, foresee, keep_lengths, move_rows, squared_lengths
from teacher_student.sgd.gradient import add_gradient, step_slow_factors
from teacher_student.sgd.normals import normal_stream


@dataclass(frozen=True, eq=False)
class WeightsReplica:
    """One run in progress, updated in place: its weights, its random streams, and the block of inputs that it is at.

    Attributes
    ----------
    weights : Weights
    lengths : array, (P,)
        Lengths of the modes at the start, in units of sqrt(N).
    rng : numpy.random.Generator
        Stream of the label noise.
    stream : array
        Stream of the inputs (`teacher_student.sgd.normals`).
    inputs : array, (tile, BLOCK, TILE)
        The block: input s has the component i TILE + j at [i, s, j].
    products : array, (P + M + BLOCK, BLOCK)
        Scalar products / sqrt(N) of the modes, the teacher's rows and the inputs with the inputs of the block.
    used : array, (1,)
        How many inputs of the block steps were taken with; at 0 the next step draws one.
    """

    weights: Weights
    lengths: FloatArray
    rng: np.random.Generator
    stream: WordArray
    inputs: FloatArray
    products: FloatArray
    used: IntArray


def start(initial: OrderParameters, n_inputs: int, rng: np.random.Generator) -> WeightsReplica:
    """Return a run that starts from weights with exactly the overlaps of `initial`."""
    return replica_of(draw_weights(initial, n_inputs, rng), rng)


def replica_of(weights: Weights, rng: np.random.Generator) -> WeightsReplica:
    """Return a run that starts from `weights`, which are copied; its inputs come from a child of the seed of `rng`."""
    P, N = weights.xi_in.shape
    M = len(weights.W_teacher)
    copied = Weights(
        xi_in=_aligned(weights.xi_in),
        sigma=weights.sigma.copy(),
        xi_out=weights.xi_out.copy(),
        v=weights.v.copy(),
        W_teacher=_aligned(weights.W_teacher),
        v_teacher=weights.v_teacher.copy(),
    )
    return WeightsReplica(
        weights=copied,
        lengths=np.sqrt((weights.xi_in**2).sum(axis=1) / N),
        rng=rng,
        stream=normal_stream(rng.bit_generator.seed_seq.spawn(1)[0]),  # type: ignore[attr-defined]  # numpy's stubs lack it
        inputs=_aligned(np.zeros((-(-N // TILE), BLOCK, TILE))),
        products=np.zeros((P + M + BLOCK, BLOCK)),
        used=np.zeros(1, dtype=np.int64),
    )


def _aligned(array: FloatArray) -> FloatArray:
    """Return a contiguous copy that begins at a cache line: vector loads across two of them take longer."""
    buffer = np.empty(array.size + 7)
    begin = -buffer.ctypes.data % 64 // 8
    copy = buffer[begin : begin + array.size].reshape(array.shape)
    copy[...] = array
    return copy


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
        replica.stream,
        replica.inputs,
        replica.products,
        replica.used,
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


@njit(cache=True, nogil=True, error_model="numpy")
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
    stream: WordArray,
    inputs: FloatArray,
    products: FloatArray,
    used: IntArray,
) -> int:
    """Take `n_steps` SGD steps on the student's factors in place; return the number of steps taken.

    Shapes as in `Weights` and `WeightsReplica`; `schedules` are those of a `LearningRule`, taken at alpha = step / N for the
    run's steps from `first_step` on. All right-hand sides use the values before the step. Stops before a step whose error is not
    finite. The modes are rescaled to `lengths` (P,) after each step, or not if it is empty. A block holds as many whole batches
    as fit; a batch of more inputs takes several blocks.
    """
    P, N = xi_in.shape
    M, K = len(v_teacher), len(v)
    u = np.empty(P)
    rho = np.empty(M)
    work = np.empty((2, K))
    d = np.empty(P)
    slow = np.zeros(P + K * P + K)
    keep = np.ones((P, BLOCK))
    h = np.zeros((P, BLOCK))
    rates = np.empty(4)
    rate, shrink = 0.0, 1.0
    spherical = len(lengths) > 0
    shrinks = spherical or weight_decay > 0.0
    squares = lengths**2
    constant = is_constant(schedules)
    several_blocks = batch_size > BLOCK
    usable = BLOCK if several_blocks else BLOCK - BLOCK % batch_size
    # Every sample of a batch sees the weights before the step: a sum over several blocks is gathered beside them.
    gathered = xi_in.copy() if several_blocks else xi_in
    moves = False
    taken = 0
    while taken < n_steps:
        if taken == 0 or not constant:
            rates_at(schedules, (first_step + taken) / N, rates)
            rate = rates[0] / (np.sqrt(N) * batch_size)
            shrink = 1.0 - rates[0] * weight_decay / N
            moves |= rates[0] > 0.0
        begin = used[0]
        delta = 0.0
        for sample in range(batch_size):
            if used[0] == 0:
                draw_block(stream, xi_in, W_teacher, inputs, products)
                if spherical and not several_blocks:
                    squared_lengths(xi_in, squares)
            s = used[0]
            for a in range(P):
                u[a] = products[a, s]
            for m in range(M):
                rho[m] = products[P + m, s]
            label_noise = noise * rng.standard_normal() if noise > 0.0 else 0.0
            delta = add_gradient(g, g_prime, g_teacher, u, rho, label_noise, sigma, xi_out, v, v_teacher, work, d, slow)
            if not np.isfinite(delta):
                break
            for a in range(P):
                h[a, s] = -rate * delta * d[a]
            used[0] += 1
            if several_blocks and (used[0] == BLOCK or sample + 1 == batch_size):
                if sample < BLOCK:
                    keep[:, 0] = shrink
                if moves:
                    move_rows(gathered, inputs, shrinks, keep, h)
                used[0] = 0
        if not np.isfinite(delta):
            h[:, begin:] = 0.0
            used[0] = begin
            break
        if several_blocks:
            if spherical and rates[0] > 0.0:
                squared_lengths(gathered, squares)
                for a in range(P):
                    scale = lengths[a] / np.sqrt(squares[a])
                    for i in range(N):  # not `gathered[a] *= scale`, for the same reason as below
                        gathered[a, i] *= scale
            for a in range(P):
                for i in range(N):  # not `xi_in[:] = gathered`, which takes numba longer to compile
                    xi_in[a, i] = gathered[a, i]
        elif moves:
            keep[:, begin] = shrink
            if spherical and rates[0] > 0.0:
                keep_lengths(products, M, N, begin, used[0], lengths, squares, keep, h)
            foresee(products, M, begin, used[0], keep, h)
        if used[0] == usable:
            if moves:
                move_rows(xi_in, inputs, shrinks, keep, h)
            used[0] = 0
        step_slow_factors(slow, sigma, xi_out, v, rates, weight_decay, batch_size, N)
        taken += 1
    if moves and used[0] > 0:
        move_rows(xi_in, inputs, shrinks, keep, h)
    return taken
