"""The moving coordinates of a problem: which entries of the state learn, each independent one once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray, IntArray
from teacher_student.gaussian_averages import Family, averages_of
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.flow import Flow, slope
from teacher_student.velocities import Velocities, at_rest, velocity_shapes


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Independent coordinates within the full state vector of `teacher_student.theory.drift`.

    Attributes
    ----------
    start : (n_full,) array
        The full state vector at alpha = 0, from which frozen factors keep their values.
    moving : (n,) int array
        Positions of the coordinates: the upper triangle of Q_modes (without the diagonal if the rule keeps lengths) and all of
        R_modes if xi_in moves, then sigma, xi_out and v if they do.
    mirror : (n,) int array
        For an entry of Q_modes above the diagonal its mirror image, otherwise the position itself.
    labels : tuple of str
        "Q_modes[0,1]" and so on.
    """

    start: FloatArray
    moving: IntArray
    mirror: IntArray
    labels: tuple[str, ...]

    def expand(self, y: FloatArray) -> FloatArray:
        """Return full state vectors (..., n_full) of coordinates `y` (..., n)."""
        full = np.broadcast_to(self.start, (*y.shape[:-1], len(self.start))).copy()
        full[..., self.moving] = y
        full[..., self.mirror] = y
        return full


def state_vector(state: OrderParameters) -> FloatArray:
    """Return the full state vector of `state`, (n_full,)."""
    parts = (state.Q_modes, state.R_modes, state.sigma, state.xi_out, state.v)
    return np.concatenate([part.ravel() for part in parts])


def unpack(full: FloatArray, state: OrderParameters) -> dict[str, FloatArray]:
    """Return Q_modes, R_modes, sigma, xi_out and v of full state vectors (..., n_full), with the shapes of `state`.

    Longer vectors, of `teacher_student.theory.momentum_drift`, hold the velocities too, named as in `Velocities`.
    """
    K, P, M = state.n_units, state.n_modes, state.n_teacher
    shapes: dict[str, tuple[int, ...]] = {"Q_modes": (P, P), "R_modes": (P, M), "sigma": (P,), "xi_out": (K, P), "v": (K,)}
    if full.shape[-1] > P * P + P * M + P + K * P + K:
        shapes |= velocity_shapes(state)
    arrays, position = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        arrays[name] = full[..., position : position + size].reshape(*full.shape[:-1], *shape)
        position += size
    return arrays


def coordinates_of(state: OrderParameters, rule: LearningRule, velocity: Velocities | None = None) -> Coordinates:
    """Return the moving coordinates of `state` under `rule`; with friction also of `velocity`, by default zero.

    A factor moves if it learns or has a velocity.
    """
    K, P, M = state.n_units, state.n_modes, state.n_teacher
    moves = rule.largest_rates > 0
    if velocity is not None:
        moves |= velocity.of_factors
    xi_in_moves, sigma_moves, xi_out_moves, v_moves = moves
    entries: list[tuple[int, int, str]] = []
    if xi_in_moves:
        pairs = [(a, b) for a in range(P) for b in range(a, P) if a != b or not rule.spherical]
        entries += [(a * P + b, b * P + a, f"Q_modes[{a},{b}]") for a, b in pairs]
        entries += [(P * P + i, P * P + i, f"R_modes[{i // M},{i % M}]") for i in range(P * M)]
    position = P * P + P * M
    if sigma_moves:
        entries += [(position + a, position + a, f"sigma[{a}]") for a in range(P)]
    position += P
    if xi_out_moves:
        entries += [(position + i, position + i, f"xi_out[{i // P},{i % P}]") for i in range(K * P)]
    position += K * P
    if v_moves:
        entries += [(position + k, position + k, f"v[{k}]") for k in range(K)]
    position += K
    start = state_vector(state)
    if rule.friction is not None:
        velocities = at_rest(state) if velocity is None else velocity
        start = np.concatenate([start, *(getattr(velocities, name).ravel() for name in velocity_shapes(state))])
        entries += [(position + i, position + j, _velocity_label(label)) for i, j, label in entries]
        position *= 2
        if xi_in_moves:
            entries += [(position + i, position + i, f"C_velocities[{i // P},{i % P}]") for i in range(P * P)]
    return Coordinates(
        start=start,
        moving=np.array([entry[0] for entry in entries], dtype=np.int64),
        mirror=np.array([entry[1] for entry in entries], dtype=np.int64),
        labels=tuple(entry[2] for entry in entries),
    )


def _velocity_label(label: str) -> str:
    """Return the name of the velocity that lies where `label` lies in the state, "v_velocity[0]" for "v[0]"."""
    name, entry = label.split("[")
    return f"{name.replace('modes', 'velocities') if 'modes' in name else name + '_velocity'}[{entry}"


class ClosedDrift:
    """f(alpha, y) = dy/dalpha on the moving coordinates, per unit of alpha, from Gaussian averages in closed form.

    Attributes
    ----------
    flow : teacher_student.theory.flow.Flow
        The same for compiled code.
    """

    def __init__(self, state: OrderParameters, rule: LearningRule, coordinates: Coordinates, family: Family) -> None:
        self.flow = Flow(
            dynamics=_dynamics_pointer(rule),
            averages=family.averages,
            parameters=family.parameters,
            T=state.T.copy(),
            v_teacher=state.v_teacher.copy(),
            n_units=state.n_units,
            n_modes=state.n_modes,
            schedules=rule.schedules,
            window=np.array([-np.inf, np.inf]),
            rates=np.empty(4),
            noise=rule.noise,
            weight_decay=rule.weight_decay,
            batch_size=rule.batch_size,
            spherical=rule.spherical,
            friction=rule.friction or 0.0,
            moving=coordinates.moving,
            mirror=coordinates.mirror,
            full=coordinates.start.copy(),
            full_slope=np.empty(len(coordinates.start)),
        )

    def __call__(self, alpha: float, y: FloatArray) -> FloatArray:
        out = np.empty(len(y))
        slope(self.flow, float(alpha), np.ascontiguousarray(y), out)
        return out


def _dynamics_pointer(rule: LearningRule) -> Any:
    """Return the right-hand side that the rule needs; its import compiles it."""
    if rule.friction is None:
        from teacher_student.theory.dynamics import dynamics_pointer

        return dynamics_pointer
    from teacher_student.theory.velocity_dynamics import velocity_dynamics_pointer

    return velocity_dynamics_pointer


@dataclass(frozen=True, eq=False)
class DriftAt:
    """y -> f(alpha, y) at one time, `drift` being a `ClosedDrift` or any such function."""

    drift: Callable[[float, FloatArray], FloatArray]
    alpha: float

    def __call__(self, y: FloatArray) -> FloatArray:
        return self.drift(self.alpha, y)


def right_hand_side(
    state: OrderParameters, rule: LearningRule, coordinates: Coordinates
) -> Callable[[float, FloatArray], FloatArray]:
    """Return f(alpha, y) = dy/dalpha on the moving coordinates (per unit of alpha).

    It is a `ClosedDrift`, or a `teacher_student.theory.sampled_drift.SampledDrift` where the Gaussian averages are not known in
    closed form.
    """
    rule = rule.without_momentum
    family = averages_of(*get_activations(rule.activation, rule.teacher_activation))
    if family is None:
        from teacher_student.theory.sampled_drift import SampledDrift  # which builds on this module

        return SampledDrift(state, rule, coordinates)
    return ClosedDrift(state, rule, coordinates, family)


@dataclass(frozen=True)
class Piece:
    """A stretch of alpha, from `start` to `end`, on which no schedule jumps; `margin` is how well its ends are known."""

    start: float
    end: float
    margin: float

    def within(self, alpha: float) -> float:
        """Return the time nearest `alpha` with rates of this piece, for at its ends those of its neighbours may hold."""
        return min(max(alpha, self.start + self.margin), self.end - self.margin)


def smooth_pieces(rule: LearningRule, last: float) -> list[Piece]:
    """Return the pieces that the jumps of the schedules of `rule` cut the time from 0 to `last` into."""
    margin = rule.rounding(np.array(last)).item()
    jumps = rule.jumps
    ends = [0.0, *jumps[jumps < last - margin].tolist(), last]
    return [Piece(start, end, min(margin, 0.25 * (end - start))) for start, end in itertools.pairwise(ends) if start < end]
