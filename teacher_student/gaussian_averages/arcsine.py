"""The arcsine of many numbers at once, free of branches, so that compilers turn it into vector instructions."""

from __future__ import annotations

import math

from teacher_student.arrays import FloatArray
from teacher_student.kernels import njit

# asin(x) = x + x z (c0 + c1 z + ...), z = x^2, of least relative error for abs(x) <= 1/2: 1.5e-17 (Remez's algorithm).
_C0, _C1, _C2, _C3 = 0.16666666666665408, 0.07500000000336958, 0.044642856828373406, 0.030381959135137297
_C4, _C5, _C6, _C7 = 0.022371758094167166, 0.017359704102334356, 0.013885242021520427, 0.012169168452636872
_C8, _C9, _C10, _C11 = 0.006528162222608601, 0.019527754731310548, -0.01622345592600375, 0.03191172778324828


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def take_arcsines(x: FloatArray) -> None:
    """Replace every number of `x` (n,) by its arcsine, to a few units in the last place; abs(x) > 1 counts as 1.

    For abs(x) > 1/2 it is asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)), which keeps all digits as x goes to 1.
    """
    for i in range(len(x)):
        size = abs(x[i])
        size = 1.0 if size > 1.0 else size
        far = size > 0.5
        z = 0.5 * (1.0 - size) if far else size * size
        root = math.sqrt(z) if far else size
        z2 = z * z
        z4 = z2 * z2
        low = (_C0 + z * _C1) + z2 * (_C2 + z * _C3)
        middle = (_C4 + z * _C5) + z2 * (_C6 + z * _C7)
        high = (_C8 + z * _C9) + z2 * (_C10 + z * _C11)
        arc = root + root * (z * (low + z4 * (middle + z4 * high)))
        x[i] = math.copysign(0.5 * math.pi - 2.0 * arc if far else arc, x[i])
