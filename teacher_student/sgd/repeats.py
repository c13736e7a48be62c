"""Rows of the chain's factor that are the same, or opposite, bit for bit: modes that are the same stay the same at any N.

SGD on weights keeps such modes the same by itself, for it does the same to both. The reflections that make the factor triangular
again do not, up to rounding, and what rounding parts may grow.
"""

from __future__ import annotations

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.kernels import njit


def repeats_of(rows: FloatArray) -> IntArray:
    """Return for each of the `rows` (n, m) the first one that is the same or opposite, itself if there is none, (n,)."""
    same, opposite = ((rows[:, np.newaxis] == sign * rows).all(axis=2) for sign in (1.0, -1.0))
    return (same | opposite).argmax(axis=1)


@njit(cache=True, nogil=True)
def compare_repeats(F: FloatArray, repeats: IntArray, signs: FloatArray) -> bool:
    """Write 1 or -1 into `signs` (n,) for each row of F[0] that is the same as the one it repeats, or opposite, and 0 for others.

    Returns whether there are any. Rows that were the same may have become different, for example with unequal strengths.
    """
    found = False
    for i in range(len(repeats)):
        signs[i] = 0.0
        row, first = F[0, i].ravel(), F[0, repeats[i]].ravel()
        if repeats[i] < i:
            same, opposite = True, True
            for j in range(len(row)):
                same &= row[j] == first[j]
                opposite &= row[j] == -first[j]
            signs[i] = 1.0 if same else (-1.0 if opposite else 0.0)
            found |= signs[i] != 0.0
    return found


@njit(cache=True, nogil=True)
def copy_repeats(F: FloatArray, repeats: IntArray, signs: FloatArray) -> None:
    """Make the rows of F[0] with a sign that times the ones that they repeat."""
    for i in range(len(repeats)):
        if signs[i] != 0.0:
            F[0, i] = signs[i] * F[0, repeats[i]]
