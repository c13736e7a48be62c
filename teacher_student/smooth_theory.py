"""The theory at as many times as a smooth line needs: what a figure draws between the output times of a trajectory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr

from teacher_student.arrays import FloatArray
from teacher_student.errors import Diverged, InvalidInput
from teacher_student.layout import FACTORS
from teacher_student.theory.integrate import integrate
from teacher_student.trajectory_form import problem_of

_POINTS_PER_DECADE = 50
# An integration of so many right-hand sides takes about a second; one with sampled averages far longer.
_MOST_EVALUATIONS = 20_000


def smooth_theory(theory: xr.Dataset) -> xr.Dataset:
    """Return `theory` with the integrator's own values between its output times, and its own numbers at these.

    The problem that the trajectory carries is integrated again, with the same method and tolerances. Where that does not give the
    numbers of the trajectory, such as of one that was changed, or takes long, the trajectory is returned as it is.
    """
    alpha = theory["alpha"].values
    times = times_between(alpha)
    attributes = theory.attrs
    costs = attributes.get("right_hand_sides", math.inf)
    if len(times) == len(alpha) or costs > _MOST_EVALUATIONS or "average_error" in attributes:
        return theory
    options = {name: attributes[name] for name in ("method", "rtol", "atol") if name in attributes}
    try:
        dense = integrate(problem_of(theory), times, progress=False, **options)
    except (InvalidInput, Diverged):
        return theory
    given = np.searchsorted(times, alpha)
    known = {name: theory[name].transpose(*dense[name].dims).values for name in (*FACTORS, "Q", "R", "eps_g") if name in theory}
    if dense.attrs["status"] != "complete" or not all(_same(dense[name].values[given], known[name]) for name in known):
        return theory
    for name, values in known.items():
        dense[name].values[given] = values
    return dense


def times_between(alpha: FloatArray) -> FloatArray:
    """Return the times `alpha` with others between those above 0 that are further apart than a smooth line needs."""
    times = [alpha[:1]]
    for start, end in itertools.pairwise(alpha):
        n = math.ceil(_POINTS_PER_DECADE * math.log10(end / start) - 0.1) if start > 0 else 1
        if n > 1:
            times.append(np.geomspace(start, end, n + 1)[1:-1])
        times.append(np.array([end]))
    return np.concatenate(times)


def _same(computed: FloatArray, given: FloatArray) -> bool:
    return bool(np.allclose(computed, given, rtol=1e-6, atol=1e-9 * np.abs(given).max(initial=0.0)))
