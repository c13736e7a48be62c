"""Families of fixed points that no symmetry of the dynamics connects: changes of the factors that leave the network as it is."""

from __future__ import annotations

import numpy as np

from teacher_student.activations import get_activation
from teacher_student.arrays import FloatArray
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.stability.symmetries import change_of, free_rates, is_linear, polynomial_of

_STEP = 1e-5


def families_of_modes(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
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


def _inverse(sigma: FloatArray) -> FloatArray:
    return np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma != 0)


def _degree(activation: str) -> int:
    """Return the degree of a g with g(c x) = c^degree g(x) for c > 0, 0 of any other."""
    c = polynomial_of(activation)
    if is_linear(activation) or "piecewise_linear" in get_activation(activation).families:
        return 1
    return 2 if c is not None and c[0] == c[1] == 0.0 else 0


def rescalings_of_units(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> list[tuple[str, FloatArray]]:
    """Return the rescalings of output weights against what makes the fields, of units with g(c x) = c^degree g(x) for c > 0.

    xi_in then learns as before, since v_k g'(lambda_k) xi_out_ka stays the same; the gradients of the other factors are rescaled,
    and vanish where they did. So without weight decay these are families at any eps_g, noise and rates.
    """
    degree = _degree(rule.activation)
    _, eta_sigma, eta_xi_out, eta_v = rule.eta
    if degree == 0 or eta_v == 0:
        return []
    no_G, no_d_sigma, no_d_xi_out = np.zeros_like(state.Q_modes), np.zeros_like(state.sigma), np.zeros_like(state.xi_out)
    found = []
    for k in range(state.n_units) if eta_xi_out > 0 else ():
        unit = np.zeros(state.n_units)
        unit[k] = 1.0
        d_xi_out = unit[:, np.newaxis] * state.xi_out
        vector = change_of(state, coordinates, no_G, no_d_sigma, d_xi_out, -degree * unit * state.v)
        found.append((f"rescaling of xi_out[{k}] against v[{k}]", vector))
    if eta_sigma > 0 and eta_xi_out == 0:
        vector = change_of(state, coordinates, no_G, state.sigma, no_d_xi_out, -degree * state.v)
        found.append(("rescaling of sigma against v", vector))
    return found


def function_of_modes(state: OrderParameters, rule: LearningRule, coordinates: Coordinates) -> FloatArray:
    """Return the gradients, (m, n), of what makes the output of polynomial units c0 + c1 x + c2 x^2; for others (0, n).

    With h the fields of the modes and B = xi_out diag(sigma), the output is c0 sum v + c1 u h + c2 h^T S h, u = v B and
    S = B^T diag(v) B. The steps of xi_in depend on the other factors only through these parts, whose gradients vanish at a fixed
    point without weight decay. So what leaves the parts and xi_in as they are leads along a family.
    """
    y = coordinates.start[coordinates.moving]
    c = polynomial_of(rule.activation)
    if c is None:
        return np.zeros((0, len(y)))
    factors = coordinates.parts(y + _STEP * np.vstack([np.eye(len(y)), -np.eye(len(y))]))
    B, v = factors["xi_out"] * factors["sigma"][:, np.newaxis], factors["v"]
    outputs = v.sum(axis=1), np.einsum("nk,nka->na", v, B), np.einsum("nk,nka,nkb->nab", v, B, B)
    parts = (*(output for output, part in zip(outputs, c, strict=True) if part != 0.0), factors["Q_modes"], factors["R_modes"])
    values = np.hstack([part.reshape(len(v), -1) for part in parts])
    return np.asarray((values[: len(y)] - values[len(y) :]).T / (2 * _STEP))
