"""The compiled steps: orders of convergence, interpolants, a stiff problem with a known solution, rates that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import teacher_student as ts
from teacher_student.arrays import FloatArray
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.equations import fill_change_of_rates, slope
from teacher_student.theory.noise.linearisation import jacobian
from teacher_student.theory.ode.advance import REACHED, Limits
from teacher_student.theory.ode.linear_equations import factorise, solve
from teacher_student.theory.ode.march import METHOD, March
from teacher_student.theory.ode.stepper import (
    EVALUATIONS,
    IMPLICIT,
    JACOBIANS,
    Walk,
    explicit_interpolant,
    explicit_step,
    interpolate,
    new_walk,
    rosenbrock_interpolant,
    rosenbrock_step,
    spectral_radius,
)
from teacher_student.theory.ode.tableaux import DOP853, RODAS5P, Explicit, Rosenbrock
from teacher_student.theory.right_hand_side import ClosedDrift, DriftAt, right_hand_side

END = 3.0
FALLING = ts.PowerLaw(start=2.0, alpha=1.0, exponent=1.5)


def problem(**changes: Any) -> ts.Problem:
    """Return a problem of two units and two modes in which every factor learns, at order one an unit of alpha."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((4, 6)) / np.sqrt(6)
    gram = X @ X.T
    state = ts.OrderParameters(
        Q_modes=gram[:2, :2],
        R_modes=gram[:2, 2:],
        T=gram[2:, 2:],
        sigma=rng.uniform(0.6, 1.4, 2),
        xi_out=rng.standard_normal((2, 2)),
        v=rng.standard_normal(2),
        v_teacher=rng.uniform(0.5, 1.5, 2),
    )
    rates = {"eta_xi_in": 1.5, "eta_sigma": 0.6, "eta_xi_out": 1.0, "eta_v": 0.5, "noise": 0.1}
    return ts.Problem(state, ts.LearningRule(**(rates | changes)))


def drift_of(of: ts.Problem) -> tuple[ClosedDrift, FloatArray]:
    coordinates = coordinates_of(of.initial, of.rule)
    f = right_hand_side(of.initial, of.rule, coordinates)
    assert isinstance(f, ClosedDrift)
    return f, coordinates.start[coordinates.moving]


def reference(of: ts.Problem, alpha: float) -> FloatArray:
    f, start = drift_of(of)
    solution = scipy.integrate.solve_ivp(f, (0.0, alpha), start, method="Radau", rtol=1e-13, atol=1e-14)
    return np.asarray(solution.y[:, -1])


def with_derivatives(f: ClosedDrift, walk: Walk) -> None:
    slope(f.equations, walk.alpha[0], walk.y, walk.f)
    walk.J[:] = jacobian(DriftAt(f, walk.alpha[0]), walk.y)
    fill_change_of_rates(f.equations, walk.alpha[0], walk.y, 1e-4, walk.change)


def equal_steps(of: ts.Problem, n_steps: int, tableau: Explicit | Rosenbrock, ignore_change: bool = False) -> FloatArray:
    """Return the state at `END` after equal steps."""
    f, start = drift_of(of)
    walk, h = new_walk(start), END / n_steps
    for _ in range(n_steps):
        with_derivatives(f, walk)
        if ignore_change:
            walk.change[:] = 0.0
        if isinstance(tableau, Explicit):
            explicit_step(f.equations, tableau, walk, h, 1e-9, 1e-12)
        else:
            rosenbrock_step(f.equations, tableau, walk, h, 1e-9, 1e-12)
        walk.y[:] = walk.new
        walk.alpha[0] += h
    return walk.y.copy()


def order(errors: list[float], steps: list[int]) -> float:
    """Return the slope of the errors' logarithm against that of the step."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def order_of(of: ts.Problem, tableau: Explicit | Rosenbrock, **options: Any) -> float:
    steps = [28, 40, 56]
    if isinstance(tableau, Explicit):  # more steps would meet the rounding error
        steps = [4, 6, 8, 11] if of.rule.eta_xi_in != FALLING else [20, 28, 40]
    exact = reference(of, END)
    return order([float(np.abs(equal_steps(of, n, tableau, **options) - exact).max()) for n in steps], steps)


ORDERS = [(DOP853, 8.0), (RODAS5P, 5.0)]
PROBLEMS = {"constant rates": {}, "rates that fall": {"eta_xi_in": FALLING, "eta_v": FALLING}}


@pytest.mark.parametrize(("tableau", "expected"), ORDERS, ids=["DOP853", "Rodas5P"])
@pytest.mark.parametrize("rates", PROBLEMS)
def test_order_of_convergence(
    rates: str, tableau: Explicit | Rosenbrock, expected: float, record_check: Callable[..., None]
) -> None:
    found = order_of(problem(**PROBLEMS[rates]), tableau)
    record_check(f"order of convergence, {expected:g}: difference", "slope of the error", abs(found - expected), 0.4)


def test_wrong_coefficients_lower_the_order() -> None:
    for name, row, column in (("a", 8, 4), ("a", 12, 7), ("c", 5, None)):
        wrong = getattr(DOP853, name).copy()
        wrong[row if column is None else (row, column)] *= 1.001
        # c enters where rates change only.
        assert order_of(problem(**PROBLEMS["rates that fall"]), DOP853._replace(**{name: wrong})) < 7.0, name
    for name, row, column in (("a", 4, 2), ("m", 6, 3), ("d", 3, None), ("c", 2, None)):
        wrong = getattr(RODAS5P, name).copy()
        wrong[row if column is None else (row, column)] *= 1.01
        assert order_of(problem(**PROBLEMS["rates that fall"]), RODAS5P._replace(**{name: wrong})) < 4.0, name
    assert order_of(problem(**PROBLEMS["rates that fall"]), RODAS5P, ignore_change=True) < 4.0


def interpolation_error(tableau: Explicit | Rosenbrock, n_steps: int) -> float:
    """Return the largest error within the first of equal steps, of a solution that is exact at its beginning."""
    f, start = drift_of(problem())
    walk, h, out = new_walk(start), END / n_steps, np.empty_like(start)
    with_derivatives(f, walk)
    if isinstance(tableau, Explicit):
        explicit_step(f.equations, tableau, walk, h, 1e-9, 1e-12)
        slope(f.equations, h, walk.new, walk.stages[12])
        explicit_interpolant(f.equations, tableau, walk, h)
    else:
        rosenbrock_step(f.equations, tableau, walk, h, 1e-9, 1e-12)
        rosenbrock_interpolant(tableau, walk)
    errors = []
    for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        interpolate(walk.interpolant, x, out)
        errors.append(float(np.abs(out - (reference(problem(), x * h) if x > 0 else start)).max()))
    assert errors[0] == 0.0
    interpolate(walk.interpolant, 1.0, out)
    assert np.abs(out - walk.new).max() < 1e-15
    return max(errors)


@pytest.mark.parametrize(("tableau", "expected"), [(DOP853, 8.0), (RODAS5P, 5.0)], ids=["DOP853", "Rodas5P"])
def test_order_within_steps(tableau: Explicit | Rosenbrock, expected: float) -> None:
    """The error of interpolants of order 7 and 4 falls within a step as its length to the power 8 and 5."""
    steps = [4, 6, 8] if isinstance(tableau, Explicit) else [8, 16, 32]
    assert abs(order([interpolation_error(tableau, n) for n in steps], steps) - expected) < 0.7
    wrong = tableau.dense.copy()
    wrong[1] *= 1.01
    assert order([interpolation_error(tableau._replace(dense=wrong), n) for n in steps], steps) < expected - 1.0


def stiff_problem() -> tuple[ts.Problem, Callable[[float], FloatArray]]:
    """Return a linear problem whose fastest rate is 10^6 times its slowest, and the solution v(alpha).

    Only v learns, with linear units: dv/dalpha = -eta_v (Q v - R v_teacher).
    """
    rng = np.random.default_rng(3)
    frame, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    Q = (frame * np.array([1.0, 1e-2, 1e-4, 1e-6])) @ frame.T
    R = Q @ rng.standard_normal((4, 1)) * 0.5
    T = R.T @ np.linalg.solve(Q, R) + 1.0
    v = rng.standard_normal(4)
    initial = ts.plain_committee(0.5 * (Q + Q.T), R, T, v, [1.5])
    rest = np.linalg.solve(Q, 1.5 * R[:, 0])
    rule = ts.LearningRule("linear", eta_xi_in=0.0, eta_v=1e4)
    return ts.Problem(initial, rule), lambda alpha: rest + scipy.linalg.expm(-1e4 * alpha * Q) @ (v - rest)


def test_stiff_linear_problem(record_check: Callable[..., None]) -> None:
    of, exact = stiff_problem()
    times = np.geomspace(1e-5, 100.0, 30)
    trajectory = ts.integrate(of, times, progress=False)
    assert trajectory.attrs["method"] == METHOD
    error = max(np.abs(v - exact(alpha)).max() for alpha, v in zip(times, trajectory["v"].values, strict=True))
    record_check("stiff linear problem: difference", "matrix exponential", error, 1e-7)
    assert not np.abs(trajectory["v"].values[20] - exact(1.01 * times[20])).max() < 1e-7
    # At its limit of stability the explicit method would need more than a million.
    assert trajectory.attrs["right_hand_sides"] < 20_000


def march_through(of: ts.Problem, times: FloatArray, keep_pieces: bool = False, **options: Any) -> March:
    f, start = drift_of(of)
    march = March(f.equations, start, times, Limits(1e-9, 1e-12, 1e3, 1e3), keep_pieces)
    for name, value in options.items():
        setattr(march, name, value)
    assert march.go(float(times[-1]), (-1.0, 1e300), lambda alpha: None) == REACHED
    return march


def test_error_falls_with_the_tolerance_asked() -> None:
    """The error is proportional to the tolerance: a slope of 1 between their logarithms."""
    times = [1.0, 2.0, 4.0, 10.0, 20.0, 40.0, 100.0]

    def state(**options: Any) -> FloatArray:
        trajectory = ts.integrate(problem(), times, progress=False, **options)
        return np.concatenate(
            [trajectory[name].values.ravel() for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v", "eps_g")]
        )

    exact = state(method="DOP853", rtol=1e-13, atol=1e-15)
    rtol = 10.0 ** -np.arange(3, 11)
    errors = [np.abs(state(rtol=r, atol=r * 1e-3) - exact).max() for r in rtol]
    assert abs(np.polyfit(np.log10(rtol), np.log10(errors), 1)[0] - 1.0) < 0.2


@pytest.mark.parametrize("preset", sorted(ts.presets()))
def test_default_tolerance_on_presets(preset: str, record_check: Callable[..., None]) -> None:
    of = ts.load_problem(preset)
    compiled = ts.integrate(of, progress=False)
    exact = ts.integrate(of, method="LSODA", rtol=1e-12, atol=1e-14, progress=False)
    errors = []
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v"):
        largest = np.abs(exact[name].values).max()
        errors.append(float(np.abs(compiled[name].values - exact[name].values).max() / largest))
    record_check("solution of presets by default: relative difference", "LSODA at rtol 1e-12", max(errors), 2e-8)


def test_methods_alternate() -> None:
    """The end of learning is stiff, the way there is not; the solution is that of Radau either way."""
    of = ts.load_problem("saad-solla-1995")
    times = np.array([0.0, 50.0, 150.0, 400.0, 1000.0])
    march = march_through(of, times)
    counts = march.walk.counts
    assert counts[IMPLICIT] == 1
    assert 0 < counts[JACOBIANS] < 100
    assert march.done == len(times)
    f, start = drift_of(of)
    radau = scipy.integrate.solve_ivp(f, (0.0, 1000.0), start, method="Radau", t_eval=times, rtol=1e-11, atol=1e-13)
    assert np.abs(march.rows - radau.y.T).max() < 1e-7


def test_result_does_not_depend_on_pauses() -> None:
    times = np.linspace(0.0, 40.0, 5)
    whole, cut = march_through(problem(), times, budget=10**9), march_through(problem(), times, budget=20)
    assert np.array_equal(whole.rows, cut.rows)
    assert whole.walk.counts[EVALUATIONS] == cut.walk.counts[EVALUATIONS]


def test_solution_between_output_times() -> None:
    march = march_through(problem(), np.array([0.0, 10.0, 400.0]), keep_pieces=True)
    solution = march.solution
    assert np.array_equal(solution(0.0), march.y)
    assert np.abs(solution(400.0) - march.rows[2]).max() < 1e-14
    for alpha in (0.3, 10.0, 77.0, 399.0):
        exact = march_through(problem(), np.array([alpha])).rows[0]
        assert np.abs(solution(alpha) - exact).max() < 1e-7
        assert not np.abs(solution(0.9 * alpha) - exact).max() < 1e-7


def test_an_interruption_keeps_what_was_computed() -> None:
    f, start = drift_of(problem())
    times = np.linspace(0.0, 400.0, 200)
    march = March(f.equations, start, times, Limits(1e-9, 1e-12, 1e3, 1e3))
    march.budget = 50

    def interrupt(alpha: float) -> None:
        if alpha > 2.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        march.go(400.0, (-1.0, 1e300), interrupt)
    assert 0 < march.done < len(times)
    assert np.array_equal(march.rows[: march.done], march_through(problem(), times).rows[: march.done])


@pytest.mark.parametrize("fluctuations", [False, True])
def test_interrupted_trajectory_is_marked(fluctuations: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(March, "go", interrupt)
    with pytest.warns(UserWarning, match=r"^theory interrupted: the trajectory ends at alpha = 0,") as caught:
        trajectory = ts.integrate(problem(), [0.0, 1.0, 2.0], fluctuations, progress=False)
    assert caught[0].filename == __file__
    assert trajectory.attrs["status"] == "interrupted"
    assert trajectory["alpha"].values.tolist() == [0.0]


SCHEDULES = {
    "jumps": ts.Piecewise(rates=(1.0, 0.2, 1.4), alpha=(1.3, 4.0)),
    "falls": FALLING,
    "cosine": ts.Cosine(start=1.0, end=0.1, period=2.5, repeats=2),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_agree_with_scipy(schedule: str) -> None:
    of = problem(eta_xi_in=SCHEDULES[schedule], eta_xi_out=SCHEDULES[schedule])
    times = [0.5, 1.3, 2.0, 4.0, 9.0, 60.0]
    compiled = ts.integrate(of, times, progress=False)
    by_scipy = ts.integrate(of, times, method="Radau", rtol=1e-11, atol=1e-13, progress=False)
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v"):
        assert np.abs(compiled[name].values - by_scipy[name].values).max() < 1e-7, name
    constant = ts.integrate(problem(eta_xi_in=1.0, eta_xi_out=1.0), times, progress=False)
    assert not np.abs(compiled["Q_modes"].values - constant["Q_modes"].values).max() < 1e-3


def test_factors_solve_linear_equations() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        A, b = rng.standard_normal((n, n)), rng.standard_normal(n)
        A[0, 0] = 0.0 if n > 1 else 2.0  # cannot be the first pivot
        factors, pivots, x = A.copy(), np.empty(n, dtype=np.int64), b.copy()
        factorise(factors, pivots)
        solve(factors, pivots, x)
        assert np.abs(A @ x - b).max() < 1e-10
        assert not np.abs(A.T @ x - b).max() < 1e-3 or n == 1


def test_spectral_radius_is_found() -> None:
    rng = np.random.default_rng(1)
    frame = rng.standard_normal((12, 12))
    J = frame @ np.diag([-9.0, *rng.uniform(-3.0, 1.0, 11)]) @ np.linalg.inv(frame)
    mode = np.cos(np.arange(12.0))
    for _ in range(4):
        radius = spectral_radius(J, mode)
    assert abs(radius - 9.0) < 0.05


def test_compiled_jacobian_is_that_of_differences_in_python() -> None:
    f, start = drift_of(problem())
    plain = jacobian(lambda y: f(0.0, y), start)
    assert np.abs(jacobian(DriftAt(f, 0.0), start) - plain).max() < 1e-12


def test_sampled_averages_are_left_to_scipy() -> None:
    of = problem(activation="tanh")
    assert ts.integrate(of, [0.1], progress=False).attrs["method"] == "LSODA"
    with pytest.raises(ts.InvalidInput, match=r"\Amethod: got 'DOP853\+Rodas5P', expected"):
        ts.integrate(of, [0.1], method=METHOD, progress=False)
