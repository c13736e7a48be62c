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

from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.coordinates import Coordinates
from teacher_student.theory.noise.diffusion_path import DiffusionPath, NoiseUnknown
from teacher_student.theory.noise.implicit_steps import (
    GAUSS,
    TIMES,
    covariance_stages,
    empty_stages,
    error_of,
    mean_after,
    propagator,
)
from teacher_student.theory.noise.linearisation import Linearisation, curvatures, linearise
from teacher_student.theory.right_hand_side import right_hand_side
from teacher_student.theory.stretches import smooth_stretches

N_POINTS = 32768
# Attempts at a step, and intervals of the diffusion matrix, that the noise may take: as many a step of the ODEs, or in all.
_MOST_PER_STEP = 5
_MOST = 200
# The error, in units of the tolerance, of a step so long that its covariance grows beyond all bounds.
_FAR_TOO_LONG = 1e9
# The derivatives are known at beginning, middle and end of a step, and at its stages by the quadratic through these.
_QUADRATIC, _AT_GAUSS_POINTS = (
    np.array([[(1 - 2 * c) * (1 - c), 4 * c * (1 - c), c * (2 * c - 1)] for c in times]) for times in (TIMES, GAUSS)
)
_MIDDLE = 3


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
    n_points : int
        The most points that an average was taken over; those of exact averages have no error.
    ended : str
        Empty, or after which time and why the noise is not known; all arrays are NaN from there on.
    """

    covariance: FloatArray
    shift: FloatArray
    propagator: FloatArray
    covariance_error: FloatArray
    n_points: int
    ended: str = ""


class LinearNoise:
    """Integrates V and m along a solution of the ODEs, from one output time to the next.

    The equations are linear but stiff, for fast directions follow slow ones: the method is implicit
    (`teacher_student.theory.noise.implicit_steps`).
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
        self.stretches = smooth_stretches(rule, last)
        n = len(coordinates.moving)
        self.alpha, self.step = 0.0, 1e-2
        # The covariance and, unless averages are exact, its error.
        self.V: FloatArray = np.zeros((1 if self.diffusion.is_exact else 2, n, n))
        self.m: FloatArray = np.zeros(n)
        self.peak = np.zeros(n)
        # Linearisation and H : V / 2 at `alpha`, within the present stretch, once they are known.
        self.begin: Linearisation | None = None
        self.curvature: FloatArray | None = None

    def advance(self, target: float) -> FloatArray:
        """Go on to the time `target` and return the propagator over the way; raises `NoiseUnknown` if that cannot be."""
        whole = np.eye(len(self.m))
        while self.alpha < target:
            if self.alpha >= self.stretches[0].end:
                self.stretches.pop(0)
                self.begin = self.curvature = None
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
                whole = flow @ whole
            self.step = step * min(4.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.25))
        return whole

    def shift(self) -> FloatArray:
        """Return the shift of the mean of the state itself, (n,): that of the variables of `m` but for the state's lag."""
        return self.m - self.diffusion(self.alpha)[3] if self.alpha > 0.0 else self.m

    def _try_step(self, end: float) -> tuple[float, FloatArray]:
        """Step to `end` if the error, in units of the tolerance, is at most 1; return the error and the propagator."""
        h, n, stretch = end - self.alpha, len(self.m), self.stretches[0]
        nodes = np.array([self.alpha, self.alpha + 0.5 * h, end])
        ys = np.array([self.solution(alpha) for alpha in nodes])
        if self.begin is None:
            self.begin = linearise(self.drift, stretch, nodes[:1], ys[:1])
        rest = linearise(self.drift, stretch, nodes[1:], ys[1:])
        J, f, change = (np.concatenate(pair) for pair in zip(self.begin, rest, strict=True))
        if not np.isfinite(J).all():
            raise NoiseUnknown("the right-hand side has no derivative")
        moments = [self.diffusion(alpha) for alpha in [*(self.alpha + h * TIMES[:-1]), end]]
        D = np.array([moment[: len(self.V)] for moment in moments])
        correction, lag = (np.array([moment[i] for moment in moments]) for i in (2, 3))

        J_of_stages, stages = np.tensordot(_QUADRATIC, J, 1), empty_stages(len(self.V), n)
        if not covariance_stages(J_of_stages, D, self.V, h, stages):
            return _FAR_TOO_LONG, np.eye(n)
        V = 0.5 * (stages.V[-1] + np.swapaxes(stages.V[-1], -1, -2))
        deviation = error_of(stages.slopes[:, 0], h)
        # A variance that has decayed a million times below its peak, as where learning ends without noise, is as good as zero.
        # So is one a hundred times below what the diffusion of this step makes at its end, where rates begin at zero.
        variance = np.maximum(np.diagonal(V[0]), 0.0)
        added = h * np.diagonal(D[:, 0], axis1=1, axis2=2).max(axis=0)
        scale = np.sqrt(variance + 1e-6 * np.maximum(self.peak, variance) + 1e-2 * np.maximum(added, 0.0) + 1e-24)
        error = float((np.abs(deviation) / np.outer(scale, scale)).max()) / self.tolerance
        if not error <= 1.0:
            return error, np.eye(n)
        if self.curvature is None:
            self.curvature = curvatures(self.drift, stretch, nodes[:1], ys[:1], self.V[:1])
        of_rest = curvatures(self.drift, stretch, nodes[1:], ys[1:], np.array([stages.V[_MIDDLE, 0], V[0]]))
        bend = np.concatenate([self.curvature, of_rest]) - 0.5 * (change + np.einsum("sij,sj->si", J, f))
        source = _QUADRATIC @ bend + correction - np.einsum("sij,sj->si", J_of_stages, lag)
        self.m = mean_after(J_of_stages, source, self.m, h, stages)
        self.alpha, self.V, self.peak = end, V, np.maximum(self.peak, variance)
        self.begin, self.curvature = Linearisation(*(part[1:] for part in rest)), of_rest[1:]
        return error, propagator(np.tensordot(_AT_GAUSS_POINTS, J, 1), h)


def linear_noise(
    state: OrderParameters,
    rule: LearningRule,
    coordinates: Coordinates,
    solution: Callable[[float], FloatArray],
    times: FloatArray,
    n_steps: int,
    *,
    n_points: int = N_POINTS,
    tolerance: float = 4e-3,
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
            V[: len(noise.V), i], V[len(noise.V) :, i], m[i] = noise.V, 0.0, noise.shift()
        except NoiseUnknown as error:
            propagators[i], V[:, i] = np.nan, np.nan
            ended = f"after alpha = {noise.alpha:.6g}: {error}"
            break
        report(float(time))
    return Fluctuations(V[0], m, propagators, V[1], noise.diffusion.most_used, ended)
