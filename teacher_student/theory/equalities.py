"""What is the same in a student, units or modes, and stays the same: entries of the state that are one coordinate.

Two modes of the same vector, strength and output modes, or two units of the same output weight and field, take the same step at
every input: runs keep them the same at any N. So do those that are the same but for a factor, see
`teacher_student.theory.multiples`. The right-hand side need not. That of ReLU units in parallel grows as the root of
their squared distance, and that of others exponentially, so that rounding would part them
(docs/theory.rst: `parting`).

Modes and units are sorted into classes. Those of a class have equal vectors, strengths and output weights, and the entries of
xi_out between a unit and the modes of a class, or a mode and the units of a class, have equal sums. All fields of a class are
then equal, and so are all steps of a factor between two classes: what is equal at the start stays so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.layout import FACTORS, VELOCITIES, Sizes, positions
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, coordinates_of
from teacher_student.theory.multiples import ROUNDING, multiples_of, rescaled, unit_rows
from teacher_student.velocities import Velocities, at_rest


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
    multiples = multiples_of(state, velocity, rule)
    same, same_velocity = rescaled(state, velocity, multiples)
    classes = classes_of(same, same_velocity)
    if classes.are_single:
        return coordinates
    groups = _groups(same, same_velocity, classes, coordinates.sizes)
    return _tied(coordinates, groups, multiples.flat(coordinates.sizes))


def smallest_distance(state: OrderParameters, rule: LearningRule) -> float:
    """Return the smallest squared distance between directions of modes, or their opposites, that are not the same for ever."""
    rest = at_rest(state)
    modes = np.array(classes_of(*rescaled(state, rest, multiples_of(state, rest, rule))).modes)
    lengths = np.sqrt(state.Q_modes.diagonal())
    products = np.outer(lengths, lengths)
    apart = (modes[:, np.newaxis] != modes) & (products > 0.0)
    return float(2.0 * (1.0 - np.abs(state.Q_modes[apart]) / products[apart]).min(initial=np.inf))


def classes_of(state: OrderParameters, velocity: Velocities) -> Classes:
    """Return what is the same in `state`: the coarsest classes that the steps respect."""
    vectors = unit_rows(state, velocity)
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


def _sorted_out(features: list[tuple[FloatArray, FloatArray]]) -> list[int]:
    """Return the first member that every member equals; each of `features` has rows (n, m) and the sizes (n,) that round them."""
    first: list[int] = []
    for i in range(len(features[0][0])):
        same = (
            j
            for j in sorted(set(first))
            if all((np.abs(rows[i] - rows[j]) <= ROUNDING * max(size[i], size[j])).all() for rows, size in features)
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


def _groups(state: OrderParameters, velocity: Velocities, classes: Classes, sizes: Sizes) -> list[list[int]]:
    """Return the positions of the flat state that are equal for ever, a list for each value."""
    units, modes = classes
    values = np.stack([state.xi_out, velocity.xi_out_velocity], axis=-1).reshape(-1, 2)
    links = np.reshape(_sorted_out([(values, np.abs(values).max(axis=1))]), state.xi_out.shape)
    of_dimensions = {"mode": modes, "mode_": modes, "student": units, "teacher": range(state.n_teacher)}
    members: dict[Hashable, list[int]] = {}
    for name, where in positions(sizes).items():
        dimensions = {**FACTORS, **VELOCITIES}[name].dimensions
        for index in np.ndindex(where.shape):
            group = [of_dimensions[dimension][i] for dimension, i in zip(dimensions, index, strict=True)]
            if name in ("Q_modes", "Q_velocities"):
                group.sort()
            if name.startswith("xi_out"):
                group.append(links[index])
            members.setdefault((name, *group), []).append(int(where[index]))
    return list(members.values())


def _tied(coordinates: Coordinates, groups: list[list[int]], multiples: FloatArray) -> Coordinates:
    """Return `coordinates` with one for all positions of the flat state of the same of the `groups`, of given `multiples`.

    A group with an entry that does not move, as the kept length of a mode, does not move.
    """
    start = coordinates.start.copy()
    coordinate_of = dict(zip(coordinates.places.tolist(), coordinates.sources.tolist(), strict=True))
    group_of: dict[int, int] = {}
    for number, group in enumerate(groups):
        frozen = [position for position in group if position not in coordinate_of]
        given = (frozen or group)[0]
        start[group] = start[given] * (multiples[group] / multiples[given])
        if not frozen:
            group_of |= dict.fromkeys(group, number)
    # Entries below a diagonal of C_velocities' mirror image are in no group: they follow their coordinate.
    number_of = [group_of.get(position) for position in coordinates.moving.tolist()]
    numbers = list(dict.fromkeys(number for number in number_of if number is not None))
    chosen = [number_of.index(number) for number in numbers]
    order = {number: i for i, number in enumerate(numbers)}
    source_of = [None if number is None else order[number] for number in number_of]
    tied = [(place, source_of[source]) for place, source in coordinate_of.items() if source_of[source] is not None]
    moving = coordinates.moving[chosen]
    places, sources = (np.array(part, dtype=np.int64) for part in zip(*tied, strict=True)) if tied else np.empty((2, 0), np.int64)
    return dataclasses.replace(
        coordinates,
        start=start,
        moving=moving,
        places=places,
        sources=sources,
        multiples=multiples[places] / multiples[moving[sources]],
        labels=tuple(coordinates.labels[i] for i in chosen),
    )
