"""Quantities that never change, whatever the data, because what they are made of gets no gradient along them.

All need a rule without weight decay. Their gradients are left eigenvectors of the Jacobian with eigenvalue zero.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from teacher_student.arrays import FloatArray
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, state_vector
from teacher_student.theory.symmetries import free_rates, is_linear, polynomial_of

_FACTORS = ("Q_modes", "R_modes", "sigma", "xi_out", "v")  # in the order of the full state


def conserved_quantities(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return what is conserved, by name, with the gradients (n_conserved, n) of the quantities."""
    if rule.weight_decay > 0:
        return []
    quantities = {
        "overlaps of modes that get no gradient": _overlaps(state, rule),
        "parts of xi_out that get no gradient": _parts_of_xi_out(state, rule),
        "parts of v that get no gradient": _parts_of_v(state, rule),
    }
    return [(name, gradients[:, coordinates.moving]) for name, gradients in quantities.items() if len(gradients)]


def _overlaps(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return the gradients of n Q_modes n' and n R_modes, for combinations n of modes that get no gradient.

    If neither sigma nor xi_out learns they are those with xi_out diag(sigma) n = 0; if v does not learn either, it is enough that
    v_k (xi_out diag(sigma) n)_k = 0, in the sum over k for linear units. If xi_out learns, modes with sigma_a = 0 are left, and
    no mode of sign units gets any.
    """
    eta_xi_in, eta_sigma, eta_xi_out = free_rates(rule)
    P, M = state.n_modes, state.n_teacher
    reached = _units_reached(state, rule) @ state.B
    if rule.activation != "sign" and eta_sigma > 0:
        reached = np.eye(P)
    elif rule.activation != "sign" and eta_xi_out > 0:
        reached = np.diag(state.sigma)
    unused = scipy.linalg.null_space(reached).T if eta_xi_in > 0 else np.zeros((0, P))
    gradients = np.zeros((len(unused) * (len(unused) + 1) // 2 + len(unused) * M, len(state_vector(state))))
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
    return gradients


def _parts_of_xi_out(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return the gradients of n xi_out, for combinations n of units without gradient, and of columns with sigma = 0."""
    if rule.rates[2] == 0:
        return np.zeros((0, len(state_vector(state))))
    of_units = scipy.linalg.null_space(_units_reached(state, rule)).T
    columns = np.flatnonzero((state.sigma == 0) & (rule.rates[1] == 0))
    modes = np.eye(state.n_modes)
    parts = [np.outer(n, mode) for n in of_units for mode in modes]
    parts += [np.outer(unit, modes[a]) for unit in np.eye(state.n_units) for a in columns]
    return _of_factor(state, "xi_out", np.array(parts))


def _parts_of_v(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return the gradients of n v for combinations n of linear units without output, n xi_out diag(sigma) = 0 for ever."""
    if not is_linear(rule.activation) or rule.rates[2] > 0:
        return np.zeros((0, len(state_vector(state))))
    return _of_factor(state, "v", scipy.linalg.null_space((state.xi_out if rule.rates[1] > 0 else state.B).T).T)


def _units_reached(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return combinations of units, (m, K), to all others than which the gradient of the fields is orthogonal.

    It is v_k delta g'(lambda_k): that of linear units is along v, that of sign units vanishes.
    """
    if rule.activation == "sign":
        return np.zeros((1, state.n_units))
    if rule.rates[3] > 0:
        return np.eye(state.n_units)
    c = polynomial_of(rule.activation)
    return state.v[np.newaxis] if c is not None and c[2] == 0.0 else np.diag(state.v)


def _of_factor(state: OrderParameters, name: str, parts: FloatArray) -> FloatArray:
    """Return gradients with respect to the full state, (m, n_full), that are `parts` (m, ...) for the factor `name`."""
    sizes = [getattr(state, factor).size for factor in _FACTORS]
    start = sum(sizes[: _FACTORS.index(name)])
    gradients = np.zeros((len(parts), sum(sizes)))
    size = getattr(state, name).size
    gradients[:, start : start + size] = parts.reshape(len(parts), size)
    return gradients
