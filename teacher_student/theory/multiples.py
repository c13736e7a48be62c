"""Multiples of one another in a student: modes and units that a rescaling makes the same (docs/theory.rst: `multiples`).

Two kinds of rescaling are used. The sign of a mode may change together with its column of xi_out. So may that of a unit, together
with its row of xi_out and, if g is odd, its output weight. This changes no step. And a piecewise linear unit of a plain committee
may be multiplied by c > 0 together with its output weight. The steps of two units keep a ratio that both kinds of weights have.
What is the same after a rescaling, as `teacher_student.theory.equalities` finds it, stays in its ratio for ever.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from teacher_student.activations import ACTIVATIONS, Activation
from teacher_student.arrays import FloatArray
from teacher_student.layout import Sizes, pack
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.velocities import Velocities

# Numbers that differ by less, in units of what they are made of, differ by rounding.
ROUNDING = 1e-14
# Where g and its mirror image are compared.
_TRIED = np.linspace(0.05, 6.0, 24).tolist()


class Multiples(NamedTuple):
    """Every mode is `modes` (P,), every field of a unit `units` (K,) and every output weight `weights` (K,) times what rescaling
    makes of it.
    """

    modes: FloatArray
    units: FloatArray
    weights: FloatArray

    def flat(self, sizes: Sizes) -> FloatArray:
        """Return the multiple of every entry of the flat state, (n_full,)."""
        of_modes = np.outer(self.modes, self.modes)
        of_teacher = np.repeat(self.modes[:, np.newaxis], sizes.M, axis=1)
        of_links = self.units[:, np.newaxis] / self.modes
        ones = np.ones(sizes.P)
        parts = {"Q_modes": of_modes, "R_modes": of_teacher, "sigma": ones, "xi_out": of_links, "v": self.weights}
        if sizes.rows > 1:
            parts |= {f"{name}_velocities": part for name, part in (("Q", of_modes), ("R", of_teacher), ("C", of_modes))}
            parts |= {"sigma_velocity": ones, "xi_out_velocity": of_links, "v_velocity": self.weights}
        return pack(parts, sizes)


def multiples_of(state: OrderParameters, velocity: Velocities, rule: LearningRule) -> Multiples:
    """Return a rescaling of `state` and `velocity` that makes the same what are multiples of one another under `rule`."""
    student = ACTIVATIONS[rule.activation]
    cosines, lengths = directions(state, velocity)
    modes = np.ones(state.n_modes)
    for a in range(1, state.n_modes):
        for b in range(a):
            sign = 1.0 if cosines[a] @ cosines[b] > 0.0 else -1.0
            if lengths[a] > 0.0 and lengths[b] > 0.0 and (np.abs(cosines[a] - sign * cosines[b]) <= ROUNDING).all():
                modes[a] = sign * (lengths[a] / lengths[b] if _may_be_multiplied(state, velocity, rule) else 1.0) * modes[b]
                break
    sizes = np.abs(modes)
    if not sizes.all() or not np.isfinite(1.0 / sizes).all():
        return Multiples(np.ones(state.n_modes), np.ones(state.n_units), np.ones(state.n_units))
    # Units of a plain committee have the multiples of their modes.
    units = sizes.copy() if (sizes != 1.0).any() else np.ones(state.n_units)
    parity = parity_of(student)
    if parity != 0:
        units = units * _signs_of_units(state, modes, cosines)
    return Multiples(modes, units, np.abs(units) if parity > 0 else units)


def rescaled(state: OrderParameters, velocity: Velocities, by: Multiples) -> tuple[OrderParameters, Velocities]:
    """Return `state` and `velocity` divided by their multiples."""
    of_modes, of_links = np.outer(by.modes, by.modes), by.units[:, np.newaxis] / by.modes
    return (
        dataclasses.replace(
            state,
            Q_modes=state.Q_modes / of_modes,
            R_modes=state.R_modes / by.modes[:, np.newaxis],
            xi_out=state.xi_out / of_links,
            v=state.v / by.weights,
        ),
        dataclasses.replace(
            velocity,
            Q_velocities=velocity.Q_velocities / of_modes,
            R_velocities=velocity.R_velocities / by.modes[:, np.newaxis],
            C_velocities=velocity.C_velocities / of_modes,
            xi_out_velocity=velocity.xi_out_velocity / of_links,
            v_velocity=velocity.v_velocity / by.weights,
        ),
    )


def directions(state: OrderParameters, velocity: Velocities) -> tuple[FloatArray, FloatArray]:
    """Return the overlaps of every mode and its velocity with unit vectors along all modes, velocities and teacher units, and the
    lengths of the modes with their velocities, (P,); the former are divided by the latter.
    """
    rows = unit_rows(state, velocity)
    lengths = np.hypot(np.sqrt(state.Q_modes.diagonal()), np.sqrt(velocity.Q_velocities.diagonal()))
    return np.divide(rows, lengths[:, np.newaxis], out=np.zeros_like(rows), where=lengths[:, np.newaxis] > 0.0), lengths


def unit_rows(state: OrderParameters, velocity: Velocities) -> FloatArray:
    """Return the overlaps of every mode and its velocity with unit vectors along all modes, velocities and teacher units."""
    lengths = [np.sqrt(gram.diagonal()) for gram in (state.Q_modes, velocity.Q_velocities, state.T)]
    inverse = np.concatenate([np.divide(1.0, length, out=np.zeros_like(length), where=length > 0) for length in lengths])
    of_modes = np.hstack([state.Q_modes, velocity.C_velocities, state.R_modes])
    of_velocities = np.hstack([velocity.C_velocities.T, velocity.Q_velocities, velocity.R_velocities])
    return np.hstack([of_modes * inverse, of_velocities * inverse])


def parity_of(activation: Activation) -> int:
    """Return 1 if g is even, -1 if it is odd, bit for bit, and 0 otherwise."""
    g = activation.g.ctypes
    for parity in (1, -1):
        if all(g(-x) == parity * g(x) for x in _TRIED):
            return parity
    return 0


def _may_be_multiplied(state: OrderParameters, velocity: Velocities, rule: LearningRule) -> bool:
    """Return whether units are of a plain committee whose modes are one unit each, piecewise linear, and no more learn than these
    and output weights.
    """
    frozen = not rule.largest_rates[1:3].any() and not velocity.sigma_velocity.any() and not velocity.xi_out_velocity.any()
    plain = state.n_units == state.n_modes and np.array_equal(state.B, np.eye(state.n_units) * state.B[0, 0])
    return frozen and plain and "piecewise_linear" in ACTIVATIONS[rule.activation].families


def _signs_of_units(state: OrderParameters, modes: FloatArray, cosines: FloatArray) -> FloatArray:
    """Return the sign (K,) of every unit that makes the first of its parts along different directions positive."""
    weights = state.B * modes
    signs, alike = np.ones(state.n_units), np.sign(modes)[:, np.newaxis] * cosines
    same = (np.abs(alike[:, np.newaxis] - alike) <= ROUNDING).all(axis=2)
    group = same.argmax(axis=1)
    for k in range(state.n_units):
        parts = np.bincount(group, weights=weights[k], minlength=state.n_modes)
        significant = parts[np.abs(parts) > ROUNDING * np.abs(weights[k]).max(initial=0.0)]
        if len(significant) and significant[0] < 0.0:
            signs[k] = -1.0
    return signs
