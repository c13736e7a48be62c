"""How long noise takes to drive runs off an unstable fixed point at finite N.

Along the one unstable direction, with x the coordinate on it, lambda its rate, D the diffusion matrix and l the left eigenvector,

    dx = lambda x dalpha + sqrt(d / N) dW,    d = l D l,

so that x(alpha) -> sqrt(d / (2 lambda N)) exp(lambda alpha) Z with one Gaussian number Z of a run. The ODE carries a small x to
the end of the plateau in the time ln(reach / x) / lambda, which defines the reach. Hence

    alpha_escape = (ln N + ln(2 lambda reach^2 / d) - 2 ln |Z|) / (2 lambda),
    mean(-2 ln |Z|) = gamma + ln 2 (gamma Euler's constant),    standard deviation of alpha_escape = pi / (sqrt(8) lambda).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.integrate
import scipy.special

from teacher_student.errors import refuse
from teacher_student.order_parameters import generalisation_error, unit_overlaps
from teacher_student.theory.coordinates import coordinates_of, right_hand_side, unpack
from teacher_student.theory.diffusion import gaussian_points, step_moments
from teacher_student.theory.fixed_points import FixedPoint

FloatArray = npt.NDArray[np.float64]

_N_POINTS = 2**15
# Of the state's norm: linear to this accuracy, and far above the error of the fixed point.
_AMPLITUDE = 1e-5


@dataclass(frozen=True, eq=False)
class PlateauLength:
    """Predicted escape times of runs that start at a fixed point, at leading order for large N.

    Attributes
    ----------
    n_inputs : (n,) array
    mean : (n,) array
        Mean over runs of the alpha at which eps_g has fallen to `fraction` of its value at the fixed point.
    deviation : float
        Standard deviation between runs, the same at every N.
    rate : float
        lambda, the escape rate.
    diffusion : float
        d = l D l, for the right eigenvector of norm 1 and l times it 1.
    reach : (float, float)
        Amplitude at which the exponential growth would end the plateau, for the two signs of x.
    fraction : float
    """

    n_inputs: npt.NDArray[np.int64]
    mean: FloatArray
    deviation: float
    rate: float
    diffusion: float
    reach: tuple[float, float]
    fraction: float


def plateau_length(point: FixedPoint, n_inputs: int | npt.ArrayLike, fraction: float = 0.5) -> PlateauLength:
    """Return how long runs of N = `n_inputs` that start at the fixed point `point` stay, until eps_g falls to `fraction` of it.

    Raises
    ------
    InvalidInput
        Unless there is exactly one unstable direction, with a real eigenvalue, along which noise acts, leading to a smaller
        eps_g on both sides.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, float) or not 0 < fraction < 1:
        refuse("fraction", fraction, "a number between 0 and 1")
    sizes = np.atleast_1d(np.asarray(n_inputs))
    if sizes.dtype.kind not in "iu" or sizes.min() < 1:
        refuse("n_inputs", n_inputs, "whole numbers above 0")
    if point.n_unstable != 1 or point.eigenvalues[0].imag != 0:
        refuse("point", f"{point.n_unstable} unstable directions", "exactly one, with a real eigenvalue")
    rate = float(point.eigenvalues[0].real)
    right, left = _direction(point)
    diffusion = _diffusion_along(point, left)
    if diffusion < 1e-12 * float(right @ right) * rate:
        refuse("point", f"diffusion {diffusion:.3g} along the unstable direction", "noise that drives runs off it")
    reach = (_reach(point, right, rate, fraction), _reach(point, -right, rate, fraction))
    offset = np.log(2.0 * rate / diffusion) + np.log(reach[0]) + np.log(reach[1]) + np.euler_gamma + np.log(2.0)
    return PlateauLength(
        n_inputs=sizes.astype(np.int64),
        mean=(np.log(sizes) + offset) / (2.0 * rate),
        deviation=float(np.pi / (np.sqrt(8.0) * rate)),
        rate=rate,
        diffusion=diffusion,
        reach=reach,
        fraction=fraction,
    )


def escape_probability(length: PlateauLength, alpha: npt.ArrayLike) -> FloatArray:
    """Return the probability, (n, alpha), that a run of each N in `length` has escaped by the time `alpha`."""
    growth = np.exp(-length.rate * np.atleast_1d(np.asarray(alpha, dtype=np.float64)))
    scale = np.sqrt(length.rate * length.n_inputs / length.diffusion)[:, np.newaxis] * growth
    return np.asarray(sum(0.5 * scipy.special.erfc(reach * scale) for reach in length.reach))


def _direction(point: FixedPoint) -> tuple[FloatArray, FloatArray]:
    """Return the unstable right eigenvector, of norm 1, and the left one with left . right = 1."""
    right = point.eigenvectors[:, 0].real
    right = right / np.linalg.norm(right)
    values, vectors = np.linalg.eig(point.jacobian.T)
    left = vectors[:, int(np.argmin(np.abs(values - point.eigenvalues[0])))].real
    return right, left / (left @ right)


def _diffusion_along(point: FixedPoint, left: FloatArray) -> float:
    rule = point.problem.rule
    coordinates = coordinates_of(point.state, rule)
    points = gaussian_points(point.state.n_modes + point.state.n_teacher + 1, _N_POINTS, seed=0)
    moments = step_moments(coordinates.start, point.state, rule, coordinates, points)
    return float(left @ moments.covariance @ left)


def _reach(point: FixedPoint, direction: FloatArray, rate: float, fraction: float) -> float:
    """Return the amplitude along `direction` from which exponential growth at `rate` would take no time to end the plateau."""
    state, rule = point.state, point.problem.rule
    coordinates = coordinates_of(state, rule)
    flow = right_hand_side(state, rule, coordinates)
    target = fraction * point.eps_g

    def above(alpha: float, y: FloatArray) -> float:
        factors = unpack(coordinates.expand(y), state)
        Q, R = unit_overlaps(factors["Q_modes"], factors["R_modes"], factors["sigma"], factors["xi_out"])
        return float(generalisation_error(Q, R, state.T, factors["v"], state.v_teacher, rule.activation)) - target

    above.terminal = True  # type: ignore[attr-defined]
    centre = coordinates.start[coordinates.moving]
    amplitude = _AMPLITUDE * max(1.0, float(np.linalg.norm(centre)))
    end = 10.0 * np.log(1.0 / _AMPLITUDE) / rate
    solution = scipy.integrate.solve_ivp(
        flow, (0.0, end), centre + amplitude * direction, method="LSODA", rtol=1e-10, atol=1e-13, events=above
    )
    if len(solution.t_events[0]) == 0:
        refuse("point", f"eps_g still above {fraction} of the plateau at alpha = {end:.4g}", "an unstable direction that ends it")
    return float(amplitude * np.exp(rate * solution.t_events[0][0]))
