"""The values that a swept field takes: listed or spaced in a grid, drawn from a distribution otherwise."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_whole, refuse

OF_GRIDS = ("linear", "logarithmic")
OF_DRAWS = ("uniform", "log_uniform", "integers", "choices")
MOST_POINTS = 1_000_000
# Up to here all whole numbers are known to floating point.
_LARGEST_INTEGER = 2**53


def listed_values(vary: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the values along every dimension of a grid; raises `InvalidInput` for what states none."""
    return {name: _axis(f"vary.{name}", spec) for name, spec in vary.items()}


def drawn_values(vary: dict[str, Any], design: str, n_points: int, seed: int) -> dict[str, list[Any]]:
    """Return the values of every field at `n_points` points; raises `InvalidInput` for what is no distribution."""
    for name, spec in vary.items():
        _check_distribution(f"vary.{name}", spec)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    uniform = _unit_cube(design, n_points, len(vary), rng)
    return {name: _quantiles(spec, u) for (name, spec), u in zip(vary.items(), uniform.T, strict=True)}


def _axis(name: str, spec: Any) -> list[Any]:
    expected = "a list of values, { linear = [first, last, points] } or { logarithmic = [first, last, points] }"
    if isinstance(spec, list):
        values = spec
        if not values:
            refuse(name, spec, "at least one value")
    else:
        kind, (first, last, points) = _numbers(name, spec, OF_GRIDS, 3, expected)
        if check_whole(f"{name}.{kind}[2]", points, 2) > MOST_POINTS:
            refuse(f"{name}.{kind}[2]", points, f"at most {MOST_POINTS} values")
        spaced = np.linspace if kind == "linear" else np.geomspace
        values = spaced(first, last, int(points)).tolist()
    repeated = _first_repeated(values)
    if repeated is not None:
        refuse(f"{name}[{repeated}]", values[repeated], "values that differ")
    return values


def _first_repeated(values: list[Any]) -> int | None:
    numbers_and_texts: set[Any] = set()
    others: list[Any] = []
    for i, value in enumerate(values):
        if isinstance(value, (list, dict)):
            if value in others:
                return i
            others.append(value)
        else:
            if value in numbers_and_texts:
                return i
            numbers_and_texts.add(value)
    return None


def _check_distribution(name: str, spec: Any) -> None:
    expected = "{ uniform = [low, high] }, { log_uniform = [low, high] }, { integers = [low, high] } or { choices = [...] }"
    if isinstance(spec, dict) and set(spec) == {"choices"}:
        if not isinstance(spec["choices"], list) or not spec["choices"]:
            refuse(f"{name}.choices", spec["choices"], "a list of at least one value")
        return
    kind, bounds = _numbers(name, spec, OF_DRAWS, 2, expected)
    if kind == "integers":
        for i, bound in enumerate(bounds):
            if not isinstance(bound, int) or abs(bound) > _LARGEST_INTEGER:
                refuse(f"{name}.integers[{i}]", bound, "a whole number of at most 2**53")


def _numbers(name: str, spec: Any, kinds: tuple[str, ...], count: int, expected: str) -> tuple[str, list[Any]]:
    """Return the kind and the numbers of ``{kind: [low, high, ...]}``, checked."""
    if not isinstance(spec, dict) or len(spec) != 1 or next(iter(spec)) not in kinds:
        refuse(name, spec, expected)
    ((kind, numbers),) = spec.items()
    if not isinstance(numbers, list) or len(numbers) != count:
        refuse(f"{name}.{kind}", numbers, f"{count} numbers: {expected}")
    for i, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= sys.float_info.max:
            refuse(f"{name}.{kind}[{i}]", number, "a finite number")
    if not numbers[0] < numbers[1]:
        refuse(f"{name}.{kind}[1]", numbers[1], f"more than the first, {numbers[0]}")
    if kind.startswith("log") and not numbers[0] > 0:
        refuse(f"{name}.{kind}[0]", numbers[0], "a number above 0")
    if kind == "integers":
        return kind, list(numbers)
    low, high = map(float, numbers[:2])
    if not math.isfinite(high - low):
        refuse(f"{name}.{kind}[1]", numbers[1], f"a number whose distance from the first, {numbers[0]}, is finite")
    return kind, [low, high, *numbers[2:]]


def _unit_cube(design: str, n_points: int, n_fields: int, rng: np.random.Generator) -> FloatArray:
    """Return points in [0, 1), (n_points, n_fields)."""
    if design == "random":
        return rng.random((n_points, n_fields))
    from scipy.stats import qmc  # slow to import

    if design == "latin-hypercube":
        return np.asarray(qmc.LatinHypercube(n_fields, rng=rng).random(n_points))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numbers of points that are no power of 2 fill less evenly
        return np.asarray(qmc.Sobol(n_fields, scramble=True, rng=rng).random(n_points))


def _quantiles(spec: dict[str, Any], u: FloatArray) -> list[Any]:
    """Return the values of a distribution at `u` in [0, 1)."""
    ((kind, numbers),) = spec.items()
    if kind == "choices":
        return [numbers[i] for i in np.floor(u * len(numbers)).astype(int)]
    if kind == "integers":
        low, high = numbers
        return (low + np.floor(u * (high - low + 1)).astype(np.int64)).tolist()
    low, high = map(float, numbers)
    if kind == "log_uniform":
        return np.exp(math.log(low) + u * (math.log(high) - math.log(low))).tolist()
    return (low + u * (high - low)).tolist()
