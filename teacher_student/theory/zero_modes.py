"""What the zero eigenvalues of a Jacobian belong to: symmetries of the dynamics, families of fixed points, conservation laws.

Three kinds are told apart. A *symmetry* carries every solution into a solution. A *family* of fixed points need not come from
one: rescaling xi_in against sigma leaves the network as it is but changes how fast it learns, so it maps solutions onto other
curves, and yet fixed points onto fixed points where the steps themselves vanish. A *conserved* quantity labels fixed points.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from teacher_student.activations import get_activation
from teacher_student.order_parameters import OrderParameters, generalisation_error, unit_overlaps
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, unpack

FloatArray = npt.NDArray[np.float64]

# Of unit vectors; the Jacobian's own error, 1e-10, is amplified by its condition.
_IN_KERNEL = 1e-6
_ZERO_ERROR = 1e-12


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
    symmetries = (rotations, rotations_of_units, rotations_of_inputs)
    candidates = [("symmetry", name, vector) for found in symmetries for name, vector in found(state, rule, coordinates)]
    candidates += [("family", name, vector) for name, vector in _families(state, rule, coordinates)]
    for kind, name, vector in candidates:
        free = _take(kind, name, vector, free, modes)
    gradients = conserved_quantities(state, rule, coordinates)
    free = _take_changing("conserved", "overlaps of modes that get no gradient", gradients, free, modes)
    if rule.noise == 0 and rule.weight_decay == 0 and state.eps_g(rule.activation, rule.teacher_activation) < _ZERO_ERROR:
        rising: list[ZeroMode] = []
        flat = _take_changing("unexplained", "", gradient_of_eps_g(state, rule, coordinates)[np.newaxis], free, rising)
        return (*modes, *(ZeroMode("family", "zero generalisation error", vector) for vector in flat), *rising)
    return (*modes, *(ZeroMode("unexplained", "", vector) for vector in free))


def _take_changing(kind: str, name: str, gradients: FloatArray, free: FloatArray, modes: list[ZeroMode]) -> FloatArray:
    """Name the directions of `free` along which a quantity with one of the `gradients` changes; return the others."""
    if len(gradients) == 0 or len(free) == 0:
        return free
    _, values, rows = np.linalg.svd(gradients @ free.T)
    rank = int((values > _IN_KERNEL).sum())
    modes += [ZeroMode(kind, name, row @ free) for row in rows[:rank]]
    return np.asarray(rows[rank:] @ free)


def gradient_of_eps_g(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> FloatArray:
    """Return the derivative of eps_g with respect to the coordinates, (n,), by central differences."""
    y = coordinates.start[coordinates.moving]
    steps = 1e-5 * np.vstack([np.eye(len(y)), -np.eye(len(y))])
    factors = unpack(coordinates.expand(y + steps), state)
    Q, R = unit_overlaps(factors["Q_modes"], factors["R_modes"], factors["sigma"], factors["xi_out"])
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
    return np.concatenate([part.ravel() for part in parts])[coordinates.moving]


def free_rates(rule: LearningRule) -> tuple[float, float, float]:
    """Return the rates of xi_in, sigma and xi_out; 0 for modes whose lengths are kept, which do not mix and rescale freely."""
    eta_xi_in, eta_sigma, eta_xi_out, _ = rule.rates.tolist()
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
    """Return rotations of units into each other that are symmetries: the modes turn with them, without a change of length.

    Units that are quadratic in their fields need equal output weights, which do not learn. Linear ones take output weights that
    learn with them. Neither sigma nor xi_out may learn.
    """
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    learns_v = bool(rule.rates[3] > 0)
    c = _coefficients(rule.activation)
    rotates = c is not None and (c[0] == c[2] == 0.0 if learns_v else c[1] == 0.0)
    if not rotates or eta_xi_in == 0 or eta_sigma > 0 or eta_xi_out > 0 or np.linalg.matrix_rank(state.B) < max(state.B.shape):
        return []
    found = []
    for i, k in itertools.combinations(range(state.n_units), 2):
        of_units = np.zeros((state.n_units, state.n_units))
        of_units[i, k], of_units[k, i] = 1.0, -1.0
        G = np.asarray(np.linalg.solve(state.B, of_units @ state.B), dtype=np.float64)
        if np.allclose(G, -G.T, rtol=0.0, atol=1e-12) and (learns_v or state.v[i] == state.v[k]):
            still = np.zeros_like(state.sigma), np.zeros_like(state.xi_out)
            vector = change_of(state, coordinates, G, *still, of_units @ state.v)
            found.append((f"rotation of units {i} and {k}", vector))
    return found


def rotations_of_inputs(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return the rotations of input space within the span of the teacher that leave the teacher's function as it is.

    With w* = X e, e an orthonormal basis, they commute with X^T diag(v*) X if the teacher's units have a quadratic part, and
    leave X^T v* alone if they have a linear one. A teacher of another activation has none but exchanges of units, which are
    not continuous.
    """
    c = _coefficients(rule.teacher_activation or rule.activation)
    if rule.rates[0] == 0 or c is None:
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
        size_Q, size_R = state.n_modes**2, state.R_modes.size
        turned = state.R_modes @ np.linalg.pinv(X).T @ np.tensordot(weights, planes, 1) @ X.T
        change[size_Q : size_Q + size_R] = turned.ravel()
        found.append(("rotation of the inputs that leaves the teacher as it is", change[coordinates.moving]))
    return found


def _families(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return the changes of the learning factors that leave W = xi_out diag(sigma) xi_in as it is, as named tangent vectors.

    They are G, d_sigma, d_xi_out with xi_out diag(sigma) G + xi_out diag(d_sigma) + d_xi_out diag(sigma) = 0.
    """
    K, P = state.n_units, state.n_modes
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    found = []
    for a in range(P):
        unit = np.zeros(P)
        unit[a] = 1.0
        column = state.xi_out * unit
        if eta_xi_in > 0 and eta_sigma > 0:
            change = change_of(state, coordinates, np.diag(unit), -state.sigma * unit, np.zeros((K, P)))
            found.append((f"rescaling of xi_in[{a}] against sigma[{a}]", change))
        if eta_sigma > 0 and eta_xi_out > 0:
            change = change_of(state, coordinates, np.zeros((P, P)), -state.sigma * unit, column)
            found.append((f"rescaling of xi_out[:,{a}] against sigma[{a}]", change))
        if eta_xi_in > 0 and eta_xi_out > 0 and eta_sigma == 0:
            change = change_of(state, coordinates, np.diag(unit), np.zeros(P), -column)
            found.append((f"rescaling of xi_in[{a}] against xi_out[:,{a}]", change))
        for b in range(P):
            if a != b and eta_xi_in > 0 and eta_xi_out > 0 and state.sigma[b] != 0:
                G = np.zeros((P, P))
                G[a, b] = 1.0
                change = change_of(state, coordinates, G, np.zeros(P), -(state.xi_out * state.sigma) @ G * _inverse(state.sigma))
                found.append((f"mixing of modes {a} and {b}", change))
    return found


def _coefficients(activation: str) -> tuple[float, ...] | None:
    """Return c0, c1, c2 of an activation c0 + c1 x + c2 x^2, None of any other."""
    return get_activation(activation).families.get("polynomial")


def _inverse(sigma: FloatArray) -> FloatArray:
    return np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma != 0)


def conserved_quantities(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> FloatArray:
    """Return the gradients, (n_conserved, n), of overlaps that never change.

    If only xi_in learns (or v too), without decay, combinations n of modes with xi_out diag(sigma) n = 0 receive no gradient:
    n Q_modes n' and n R_modes are conserved. If v does not learn, it is enough that v_k (xi_out diag(sigma) n)_k = 0, in the sum
    over k for linear units. No mode of sign units receives any.
    """
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    if eta_xi_in == 0 or eta_sigma > 0 or eta_xi_out > 0 or rule.weight_decay > 0:
        return np.zeros((0, len(coordinates.moving)))
    reached = state.B if rule.rates[3] > 0 else state.v[:, np.newaxis] * state.B
    if rule.activation == "sign":
        reached = np.zeros((1, state.n_modes))
    elif (c := _coefficients(rule.activation)) is not None and c[2] == 0.0 and rule.rates[3] == 0:
        reached = reached.sum(axis=0, keepdims=True)
    unused = scipy.linalg.null_space(reached).T
    P, M = state.n_modes, state.n_teacher
    gradients = np.zeros((len(unused) * (len(unused) + 1) // 2 + len(unused) * M, len(coordinates.start)))
    row = 0
    for i, first in enumerate(unused):
        for second in unused[i:]:
            outer = np.outer(first, second)
            # An entry above the diagonal stands for its mirror image too.
            gradients[row, : P * P] = (outer + outer.T - np.diag(np.diagonal(outer))).ravel()
            row += 1
        for m in range(M):
            gradients[row, P * P : P * P + P * M] = np.outer(first, np.eye(M)[m]).ravel()
            row += 1
    return gradients[:, coordinates.moving]
