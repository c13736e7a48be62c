"""Averages of products of g, g' and g'' over jointly Gaussian fields, one module a family of activations.

The n = K + M fields are psi = (lambda, rho), of the student and of the teacher; g_j is the student's activation for j < K, else
the teacher's. A family is a pair of compiled functions that write into their last arguments, of one type for all families, so
that a kernel which calls them is compiled once:

``activation_covariance(parameters, S, K, L)``
    L_ij = <g_i(psi_i) g_j(psi_j)> of fields psi with covariance S.
``averages(parameters, S, c, K, L, E, A, G)``
    also E_kj = <g'(lambda_k) g_j'(psi_j)>, A_kj = <g''(lambda_k) g_j(psi_j)> and
    G_kl = <(sum_j c_j g_j(psi_j))^2 g'(lambda_k) g'(lambda_l)>, without label noise.

``parameters`` are those of the student's member of the family and then those of the teacher's.

A pair of activations that no family has is averaged over quasi-random fields: `sampled`. Its generalisation error is a series if
both are smooth: `mehler`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.activations import Activation, shared_family
from teacher_student.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Family:
    """The compiled Gaussian averages of a pair of activations (function pointers) and their parameters (1-D array)."""

    activation_covariance: Any
    averages: Any
    parameters: FloatArray


def averages_of(student: Activation, teacher: Activation) -> Family | None:
    """Return the Gaussian averages in closed form of `student` and `teacher`, or None if there are none."""
    name = shared_family(student, teacher)
    if name is None:
        return None
    # Its import compiles a family, or loads what an earlier one compiled: only those that are used.
    module = importlib.import_module(f"{__name__}.{name}")
    parameters = np.array([*student.families[name], *teacher.families[name]])
    return Family(module.activation_covariance_pointer, module.averages_pointer, parameters)
