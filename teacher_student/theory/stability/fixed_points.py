"""Fixed points of the order-parameter ODEs: found by Newton's method, with the spectrum of their Jacobian."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize

from teacher_student.arrays import ComplexArray, FloatArray
from teacher_student.errors import InvalidInput, check_fraction, check_non_negative, refuse
from teacher_student.layout import OF_TEACHER, SLOW_FACTORS, positions
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import Problem, check_problem
from teacher_student.theory.coordinates import Coordinates, coordinates_of, state_vector
from teacher_student.theory.integrate import integrate
from teacher_student.theory.noise.linearisation import jacobian
from teacher_student.theory.right_hand_side import DriftAt, SampledDrift, right_hand_side
from teacher_student.theory.stability.zero_modes import ZeroMode, name_zero_modes
from teacher_student.trajectory import state_of

TOLERANCE = 1e-12
_MAX_STEPS = 100
_MAX_VALLEY_STEPS = 500
_ENORMOUS = 1e100
# Central differences leave about 1e-10 of the largest entry in a Jacobian; a singular value or eigenvalue below is zero.
_SINGULAR = 1e-8
_ZERO = 1e-7


class NoFixedPoint(ArithmeticError):
    """Newton's method ended where the right-hand side does not vanish or has no derivative, or outside the states of networks.

    Attributes
    ----------
    residual : float
        Largest abs(dy/dalpha) where it ended.
    """

    def __init__(self, message: str, residual: float = math.nan) -> None:  # with a default it can be sent between processes
        super().__init__(message)
        self.residual = residual


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A fixed point and its linear stability, on n coordinates: the learning factors, of Q_modes the upper triangle.

    Attributes
    ----------
    problem : Problem
        The problem, with the fixed point as its initial state.
    state : OrderParameters
    eps_g : float
        Generalisation error at the fixed point.
    residual : float
        Largest abs(dy/dalpha) that is left.
    distance : float
        Euclidean distance of the coordinates from where the search began.
    labels : tuple of str
        The coordinates, "Q_modes[0,1]" and so on.
    jacobian : (n, n) array
    eigenvalues : (m,) complex array
        Of the Jacobian, per unit of alpha, the largest real part first. If T is singular, m < n: only changes of R_modes within
        the range of T are possible.
    eigenvectors : (n, m) complex array
        Right eigenvectors, as columns of norm 1.
    zero_modes : tuple of ZeroMode
        The directions with eigenvalue zero, each with what it belongs to.
    """

    problem: Problem
    state: OrderParameters
    eps_g: float
    residual: float
    distance: float
    labels: tuple[str, ...]
    jacobian: FloatArray
    eigenvalues: ComplexArray
    eigenvectors: ComplexArray
    zero_modes: tuple[ZeroMode, ...]

    @property
    def escape_rates(self) -> FloatArray:
        """Real parts of the eigenvalues above zero, the largest first."""
        return np.asarray(self.eigenvalues.real[self.eigenvalues.real > zero_below(self.eigenvalues)])

    @property
    def n_unstable(self) -> int:
        """Number of unstable directions."""
        return len(self.escape_rates)


def fixed_point(problem: Problem, near: OrderParameters | float | None = None, *, tolerance: float = TOLERANCE) -> FixedPoint:
    """Return the fixed point of the ODEs of `problem` that Newton's method finds from a state nearby.

    Parameters
    ----------
    problem : Problem
        Rule, teacher and the values of frozen factors.
    near : OrderParameters or float, optional
        Where to start: a state with the frozen factors of the problem, or a time alpha up to which the problem is integrated; by
        default the problem's initial state.
    tolerance : float
        Largest abs(dy/dalpha) accepted, per unit of alpha.

    Raises
    ------
    InvalidInput
        If nothing learns, a rate is a schedule, the rule has friction, or `near` does not belong to the problem.
    NoFixedPoint
        If the method does not converge, or leaves the states that networks can have or at which dy/dalpha has a derivative.
    Diverged
        If the integration up to `near` does.

    Notes
    -----
    Newton's step solves J step = -f (docs/theory.rst: `newton`) by least squares with the smallest norm. Directions along which
    fixed points form continuous families are therefore left as they are. The step is halved until the residual falls. Where no
    step helps, the search begins again with Levenberg and Marquardt's method. The fixed point found need not be close: see
    `FixedPoint.distance`.
    """
    check_problem(problem)
    tolerance = check_fraction("tolerance", tolerance)
    if problem.rule.friction is not None:
        refuse("rule.friction", problem.rule.friction, "no friction; plain SGD at the rates eta / friction is its limit")
    if not problem.rule.rates.any():  # refuses schedules
        refuse("rule", problem.rule, "at least one rate above 0")
    start = _start(problem, near)
    coordinates = coordinates_of(start, problem.rule)
    drift = right_hand_side(start, problem.rule, coordinates)
    if isinstance(drift, SampledDrift) and drift.is_rough(coordinates.start[coordinates.moving]):
        refuse("activation", problem.rule.activation, "one whose g' has no jumps, or with Gaussian averages in closed form")
    basis = physical_basis(start, coordinates)

    at = DriftAt(drift, 0.0)

    def f(z: FloatArray) -> FloatArray:
        return np.asarray(basis.T @ at(basis @ z))

    def derivative(z: FloatArray) -> FloatArray:
        return np.asarray(basis.T @ jacobian(at, basis @ z) @ basis)

    begin = basis.T @ coordinates.start[coordinates.moving]
    z = newton(f, derivative, begin, tolerance)
    if not np.abs(f(z)).max() < tolerance:
        # Newton's direction can be stuck in a valley; Levenberg and Marquardt's step follows it.
        z = newton(f, derivative, _along_valley(f, derivative, begin), tolerance)
    residual = float(np.abs(drift(0.0, basis @ z)).max())
    if not residual < tolerance:
        raise NoFixedPoint(f"Newton's method ended with abs(dy/dalpha) = {residual:.3g}, above {tolerance:.3g}", residual)
    try:
        state = OrderParameters(**coordinates.parts(basis @ z), T=start.T, v_teacher=start.v_teacher)
    except InvalidInput as error:
        raise NoFixedPoint(f"Newton's method ended at overlaps of no network: {error}", residual) from None
    return _described(dataclasses.replace(problem, initial=state), residual, float(np.linalg.norm(z - begin)))


def _start(problem: Problem, near: OrderParameters | float | None) -> OrderParameters:
    initial = problem.initial
    if near is None:
        return initial
    if isinstance(near, OrderParameters):
        eta_xi_in, *others = problem.rule.rates
        rates = {**dict.fromkeys(OF_TEACHER, 0.0), "Q_modes": eta_xi_in, "R_modes": eta_xi_in}
        rates |= zip(SLOW_FACTORS, others, strict=True)
        for name, rate in rates.items():
            own, other = getattr(initial, name), getattr(near, name)
            if rate == 0 and not np.array_equal(own, other):
                refuse("near", other.tolist(), f"the problem's own {name}, which does not learn")
            if own.shape != other.shape:
                refuse("near", f"{name} of shape {other.shape}", f"shape {own.shape}")
        if problem.rule.spherical and not np.allclose(near.Q_modes.diagonal(), initial.Q_modes.diagonal(), rtol=1e-12, atol=0.0):
            refuse("near", near.Q_modes.diagonal().tolist(), "the lengths of the problem's modes, which the rule keeps")
        return near
    alpha = check_non_negative("near", near, "an OrderParameters, or a time, a number of at least 0")
    if alpha == 0:
        return initial
    return state_of(integrate(problem, [alpha], progress=False).isel(alpha=-1))


def physical_basis(state: OrderParameters, coordinates: Coordinates) -> FloatArray:
    """Return an orthonormal basis, (n, m) columns, of the coordinates that networks can have: R_modes in the range of T."""
    n = len(coordinates.moving)
    eigenvalues, vectors = np.linalg.eigh(state.T)
    within = vectors[:, eigenvalues > 1e-9 * eigenvalues[-1]]
    in_R = np.isin(coordinates.moving, positions(coordinates.sizes)["R_modes"])
    if within.shape[1] == state.n_teacher or not in_R.any():
        return np.eye(n)
    others = np.eye(n)[:, ~in_R]
    of_R = np.zeros((n, state.n_modes * within.shape[1]))
    of_R[in_R] = np.kron(np.eye(state.n_modes), within)
    return np.hstack([others, of_R])


def newton(
    f: Callable[[FloatArray], FloatArray], derivative: Callable[[FloatArray], FloatArray], z: FloatArray, tolerance: float
) -> FloatArray:
    """Return where Newton's method for f(z) = 0 comes to rest: once below `tolerance` it goes on while the residual falls."""
    values = f(z)
    for _ in range(_MAX_STEPS):
        J = derivative(z)
        if not np.isfinite(J).all():  # differences that leave the states in which the averages exist: far from any network
            break
        step = -scipy.linalg.lstsq(J, values, cond=_SINGULAR)[0]
        # A nearly singular Jacobian sends the step far out of the region in which it means anything.
        step *= min(1.0, 0.5 * (1.0 + np.linalg.norm(z)) / max(float(np.linalg.norm(step)), 1e-300))
        old = float(np.linalg.norm(values))
        for _ in range(30):
            new = f(z + step)
            if np.isfinite(new).all() and np.linalg.norm(new) < old:
                break
            step *= 0.5
        else:
            break
        z, values = z + step, new
        if np.abs(values).max() < tolerance and np.linalg.norm(values) > 0.5 * old:
            break
    return z


def _along_valley(
    f: Callable[[FloatArray], FloatArray], derivative: Callable[[FloatArray], FloatArray], z: FloatArray
) -> FloatArray:
    """Return where Levenberg and Marquardt's method ends, in which f is enormous, and flat, wherever it is not finite."""

    def values(z: FloatArray) -> FloatArray:
        return np.nan_to_num(f(z), nan=_ENORMOUS, posinf=_ENORMOUS, neginf=_ENORMOUS)

    def slopes(z: FloatArray) -> FloatArray:
        return np.nan_to_num(derivative(z), nan=0.0, posinf=0.0, neginf=0.0)

    return np.asarray(scipy.optimize.least_squares(values, z, slopes, method="lm", max_nfev=_MAX_VALLEY_STEPS).x)


def zero_below(eigenvalues: ComplexArray) -> float:
    """Return the size below which eigenvalues are zero as far as the Jacobian is known."""
    return _ZERO * float(np.abs(eigenvalues).max())


def _described(problem: Problem, residual: float, distance: float) -> FixedPoint:
    state, rule = problem.initial, problem.rule
    coordinates = coordinates_of(state, rule)
    drift = right_hand_side(state, rule, coordinates)
    J = jacobian(DriftAt(drift, 0.0), state_vector(state)[coordinates.moving])
    if not np.isfinite(J).all():
        raise NoFixedPoint(f"Newton's method ended where the right-hand side has no derivative, {distance:.3g} away", residual)
    basis = physical_basis(state, coordinates)
    eigenvalues, vectors = np.linalg.eig(basis.T @ J @ basis)
    order = np.argsort(-eigenvalues.real)
    eigenvalues = eigenvalues[order].astype(np.complex128)
    zero = np.abs(eigenvalues) <= zero_below(eigenvalues)
    return FixedPoint(
        problem=problem,
        state=state,
        eps_g=state.eps_g(rule.activation, rule.teacher_activation),
        residual=residual,
        distance=distance,
        labels=coordinates.labels,
        jacobian=J,
        eigenvalues=eigenvalues,
        eigenvectors=(basis @ vectors[:, order]).astype(np.complex128),
        zero_modes=name_zero_modes(state, rule, coordinates, J, basis, int(zero.sum())),
    )
