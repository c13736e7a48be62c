"""Averages of products of g, g' and g'' over jointly Gaussian fields, one module a family of activations.

A family is a pair of compiled functions that write into their last arguments:

``activation_covariance(S, L)``
    L_ij = <g(psi_i) g(psi_j)> of fields psi with covariance S.
``averages(S, c, K, L, E, A, G)``
    also E_kj = <g'(lambda_k) g'(psi_j)>, A_kj = <g''(lambda_k) g(psi_j)> and
    G_kl = <(sum_j c_j g(psi_j))^2 g'(lambda_k) g'(lambda_l)>, where lambda are the first K fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teacher_student.activations import Activation
from teacher_student.theory.gaussian_averages import erf


@dataclass(frozen=True)
class Family:
    """The compiled Gaussian averages of one family of activations (function pointers, see the module's text)."""

    activation_covariance: Any
    averages: Any


_FAMILIES = {"erf": Family(erf.activation_covariance_pointer, erf.averages_pointer)}


def averages_of(activation: Activation) -> Family:
    """Return the family with the Gaussian averages of `activation`."""
    return _FAMILIES[activation.averages]
