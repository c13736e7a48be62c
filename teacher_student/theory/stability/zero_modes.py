"""What the zero eigenvalues of a Jacobian belong to: symmetries of the dynamics, families of fixed points, conservation laws.

Three kinds are told apart. A *symmetry* carries every solution into a solution. A *family* of fixed points need not come from
one: rescaling xi_in against sigma leaves the network as it is but changes how fast it learns, so it maps solutions onto other
curves, and yet fixed points onto fixed points where the steps themselves vanish. A *conserved* quantity labels fixed points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from teacher_student.arrays import FloatArray
from teacher_student.order_parameters import OrderParameters, generalisation_error, unit_overlaps
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.stability.conserved import conserved_quantities
from teacher_student.theory.stability.families import families_of_modes, function_of_modes, rescalings_of_units
from teacher_student.theory.stability.symmetries import rotations, rotations_of_inputs, rotations_of_units

# Of unit vectors; the Jacobian's own error, 1e-10, is amplified by its condition.
_IN_KERNEL = 1e-6
_ZERO_ERROR = 1e-12
_CANDIDATES = (
    ("symmetry", rotations),
    ("symmetry", rotations_of_units),
    ("symmetry", rotations_of_inputs),
    ("family", families_of_modes),
    ("family", rescalings_of_units),
)
_SAME_FUNCTION = "change of sigma, xi_out and v that leaves the output as it is"


@dataclass(frozen=True, eq=False)
class ZeroMode:
    """A direction with eigenvalue zero.

    Attributes
    ----------
    kind : str
        "symmetry", "family", "conserved" or "unexplained", for instance at a bifurcation.
    name : str
        The symmetry, family or conserved quantity.
    direction : (n,) array
        In the coordinates of the fixed point, of norm 1. Directions are orthonormal among each other.
    """

    kind: str
    name: str
    direction: FloatArray


def name_zero_modes(
    state: OrderParameters, rule: LearningRule, coordinates: Coordinates, J: FloatArray, basis: FloatArray, n_zero: int
) -> tuple[ZeroMode, ...]:
    """Return the `n_zero` zero modes of `J` (n, n) restricted to the columns of `basis` (n, m), named where understood.

    Symmetries are named first, then families, then conserved quantities; each takes from the kernel what is left of it. Where an
    eigenvalue zero has fewer eigenvectors than its multiplicity, there are fewer modes than `n_zero`.
    """
    if n_zero == 0:
        return ()
    _, _, rows = np.linalg.svd(basis.T @ J @ basis)
    scale = max(float(np.linalg.norm(J, 2)), 1e-300)
    kernel = np.array([row for row in rows[::-1][:n_zero] if np.linalg.norm(J @ basis @ row) < _IN_KERNEL * scale])
    free = kernel.reshape(-1, basis.shape[1]) @ basis.T
    modes: list[ZeroMode] = []
    for kind, found in _CANDIDATES:
        for name, vector in found(state, rule, coordinates):
            free = _take(kind, name, vector, free, modes)
    for name, gradients in conserved_quantities(state, rule, coordinates):
        changing, free = _split(gradients, free)
        modes += [ZeroMode("conserved", name, vector) for vector in changing]
    if rule.weight_decay == 0:
        gradients = function_of_modes(state, rule, coordinates)
        if len(gradients) > 0:
            free, still = _split(gradients, free)
            modes += [ZeroMode("family", _SAME_FUNCTION, vector) for vector in still]
        if rule.noise == 0 and state.eps_g(rule.activation, rule.teacher_activation) < _ZERO_ERROR:
            free, flat = _split(gradient_of_eps_g(state, rule, coordinates)[np.newaxis], free)
            modes += [ZeroMode("family", "zero generalisation error", vector) for vector in flat]
    return (*modes, *(ZeroMode("unexplained", "", vector) for vector in free))


def _split(gradients: FloatArray, free: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the directions of `free` along which a quantity with one of the `gradients` changes, and the others."""
    if len(gradients) == 0 or len(free) == 0:
        return free[:0], free
    _, values, rows = np.linalg.svd(gradients @ free.T)
    rank = int((values > _IN_KERNEL).sum())
    return rows[:rank] @ free, rows[rank:] @ free


def gradient_of_eps_g(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> FloatArray:
    """Return the derivative of eps_g with respect to the coordinates, (n,), by central differences."""
    y = coordinates.start[coordinates.moving]
    steps = 1e-5 * np.vstack([np.eye(len(y)), -np.eye(len(y))])
    factors = coordinates.parts(y + steps)
    Q, R = unit_overlaps(factors)
    eps_g = generalisation_error(Q, R, state.T, factors["v"], state.v_teacher, rule.activation, rule.teacher_activation)
    return (eps_g[: len(y)] - eps_g[len(y) :]) / 2e-5


def _take(kind: str, name: str, vector: FloatArray, free: FloatArray, modes: list[ZeroMode]) -> FloatArray:
    """Name `vector` if it lies in the kernel; return an orthonormal basis of what is then left of `free`."""
    for mode in modes:
        vector = vector - (mode.direction @ vector) * mode.direction
    norm = np.linalg.norm(vector)
    if norm < _IN_KERNEL or len(free) == 0:
        return free
    vector = vector / norm
    coefficients = free @ vector
    if np.linalg.norm(vector - coefficients @ free) > 1e3 * _IN_KERNEL:
        return free
    direction = coefficients / np.linalg.norm(coefficients)
    modes.append(ZeroMode(kind, name, direction @ free))
    return np.asarray(scipy.linalg.null_space(direction[np.newaxis]).T @ free)
