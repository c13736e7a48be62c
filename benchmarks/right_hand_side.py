"""The right-hand side and its integration beside plain NumPy and SciPy, as ratios within one run.

erf units, only the input modes learn, one thread. Times are the least processor time over repetitions, so that what else the
machine does hardly counts. The NumPy right-hand side is written from the literature's formulas and shares no code with the
package's; both are first compared. Errors of trajectories are the largest deviations on the way from a solution at a relative
tolerance of 1e-13 by another method, SciPy's LSODA with the NumPy right-hand side: of order parameters in units of the largest
of their kind, of eps_g relative to itself where it is above 1e-4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate
from numba import njit
from timing import least_seconds, machine

import teacher_student as ts
from teacher_student.arrays import FloatArray
from teacher_student.theory.coordinates import Coordinates, coordinates_of
from teacher_student.theory.equations import slope
from teacher_student.theory.right_hand_side import right_hand_side

SIZES = (2, 4, 8, 16)
REPEATS = 7


def plain_problem(K: int, eta: float = 0.5, alpha: float = 1000.0) -> ts.Problem:
    """Return a plain committee, K = M, that starts unspecialised and learns an orthonormal teacher."""
    rng = np.random.default_rng(K)
    weights = 0.5 * rng.standard_normal((K, 500)) / np.sqrt(500)
    R = 0.02 * rng.standard_normal((K, K))
    initial = ts.plain_committee(weights @ weights.T, R, np.eye(K), np.ones(K), np.ones(K))
    return ts.Problem(initial, ts.LearningRule(eta_xi_in=eta), alpha=alpha, name=f"plain, K = M = {K}")


class NumpyDrift:
    """f(alpha, y) from the three- and four-index averages of Saad and Solla, Phys. Rev. E 52, 4225 (1995), Eqs. (A3) and (A5)."""

    def __init__(self, problem: ts.Problem, coordinates: Coordinates) -> None:
        self.initial, self.eta, self.coordinates = problem.initial, float(problem.rule.largest_rates[0]), coordinates

    def __call__(self, alpha: float, y: FloatArray) -> FloatArray:
        K, P, M = self.initial.n_units, self.initial.n_modes, self.initial.n_teacher
        full = self.coordinates.expand(y)
        Q_modes, R_modes = full[: P * P].reshape(P, P), full[P * P : P * P + P * M].reshape(P, M)
        B, T = self.initial.B, self.initial.T
        S = np.block([[B @ Q_modes @ B.T, B @ R_modes], [(B @ R_modes).T, T]])
        Z = np.block([[B @ Q_modes, B @ R_modes], [R_modes.T, T]])
        c = np.concatenate([self.initial.v, -self.initial.v_teacher])
        one = 1.0 + np.diagonal(S)
        # <g'(lambda_k) z g(psi_j)>, (K, z, n)
        determinant = one[:K, None] * one - S[:K] ** 2
        three = Z.T[None] * one[:K, None, None] - Z[:K, :, None] * S[:K, None, :]
        three *= 2.0 / np.pi / (one[:K, None] * np.sqrt(determinant))[:, None, :]
        F = three @ c
        # <g'(lambda_k) g'(lambda_l) g(psi_i) g(psi_j)>, (K, K, n, n)
        L4 = (one[:K, None] * one[:K] - S[:K, :K] ** 2)[:, :, None, None]
        k_i, l_i = S[:K, None, :, None], S[None, :K, :, None]
        k_j, l_j = S[:K, None, None, :], S[None, :K, None, :]
        kl, kk, ll = S[:K, :K, None, None], one[:K, None, None, None], one[None, :K, None, None]
        L0 = L4 * S - l_i * l_j * kk - k_i * k_j * ll + kl * (k_i * l_j + k_j * l_i)
        L1 = L4 * one[:, None] - l_i**2 * kk - k_i**2 * ll + 2.0 * kl * k_i * l_i
        L2 = L4 * one - l_j**2 * kk - k_j**2 * ll + 2.0 * kl * k_j * l_j
        four = 4.0 / np.pi**2 / np.sqrt(L4) * np.arcsin(np.clip(L0 / np.sqrt(L1 * L2), -1.0, 1.0))
        D = self.initial.v[:, None] * B
        G = np.einsum("klij,i,j->kl", four, c, c)
        X = D.T @ F
        dQ_modes = -self.eta * (X[:, :P] + X[:, :P].T) + self.eta**2 * D.T @ G @ D
        rest = np.zeros(P + K * P + K)
        return np.concatenate([dQ_modes.ravel(), -self.eta * X[:, P:].ravel(), rest])[self.coordinates.moving]


@njit
def repeat(equations: Any, y: FloatArray, out: FloatArray, n: int) -> None:
    for _ in range(n):
        slope(equations, 0.0, y, out)


def least_processor_seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of this thread over `REPEATS` calls, after one that compiles."""
    return least_seconds(work, REPEATS, time.thread_time)


def time_right_hand_side(K: int) -> tuple[float, float]:
    """Return the seconds of one evaluation, compiled and in NumPy, after making sure that they agree."""
    problem = plain_problem(K)
    coordinates = coordinates_of(problem.initial, problem.rule)
    y = coordinates.start[coordinates.moving]
    compiled = right_hand_side(problem.initial, problem.rule, coordinates)
    reference = NumpyDrift(problem, coordinates)
    difference = float(np.abs(compiled(0.0, y) - reference(0.0, y)).max())
    if not difference < 1e-12:
        raise ArithmeticError(f"K = {K}: the right-hand sides differ by {difference:.3g}")
    n, out = 200_000 // K**3, np.empty_like(y)
    n_numpy = max(1, 20_000 // K**4)
    by_package = least_processor_seconds(lambda: repeat(compiled.equations, y, out, n)) / n
    return by_package, least_processor_seconds(lambda: [reference(0.0, y) for _ in range(n_numpy)]) / n_numpy


def errors(problem: ts.Problem) -> tuple[float, float]:
    """Return the errors of order parameters and of eps_g of `integrate` that the module's docstring defines."""
    trajectory = ts.integrate(problem, progress=False)
    coordinates = coordinates_of(problem.initial, problem.rule)
    reference = scipy.integrate.solve_ivp(
        NumpyDrift(problem, coordinates),
        (0.0, problem.alpha[-1]),
        coordinates.start[coordinates.moving],
        method="LSODA",
        t_eval=problem.alpha,
        rtol=1e-13,
        atol=1e-15,
    )
    P, M = problem.initial.n_modes, problem.initial.n_teacher
    full = coordinates.expand(reference.y.T)
    Q_modes, R_modes = full[:, : P * P].reshape(-1, P, P), full[:, P * P : P * P + P * M].reshape(-1, P, M)
    initial = problem.initial
    largest = 0.0
    eps_g = np.empty(len(full))
    for name, exact in (("Q_modes", Q_modes), ("R_modes", R_modes)):
        largest = max(largest, float(np.abs(trajectory[name].values - exact).max() / np.abs(exact).max()))
    for i, (Q, R) in enumerate(zip(Q_modes, R_modes, strict=True)):
        S = np.block([[initial.B @ Q @ initial.B.T, initial.B @ R], [(initial.B @ R).T, initial.T]])
        one = 1.0 + np.diagonal(S)
        c = np.concatenate([initial.v, -initial.v_teacher])
        eps_g[i] = c @ np.arcsin(S / np.sqrt(one[:, None] * one)) @ c / np.pi
    relative = np.abs(trajectory["eps_g"].values - eps_g) / eps_g
    return largest, float(relative[eps_g > 1e-4].max())


def time_integration(problem: ts.Problem) -> tuple[float, float]:
    """Return the seconds of `integrate`, and of SciPy's LSODA with the NumPy right-hand side at the same tolerances."""
    coordinates = coordinates_of(problem.initial, problem.rule)
    start, f = coordinates.start[coordinates.moving], NumpyDrift(problem, coordinates)
    end = problem.alpha[-1]

    def by_scipy() -> object:
        return scipy.integrate.solve_ivp(f, (0.0, end), start, method="LSODA", t_eval=problem.alpha, rtol=1e-9, atol=1e-12)

    return least_processor_seconds(lambda: ts.integrate(problem, progress=False)), least_processor_seconds(by_scipy)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(machine())
    print("right-hand side     K = M    compiled [us]    NumPy [us]    ratio")
    for K in SIZES:
        compiled, by_numpy = time_right_hand_side(K)
        print(f"                  {K:7d}   {1e6 * compiled:14.2f}   {1e6 * by_numpy:11.1f}   {by_numpy / compiled:6.0f}")
    print("integration                     alpha   integrate [ms]   SciPy, NumPy [ms]   ratio   order parameters     eps_g")
    for problem in (plain_problem(4), ts.load_problem("li-huang-2023")):
        seconds, by_scipy = time_integration(problem)
        of_order_parameters, of_eps_g = errors(problem)
        times = f"{1e3 * seconds:14.1f}   {1e3 * by_scipy:17.0f}   {by_scipy / seconds:5.0f}"
        print(f"{problem.name:25s} {problem.alpha[-1]:11g}   {times}   {of_order_parameters:16.1e}   {of_eps_g:7.1e}")


if __name__ == "__main__":
    main()
