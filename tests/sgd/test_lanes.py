"""Vectors as values, and activations of all lanes against mpmath and the scalar functions."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from numba import njit

from teacher_student.activations import ACTIVATIONS, Activation
from teacher_student.sgd.lane_activations import activate, lane_form
from teacher_student.sgd.lanes import ALL_LANES, LANES, absolute, choose, load, square_root, store, vectors, which_above

EPS = np.finfo(float).eps


@njit
def _arithmetic(x: np.ndarray, out: np.ndarray) -> int:
    a, b = load(x, (0, 1)), load(x, (1, 0))
    store(out, 0, a + b * 3.0 - 2 / a)
    total = 1.0 * a
    total += b
    total -= 1
    total *= b
    store(out, 1, total)
    store(out, 2, square_root(absolute(a)))
    store(out, 3, choose(a, b, a, 7.0))
    store(out, 4, 5.0)
    return which_above(a, b)


def test_vectors_are_lanes_of_numbers() -> None:
    x = vectors(2, 3)
    x[...] = np.random.default_rng(1).standard_normal(x.shape)
    x[0, 1, 2] = np.nan
    out = vectors(5)
    above = _arithmetic(x, out)
    a, b = x[0, 1], x[1, 0]
    np.testing.assert_allclose(out[0], a + b * 3.0 - 2 / a, rtol=10 * EPS)
    np.testing.assert_allclose(out[1], (a + b - 1) * b, rtol=10 * EPS)
    assert np.array_equal(out[2], np.sqrt(np.abs(a)), equal_nan=True)
    assert np.array_equal(out[3], np.where(a > b, a, 7.0))
    assert (out[4] == 5.0).all()
    assert above == sum(1 << lane for lane in range(LANES) if a[lane] > b[lane])
    for lane in range(LANES):
        number = np.empty(5)
        assert _arithmetic(np.ascontiguousarray(x[..., lane]), number) == (ALL_LANES if above >> lane & 1 else 0)
        np.testing.assert_allclose(number, out[:, lane], rtol=10 * EPS)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 2, 3)])
def test_vectors_begin_at_a_multiple_of_their_length(shape: tuple[int, ...]) -> None:
    array = vectors(*shape)
    assert array.shape == (*shape, LANES)
    assert array.ctypes.data % (8 * LANES) == 0
    assert not array.any()


def in_lanes(activation: Activation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return g and g' of `x` from the vector code."""
    units = vectors(3, -(-len(x) // LANES))
    units[0].reshape(-1)[: len(x)] = x
    activate(lane_form(activation), activation.g, activation.g_prime, units, units.shape[1], units.shape[1])
    return units[1].reshape(-1)[: len(x)], units[2].reshape(-1)[: len(x)]


def in_last_places(got: np.ndarray, expected: list[mpmath.mpf]) -> float:
    """Return the largest error in units of the last place of the expected numbers."""
    errors = [
        abs(mpmath.mpf(float(g)) - e) / mpmath.mpf(float(np.spacing(abs(float(e))))) for g, e in zip(got, expected, strict=True)
    ]
    return float(max(errors))


def test_erf_is_right_to_the_last_places(record_check: Callable[..., None]) -> None:
    """On a grid, at the edge between the two polynomials, and where x is tiny; exp loses digits as x^2 grows."""
    mpmath.mp.dps = 40
    edge = 1.25 * (1.0 + EPS * np.arange(-4, 5))
    x = np.concatenate([np.linspace(-9.5, 9.5, 3801), edge, -edge, 10.0 ** np.arange(-300, 1, 20)])
    value, slope = in_lanes(ACTIVATIONS["erf"], x)
    exact = [mpmath.mpf(float(number)) for number in x]
    erf = [mpmath.erf(number / mpmath.sqrt(2)) for number in exact]
    record_check("erf in vector lanes, units of the last place", "mpmath", in_last_places(value, erf), 4.0)
    small = np.abs(x) < 2.0
    gauss = [mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-number * number / 2) for number in exact]
    near = [number for number, chosen in zip(gauss, small, strict=True) if chosen]
    record_check(
        "derivative of erf in vector lanes for |x| < 2, units of the last place",
        "mpmath",
        in_last_places(slope[small], near),
        4.0,
    )
    relative = np.abs(slope - np.array([float(number) for number in gauss])) / slope
    assert (relative <= EPS * (4.0 + 0.5 * x**2)).all()


def test_erf_far_out() -> None:
    """Its limits are reached and kept, its derivative is finite, and NaN stays NaN."""
    value, slope = in_lanes(ACTIVATIONS["erf"], np.array([40.0, -1e300, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-310]))
    assert value[:4].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert np.isnan(value[4])
    assert np.isnan(slope[4])
    assert value[5] == value[6] == 0.0
    assert value[7] > 0.0
    assert (slope[:4] < 1e-300).all()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_in_lanes_are_the_scalar_ones(name: str) -> None:
    """Also at kinks and of NaN; the control shifts the argument by 1e-9."""
    activation = ACTIVATIONS[name]
    x = np.concatenate([np.random.default_rng(2).uniform(-5.0, 5.0, 400), [0.0, np.nan]])
    for got, scalar in zip(in_lanes(activation, x), (activation.g, activation.g_prime), strict=True):
        expected = np.array([scalar.ctypes(number) for number in x])
        constant = np.isfinite(expected[-1])  # such as the derivative of a linear function
        np.testing.assert_allclose(got[:-1], expected[:-1], rtol=0, atol=1e-13)
        assert np.isnan(got[-1]) or constant
        shifted = np.array([scalar.ctypes(number + 1e-9) for number in x[:-2]])
        if np.abs(shifted - expected[:-2]).max() > 1e-12:
            assert np.abs(got[:-2] - shifted).max() > 1e-11
