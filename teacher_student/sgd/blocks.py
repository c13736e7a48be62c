"""Blocks of inputs: several steps of SGD in one pass over the weights.

Between two steps the projections of an input that is drawn already change by what the step adds to the weights. With
h_a[s] x_s added to row a of xi_in by input x_s of a step, and every row shrunk by `keep` in that step, the later input x_t has

    u_a[t] -> keep u_a[t] + sum_s h_a[s] x_s.x_t / sqrt(N)        (docs/theory.rst: `block-fields`).

So a block of inputs is drawn and projected at once on the weights before it, its Gram matrix gives the projections that SGD
would have found one step after the other, and the weights receive all steps of the block in one more pass. This is SGD in
another order of the same sums, exact up to rounding, with a fourth of the memory traffic.

Heavy-ball momentum makes a pair of rows of every mode, xi_in and its velocity p, and every input of the block acts on both,

    p -> keep p - decay xi_in + h x,    then    xi_in -> xi_in + moved p,

with `keep` and `decay` for the first input of a step, 1 and 0 for the others, and `moved` for the last one, 0 for the others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray, WordArray
from teacher_student.kernels import njit
from teacher_student.sgd.heavy_ball import HeavyBall
from teacher_student.sgd.normals import GROUP, fill_normals

# Inputs a block, and columns of a tile: four rows of a tile (16 KiB) stay in the fastest cache while all weights pass by.
BLOCK = 4
TILE = 512


class Pending(NamedTuple):
    """What the inputs of a block do to the rows at the end of the block; shapes `keep` and `h` (P, BLOCK), others (BLOCK,).

    Row a becomes keep[a, s] times itself plus h[a, s] times input s; `decay` and `moved` are of pairs of rows.
    """

    keep: Any
    h: Any
    decay: Any
    moved: Any


# Sums over N may be reordered into vector lanes; NaN and infinity keep their meaning, divergence is detected by them.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_products(first: FloatArray, second: FloatArray, x: FloatArray, out_first: FloatArray, out_second: FloatArray) -> None:
    """Add the products of two rows, (n,), with the `BLOCK` inputs of a tile, flat in `x`, to (BLOCK,) each.

    Two rows at once use every input twice between memory and arithmetic.
    """
    f0 = f1 = f2 = f3 = s0 = s1 = s2 = s3 = 0.0
    for i in range(len(first)):
        a, b = first[i], second[i]
        x0, x1, x2, x3 = x[i], x[TILE + i], x[2 * TILE + i], x[3 * TILE + i]
        f0 += a * x0
        f1 += a * x1
        f2 += a * x2
        f3 += a * x3
        s0 += b * x0
        s1 += b * x1
        s2 += b * x2
        s3 += b * x3
    out_first[0] += f0
    out_first[1] += f1
    out_first[2] += f2
    out_first[3] += f3
    out_second[0] += s0
    out_second[1] += s1
    out_second[2] += s2
    out_second[3] += s3


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_gram(x: FloatArray, n: int, out: FloatArray) -> None:
    """Add the products of the `BLOCK` inputs of a tile, flat in `x`, over its first `n` columns, to `out` (BLOCK, BLOCK)."""
    p00 = p01 = p02 = p03 = p11 = p12 = p13 = p22 = p23 = p33 = 0.0
    for i in range(n):
        x0, x1, x2, x3 = x[i], x[TILE + i], x[2 * TILE + i], x[3 * TILE + i]
        p00 += x0 * x0
        p01 += x0 * x1
        p02 += x0 * x2
        p03 += x0 * x3
        p11 += x1 * x1
        p12 += x1 * x2
        p13 += x1 * x3
        p22 += x2 * x2
        p23 += x2 * x3
        p33 += x3 * x3
    symmetric = ((p00, p01, p02, p03), (p01, p11, p12, p13), (p02, p12, p22, p23), (p03, p13, p23, p33))
    for s in range(BLOCK):
        for t in range(BLOCK):
            out[s, t] += symmetric[s][t]


# The order of these sums is fixed: inputs that are left out, with h = 0 and keep = 1, change no bit.
@njit(cache=True, nogil=True, fastmath={"contract"})
def add_inputs(row: FloatArray, x: FloatArray, keep: FloatArray, h: FloatArray) -> None:
    """Apply row -> keep[s] row + h[s] x_s to `row`, (n,), for the `BLOCK` inputs of a tile, flat in `x`, in turn."""
    k0, k1, k2, k3 = keep[0], keep[1], keep[2], keep[3]
    h0, h1, h2, h3 = h[0], h[1], h[2], h[3]
    for i in range(len(row)):
        value = k0 * row[i] + h0 * x[i]
        value = k1 * value + h1 * x[TILE + i]
        value = k2 * value + h2 * x[2 * TILE + i]
        row[i] = k3 * value + h3 * x[3 * TILE + i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def add_inputs_to_two(first: FloatArray, second: FloatArray, x: FloatArray, h_first: FloatArray, h_second: FloatArray) -> None:
    """Add h[s] x_s to two rows, (n,), for the `BLOCK` inputs of a tile, flat in `x`, in turn."""
    f0, f1, f2, f3 = h_first[0], h_first[1], h_first[2], h_first[3]
    s0, s1, s2, s3 = h_second[0], h_second[1], h_second[2], h_second[3]
    for i in range(len(first)):
        x0, x1, x2, x3 = x[i], x[TILE + i], x[2 * TILE + i], x[3 * TILE + i]
        first[i] = (((first[i] + f0 * x0) + f1 * x1) + f2 * x2) + f3 * x3
        second[i] = (((second[i] + s0 * x0) + s1 * x1) + s2 * x2) + s3 * x3


@njit(cache=True, nogil=True, fastmath={"contract"})
def add_inputs_to_pair(xi_in: FloatArray, p: FloatArray, x: FloatArray, pending: Pending, a: int) -> None:
    """Apply what is pending for mode `a` to its rows `xi_in` and `p`, (n,), for the inputs of a tile, flat in `x`, in turn."""
    keep, h, decay, moved = pending.keep[a], pending.h[a], pending.decay, pending.moved
    k0, k1, k2, k3 = keep[0], keep[1], keep[2], keep[3]
    h0, h1, h2, h3 = h[0], h[1], h[2], h[3]
    d0, d1, d2, d3 = decay[0], decay[1], decay[2], decay[3]
    m0, m1, m2, m3 = moved[0], moved[1], moved[2], moved[3]
    for i in range(len(xi_in)):
        value, velocity = xi_in[i], p[i]
        velocity = (k0 * velocity - d0 * value) + h0 * x[i]
        value += m0 * velocity
        velocity = (k1 * velocity - d1 * value) + h1 * x[TILE + i]
        value += m1 * velocity
        velocity = (k2 * velocity - d2 * value) + h2 * x[2 * TILE + i]
        value += m2 * velocity
        velocity = (k3 * velocity - d3 * value) + h3 * x[3 * TILE + i]
        p[i] = velocity
        xi_in[i] = value + m3 * velocity


@njit(cache=True, nogil=True, inline="always")
def draw_inputs(stream: WordArray, n_inputs: int, inputs: FloatArray, tile: int) -> None:
    """Draw the components of the inputs of a block, (tile, BLOCK, TILE), in one tile, whole groups of normals a row."""
    width = min(TILE, n_inputs - tile * TILE)
    for s in range(BLOCK):
        fill_normals(stream, inputs[tile, s, : -(-width // GROUP) * GROUP])


@njit(cache=True, nogil=True)
def draw_block(stream: WordArray, rows: FloatArray, W_teacher: FloatArray, inputs: FloatArray, products: FloatArray) -> None:
    """Draw a block of inputs and write its scalar products / sqrt(N); shapes as in `WeightsReplica`."""
    n_rows, N = rows.shape
    M = W_teacher.shape[0]
    spare = np.empty(BLOCK)
    products[:] = 0.0
    for tile in range(len(inputs)):
        draw_inputs(stream, N, inputs, tile)
        begin, end = tile * TILE, min(N, (tile + 1) * TILE)
        x = inputs[tile].reshape(BLOCK * TILE)
        for r in range(0, n_rows + M, 2):
            first = rows[r, begin:end] if r < n_rows else W_teacher[r - n_rows, begin:end]
            if r + 1 == n_rows + M:
                add_products(first, first, x, products[r], spare)
            else:
                second = rows[r + 1, begin:end] if r + 1 < n_rows else W_teacher[r + 1 - n_rows, begin:end]
                add_products(first, second, x, products[r], products[r + 1])
        add_gram(x, end - begin, products[n_rows + M :])
    products /= np.sqrt(N)


@njit(cache=True, nogil=True)
def move_rows(rows: FloatArray, inputs: FloatArray, shrinks: bool, pending: Pending, heavy_ball: HeavyBall | None) -> None:
    """Apply what is pending to the rows of the modes for every input of the block in turn, and then nothing is.

    `shrinks` says whether any `keep` of the run may differ from 1, not only of this block: either way rounds differently.
    """
    keep, h = pending.keep, pending.h
    P, N = len(h), rows.shape[1]
    for tile in range(len(inputs)):
        begin, end = tile * TILE, min(N, (tile + 1) * TILE)
        x = inputs[tile].reshape(BLOCK * TILE)
        if heavy_ball is None:
            paired = 0 if shrinks else P // 2 * 2
            for a in range(0, paired, 2):
                add_inputs_to_two(rows[a, begin:end], rows[a + 1, begin:end], x, h[a], h[a + 1])
            for a in range(paired, P):
                add_inputs(rows[a, begin:end], x, keep[a], h[a])
        else:
            for a in range(P):
                add_inputs_to_pair(rows[a, begin:end], rows[P + a, begin:end], x, pending, a)
    keep[:] = 1.0
    h[:] = 0.0
    if heavy_ball is not None:
        pending.decay[:] = 0.0
        pending.moved[:] = 0.0


@njit(cache=True, nogil=True, inline="always")
def foresee(
    products: FloatArray,
    inputs_at: int,
    begin: int,
    end: int,
    keep: FloatArray,
    h: FloatArray,
    decay: float,
    heavy_ball: HeavyBall | None,
) -> None:
    """Bring the fields of modes and velocities of inputs from `end` on to the weights after the step with `begin` to `end`.

    `inputs_at` is the row of `products` where those of the inputs with each other begin; the rest as in `Pending`.
    """
    P = len(h)
    for a in range(P):
        for t in range(end, BLOCK):
            if heavy_ball is None:
                field = keep[a, begin] * products[a, t]
            else:
                field = keep[a, begin] * products[P + a, t] - decay * products[a, t]
            for s in range(begin, end):
                field += h[a, s] * products[inputs_at + s, t]
            if heavy_ball is None:
                products[a, t] = field
            else:
                products[P + a, t] = field
                products[a, t] += heavy_ball.scale * field


# Sums over N may be reordered into vector lanes.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def squared_lengths(rows: FloatArray, out: FloatArray) -> None:
    """Write |row a|^2 / N for `rows` (P, N) into `out` (P,)."""
    P, N = rows.shape
    for a in range(P):
        total = 0.0
        for i in range(N):
            total += rows[a, i] * rows[a, i]
        out[a] = total / N


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def rescale_step(
    products: FloatArray,
    inputs_at: int,
    begin: int,
    end: int,
    N: int,
    lengths: FloatArray,
    squares: FloatArray,
    keep: FloatArray,
    h: FloatArray,
) -> None:
    """Scale the step with the inputs `begin` to `end` in `keep` and `h` so that row a ends with the length `lengths[a]`.

    In units of sqrt(N): `squares` (P,) are the squares of the lengths before the step, and become those after it
    (docs/theory.rst: `block-lengths`).
    """
    for a in range(len(h)):
        change = 0.0
        for s in range(begin, end):
            change += 2.0 * keep[a, begin] * h[a, s] * products[a, s]
            for t in range(begin, end):
                change += h[a, s] * h[a, t] * products[inputs_at + s, t]
        scale = lengths[a] / np.sqrt(keep[a, begin] ** 2 * squares[a] + change / np.sqrt(N))
        keep[a, begin] *= scale
        for s in range(begin, end):
            h[a, s] *= scale
        squares[a] = lengths[a] ** 2
