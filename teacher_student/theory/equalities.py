"""What is the same in a student, units or modes, and stays the same: entries of the state that are one coordinate.

Two modes of the same vector, strength and output modes, or two units of the same output weight and field, take the same step at
every input: runs keep them the same at any N. The right-hand side need not. That of ReLU units in parallel grows as the root of
their squared distance, and that of others exponentially, so that rounding would part them.

Modes and units are sorted into classes. Those of a class have equal vectors, strengths and output weights, and the entries of
xi_out between a unit and the modes of a class, or a mode and the units of a class, have equal sums. All fields of a class are
then equal, and so are all steps of a factor between two classes: what is equal at the start stays so.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, coordinates_of, state_vector
from teacher_student.velocities import Velocities, at_rest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Numbers that differ by less, in units of what they are made of, differ by rounding.
_ROUNDING = 1e-14


class Classes(NamedTuple):
    """The class of every unit, (K,), and of every mode, (P,), named by its first member."""

    units: list[int]
    modes: list[int]

    @property
    def are_single(self) -> bool:
        """Whether no two units and no two modes are the same."""
        return all(of == list(range(len(of))) for of in self)


def independent_coordinates(state: OrderParameters, rule: LearningRule, velocity: Velocities | None = None) -> Coordinates:
    """Return the moving coordinates of `state` under `rule`, one for all entries that the start makes equal for ever."""
    coordinates = coordinates_of(state, rule, velocity)
    velocity = at_rest(state) if velocity is None else velocity
    classes = classes_of(state, velocity)
    if classes.are_single:
        return coordinates
    return _tied(coordinates, _groups(state, velocity, classes)[: len(coordinates.start)])


def equal_entries(state: OrderParameters) -> IntArray:
    """Return the positions of the full state, (m, 2), of entries that equal others for ever, each with the first of them."""
    velocity = at_rest(state)
    classes = classes_of(state, velocity)
    groups = [] if classes.are_single else _groups(state, velocity, classes)[: len(state_vector(state))]
    pairs = [(position, groups.index(group)) for position, group in enumerate(groups)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)


def smallest_distance(state: OrderParameters) -> float:
    """Return the smallest squared distance of two modes that are not the same, relative to the larger squared length."""
    Q = state.Q_modes
    squares = Q.diagonal()
    distances = squares[:, np.newaxis] - 2.0 * Q + squares
    larger = np.maximum(squares[:, np.newaxis], squares)
    modes = np.array(classes_of(state, at_rest(state)).modes)
    apart = (modes[:, np.newaxis] != modes) & (larger > 0.0)
    return float((distances[apart] / larger[apart]).min(initial=np.inf))


def classes_of(state: OrderParameters, velocity: Velocities) -> Classes:
    """Return what is the same in `state`: the coarsest classes that the steps respect."""
    vectors = _unit_rows(state, velocity)
    lengths = np.hypot(np.sqrt(state.Q_modes.diagonal()), np.sqrt(velocity.Q_velocities.diagonal()))
    strengths = np.column_stack([state.sigma, velocity.sigma_velocity])
    weights = np.column_stack([state.v, velocity.v_velocity])
    links = np.stack([state.xi_out, velocity.xi_out_velocity])
    modes = _sorted_out([(vectors, lengths), (strengths, np.abs(strengths).max(axis=1))])
    units = _sorted_out([(weights, np.abs(weights).max(axis=1))])
    while True:
        of_modes = _sums(links, units).reshape(-1, state.n_modes).T
        of_units = _sums(np.swapaxes(links, 1, 2), modes).reshape(-1, state.n_units).T
        size = float(np.abs(links).sum())
        finer = Classes(_divided(units, of_units, size), _divided(modes, of_modes, size))
        if finer == (units, modes):
            return finer
        units, modes = finer


def _unit_rows(state: OrderParameters, velocity: Velocities) -> FloatArray:
    """Return the overlaps of every mode and its velocity with unit vectors along all modes, velocities and teacher units."""
    lengths = [np.sqrt(gram.diagonal()) for gram in (state.Q_modes, velocity.Q_velocities, state.T)]
    inverse = np.concatenate([np.divide(1.0, length, out=np.zeros_like(length), where=length > 0) for length in lengths])
    of_modes = np.hstack([state.Q_modes, velocity.C_velocities, state.R_modes])
    of_velocities = np.hstack([velocity.C_velocities.T, velocity.Q_velocities, velocity.R_velocities])
    return np.hstack([of_modes * inverse, of_velocities * inverse])


def _sorted_out(features: list[tuple[FloatArray, FloatArray]]) -> list[int]:
    """Return the first member that every member equals; each of `features` has rows (n, m) and the sizes (n,) that round them."""
    first: list[int] = []
    for i in range(len(features[0][0])):
        same = (
            j
            for j in sorted(set(first))
            if all((np.abs(rows[i] - rows[j]) <= _ROUNDING * max(size[i], size[j])).all() for rows, size in features)
        )
        first.append(next(same, i))
    return first


def _divided(classes: list[int], sums: FloatArray, size: float) -> list[int]:
    """Return the classes whose members also have equal `sums` (n, m), which are rounded relative to `size`."""
    n = len(classes)
    return _sorted_out([(np.array(classes, dtype=np.float64)[:, np.newaxis], np.zeros(n)), (sums, np.full(n, size))])


def _sums(links: FloatArray, classes: list[int]) -> FloatArray:
    """Return the sums of `links` (2, n, m) over the members of each class, (2, classes, m)."""
    return np.stack([links[:, np.array(classes) == of].sum(axis=1) for of in sorted(set(classes))], axis=1)


def _groups(state: OrderParameters, velocity: Velocities, classes: Classes) -> list[Hashable]:
    """Return for every entry of the full state, velocities included, what makes it equal to others."""
    units, modes = classes
    teachers = range(state.n_teacher)
    values = np.stack([state.xi_out, velocity.xi_out_velocity], axis=-1).reshape(-1, 2)
    links = _sorted_out([(values, np.abs(values).max(axis=1))])
    groups: list[Hashable] = []
    for name in ("", "velocity "):
        groups += [(name + "Q", min(a, b), max(a, b)) for a in modes for b in modes]
        groups += [(name + "R", a, m) for a in modes for m in teachers]
        groups += [(name + "sigma", a) for a in modes]
        groups += [(name + "xi_out", k, a, links[i * len(modes) + j]) for i, k in enumerate(units) for j, a in enumerate(modes)]
        groups += [(name + "v", k) for k in units]
    return groups + [("C", a, b) for a in modes for b in modes]


def _tied(coordinates: Coordinates, groups: list[Hashable]) -> Coordinates:
    """Return `coordinates` with one for all positions of the full state of the same of the `groups`.

    A group with an entry that does not move, as the kept length of a mode, does not move.
    """
    start = coordinates.start.copy()
    moves = np.zeros(len(start), dtype=bool)
    moves[coordinates.moving] = moves[coordinates.mirror] = True
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    kept = []
    for positions in members.values():
        frozen = [position for position in positions if not moves[position]]
        start[positions] = start[(frozen or positions)[0]]
        if not frozen:
            kept.append(positions)
    images = {positions[0]: positions for positions in kept}
    chosen = [i for i, position in enumerate(coordinates.moving) if position in images]
    most = max((len(positions) for positions in kept), default=1)
    moving = coordinates.moving[chosen]
    mirror = [[images[position][min(j, len(images[position]) - 1)] for position in moving.tolist()] for j in range(most)]
    return Coordinates(
        start=start,
        moving=moving,
        mirror=np.array(mirror, dtype=np.int64).reshape(most, len(moving)),
        labels=tuple(coordinates.labels[i] for i in chosen),
    )
