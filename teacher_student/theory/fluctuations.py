"""Fluctuations at leading order in 1/N around a solution of the ODEs: their covariance, and the shift of the mean.

With y_N = y + xi / sqrt(N) + m / N, J the Jacobian and H the second derivative of the right-hand side f at y,

    dV/dalpha = J V + V J^T + D,                    V = <xi xi^T>, D the covariance of one step times N,
    dm/dalpha = J m + H : V / 2 + f_1 - J f / 2,    f_1 / N the exact mean step beyond f, and -J f / 2 because steps are
                                                    steps of 1 / N, not a continuous time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from teacher_student.errors import refuse
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates, right_hand_side
from teacher_student.theory.diffusion import StepMoments, gaussian_points, step_moments

FloatArray = npt.NDArray[np.float64]

N_POINTS = 8192
# Central differences: truncation step^2 and rounding 1e-16 / step (first), 1e-16 / step^2 (second derivative).
_FIRST_STEP = 1e-5
_SECOND_STEP = 1e-3


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
    diffusion_error : float
        Largest difference of the diffusion matrix between two independent sets of points, in units of its diagonal's geometric
        means, seen at the output times.
    """

    covariance: FloatArray
    shift: FloatArray
    propagator: FloatArray
    diffusion_error: float


@dataclass(frozen=True, eq=False)
class _Node:
    """What the linear equations need at one time."""

    jacobian: FloatArray
    moments: StepMoments
    drift: FloatArray


def jacobian(f: Callable[[FloatArray], FloatArray], y: FloatArray) -> FloatArray:
    """Return df_i/dy_j by central differences, (n, n); relative error about 1e-10 for a right-hand side of order one."""
    columns = []
    for j in range(len(y)):
        step = np.zeros_like(y)
        step[j] = _FIRST_STEP * max(1.0, abs(y[j]))
        columns.append((f(y + step) - f(y - step)) / (2.0 * step[j]))
    return np.array(columns).T


def half_hessian_of_covariance(f: Callable[[FloatArray], FloatArray], y: FloatArray, V: FloatArray) -> FloatArray:
    """Return H : V / 2, (n,), by second differences along the eigenvectors of `V`."""
    eigenvalues, vectors = np.linalg.eigh(V)
    centre, total = f(y), np.zeros_like(y)
    for value, vector in zip(eigenvalues, vectors.T, strict=True):
        if value > 1e-14 * eigenvalues[-1]:
            step = _SECOND_STEP * vector
            total += 0.5 * value * (f(y + step) + f(y - step) - 2.0 * centre) / _SECOND_STEP**2
    return total


def propagate_covariance(A: FloatArray, C: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return V(1) of dV/ds = A V + V A^T + C from V(0) = `V`, and exp(A), by scaling and doubling; stable for stiff `A`."""
    n_doublings = max(0, int(np.ceil(np.log2(max(float(np.linalg.norm(A, 1)), 1e-300) / 0.25))))
    small = A / 2.0**n_doublings
    flow = scipy.linalg.expm(small)
    term = C / 2.0**n_doublings
    added = term.copy()
    for order in range(2, 18):
        term = (small @ term + term @ small.T) / order
        added += term
    for _ in range(n_doublings):
        added = added + flow @ added @ flow.T
        flow = flow @ flow
    result = flow @ V @ flow.T + added
    return 0.5 * (result + result.T), flow


def _magnus(h: float, nodes: tuple[_Node, _Node, _Node]) -> tuple[FloatArray, FloatArray]:
    """Return the fourth-order Magnus exponents of dV/dalpha over a step `h` with nodes at its start, middle and end.

    Blanes et al., Phys. Rep. 470, 151 (2009), Simpson form h (M_0 + 4 M_1 + M_2) / 6 - h^2 [M_0, M_2] / 12, for
    M = [[J, D], [0, -J^T]], of which the upper blocks are returned.
    """
    J0, J1, J2 = (node.jacobian for node in nodes)
    D0, D1, D2 = (node.moments.covariance for node in nodes)
    A = h / 6.0 * (J0 + 4.0 * J1 + J2) - h * h / 12.0 * (J0 @ J2 - J2 @ J0)
    C = h / 6.0 * (D0 + 4.0 * D1 + D2) - h * h / 12.0 * (J0 @ D2 + D2 @ J0.T - J2 @ D0 - D0 @ J2.T)
    return A, C


class LinearNoise:
    """Integrates V and m along a solution of the ODEs, from one output time to the next.

    The step is controlled by comparing one fourth-order step with two of half its length.
    """

    def __init__(
        self,
        state: OrderParameters,
        rule: LearningRule,
        coordinates: Coordinates,
        solution: Callable[[float], FloatArray],
        n_points: int = N_POINTS,
        tolerance: float = 1e-3,
    ) -> None:
        if n_points < 2 or n_points & (n_points - 1):
            refuse("n_points", n_points, "a power of 2")
        self.state, self.rule, self.coordinates, self.solution = state, rule, coordinates, solution
        self.tolerance = tolerance
        n_dimensions = state.n_modes + state.n_teacher + 1
        self.points = gaussian_points(n_dimensions, n_points, seed=0)
        self.other_points = gaussian_points(n_dimensions, n_points, seed=1)
        flow = right_hand_side(state, rule, coordinates)
        self.f: Callable[[FloatArray], FloatArray] = lambda y: flow(0.0, y)
        n = len(coordinates.moving)
        self.alpha, self.step = 0.0, 1e-2
        self.V, self.m = np.zeros((n, n)), np.zeros(n)
        self.peak = np.zeros(n)
        self.diffusion_error = 0.0
        self.nodes: dict[float, _Node] = {}
        self.source = self._shift_source(self._node(0.0), self.V, 0.0)

    def _node(self, alpha: float) -> _Node:
        if alpha not in self.nodes:
            y = self.solution(alpha)
            full = self.coordinates.expand(y)
            moments = step_moments(full, self.state, self.rule, self.coordinates, self.points)
            self.nodes[alpha] = _Node(jacobian(self.f, y), moments, self.f(y))
        return self.nodes[alpha]

    def _shift_source(self, node: _Node, V: FloatArray, alpha: float) -> FloatArray:
        curvature = half_hessian_of_covariance(self.f, self.solution(alpha), V)
        return curvature + node.moments.mean_correction - 0.5 * node.jacobian @ node.drift

    def advance(self, target: float) -> FloatArray:
        """Go on to the time `target` and return the propagator over the way."""
        propagator = np.eye(len(self.m))
        while self.alpha < target:
            # The way that remains is cut into equal steps no longer than the wanted one, so that no sliver is left.
            n_steps = int(np.ceil((target - self.alpha) / self.step))
            end = target if n_steps == 1 else self.alpha + (target - self.alpha) / n_steps
            step = end - self.alpha
            error, flow = self._try_step(end)
            if error <= 1.0:
                propagator = flow @ propagator
            self.step = step * min(4.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
        full = self.coordinates.expand(self.solution(target))
        here = self._node(target).moments.covariance
        other = step_moments(full, self.state, self.rule, self.coordinates, self.other_points).covariance
        scale = np.sqrt(np.outer(np.diagonal(here), np.diagonal(here))) + 1e-300
        self.diffusion_error = max(self.diffusion_error, float((np.abs(here - other) / scale).max()))
        return propagator

    def _try_step(self, end: float) -> tuple[float, FloatArray]:
        """Step to `end` if the error, in units of the tolerance, is at most 1; return the error and the propagator."""
        start, step = self.alpha, end - self.alpha
        times = [start, start + 0.25 * step, start + 0.5 * step, start + 0.75 * step, end]
        n0, n1, n2, n3, n4 = (self._node(time) for time in times)
        coarse, _ = propagate_covariance(*_magnus(step, (n0, n2, n4)), self.V)
        middle, first = propagate_covariance(*_magnus(0.5 * step, (n0, n1, n2)), self.V)
        fine, second = propagate_covariance(*_magnus(0.5 * step, (n2, n3, n4)), middle)
        # A variance that has decayed a million times below its peak, as where learning ends without noise, is as good as zero.
        self.peak = np.maximum(self.peak, np.diagonal(fine))
        deviation = np.sqrt(np.maximum(np.diagonal(fine), 0.0) + 1e-6 * self.peak + 1e-24)
        error = float((np.abs(fine - coarse) / np.outer(deviation, deviation)).max()) / self.tolerance
        if error <= 1.0:
            source_middle = self._shift_source(n2, middle, times[2])
            source_end = self._shift_source(n4, fine, end)
            self.m = self._propagate_shift(step, (n0, n2, n4), (self.source, source_middle, source_end))
            self.alpha, self.V, self.source = end, fine, source_end
            self.nodes = {end: n4}
        return error, second @ first

    def _propagate_shift(
        self, h: float, nodes: tuple[_Node, _Node, _Node], sources: tuple[FloatArray, FloatArray, FloatArray]
    ) -> FloatArray:
        J0, J1, J2 = (node.jacobian for node in nodes)
        s0, s1, s2 = sources
        n = len(self.m)
        exponent = np.zeros((n + 1, n + 1))
        exponent[:n, :n] = h / 6.0 * (J0 + 4.0 * J1 + J2) - h * h / 12.0 * (J0 @ J2 - J2 @ J0)
        exponent[:n, n] = h / 6.0 * (s0 + 4.0 * s1 + s2) - h * h / 12.0 * (J0 @ s2 - J2 @ s0)
        flow = scipy.linalg.expm(exponent)
        return np.asarray(flow[:n, :n] @ self.m + flow[:n, n])


def linear_noise(
    state: OrderParameters,
    rule: LearningRule,
    coordinates: Coordinates,
    solution: Callable[[float], FloatArray],
    times: FloatArray,
    *,
    n_points: int = N_POINTS,
    tolerance: float = 1e-3,
    report: Callable[[float], None] = lambda alpha: None,
) -> Fluctuations:
    """Return the fluctuations at `times` around `solution`, the moving coordinates as a function of alpha.

    `tolerance` bounds the error of V per step relative to its diagonal; `report` is called with every output time reached.
    """
    noise = LinearNoise(state, rule, coordinates, solution, n_points, tolerance)
    V, m, propagators = [], [], []
    for time in times:
        propagators.append(noise.advance(float(time)))
        V.append(noise.V)
        m.append(noise.m)
        report(float(time))
    return Fluctuations(np.array(V), np.array(m), np.array(propagators), noise.diffusion_error)
