"""Continuous symmetries of the dynamics: transformations of the factors that carry every solution into a solution."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.linalg

from teacher_student.activations import get_activation
from teacher_student.arrays import FloatArray
from teacher_student.layout import FACTORS, pack, positions
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates


def polynomial_of(activation: str) -> tuple[float, ...] | None:
    """Return c0, c1, c2 of an activation c0 + c1 x + c2 x^2, None of any other."""
    return get_activation(activation).families.get("polynomial")


def is_linear(activation: str) -> bool:
    """Return whether an activation is c1 x."""
    c = polynomial_of(activation)
    return c is not None and c[0] == c[2] == 0.0


def change_of(
    state: OrderParameters,
    coordinates: Coordinates,
    G: FloatArray,
    d_sigma: FloatArray,
    d_xi_out: FloatArray,
    d_v: FloatArray | float = 0.0,
) -> FloatArray:
    """Return the change, (n,), of the coordinates when xi_in changes by G xi_in, and sigma, xi_out and v by what is given."""
    d_Q_modes = G @ state.Q_modes + state.Q_modes @ G.T
    parts = (d_Q_modes, G @ state.R_modes, d_sigma, d_xi_out, np.zeros(state.n_units) + d_v)
    return pack(dict(zip(FACTORS, parts, strict=True)), coordinates.sizes)[coordinates.moving]


def free_rates(rule: LearningRule) -> tuple[float, float, float]:
    """Return the rates of xi_in, sigma and xi_out; 0 for modes whose lengths are kept, which do not mix and rescale freely."""
    eta_xi_in, eta_sigma, eta_xi_out, _ = rule.eta
    return 0.0 if rule.spherical else eta_xi_in, eta_sigma, eta_xi_out


def rotations(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return the rotations of modes that are symmetries of the dynamics, as named tangent vectors.

    Rotating two modes of equal abs(sigma) in xi_in, and back in xi_out, changes neither the network nor any length, so that steps
    rotate along. That needs a sigma that does not learn, and xi_in and xi_out that do.
    """
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    if eta_sigma > 0 or eta_xi_in == 0 or eta_xi_out == 0:
        return []
    found = []
    for a in range(state.n_modes):
        for b in range(a + 1, state.n_modes):
            if state.sigma[a] != 0 and abs(state.sigma[a]) == abs(state.sigma[b]):
                G = np.zeros((state.n_modes, state.n_modes))
                G[a, b], G[b, a] = 1.0, -1.0
                d_xi_out = -(state.xi_out * state.sigma) @ G / state.sigma
                vector = change_of(state, coordinates, G, np.zeros(state.n_modes), d_xi_out)
                found.append((f"rotation of modes {a} and {b}", vector))
    return found


def rotations_of_units(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return rotations of units into each other that are symmetries: rows of xi_out turn, or if it does not learn the modes.

    Units c0 + c2 x^2 need equal output weights, which do not learn. Linear ones take output weights that learn with them. Modes
    turn only if no length changes by it, and sigma does not learn.
    """
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    learns_v, turns_modes = bool(rule.eta.v > 0), eta_xi_out == 0
    c = polynomial_of(rule.activation)
    rotates = is_linear(rule.activation) if learns_v else c is not None and c[1] == 0.0
    if turns_modes and (eta_xi_in == 0 or eta_sigma > 0 or np.linalg.matrix_rank(state.B) < max(state.B.shape)):
        rotates = False
    found = []
    for i, k in itertools.combinations(range(state.n_units), 2):
        if not rotates or not (learns_v or state.v[i] == state.v[k]):
            continue
        of_units = np.zeros((state.n_units, state.n_units))
        of_units[i, k], of_units[k, i] = 1.0, -1.0
        G, d_xi_out = np.zeros_like(state.Q_modes), of_units @ state.xi_out
        if turns_modes:
            G, d_xi_out = np.linalg.solve(state.B, of_units @ state.B).astype(np.float64), np.zeros_like(state.xi_out)
            if not np.allclose(G, -G.T, rtol=0.0, atol=1e-12):
                continue
        vector = change_of(state, coordinates, G, np.zeros_like(state.sigma), d_xi_out, of_units @ state.v)
        found.append((f"rotation of units {i} and {k}", vector))
    return found


def rotations_of_inputs(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return the rotations of input space within the span of the teacher that leave the teacher's function as it is.

    With w* = X e, e an orthonormal basis, they commute with X^T diag(v*) X if the teacher's units have a quadratic part, and
    leave X^T v* alone if they have a linear one. A teacher of another activation has none but exchanges of units, which are
    not continuous.
    """
    c = polynomial_of(rule.teacher_activation or rule.activation)
    if rule.eta.xi_in == 0 or c is None:
        return []
    eigenvalues, vectors = np.linalg.eigh(state.T)
    within = eigenvalues > 1e-9 * eigenvalues[-1]
    X = vectors[:, within] * np.sqrt(eigenvalues[within])
    pairs = list(itertools.combinations(range(X.shape[1]), 2))
    planes = np.zeros((len(pairs), X.shape[1], X.shape[1]))
    for plane, (i, j) in zip(planes, pairs, strict=True):
        plane[i, j], plane[j, i] = 1.0, -1.0
    form = X.T @ (state.v_teacher[:, np.newaxis] * X)
    of_parts = [c[1] * planes @ (X.T @ state.v_teacher), c[2] * (planes @ form - form @ planes)]
    changes = np.hstack([part.reshape(len(pairs), X.shape[1] ** power) for power, part in enumerate(of_parts, 1)])
    allowed = scipy.linalg.null_space(changes.T, rcond=1e-12) if pairs else np.zeros((0, 0))
    found = []
    for weights in allowed.T:
        change = np.zeros(len(coordinates.start))
        turned = state.R_modes @ np.linalg.pinv(X).T @ np.tensordot(weights, planes, 1) @ X.T
        change[positions(coordinates.sizes)["R_modes"]] = turned
        found.append(("rotation of the inputs that leaves the teacher as it is", change[coordinates.moving]))
    return found
