"""Quantities that never change, whatever the data, because what they are made of gets no gradient along them.

All need a rule without weight decay. Their gradients are left eigenvectors of the Jacobian with eigenvalue zero.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from teacher_student.arrays import FloatArray
from teacher_student.layout import positions
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, sizes_of
from teacher_student.theory.stability.symmetries import free_rates, is_linear, polynomial_of


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
    where = positions(sizes_of(state))
    gradients = np.zeros((len(unused) * (len(unused) + 1) // 2 + len(unused) * M, sizes_of(state).n_full))
    row = 0
    for i, first in enumerate(unused):
        for second in unused[i:]:
            outer = np.outer(first, second)
            # An entry above the diagonal stands for its mirror image too.
            gradients[row, where["Q_modes"]] = outer + outer.T - np.diag(np.diagonal(outer))
            row += 1
        for m in range(M):
            gradients[row, where["R_modes"]] = np.outer(first, np.eye(M)[m])
            row += 1
    return gradients


def _parts_of_xi_out(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return the gradients of n xi_out, for combinations n of units without gradient, and of columns with sigma = 0."""
    if rule.eta.xi_out == 0:
        return np.zeros((0, sizes_of(state).n_full))
    of_units = scipy.linalg.null_space(_units_reached(state, rule)).T
    columns = np.flatnonzero((state.sigma == 0) & (rule.eta.sigma == 0))
    modes = np.eye(state.n_modes)
    parts = [np.outer(n, mode) for n in of_units for mode in modes]
    parts += [np.outer(unit, modes[a]) for unit in np.eye(state.n_units) for a in columns]
    return _of_factor(state, "xi_out", np.array(parts))


def _parts_of_v(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return the gradients of n v for combinations n of linear units without output, n xi_out diag(sigma) = 0 for ever."""
    if not is_linear(rule.activation) or rule.eta.xi_out > 0:
        return np.zeros((0, sizes_of(state).n_full))
    return _of_factor(state, "v", scipy.linalg.null_space((state.xi_out if rule.eta.sigma > 0 else state.B).T).T)


def _units_reached(state: OrderParameters, rule: LearningRule) -> FloatArray:
    """Return combinations of units, (m, K), to all others than which the gradient of the fields is orthogonal.

    It is v_k delta g'(lambda_k): that of linear units is along v, that of sign units vanishes.
    """
    if rule.activation == "sign":
        return np.zeros((1, state.n_units))
    if rule.eta.v > 0:
        return np.eye(state.n_units)
    c = polynomial_of(rule.activation)
    return state.v[np.newaxis] if c is not None and c[2] == 0.0 else np.diag(state.v)


def _of_factor(state: OrderParameters, name: str, parts: FloatArray) -> FloatArray:
    """Return gradients with respect to the full state, (m, n_full), that are `parts` (m, ...) for the factor `name`."""
    gradients = np.zeros((len(parts), sizes_of(state).n_full))
    where = positions(sizes_of(state))[name]
    gradients[:, where] = parts.reshape(len(parts), *where.shape)
    return gradients
