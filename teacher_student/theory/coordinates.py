"""The moving coordinates of a problem: which entries of the flat state learn, each independent one once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.layout import FACTORS, SLOW_FACTORS, Sizes, pack, positions, unpack, views
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.velocities import Velocities, at_rest


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Independent coordinates within the flat state of `teacher_student.layout`.

    Attributes
    ----------
    sizes : Sizes
    start : (n_full,) array
        The flat state at alpha = 0, from which frozen factors keep their values.
    moving : (n,) int array
        Positions of the coordinates: the upper triangle of Q_modes (without the diagonal if the rule keeps lengths) and all of
        R_modes if xi_in moves, then the slow factors that do; with friction then their velocities.
    places, sources : (m,) int arrays
        Every position that moves, and the coordinate whose value it has: an overlap is the same below the diagonal.
    multiples : (m,) array
        What the value of the coordinate is multiplied by there: 1, but for modes and units that stay multiples of one another.
    labels : tuple of str
        "Q_modes[0,1]" and so on.
    """

    sizes: Sizes
    start: FloatArray
    moving: IntArray
    places: IntArray
    sources: IntArray
    multiples: FloatArray
    labels: tuple[str, ...]

    def expand(self, y: FloatArray) -> FloatArray:
        """Return flat states (..., n_full) of coordinates `y` (..., n)."""
        full = np.broadcast_to(self.start, (*y.shape[:-1], len(self.start))).copy()
        full[..., self.places] = y[..., self.sources] * self.multiples
        return full

    def parts(self, y: FloatArray) -> dict[str, FloatArray]:
        """Return the named parts of the flat states of coordinates `y` (..., n), with its leading dimensions."""
        return unpack(self.expand(y), self.sizes)

    def expand_change(self, change: FloatArray) -> FloatArray:
        """Return the changes (n_full,) of the flat state by that of the coordinates, (n,)."""
        full = np.zeros(len(self.start))
        full[self.places] = change[self.sources] * self.multiples
        return full


def sizes_of(state: OrderParameters, rule: LearningRule | None = None) -> Sizes:
    """Return the sizes of `state`, with velocities if `rule` has friction."""
    rows = 1 if rule is None or rule.friction is None else 2
    return Sizes(K=state.n_units, P=state.n_modes, M=state.n_teacher, rows=rows)


def state_vector(state: OrderParameters) -> FloatArray:
    """Return the flat state of `state` without velocities, (n_full,)."""
    return pack({name: getattr(state, name) for name in FACTORS}, sizes_of(state))


def coordinates_of(state: OrderParameters, rule: LearningRule, velocity: Velocities | None = None) -> Coordinates:
    """Return the moving coordinates of `state` under `rule`; with friction also of `velocity`, by default zero.

    A factor moves if it learns or has a velocity.
    """
    sizes = sizes_of(state, rule)
    moves = rule.largest_rates > 0
    if velocity is not None:
        moves |= velocity.of_factors
    xi_in_moves, *slow_move = moves
    of_modes = {"Q_modes": "Q_velocities", "R_modes": "R_velocities"} if xi_in_moves else {}
    of_slow = {name: f"{name}_velocity" for name, learns in zip(SLOW_FACTORS, slow_move, strict=True) if learns}
    names = [*of_modes, *of_slow]
    parts = {name: getattr(state, name) for name in FACTORS}
    if rule.friction is not None:
        velocities = at_rest(state) if velocity is None else velocity
        parts |= {name: getattr(velocities, name) for name in sizes.names[len(FACTORS) :]}
        names += [*of_modes.values(), *of_slow.values(), *(["C_velocities"] if xi_in_moves else [])]
    where = positions(sizes)
    moving, labels = [], []
    for name in names:
        for index in np.ndindex(where[name].shape):
            symmetric = name in ("Q_modes", "Q_velocities")
            if symmetric and (index[0] > index[1] or (index[0] == index[1] and rule.spherical)):
                continue
            moving.append(int(where[name][index]))
            labels.append(f"{name}[{','.join(map(str, index))}]")
    mirrored = _mirror(sizes)[moving] if moving else np.empty(0, dtype=np.int64)
    order = np.arange(len(moving))
    twice = mirrored != moving
    return Coordinates(
        sizes=sizes,
        start=pack(parts, sizes),
        moving=np.array(moving, dtype=np.int64),
        places=np.array([*moving, *mirrored[twice]], dtype=np.int64),
        sources=np.array([*order, *order[twice]], dtype=np.int64),
        multiples=np.ones(len(moving) + int(twice.sum())),
        labels=tuple(labels),
    )


def _mirror(sizes: Sizes) -> IntArray:
    """Return, for every position of the flat state, that of the same overlap on the other side of a diagonal, or its own."""
    mirror = np.arange(sizes.n_full)
    gram = views(mirror, sizes).gram
    gram[:] = np.swapaxes(gram, 1, 2).copy()
    return mirror
