"""Normal random numbers in vector lanes: 64 generators side by side, written so that the compiler fills vector registers.

The words come from xoshiro256++ (Blackman and Vigna, ACM Trans. Math. Softw. 47, 36 (2021)), one generator of 256 bits of state
and period 2^256 - 1 a lane, all started from one seed sequence. Two words make two normals (Box and Muller, 1958),

    r = sqrt(-2 log U),  (r cos phi, r sin phi),

with all 64 bits of the first word in U = (word + 1/2) 2^-64, rounded to a double, so that the tails are right as far as they go:
the radius is at most sqrt(130 log 2) = 9.4926, and beyond it lie 2.3e-21 of a normal distribution. No branch depends on a random
number.

Polynomials are near-minimax (Chebyshev interpolation in 40 digits) with errors below 1e-16 of their largest value.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray, WordArray
from teacher_student.kernels import njit

Word = np.uint64

GENERATORS = 64
GROUP = 2 * GENERATORS

# From the bits of a number to those of its exponent, 1024 too large, if numbers within a factor sqrt(2) of 2^e have exponent e.
_TO_EXPONENT = np.uint64((1024 << 52) - 0x3FE6A09E667F3BCD)
_BIASED = np.uint64(1024 << 52)
# The bits of 2^52, and of 1, to which lower bits add integers, and integers times 2^-52.
_TWO_TO_52, _ONE = np.uint64(0x4330000000000000), np.uint64(0x3FF0000000000000)
_TOP = np.uint64(1 << 63)
_MINUS_2_LOG_2 = -2.0 * np.log(2.0)
# -2 log m = s (L0 + L1 s^2 + ...), s = (m - 1) / (m + 1), for m within a factor sqrt(2) of 1.
_L0, _L1, _L2, _L3 = -4.0, -1.333333333333353, -0.7999999999860468, -0.5714285752128336
_L4, _L5, _L6, _L7 = -0.44444394113452096, -0.36367263360458657, -0.3062505629672838, -0.2961942072131055
# sin(pi t / 2) = t (S0 + S1 t^2 + ...) and cos(pi t / 2) = C0 + C1 t^2 + ..., for |t| <= 1/2.
_S0, _S1, _S2, _S3 = 1.5707963267948966, -0.6459640975062443, 0.07969262624604301, -0.004681754132340976
_S4, _S5, _S6 = 0.0001604411507421909, -3.59864335298231e-06, 5.633933781537854e-08
_C0, _C1, _C2, _C3 = 1.0, -1.2337005501361513, 0.25366950789986475, -0.02086348073494657
_C4, _C5, _C6 = 0.000919259950041661, -2.520013526428479e-05, 4.6552961874867623e-07


def normal_stream(seed: np.random.SeedSequence) -> WordArray:
    """Return the state of a stream of normals, (4, GENERATORS) words of 64 bits, column l the xoshiro256++ state of lane l.

    It is all there is to a stream: a copy of the array continues with the same numbers.
    """
    return seed.generate_state(4 * GENERATORS, np.uint64).astype(np.uint64, copy=False).reshape(4, GENERATORS)


@njit(cache=True, nogil=True)
def next_word(s0: Word, s1: Word, s2: Word, s3: Word) -> tuple[Word, Word, Word, Word, Word]:
    """Return the next word of xoshiro256++ and its new state."""
    total = s0 + s3
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return word, s0, s1, s2, s3


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def radius(word: Word) -> float:
    """Return sqrt(-2 log U) for the word of U = 2^e m."""
    uniform = np.float64(word) * 2.0**-64 + 2.0**-65
    bits = np.float64(uniform).view(np.uint64)
    e = (bits + _TO_EXPONENT) >> np.uint64(52)
    m = np.uint64(bits - (e << np.uint64(52)) + _BIASED).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = _L0 + z * (_L1 + z * (_L2 + z * (_L3 + z * (_L4 + z * (_L5 + z * (_L6 + z * _L7))))))
    exponent = np.uint64(e | _TWO_TO_52).view(np.float64) - (2.0**52 + 1024.0)
    return np.sqrt(exponent * _MINUS_2_LOG_2 + s * series)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def turned(length: float, word: Word) -> tuple[float, float]:
    """Return the components of a vector of this length in the direction of a word.

    Its upper 52 bits are an angle within a quarter turn, pi t / 2 with t = (k + 1/2) 2^-52 in (-1/2, 1/2), k with a sign; two of
    its other bits exchange sine and cosine and turn their sign, which makes it a full turn.
    """
    t = (np.uint64(((word ^ _TOP) >> np.uint64(12)) | _ONE).view(np.float64) - 1.5) + 2.0**-53
    q = t * t
    sine = t * (_S0 + q * (_S1 + q * (_S2 + q * (_S3 + q * (_S4 + q * (_S5 + q * _S6))))))
    cosine = _C0 + q * (_C1 + q * (_C2 + q * (_C3 + q * (_C4 + q * (_C5 + q * _C6)))))
    exchange = (word & np.uint64(2)) != 0
    signed = np.uint64(np.float64(length).view(np.uint64) | (word << np.uint64(63))).view(np.float64)
    return signed * (cosine if exchange else sine), signed * (sine if exchange else cosine)


@njit(cache=True, nogil=True)
def box_muller(radius_word: Word, angle_word: Word) -> tuple[float, float]:
    """Return two independent normals from two independent words."""
    return turned(radius(radius_word), angle_word)


# Loops over constant strides of one array, for the vectoriser to see that lanes do not touch each other. Three short ones keep a
# processor busier than one: it looks a few hundred instructions ahead, and one lane's chain from words to normals is that long.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def fill_group(words: WordArray, out: FloatArray) -> None:
    """Write `GROUP` normals to the beginning of `out`: lane l makes numbers l and GENERATORS + l. `words` is the state, flat."""
    for lane in range(GENERATORS):
        s0, s1, s2, s3 = words[lane], words[GENERATORS + lane], words[2 * GENERATORS + lane], words[3 * GENERATORS + lane]
        radius_word, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
        angle_word, s0, s1, s2, s3 = next_word(s0, s1, s2, s3)
        words[lane], words[GENERATORS + lane], words[2 * GENERATORS + lane], words[3 * GENERATORS + lane] = s0, s1, s2, s3
        out[lane], out[GENERATORS + lane] = np.uint64(radius_word).view(np.float64), np.uint64(angle_word).view(np.float64)
    for lane in range(GENERATORS):
        out[lane] = radius(np.float64(out[lane]).view(np.uint64))
    for lane in range(GENERATORS):
        out[lane], out[GENERATORS + lane] = turned(out[lane], np.float64(out[GENERATORS + lane]).view(np.uint64))


@njit(cache=True, nogil=True)
def fill_normals(state: WordArray, out: FloatArray) -> None:
    """Write i.i.d. N(0, 1) numbers into `out`, (n,), contiguous, and move `state` on by n / GROUP groups, rounded up.

    What is left of the last group is not used: draw many at a time.
    """
    words = state.reshape(4 * GENERATORS)
    whole = len(out) // GROUP * GROUP
    for begin in range(0, whole, GROUP):
        fill_group(words, out[begin : begin + GROUP])
    if whole < len(out):
        last = np.empty(GROUP)
        fill_group(words, last)
        for i in range(whole, len(out)):  # an assignment of slices takes numba long to compile
            out[i] = last[i - whole]
