"""The random numbers of the overlap chain: what a sample is along teacher, modes and outside, and its label noise, steps ahead.

An input has i.i.d. normal components along an orthonormal basis of the space of teacher and modes. Its part outside that space
is described, with the parts of the earlier inputs of its batch, by the row of a triangular factor of a Wishart matrix: below the
diagonal normals, on the diagonal in row j the root of a chi-square with n - j degrees of freedom, n = N - M - P (Bartlett,
Proc. R. Soc. Edinb. 53, 260 (1933)).

Chi-square comes from the rejection method of Marsaglia and Tsang, ACM Trans. Math. Softw. 26, 363 (2000): with t = x / sqrt(9 d),
d = (n - j) / 2 - 1/3 and x normal, 2 d (1 + t)^3 is accepted with probability exp(d (3 log(1 + t) - 3 t + 3/2 t^2 - t^3)). All
lanes propose at once. For |t| < 1/2 the exponent is at least -3/2 d t^4, which accepts nearly all of them without a logarithm.
"""

from __future__ import annotations

import math

import numpy as np

from teacher_student.arrays import FloatArray, WordArray
from teacher_student.kernels import njit
from teacher_student.sgd.lanes import ALL_LANES, absolute, choose, load, square_root, store, vectors, which_above
from teacher_student.sgd.normals import box_muller, fill_normals, next_word

# How many random numbers of a replica are drawn at a time, unless a step needs more.
_NUMBERS_AHEAD = 256
# erf(w / sqrt 2) > 0.68 min(w, 1), by concavity.
_CONCAVE = 0.68


def empty_draws(n_inputs: int, rank: int, batch_size: int, replicas: int) -> FloatArray:
    """Return an array for the random numbers of some steps, (steps, batch, columns + 2), and a lane for each of several replicas.

    A sample has a component along each of `rank` basis vectors of the space and of those that a batch can add, a number for the
    rejection, and the label noise.
    """
    width = min(rank + batch_size, n_inputs) + 2
    shape = max(1, _NUMBERS_AHEAD // (batch_size * width)), batch_size, width
    return np.zeros(shape) if replicas == 1 else vectors(*shape)


@njit(cache=True, nogil=True, fastmath={"contract"})
def refill(draws: FloatArray, streams: WordArray, spares: WordArray, numbers: FloatArray, n_inputs: int, rank: int) -> None:
    """Draw all numbers of `draws` anew, those of lane l from the streams `streams[l]`; lanes without one repeat the first.

    `numbers` is a buffer of as many numbers as `draws` has in a lane.
    """
    n_steps, batch_size, width = draws.shape[:3]
    n_lanes = draws.size // len(numbers)
    rows = draws.reshape((len(numbers), n_lanes))
    for lane in range(n_lanes):
        if lane < len(streams):
            fill_normals(streams[lane], numbers)
        for i in range(len(numbers)):
            rows[i, lane] = numbers[i] if lane < len(streams) else rows[i, 0]
    for sample in range(batch_size):
        column = rank + sample
        degrees = float(n_inputs - column)
        if degrees <= 1.0:
            break
        d = 0.5 * degrees - 1.0 / 3.0
        scale, root = 1.0 / math.sqrt(9.0 * d), math.sqrt(2.0 * d)
        for step in range(n_steps):
            t = scale * load(draws, (step, sample, column))
            square = t * t
            size = absolute(load(draws, (step, sample, width - 2)))
            most, least = _CONCAVE * choose(size, 1.0, 1.0, size), 1.5 * d * square * square
            chi = root * (1.0 + t) * square_root(1.0 + t)
            accepted = which_above(most, least) & which_above(0.25, square)
            if accepted != ALL_LANES:
                decide(rows[(step * batch_size + sample) * width :][:width], column, accepted, d, spares)
                decided = load(draws, (step, sample, column))
                chi = choose(most, least, choose(0.25, square, chi, decided), decided)
            store(draws, (step, sample, column), chi)


@njit(cache=True, nogil=True)
def decide(rows: FloatArray, column: int, accepted: int, d: float, spares: WordArray) -> None:
    """Replace the normals rows[column], one a lane, by roots of chi-squares in the lanes that are not among the bits `accepted`.

    Where a proposal is rejected, the next ones come from `spares`, one generator a replica.
    """
    for lane in range(rows.shape[1]):
        if accepted >> lane & 1 == 0:
            x, w = rows[column, lane], rows[-2, lane]
            while True:
                t = x / math.sqrt(9.0 * d)
                uniform = math.erfc(abs(w) * math.sqrt(0.5))
                if t > -1.0 and math.log(uniform) < d * (3.0 * math.log1p(t) - t * (3.0 - t * (1.5 - t))):
                    break
                x, w = next_pair(spares, lane)
            rows[column, lane] = math.sqrt(2.0 * d * (1.0 + t) ** 3)


@njit(cache=True, nogil=True)
def next_pair(states: WordArray, lane: int) -> tuple[float, float]:
    """Return two normals from the generator states[lane], (4,), and move it on."""
    s0, s1, s2, s3 = states[lane, 0], states[lane, 1], states[lane, 2], states[lane, 3]
    radius_word, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    angle_word, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
    states[lane, 0], states[lane, 1], states[lane, 2], states[lane, 3] = s0, s1, s2, s3
    return box_muller(radius_word, angle_word)
