"""How long noise takes to drive runs off an unstable fixed point at finite N (docs/theory.rst: `unstable`, `escape-time`,
`escape-mean`).

Along the one unstable direction, with x the coordinate on it, lambda its rate, D the diffusion matrix and l the left eigenvector,

    dx = lambda x dalpha + sqrt(d / N) dW,    d = l D l,

so that x(alpha) -> sqrt(d / (2 lambda N)) exp(lambda alpha) Z with one Gaussian number Z of a run. The ODE carries a small x to
the end of the plateau in the time ln(reach / x) / lambda, which defines the reach. Hence

    alpha_escape = (ln N + ln(2 lambda reach^2 / d) - 2 ln |Z|) / (2 lambda),
    mean(-2 ln |Z|) = gamma + ln 2 (gamma Euler's constant),    standard deviation of alpha_escape = pi / (sqrt(8) lambda),

and each sign of x has its own reach, with probability 1/2. With several unstable directions, exp(-J alpha) x(alpha) on their
space, J the Jacobian there, tends to a Gaussian vector of covariance C / N with J C + C J^T = D, and the ODE takes over from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special

from teacher_student.arrays import ComplexArray, FloatArray, IntArray
from teacher_student.errors import check_fraction, check_instance, check_whole, refuse
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.networks import triangular_factor
from teacher_student.order_parameters import as_array, generalisation_error, unit_overlaps
from teacher_student.theory.coordinates import coordinates_of, state_vector
from teacher_student.theory.noise.diffusion import step_moments
from teacher_student.theory.ode.progress import Progress
from teacher_student.theory.right_hand_side import right_hand_side
from teacher_student.theory.stability.fixed_points import FixedPoint, physical_basis

_N_POINTS = 2**15
# Of the state's norm: linear to this accuracy, and far above the error of the fixed point.
_AMPLITUDE = 1e-5
_NO_NOISE = 1e-12
_MOST_STEPS = 1e6


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

    n_inputs: IntArray
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
        Unless `point` is a fixed point with exactly one unstable direction, with a real eigenvalue, along which noise acts,
        leading to a smaller eps_g on both sides, and the other numbers are possible.
    """
    _check_point(point)
    fraction = check_fraction("fraction", fraction)
    sizes = np.array([check_whole("n_inputs", size, least=1) for size in np.atleast_1d(np.asarray(n_inputs, dtype=object))])
    if len(sizes) == 0:
        refuse("n_inputs", n_inputs, "at least one whole number")
    if point.n_unstable != 1 or point.eigenvalues[0].imag != 0:
        refuse("point", f"{point.n_unstable} unstable directions", "exactly one, with a real eigenvalue")
    rate = float(point.eigenvalues[0].real)
    right, left, _ = _unstable_space(point)
    diffusion = float(_diffusion_along(point, left)[0, 0])
    if diffusion < _NO_NOISE * rate:
        refuse("point", f"diffusion {diffusion:.3g} along the unstable direction", "noise that drives runs off it")
    reach = (_reach(point, right[:, 0], rate, fraction), _reach(point, -right[:, 0], rate, fraction))
    spread = 0.5 * np.log(reach[0] / reach[1])
    offset = np.log(2.0 * rate / diffusion) + np.log(reach[0]) + np.log(reach[1]) + np.euler_gamma + np.log(2.0)
    return PlateauLength(
        n_inputs=sizes.astype(np.int64),
        mean=(np.log(sizes) + offset) / (2.0 * rate),
        deviation=float(np.sqrt(np.pi**2 / 8.0 + spread**2) / rate),
        rate=rate,
        diffusion=diffusion,
        reach=reach,
        fraction=fraction,
    )


def escape_probability(length: PlateauLength, alpha: npt.ArrayLike) -> FloatArray:
    """Return the probability, (n, alpha), that a run of each N in `length` has escaped by the time `alpha`.

    `alpha` is a time or several. Raises `InvalidInput` for what is no finite number, or no `PlateauLength`.
    """
    check_instance("length", length, PlateauLength, "what plateau_length returns")
    growth = np.exp(-length.rate * as_array("alpha", np.atleast_1d(alpha) if np.isscalar(alpha) else alpha, 1))
    scale = np.sqrt(length.rate * length.n_inputs / length.diffusion)[:, np.newaxis] * growth
    return np.asarray(sum(0.5 * scipy.special.erfc(reach * scale) for reach in length.reach))


def sample_escape_times(
    point: FixedPoint, n_inputs: int, n_samples: int = 64, fraction: float = 0.5, seed: int = 0
) -> FloatArray:
    """Return predicted escape times, (n_samples,), from a fixed point with any number of unstable directions.

    Each of the `n_samples` (a power of 2) runs leaves the fixed point with its own quasi-random Gaussian vector and follows the
    ODE until eps_g is `fraction` of its value at the fixed point. Raises `InvalidInput` for impossible numbers, without
    unstable directions, without noise along them, or if they do not lead there.
    """
    _check_point(point)
    n_inputs, n_samples = check_whole("n_inputs", n_inputs, least=1), check_whole("n_samples", n_samples, least=2)
    fraction, seed = check_fraction("fraction", fraction), check_whole("seed", seed, least=0)
    if n_samples & (n_samples - 1):
        refuse("n_samples", n_samples, "a power of 2")
    if point.n_unstable == 0:
        refuse("point", "0 unstable directions", "at least one")
    right, left, J = _unstable_space(point)
    D = _diffusion_along(point, left)
    if np.trace(D) < _NO_NOISE * point.escape_rates[0]:
        refuse("point", f"diffusion {np.trace(D):.3g} along the unstable directions", "noise that drives runs off it")
    C = scipy.linalg.solve_continuous_lyapunov(J, D)
    vectors = gaussian_points(len(J), n_samples, seed) @ triangular_factor(0.5 * (C + C.T)).T / np.sqrt(n_inputs)
    centre = state_vector(point.state)[coordinates_of(point.state, point.problem.rule).moving]
    amplitude = _AMPLITUDE * max(1.0, float(np.linalg.norm(centre)))
    slowest, fastest = float(np.linalg.eigvals(J).real.min()), float(point.escape_rates[0])
    times = []
    for vector in vectors:

        def excess(alpha: float, vector: FloatArray = vector) -> float:
            return float(np.log(np.linalg.norm(scipy.linalg.expm(J * alpha) @ vector) / amplitude))

        # The norm grows at rates between the slowest and the fastest, up to the angles between eigenvectors.
        rate = fastest if excess(0.0) > 0 else slowest
        start = scipy.optimize.brentq(excess, *sorted((-excess(0.0) / rate - 10 / slowest, -excess(0.0) / rate + 10 / slowest)))
        deviation = right @ scipy.linalg.expm(J * start) @ vector
        times.append(start + _time_to_level(point, deviation, fraction, fastest))
    return np.array(times)


def _check_point(point: object) -> None:
    if not isinstance(point, FixedPoint):
        refuse("point", type(point).__name__, "a FixedPoint, as of fixed_point")


def _unstable_space(point: FixedPoint) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return an orthonormal basis (n, u) of the unstable directions, its dual (u, n), and the Jacobian on it (u, u)."""
    u = point.n_unstable
    basis = physical_basis(point.state, coordinates_of(point.state, point.problem.rule))
    right = _real_span(point.eigenvectors[:, :u], u)
    values, vectors = np.linalg.eig((basis.T @ point.jacobian @ basis).T)
    adjoint = basis @ _real_span(vectors[:, np.argsort(-values.real)[:u]], u)
    left = np.asarray(np.linalg.solve(adjoint.T @ right, adjoint.T))
    return right, left, left @ point.jacobian @ right


def _real_span(vectors: ComplexArray, size: int) -> FloatArray:
    """Return an orthonormal basis of the real space that conjugate pairs of `vectors`, as columns, span."""
    return np.asarray(np.linalg.svd(np.hstack([vectors.real, vectors.imag]))[0][:, :size])


def _diffusion_along(point: FixedPoint, left: FloatArray) -> FloatArray:
    rule = point.problem.rule
    coordinates = coordinates_of(point.state, rule)
    points = gaussian_points(point.state.n_modes + point.state.n_teacher + 1, _N_POINTS, seed=0)
    moments = step_moments(coordinates.start, point.state, rule, coordinates, points)
    return np.asarray(left @ moments.covariance @ left.T)


def _reach(point: FixedPoint, direction: FloatArray, rate: float, fraction: float) -> float:
    """Return the amplitude along `direction` from which exponential growth at `rate` would take no time to end the plateau."""
    amplitude = _AMPLITUDE * max(1.0, float(np.linalg.norm(state_vector(point.state))))
    return float(amplitude * np.exp(rate * _time_to_level(point, amplitude * direction, fraction, rate)))


def _time_to_level(point: FixedPoint, deviation: FloatArray, fraction: float, rate: float) -> float:
    """Return the time that the ODE takes from the fixed point plus `deviation` until eps_g is `fraction` of the plateau."""
    state, rule = point.state, point.problem.rule
    coordinates = coordinates_of(state, rule)
    drift = right_hand_side(state, rule, coordinates)
    target = fraction * point.eps_g
    end = 10.0 * np.log(1.0 / _AMPLITUDE) / rate
    progress = Progress(end, _MOST_STEPS)

    def above(alpha: float, y: FloatArray) -> float:
        if not progress.is_made(alpha):
            refuse("point", f"steps that become too short at alpha = {alpha:.4g}", "unstable directions that end it")
        factors = coordinates.parts(y)
        Q, R = unit_overlaps(factors)
        error = generalisation_error(Q, R, state.T, factors["v"], state.v_teacher, rule.activation, rule.teacher_activation)
        return float(error) - target

    above.terminal = True  # type: ignore[attr-defined]
    start = coordinates.start[coordinates.moving] + deviation
    solution = scipy.integrate.solve_ivp(drift, (0.0, end), start, method="LSODA", rtol=1e-10, atol=1e-13, events=above)
    if len(solution.t_events[0]) == 0:
        refuse("point", f"eps_g still above {fraction} of the plateau at alpha = {end:.4g}", "unstable directions that end it")
    return float(solution.t_events[0][0])
