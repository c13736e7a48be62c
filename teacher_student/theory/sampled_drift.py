"""The right-hand side of the ODEs for activations without closed Gaussian averages: the mean SGD step over quasi-random fields.

The points are the same throughout an integration, so that the right-hand side is a deterministic function of the state, smooth if
g' is. They come in independently scrambled sets; the spread of the sets' means is the error of the average. The step is quadratic
in the label noise, so its mean over the noise is exactly that of the two values +-noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.gaussian_averages.sampled import field_map, symmetric_points
from teacher_student.kernels import njit
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.schedules import rates_at
from teacher_student.theory.coordinates import Coordinates, unpack
from teacher_student.theory.diffusion import increment
from teacher_student.theory.drift import flow, keep_lengths
from teacher_student.theory.momentum_drift import velocity_flow
from teacher_student.theory.momentum_noise import decay_forces

N_POINTS = 2**15
N_SETS = 8


class SampledDrift:
    """f(alpha, y) = dy/dalpha on the moving coordinates, with the standard error that sampling gives it.

    Parameters
    ----------
    state, rule, coordinates : OrderParameters, LearningRule, Coordinates
        Shapes, teacher and rule.
    n_points : int
        Points in all sets together, about.
    seed : int
        Seed of the scrambling.
    """

    def __init__(
        self, state: OrderParameters, rule: LearningRule, coordinates: Coordinates, n_points: int = N_POINTS, seed: int = 0
    ) -> None:
        self.state, self.rule, self.coordinates = state, rule, coordinates
        g = get_activations(rule.activation, rule.teacher_activation)[0].g.ctypes
        even = all(abs(g(x) - g(-x)) <= 1e-12 * abs(g(x)) for x in np.linspace(0.1, 5.0, 50))
        sizes = state.n_teacher, state.n_modes, n_points // N_SETS
        self.point_sets = [symmetric_points(*sizes, even, seed * N_SETS + i) for i in range(N_SETS)]
        self.schedules = rule.schedules

    @property
    def n_points(self) -> int:
        """Points in all sets together."""
        return sum(len(points) for points in self.point_sets)

    def __call__(self, alpha: float, y: FloatArray) -> FloatArray:
        return np.asarray(self.by_set(self._rates(alpha), y).mean(axis=0))

    def error(self, alpha: float, y: FloatArray) -> FloatArray:
        """Return the standard error of the right-hand side at `y`, (n,)."""
        return np.asarray(self.by_set(self._rates(alpha), y).std(axis=0, ddof=1) / np.sqrt(N_SETS))

    def relative_error(self, y: FloatArray) -> float:
        """Return the largest standard error at `y`, in units of the largest component, at the largest rates of the schedules."""
        rows = self.by_set(self.rule.largest_rates, y)
        largest = float(np.abs(rows.mean(axis=0)).max())
        error = float(rows.std(axis=0, ddof=1).max()) / np.sqrt(N_SETS)
        return error / largest if largest > 0.0 else float(error > 0.0)

    def is_rough(self, y: FloatArray) -> bool:
        """Return whether jumps of g' leave the right-hand side without a usable derivative at `y`.

        Single points whose field crosses a jump then decide about its differences over short steps: those over two lengths,
        along the flow, disagree by as much as they are. Where g' is continuous they differ by less than 1 %. All at the largest
        rates of the schedules.
        """
        rates = self.rule.largest_rates
        start = self.by_set(rates, y)
        flow = start.mean(axis=0)
        largest = float(np.abs(flow).max())
        if largest == 0.0:
            return False
        direction = flow / largest
        long, short = ((self.by_set(rates, y + step * direction) - start) / step for step in (1e-3, 1e-4))
        return bool(np.abs(long - short).max() > 0.1 * np.abs(long).max())

    def _rates(self, alpha: float) -> FloatArray:
        rates = np.empty(4)
        rates_at(self.schedules, alpha, rates)
        return rates

    def by_set(self, rates: FloatArray, y: FloatArray) -> FloatArray:
        """Return the right-hand side at the `rates` (4,) from each set of points, (sets, n)."""
        state, rule = self.state, self.rule
        K, P, M = state.n_units, state.n_modes, state.n_teacher
        full = self.coordinates.expand(y)
        factors = unpack(full, state)
        student, teacher = get_activations(rule.activation, rule.teacher_activation)
        fields = field_map(state.T, factors["R_modes"], factors["Q_modes"])
        # Averages <h z'> with the points z' give those with every field z that is linear in z' and in what is independent of h.
        maps = [fields[M:], fields[:M]]
        if rule.friction is not None:
            along = np.hstack([factors["R_velocities"], factors["C_velocities"].T])
            maps.append(along @ np.linalg.pinv(fields, rcond=1e-7).T)
        to_z = np.vstack(maps)
        hz_decay, slow_decay = decay_forces(factors, rates, rule.weight_decay)
        rows = np.empty((len(self.point_sets), len(full)))
        for points, row in zip(self.point_sets, rows, strict=True):
            h_points, hh, slow = np.empty((P, M + P)), np.empty((P, P)), np.empty(P + K * P + K)
            mean_forces_of_points(
                student.g,
                student.g_prime,
                teacher.g,
                points,
                fields,
                rule.noise,
                factors["sigma"],
                factors["xi_out"],
                factors["v"],
                state.v_teacher,
                rates,
                rule.batch_size,
                h_points,
                hh,
                slow,
            )
            hz = h_points @ to_z.T + hz_decay
            if rule.friction is None:
                flow(hz, hh, slow + slow_decay, row)
            else:
                velocity_flow(full, hz, hh, slow + slow_decay, M, rule.friction, row)
            if rule.spherical:
                keep_lengths(full, P, M, row)
        return np.ascontiguousarray(rows[:, self.coordinates.moving])


@njit(cache=True, nogil=True)
def mean_forces_of_points(
    g: Any,
    g_prime: Any,
    g_teacher: Any,
    points: FloatArray,
    fields: FloatArray,
    noise: float,
    sigma: FloatArray,
    xi_out: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    rates: FloatArray,
    batch_size: int,
    h_points: FloatArray,
    hh: FloatArray,
    slow: FloatArray,
) -> None:
    """Write means over `points` (n_points, M + P), which `fields` maps to (rho, u); weight decay is not among them.

    They are those of h_a z' into `h_points` (P, M + P), z' being the point, and `hh` (P, P) and `slow` (P + K P + K) as in
    `teacher_student.theory.drift.mean_forces`.
    """
    K, P = xi_out.shape
    M = len(v_teacher)
    start = P * P + P * M
    psi, h, work, f = np.empty(M + P), np.empty(P), np.empty((2, K)), np.empty(start + len(slow))
    h_points[:] = 0.0
    hh[:] = 0.0
    slow[:] = 0.0
    for point in points:
        for i in range(M + P):
            psi[i] = 0.0
            for j in range(M if i < M else M + P):
                psi[i] += fields[i, j] * point[j]
        for sign in range(1 if noise == 0.0 else 2):
            label_noise = noise if sign == 0 else -noise
            increment(
                g, g_prime, g_teacher, psi[:M], psi[M:], label_noise, sigma, xi_out, v, v_teacher, rates, batch_size, work, f, h
            )
            for a in range(P):
                for i in range(M + P):
                    h_points[a, i] += h[a] * point[i]
                for b in range(P):
                    hh[a, b] += h[a] * h[b] / batch_size
            for i in range(len(slow)):
                slow[i] += f[start + i]
    for total in (h_points, hh):
        total /= len(points) * (1.0 if noise == 0.0 else 2.0)
    slow /= len(points) * (1.0 if noise == 0.0 else 2.0)
