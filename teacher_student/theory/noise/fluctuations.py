"""Fluctuations at leading order in 1/N around a solution of the ODEs: their covariance, and the shift of the mean
(docs/theory.rst: `covariance`, `shift`).

With y_N = y + xi / sqrt(N) + m / N, J the Jacobian and H the second derivative of the right-hand side f at y,

    dV/dalpha = J V + V J^T + D,                    V = <xi xi^T>, D the covariance of one step times N,
    dm/dalpha = J m + H : V / 2 + f_1 - (J f + df/dalpha) / 2,

f_1 / N the exact mean step beyond f. The last term is there because steps are steps of 1 / N, not a continuous time; df/dalpha
is due to the change of the rates. V and m go on continuously where a schedule jumps, provided it jumps at a whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.schedules import is_constant
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.equations import fill_jacobian, fill_second_differences
from teacher_student.theory.noise.diffusion_path import DiffusionPath, NoiseUnknown
from teacher_student.theory.right_hand_side import ClosedDrift, DriftAt, right_hand_side
from teacher_student.theory.stretches import smooth_stretches

N_POINTS = 32768
# Central differences: truncation step^2 and rounding 1e-16 / step (first), 1e-16 / step^2 (second derivative).
_FIRST_STEP = 1e-5
_SECOND_STEP = 1e-3
_TIME_STEP = 1e-6
# Attempts at a step, and intervals of the diffusion matrix, that the noise may take: as many a step of the ODEs, or in all.
_MOST_PER_STEP = 5
_MOST = 200

# Hairer and Wanner's SDIRK method: stages, weights of the last stage being those of the step, and of the error.
_GAMMA = 0.25
_C = (1 / 4, 3 / 4, 11 / 20, 1 / 2, 1.0)
_A = (
    (),
    (1 / 2,),
    (17 / 50, -1 / 25),
    (371 / 1360, -137 / 2720, 15 / 544),
    (25 / 24, -49 / 48, 125 / 16, -85 / 12),
)
_E = (25 / 24 - 59 / 48, -49 / 48 + 17 / 96, 125 / 16 - 225 / 32, 0.0, 1 / 4)


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Covariance, mean shift and propagators at the output times.

    Attributes
    ----------
    covariance : (alpha, n, n) array
        V; the covariance of runs at finite N is V / N.
    shift : (alpha, n) array
        m; the mean over runs deviates from the ODE by m / N.
    propagator : (alpha, n, n) array
        exp of the linear flow from the output time before (from 0 for the first) to this one.
    covariance_error : (alpha, n, n) array
        Standard error of `covariance` from the averages over quasi-random points: half the difference between the
        covariances of two independent sets of points, propagated along.
    ended : str
        Empty, or after which time and why the noise is not known; all arrays are NaN from there on.
    """

    covariance: FloatArray
    shift: FloatArray
    propagator: FloatArray
    covariance_error: FloatArray
    ended: str = ""


def jacobian(f: Callable[[FloatArray], FloatArray], y: FloatArray) -> FloatArray:
    """Return df_i/dy_j by central differences, (n, n); relative error about 1e-10 for a right-hand side of order one.

    Those of a `DriftAt` with closed Gaussian averages are taken in compiled code.
    """
    if isinstance(f, DriftAt) and isinstance(f.drift, ClosedDrift):
        J = np.empty((len(y), len(y)))
        fill_jacobian(f.drift.equations, f.alpha, np.ascontiguousarray(y), _FIRST_STEP, J)
        return J
    columns = []
    for j in range(len(y)):
        step = np.zeros_like(y)
        step[j] = _FIRST_STEP * max(1.0, abs(y[j]))
        columns.append((f(y + step) - f(y - step)) / (2.0 * step[j]))
    return np.array(columns).T


def half_hessian_of_covariance(f: Callable[[FloatArray], FloatArray], y: FloatArray, V: FloatArray) -> FloatArray:
    """Return H : V / 2, (n,), by second differences along the eigenvectors of `V`, compiled where `jacobian` is."""
    eigenvalues, vectors = np.linalg.eigh(V)
    counted = eigenvalues > 1e-14 * eigenvalues[-1]
    steps, weights = _SECOND_STEP * vectors.T[counted], 0.5 * eigenvalues[counted] / _SECOND_STEP**2
    total = np.zeros_like(y)
    if isinstance(f, DriftAt) and isinstance(f.drift, ClosedDrift):
        fill_second_differences(f.drift.equations, f.alpha, np.ascontiguousarray(y), steps, weights, total)
        return total
    centre = f(y)
    for step, weight in zip(steps, weights, strict=True):
        total += weight * (f(y + step) + f(y - step) - 2.0 * centre)
    return total


def solve_lyapunov(A: FloatArray, C: FloatArray) -> FloatArray:
    """Return the solution X (..., n, n) of A X + X A^T = -C for a stack `C`, by the real Schur form of `A` (n, n)."""
    T, U = scipy.linalg.schur(A)
    solutions = []
    for matrix in C.reshape(-1, *A.shape):
        X, scale, _ = scipy.linalg.lapack.dtrsyl(T, T, -U.T @ matrix @ U, tranb="T")
        solutions.append(U @ X @ U.T / scale)
    return np.array(solutions).reshape(C.shape)


class LinearNoise:
    """Integrates V and m along a solution of the ODEs, from one output time to the next.

    The equations are linear but stiff, for fast directions follow slow ones: an implicit, L-stable Runge-Kutta method of order
    4 with an embedded one of order 3 for the step's length (Hairer and Wanner, Solving Ordinary Differential Equations II,
    2nd ed., Table 6.5).
    """

    def __init__(
        self,
        state: OrderParameters,
        rule: LearningRule,
        coordinates: Coordinates,
        solution: Callable[[float], FloatArray],
        last: float,
        n_points: int = N_POINTS,
        tolerance: float = 1e-3,
        most: int = 10_000,
    ) -> None:
        if n_points < 4 or n_points & (n_points - 1):
            refuse("n_points", n_points, "a power of 2 from 4")
        self.solution, self.tolerance = solution, tolerance
        self.diffusion = DiffusionPath(state, rule, coordinates, solution, n_points, last, most)
        self.attempts_left = most
        self.drift = right_hand_side(state, rule, coordinates)
        self.constant = is_constant(rule.schedules)
        self.stretches = smooth_stretches(rule, last)
        n = len(coordinates.moving)
        self.alpha, self.step = 0.0, 1e-2
        self.V: FloatArray = np.zeros((2, n, n))
        self.m: FloatArray = np.zeros(n)
        self.peak = np.zeros(n)

    def advance(self, target: float) -> FloatArray:
        """Go on to the time `target` and return the propagator over the way; raises `NoiseUnknown` if that cannot be."""
        propagator = np.eye(len(self.m))
        while self.alpha < target:
            if self.alpha >= self.stretches[0].end:
                self.stretches.pop(0)
            stop = min(target, self.stretches[0].end)
            # The way that remains is cut into equal steps no longer than the wanted one, so that no sliver is left.
            n_steps = int(np.ceil((stop - self.alpha) / self.step))
            end = stop if n_steps == 1 else self.alpha + (stop - self.alpha) / n_steps
            step = end - self.alpha
            if self.attempts_left == 0:
                raise NoiseUnknown("the steps become too short, for the ODEs bend on a scale that runs would not notice")
            self.attempts_left -= 1
            error, flow = self._try_step(end)
            if not np.isfinite(error):
                raise NoiseUnknown("it is not finite")
            if error <= 1.0:
                propagator = flow @ propagator
            self.step = step * min(4.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.25))
        return propagator

    def shift(self) -> FloatArray:
        """Return the shift of the mean of the state itself, (n,): that of the variables of `m` but for the state's lag."""
        return self.m - self.diffusion(self.alpha)[3] if self.alpha > 0.0 else self.m

    def _try_step(self, end: float) -> tuple[float, FloatArray]:
        """Step to `end` if the error, in units of the tolerance, is at most 1; return the error and the propagator.

        Stage i of the method solves V_i = known + gamma h (J_i V_i + V_i J_i^T + D_i), a Lyapunov equation.
        """
        h, n = end - self.alpha, len(self.m)
        identity = np.eye(n)
        start: list[FloatArray] = [self.V, identity, self.m]
        slopes: list[list[FloatArray]] = []  # of V, of the propagator, of m
        V, flow, m = start
        for row, c in zip(_A, _C, strict=True):
            alpha = end if c == 1.0 else self.alpha + c * h
            y = self.solution(alpha)
            f = DriftAt(self.drift, self.stretches[0].within(alpha))
            J = jacobian(f, y)
            if not np.isfinite(J).all():
                raise NoiseUnknown("the right-hand side has no derivative")
            D, D_error, correction, lag = self.diffusion(alpha)
            known = [part.copy() for part in start]
            for a, stage in zip(row, slopes, strict=False):
                for total, slope in zip(known, stage, strict=True):
                    total += h * a * slope
            V, flow, m = known
            implicit = h * _GAMMA * J
            V = solve_lyapunov(implicit - 0.5 * identity, V + h * _GAMMA * np.stack([D, D_error]))
            source = (
                half_hessian_of_covariance(f, y, V[0]) + correction - 0.5 * (J @ f(y) + self._change_of_rates(alpha, y)) - J @ lag
            )
            solved = np.linalg.solve(identity - implicit, np.column_stack([flow, m + h * _GAMMA * source]))
            flow, m = np.asarray(solved[:, :n]), np.asarray(solved[:, n])
            slopes.append([J @ V + V @ J.T + np.stack([D, D_error]), J @ flow, J @ m + source])
        V = 0.5 * (V + np.swapaxes(V, -1, -2))
        deviation = h * sum((e * slope[0][0] for e, slope in zip(_E, slopes, strict=True)), np.zeros((n, n)))
        # A variance that has decayed a million times below its peak, as where learning ends without noise, is as good as zero.
        variance = np.maximum(np.diagonal(V[0]), 0.0)
        scale = np.sqrt(variance + 1e-6 * np.maximum(self.peak, variance) + 1e-24)
        error = float((np.abs(deviation) / np.outer(scale, scale)).max()) / self.tolerance
        if error <= 1.0:
            self.alpha, self.V, self.m, self.peak = end, V, m, np.maximum(self.peak, variance)
        return error, flow

    def _change_of_rates(self, alpha: float, y: FloatArray) -> FloatArray:
        """Return df/dalpha at fixed `y`, (n,), by central differences within the present stretch."""
        if self.constant:
            return np.zeros_like(y)
        stretch = self.stretches[0]
        half = min(_TIME_STEP, 0.25 * (stretch.end - stretch.start))
        centre = min(max(alpha, stretch.start + half), stretch.end - half)
        before, after = stretch.within(centre - half), stretch.within(centre + half)
        return (self.drift(after, y) - self.drift(before, y)) / (after - before)


def linear_noise(
    state: OrderParameters,
    rule: LearningRule,
    coordinates: Coordinates,
    solution: Callable[[float], FloatArray],
    times: FloatArray,
    n_steps: int,
    *,
    n_points: int = N_POINTS,
    tolerance: float = 1e-3,
    report: Callable[[float], None] = lambda alpha: None,
) -> Fluctuations:
    """Return the fluctuations at `times` around `solution`, the moving coordinates as a function of alpha.

    `tolerance` bounds the error of V per step relative to its diagonal; `report` is called with every output time reached. The
    solution took `n_steps`: where the noise needs five times as many, at least 200, it is not known any more.
    """
    most = max(_MOST, _MOST_PER_STEP * n_steps)
    noise = LinearNoise(state, rule, coordinates, solution, float(times[-1]), n_points, tolerance, most)
    n = len(coordinates.moving)
    V, m, propagators = (
        np.full((2, len(times), n, n), np.nan),
        np.full((len(times), n), np.nan),
        np.full((len(times), n, n), np.nan),
    )
    ended = ""
    for i, time in enumerate(times):
        try:
            propagators[i] = noise.advance(float(time))
            V[:, i], m[i] = noise.V, noise.shift()
        except NoiseUnknown as error:
            propagators[i], V[:, i] = np.nan, np.nan
            ended = f"after alpha = {noise.alpha:.6g}: {error}"
            break
        report(float(time))
    return Fluctuations(V[0], m, propagators, V[1], ended)
