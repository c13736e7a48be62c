"""What a leap is made of, for compiled code: the theory's drift of a problem, and the SGD step behind its noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.gaussian_averages import averages_of
from teacher_student.gaussian_averages.pointers import MATRIX, VECTOR
from teacher_student.gaussian_averages.sampled import symmetric_root
from teacher_student.kernels import cfunc, njit
from teacher_student.problem import Problem
from teacher_student.schedules import rates_at
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.drift import flow, keep_lengths
from teacher_student.theory.dynamics import dynamics_pointer
from teacher_student.theory.sampled_drift import SampledDrift, mean_forces_of_points

# Relative error of a step of the drift. Fluctuations at N = 1e12 are still a hundred times larger.
_TOLERANCE = 1e-8

_ACTIVATION = types.FunctionType(types.float64(types.float64))
_SAMPLED = types.void(
    _ACTIVATION,
    _ACTIVATION,
    _ACTIVATION,
    MATRIX,
    MATRIX,
    MATRIX,
    VECTOR,
    types.int64,
    types.int64,
    VECTOR,
    types.float64,
    types.float64,
    types.int64,
    VECTOR,
    VECTOR,
)


class Dynamics(NamedTuple):
    """State-independent data of a problem.

    The drift is behind a function pointer, `closed` or `sampled`, and whatever takes leaps is compiled without it. `drift_points`
    (n, M + P) are those of a sampled drift, none where the Gaussian averages are closed; `teacher_root` (M, M) is
    the symmetric root of T and `teacher_inverse` the inverse of that. `window` (2,) are the first and last time at which the
    schedules may be asked for rates, to stay between two of their jumps. `tolerance` is the drift's relative error in a step.
    """

    closed: Any
    sampled: Any
    averages: Any
    parameters: FloatArray
    drift_points: FloatArray
    teacher_root: FloatArray
    teacher_inverse: FloatArray
    g: Any
    g_prime: Any
    g_teacher: Any
    T: FloatArray
    v_teacher: FloatArray
    K: int
    P: int
    schedules: FloatArray
    window: FloatArray
    noise: float
    weight_decay: float
    batch_size: int
    spherical: bool
    tolerance: float


def dynamics_of(problem: Problem) -> Dynamics:
    """Return the dynamics of `problem`; raises `InvalidInput` where g' has jumps and its averages are sampled."""
    state, rule = problem.initial, problem.rule
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    family = averages_of(student, teacher)
    points, tolerance = np.empty((0, state.n_teacher + state.n_modes)), _TOLERANCE
    if family is None:
        family = averages_of(*get_activations("erf", None))  # of the right type, and never called
        coordinates = coordinates_of(state, rule)
        sampled = SampledDrift(state, rule, coordinates)
        start = coordinates.start[coordinates.moving]
        if len(start) and sampled.is_rough(start):
            names = f"{rule.activation} (teacher: {rule.teacher_activation or rule.activation})"
            refuse("activation", names, "for leaps activations whose g' has no jumps, or with Gaussian averages in closed form")
        points = np.ascontiguousarray(np.concatenate(sampled.point_sets))
        tolerance = max(tolerance, 0.01 * min(1.0, sampled.relative_error(start)) if len(start) else 0.0)
    root = np.ascontiguousarray(symmetric_root(state.T))
    assert family is not None
    return Dynamics(
        closed=dynamics_pointer,
        sampled=_sampled_pointer,
        averages=family.averages,
        parameters=family.parameters,
        drift_points=points,
        teacher_root=root,
        teacher_inverse=np.ascontiguousarray(np.linalg.pinv(root, rcond=1e-7), dtype=np.float64),
        g=student.g,
        g_prime=student.g_prime,
        g_teacher=teacher.g,
        # Copies: what is read-only here and not in another process would be another type to the compiler.
        T=state.T.copy(),
        v_teacher=state.v_teacher.copy(),
        K=state.n_units,
        P=state.n_modes,
        schedules=rule.schedules,
        window=np.array([0.0, np.inf]),
        noise=rule.noise,
        weight_decay=rule.weight_decay,
        batch_size=rule.batch_size,
        spherical=rule.spherical,
        tolerance=tolerance,
    )


@njit(cache=True, nogil=True)
def rates_within(dynamics: Dynamics, alpha: float, out: FloatArray) -> None:
    """Write the rates at the time nearest `alpha` in the window into `out`, (4,)."""
    rates_at(dynamics.schedules, min(max(alpha, dynamics.window[0]), dynamics.window[1]), out)


@njit(cache=True, nogil=True)
def velocity(dynamics: Dynamics, alpha: float, y: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha at the full state `y` into `out`, both (n_full,) in the layout of `teacher_student.theory.drift`."""
    free_velocity(dynamics, alpha, y, out)
    if dynamics.spherical:
        keep_lengths(y, dynamics.P, len(dynamics.v_teacher), out)


@njit(cache=True, nogil=True)
def free_velocity(dynamics: Dynamics, alpha: float, y: FloatArray, out: FloatArray) -> None:
    """The same without rescaling the modes where the rule asks for that."""
    rates = np.empty(4)
    if len(dynamics.drift_points) > 0:
        rates_within(dynamics, alpha, rates)
        dynamics.sampled(
            dynamics.g,
            dynamics.g_prime,
            dynamics.g_teacher,
            dynamics.drift_points,
            dynamics.teacher_root,
            dynamics.teacher_inverse,
            dynamics.v_teacher,
            dynamics.K,
            dynamics.P,
            rates,
            dynamics.noise,
            dynamics.weight_decay,
            dynamics.batch_size,
            y,
            out,
        )
        return
    dynamics.closed(
        dynamics.averages,
        dynamics.parameters,
        dynamics.schedules,
        min(max(alpha, dynamics.window[0]), dynamics.window[1]),
        y,
        dynamics.T,
        dynamics.v_teacher,
        dynamics.K,
        dynamics.P,
        dynamics.noise,
        dynamics.weight_decay,
        dynamics.batch_size,
        False,
        0.0,
        rates,
        out,
    )


def _sampled_velocity(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    points: FloatArray,
    teacher_root: FloatArray,
    teacher_inverse: FloatArray,
    v_teacher: FloatArray,
    K: int,
    P: int,
    rates: FloatArray,
    noise: float,
    weight_decay: float,
    batch_size: int,
    y: FloatArray,
    out: FloatArray,
) -> None:
    """Write dy/dalpha from averages over `points`, as `teacher_student.theory.sampled_drift` takes them, into `out`."""
    M = len(v_teacher)
    end_Q = P * P
    end_R = end_Q + P * M
    end_sigma = end_R + P
    end_xi_out = end_sigma + K * P
    along = y[end_Q:end_R].copy().reshape((P, M)) @ teacher_inverse
    eigenvalues, vectors = np.linalg.eigh(y[:end_Q].copy().reshape((P, P)) - along @ along.T)
    fields = np.zeros((M + P, M + P))
    fields[:M, :M] = teacher_root
    fields[M:, :M] = along
    fields[M:, M:] = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    h_points, hh, slow = np.empty((P, M + P)), np.empty((P, P)), np.empty(P + K * P + K)
    sigma, xi_out, v = y[end_R:end_sigma], y[end_sigma:end_xi_out].reshape((K, P)), y[end_xi_out:]
    mean_forces_of_points(
        g, g_prime, g_teacher, points, fields, noise, sigma, xi_out, v, v_teacher, rates, batch_size, h_points, hh, slow
    )
    flow(h_points @ np.concatenate((fields[M:], fields[:M])).T, hh, slow, out)
    ends = (0, end_Q, end_R, end_sigma, end_xi_out, len(y))
    shrink = (2.0 * rates[0], rates[0], rates[1], rates[2], rates[3])
    for part in range(5):
        for i in range(ends[part], ends[part + 1]):
            out[i] -= weight_decay * shrink[part] * y[i]


_sampled_pointer = cfunc(_SAMPLED, cache=True)(_sampled_velocity)
