"""The arcsine without branches against one of forty digits."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.arcsine import take_arcsines

# Units in the last place; the rounding of the argument of the square root alone may cost one.
LARGEST = 3.0


def numbers() -> FloatArray:
    """Return numbers all over [-1, 1], and crowded at 0, 1/2 and 1, where formulas meet or digits could be lost."""
    rng = np.random.default_rng(0)
    close = 10.0 ** rng.uniform(-17.0, 0.0, 1000)
    positive = np.concatenate([rng.uniform(0.0, 1.0, 2000), close, 1.0 - close, 0.5 + 1e-3 * (close - 0.5), [0.0, 0.5, 1.0]])
    positive = np.concatenate([positive, np.nextafter([0.5, 0.5, 1.0], [0.0, 1.0, 0.0]), [5e-324, 1e-300]])
    return np.concatenate([positive, -positive])


def units_off(x: FloatArray, arcs: FloatArray) -> float:
    """Return the largest error of `arcs` in units in the last place of the exact arcsines."""
    with mpmath.workdps(40):
        return max(
            float(abs(mpmath.mpf(float(arc)) - mpmath.asin(mpmath.mpf(float(number)))) / np.spacing(abs(np.arcsin(number))))
            for number, arc in zip(x, arcs, strict=True)
        )


def test_few_units_in_the_last_place(record_check: Callable[..., None]) -> None:
    x = numbers()
    arcs = x.copy()
    take_arcsines(arcs)
    record_check("arcsine: units in the last place", "mpmath at 40 digits", units_off(x, arcs), LARGEST)
    assert np.array_equal(arcs[: len(x) // 2], -arcs[len(x) // 2 :])
    assert not units_off(x, arcs * (1.0 + 2e-15)) < LARGEST


def test_beyond_the_ends() -> None:
    """Rounding can leave a correlation beyond 1, which counts as 1; NaN stays."""
    x = np.array([1.0 + 1e-15, -1.0 - 1e-15, np.nan, -0.0])
    take_arcsines(x)
    assert x[:2].tolist() == [np.pi / 2, -np.pi / 2]
    assert np.isnan(x[2])
    assert np.signbit(x[3])
