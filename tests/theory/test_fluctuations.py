"""Linear noise: its parts against direct computation, and its predictions against the exact chain at finite N."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import teacher_student as ts
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise import fluctuations
from teacher_student.theory.noise.diffusion import StepAverages, step_moments
from teacher_student.theory.noise.diffusion_path import DiffusionPath
from teacher_student.theory.noise.fluctuations import LinearNoise
from teacher_student.theory.noise.implicit_steps import GAUSS, propagator, solve_stage
from teacher_student.theory.noise.linearisation import half_hessian_of_covariance, jacobian
from teacher_student.theory.noise.points import Points, point_sets
from teacher_student.theory.right_hand_side import right_hand_side

RULE = ts.LearningRule(eta_xi_in=1.0, eta_sigma=0.5, eta_xi_out=0.5, eta_v=0.5, noise=0.3, weight_decay=0.05, batch_size=2)
PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), rule=RULE)
N_INPUTS, REPLICAS = 200, 3000
TIMES = np.array([1.0, 4.0])


@pytest.mark.parametrize("fastest", [-50.0, -1e5])
def test_the_equation_of_a_stage_is_solved_for_every_matrix_of_a_stack(fastest: float) -> None:
    """By its residual; where the step is too long for the growth there is no solution."""
    rng = np.random.default_rng(0)
    J = np.diag([fastest, -1.0, 0.3]) + 0.2 * rng.standard_normal((3, 3))
    C = rng.standard_normal((2, 3, 3))
    C, h = C + np.swapaxes(C, 1, 2), 0.7
    V, factors, pivots = np.empty((2, 3, 3)), np.empty((3, 3)), np.empty(3, dtype=np.int64)
    assert solve_stage(J, h, C, factors, pivots, V)
    np.testing.assert_allclose(V - h * (J @ V + V @ J.T), C, atol=1e-11)
    assert not solve_stage(J, 3.0, C, factors, pivots, V)


def test_a_propagator_is_exact_for_fast_decay_and_of_order_4_for_slow_changes() -> None:
    """exp(h J) of a constant J, however stiff; of J(alpha) = J_0 + alpha J_1 halving the step divides the error by 2^4 in all."""
    rng = np.random.default_rng(3)
    J_0, J_1 = np.diag([-2000.0, -1.0, 0.3]) + 0.2 * rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    np.testing.assert_allclose(propagator(np.stack([J_0, J_0]), 2.0), scipy.linalg.expm(2.0 * J_0), atol=1e-10)
    J_0 = rng.standard_normal((3, 3))

    def after(n_steps: int) -> np.ndarray:
        flow, h = np.eye(3), 1.0 / n_steps
        for i in range(n_steps):
            flow = propagator(np.array([J_0 + (i + x) * h * J_1 for x in GAUSS]), h) @ flow
        return flow

    exact = (
        scipy.integrate.solve_ivp(
            lambda t, x: ((J_0 + t * J_1) @ x.reshape(3, 3)).ravel(), (0.0, 1.0), np.eye(3).ravel(), rtol=1e-12, atol=1e-13
        )
        .y[:, -1]
        .reshape(3, 3)
    )
    errors = [np.abs(after(n_steps) - exact).max() for n_steps in (2, 4, 8)]
    assert 10.0 < errors[0] / errors[1] < 25.0
    assert 10.0 < errors[1] / errors[2] < 25.0


@pytest.mark.parametrize(("activation", "teacher", "n_points"), [("linear", None, 3), ("quadratic", "linear", 7)])
def test_averages_of_polynomials_are_exact(activation: str, teacher: str | None, n_points: int) -> None:
    """As over many quasi-random points, to their error, and as over a finer grid, to rounding; no other activation has a grid."""
    state = ts.plain_committee(Q=[[0.5]], R=[[0.2]], T=[[1.0]], v=[0.9], v_teacher=[1.1])
    rule = ts.LearningRule(activation, eta_xi_in=0.4, eta_v=0.2, noise=0.3, teacher_activation=teacher)
    coordinates = coordinates_of(state, rule)
    (exact,) = point_sets(rule, 3, 64)
    assert len(exact.z) == 2 * n_points**2
    of_grid = StepAverages(state, rule, coordinates).at(coordinates.start, 0.0, [exact])[0]
    z, w = np.polynomial.hermite_e.hermegauss(11)
    finer = np.array([(x, y, sign) for x in z for y in z for sign in (-1.0, 1.0)])
    weights = np.array([a * b for a in w for b in w for _ in range(2)])
    of_finer = StepAverages(state, rule, coordinates).at(coordinates.start, 0.0, [Points(finer, weights / weights.sum())])[0]
    for name in ("mean", "covariance", "mean_correction"):
        np.testing.assert_allclose(getattr(of_grid, name), getattr(of_finer, name), rtol=1e-12, atol=1e-13)
    coarser = Points(*(part[::2] for part in exact))
    assert not np.allclose(
        StepAverages(state, rule, coordinates).at(coordinates.start, 0.0, [coarser])[0].covariance, of_grid.covariance
    )
    sets = [gaussian_points(3, 2**12, seed) for seed in range(16)]
    sampled = np.array([step_moments(coordinates.start, state, rule, coordinates, points).covariance for points in sets])
    error = sampled.std(axis=0, ddof=1) / 4.0
    assert (np.abs(sampled.mean(axis=0) - of_grid.covariance) < 5.0 * error).all()
    assert (np.abs(sampled.mean(axis=0) - 1.1 * of_grid.covariance) > 5.0 * error).any()
    assert len(point_sets(dataclasses.replace(rule, activation="erf"), 3, 64)) == 2


def test_covariance_shift_and_propagator_are_the_solution_of_their_equations() -> None:
    """The same linear equations by an explicit method, with the diffusion matrix evaluated at every step from the same points."""
    problem = ts.load_problem("both-layers")
    state, rule = problem.initial, problem.rule
    coordinates = coordinates_of(state, rule)
    n, n_points = len(coordinates.moving), 512
    flow = right_hand_side(state, rule, coordinates)
    start = coordinates.start[coordinates.moving]
    path = scipy.integrate.solve_ivp(flow, (0.0, 2.0), start, method="DOP853", rtol=1e-11, atol=1e-13, dense_output=True).sol
    points = [gaussian_points(state.n_modes + state.n_teacher + 1, n_points // 2, seed) for seed in (0, 1)]

    def equations(alpha: float, packed: np.ndarray) -> np.ndarray:
        V, propagator, m = packed[: n * n].reshape(n, n), packed[n * n : 2 * n * n].reshape(n, n), packed[2 * n * n :]
        y = path(alpha)
        J = jacobian(lambda x: flow(0.0, x), y)
        moments = [step_moments(coordinates.expand(y), state, rule, coordinates, each) for each in points]
        D = 0.5 * (moments[0].covariance + moments[1].covariance)
        source = 0.5 * (moments[0].mean_correction + moments[1].mean_correction) - 0.5 * J @ flow(0.0, y)
        source = source + half_hessian_of_covariance(lambda x: flow(0.0, x), y, 0.5 * (V + V.T))
        return np.concatenate([(J @ V + V @ J.T + D).ravel(), (J @ propagator).ravel(), J @ m + source])

    begin = np.concatenate([np.zeros(n * n), np.eye(n).ravel(), np.zeros(n)])
    exact = scipy.integrate.solve_ivp(equations, (0.0, 2.0), begin, method="RK45", rtol=1e-5, atol=1e-8).y[:, -1]
    noise = LinearNoise(state, rule, coordinates, path, 2.0, n_points)
    propagator = noise.advance(2.0)
    V = exact[: n * n].reshape(n, n)
    scale = np.sqrt(np.diagonal(V))
    assert np.abs((noise.V[0] - V) / np.outer(scale, scale)).max() < 3e-3  # 1e-3 a step, some error from interpolation
    np.testing.assert_allclose(propagator, exact[n * n : 2 * n * n].reshape(n, n), atol=3e-3)
    np.testing.assert_allclose(noise.m / scale, exact[2 * n * n :] / scale, atol=3e-3 * np.abs(noise.m / scale).max())


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_interpolated_moments_are_those_computed_at_the_time(momentum: float) -> None:
    state, rule = PROBLEM.initial, dataclasses.replace(RULE, momentum=momentum)
    coordinates = coordinates_of(state, rule)
    flow = right_hand_side(state, rule, coordinates)
    start = coordinates.start[coordinates.moving]
    solution = scipy.integrate.solve_ivp(flow, (0.0, 8.0), start, rtol=1e-10, atol=1e-12, dense_output=True).sol
    path = DiffusionPath(state, rule, coordinates, solution, 256, last=8.0)
    points = [gaussian_points(state.n_modes + state.n_teacher + 1, 128, seed) for seed in (0, 1)]
    for alpha in np.random.default_rng(2).uniform(0.0, 8.0, 10):
        first, second = (step_moments(coordinates.expand(solution(alpha)), state, rule, coordinates, each) for each in points)
        diffusion, error, correction, lag = path(alpha)
        scale = np.sqrt(np.diagonal(diffusion))
        tolerance = 2e-3 * np.outer(scale, scale)
        assert (np.abs(diffusion - 0.5 * (first.covariance + second.covariance)) < tolerance).all()
        assert (np.abs(error - 0.5 * (first.covariance - second.covariance)) < tolerance).all()
        exact = 0.5 * (first.mean_correction + second.mean_correction)
        np.testing.assert_allclose(correction, exact, atol=2e-3 * np.abs(exact).max())
        exact = 0.5 * (first.lag + second.lag)
        assert exact.any() == (momentum > 0)
        np.testing.assert_allclose(lag, exact, atol=2e-3 * np.abs(exact).max())


def test_the_error_of_the_covariance_is_that_of_its_points() -> None:
    """Half the difference of two sets of points is of the size of the deviation from many more points."""
    problem = PROBLEM
    coordinates = coordinates_of(problem.initial, RULE)
    flow = right_hand_side(problem.initial, RULE, coordinates)
    start = coordinates.start[coordinates.moving]
    solution = scipy.integrate.solve_ivp(flow, (0.0, 1.0), start, rtol=1e-10, atol=1e-12, dense_output=True).sol
    few, many = (LinearNoise(problem.initial, RULE, coordinates, solution, 1.0, n_points) for n_points in (256, 16384))
    for noise in (few, many):
        noise.advance(1.0)
    deviation = np.linalg.norm(few.V[0] - many.V[0])
    assert 0.2 < np.linalg.norm(few.V[1]) / deviation < 5.0
    assert np.linalg.norm(many.V[1]) < 0.3 * np.linalg.norm(few.V[1])


def test_derivatives_of_a_known_function() -> None:
    def f(y: np.ndarray) -> np.ndarray:
        return np.array([np.sin(y[0]) * y[1], y[0] ** 3])

    y, V = np.array([0.4, 1.3]), np.array([[0.5, 0.2], [0.2, 0.3]])
    exact = np.array([[np.cos(0.4) * 1.3, np.sin(0.4)], [3 * 0.4**2, 0.0]])
    np.testing.assert_allclose(jacobian(f, y), exact, atol=1e-9)
    curvature = np.array([0.5 * (-np.sin(0.4) * 1.3 * 0.5 + 2 * np.cos(0.4) * 0.2), 0.5 * 6 * 0.4 * 0.5])
    np.testing.assert_allclose(half_hessian_of_covariance(f, y, V), curvature, atol=1e-6)


def test_the_mean_of_sampled_steps_is_the_drift() -> None:
    rule = dataclasses.replace(RULE, weight_decay=0.0)
    state = PROBLEM.initial
    coordinates = coordinates_of(state, rule)
    drift = right_hand_side(state, rule, coordinates)(0.0, coordinates.start[coordinates.moving])
    n_points = 2**14
    points = gaussian_points(state.n_modes + state.n_teacher + 1, n_points, seed=3)
    moments = step_moments(coordinates.start, state, rule, coordinates, points)
    # Quasi-random points do better than independent ones, whose standard error this is; one factor missing does far worse.
    error = np.sqrt(np.diagonal(moments.covariance) * rule.batch_size / n_points)
    assert np.abs((moments.mean - drift) / error).max() < 3.0
    noisier = step_moments(coordinates.start, state, dataclasses.replace(rule, noise=0.6), coordinates, points)
    assert np.abs((noisier.mean - drift) / error).max() > 3.0


@pytest.fixture(scope="module")
def measured() -> np.ndarray:
    """Return the moving coordinates of runs of the chain, (replica, alpha, n)."""
    runs = ts.simulate(PROBLEM, TIMES, n_inputs=N_INPUTS, replicas=REPLICAS, seed=5, method="overlaps")
    parts = [runs[name].values.reshape(REPLICAS, len(TIMES), -1) for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v")]
    return np.concatenate(parts, axis=2)[:, :, coordinates_of(PROBLEM.initial, RULE).moving]


def largest_deviations(problem: ts.Problem, measured: np.ndarray) -> tuple[float, float, float]:
    """Return the largest |z| of the shifted mean, of log variances and of covariance entries, over times and coordinates."""
    theory = ts.integrate(problem, TIMES, fluctuations=True)
    labels = theory["coordinate"].values.tolist()
    flat = {name: theory[name].values.reshape(len(TIMES), -1) for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v")}
    full = np.concatenate(list(flat.values()), axis=1)[:, coordinates_of(problem.initial, problem.rule).moving]
    mean_z, variance_z, covariance_z = [], [], []
    for t in range(len(TIMES)):
        runs = measured[:, t]
        spread = runs.std(axis=0, ddof=1)
        predicted = theory["covariance"].values[t] / N_INPUTS
        mean_z.append((runs.mean(axis=0) - full[t] - theory["shift"].values[t] / N_INPUTS) / (spread / np.sqrt(REPLICAS)))
        centred = (runs - runs.mean(axis=0)) / np.sqrt(np.diagonal(predicted))
        products = np.einsum("ri,rj->rij", centred, centred)
        error = products.std(axis=0) / np.sqrt(REPLICAS)
        z = (products.mean(axis=0) - predicted / np.sqrt(np.outer(np.diagonal(predicted), np.diagonal(predicted)))) / error
        variance_z.append(np.diagonal(z))
        covariance_z.append(z[np.triu_indices(len(labels), 1)])
    return tuple(float(np.abs(z).max()) for z in (np.array(mean_z), np.array(variance_z), np.array(covariance_z)))  # type: ignore[return-value]


def test_predicted_mean_and_covariance_are_those_of_the_chain(measured: np.ndarray, record_check: Callable[..., None]) -> None:
    mean, variance, covariance = largest_deviations(PROBLEM, measured)
    # In standard errors. The next order, O(1/N) of the variance, adds up to one standard error at this N and these replicas.
    for name, largest, allowed in (("mean", mean, 5.0), ("variances", variance, 5.0), ("covariances", covariance, 6.0)):
        record_check(f"predicted {name} at finite N: largest |z|", "runs of the chain", largest, allowed)


def test_a_forgotten_batch_size_and_noise_given_as_a_variance_are_seen(measured: np.ndarray) -> None:
    for rule in (dataclasses.replace(RULE, batch_size=1), dataclasses.replace(RULE, noise=RULE.noise**2)):
        mean, variance, covariance = largest_deviations(dataclasses.replace(PROBLEM, rule=rule), measured)
        assert mean > 5.0
        assert variance > 5.0
        assert covariance > 6.0


def symmetric_relu() -> ts.Problem:
    """Return two ReLU units at the same overlaps with both teacher units, in directions of their own."""
    state = ts.plain_committee(Q=0.5 * np.eye(2), R=np.full((2, 2), 0.1), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    return ts.Problem(state, ts.LearningRule(activation="relu", eta_xi_in=0.5))


def test_jumps_of_averages_do_not_stop_the_linear_noise() -> None:
    """At alpha = 4.5135 a point far out crosses a jump of g', and moves D by 3 %; the variances are those of runs."""
    theory = ts.integrate(symmetric_relu(), [5.0], fluctuations=True, progress=False)
    runs = ts.simulate(symmetric_relu(), [5.0], n_inputs=2000, replicas=400, seed=1, method="overlaps", progress=False)
    assert theory.attrs["fluctuations_ended"] == ""
    predicted = ts.predict(theory, 2000).sel(moment="spread").isel(alpha=0)
    for name in ("Q_modes", "R_modes"):
        ratio = runs[name].isel(alpha=0).std("replica", ddof=1) / predicted[name]
        assert (abs(ratio - 1.0) < 4.5 / np.sqrt(2 * 400)).all()


def test_linear_noise_that_needs_too_many_steps_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what it has, is NaN after, says where and why; predictions and the verdict use what there is."""
    monkeypatch.setattr(fluctuations, "_MOST", 8)
    monkeypatch.setattr(fluctuations, "_MOST_PER_STEP", 0)
    times = [0.0, 0.2, 0.4, 2.0, 5.0]
    theory = ts.integrate(symmetric_relu(), times, fluctuations=True, progress=False)
    assert theory.attrs["status"] == "complete"
    assert re.match(r"after alpha = [0-9.]+: ", theory.attrs["fluctuations_ended"])
    known = np.isfinite(theory["shift"].values).all(axis=1)
    assert known[0]
    assert not known[-1]
    assert np.isfinite(theory["covariance"].values[known]).all()
    assert np.isnan(theory["covariance"].values[~known]).all()
    np.testing.assert_array_equal(np.isfinite(ts.predict(theory, 1000)["eps_g"].values[0]), known)
    runs = ts.simulate(symmetric_relu(), times, n_inputs=1000, replicas=16, seed=5, method="overlaps", progress=False)
    verdict = ts.compare(theory, runs).verdict
    assert verdict.left_out[-1][1] == 5.0


def test_fluctuations_of_rates_that_begin_at_zero() -> None:
    """A warm-up: the variance begins as the third power of alpha. Negative control: the rate that the warm-up ends with."""
    warm_up = PROBLEM.replace(eta_xi_in=ts.Ramp([0.0, 1.0], [2.0]), eta_sigma=0.0, eta_xi_out=0.0, eta_v=0.0)
    times = [0.2, 1.0, 3.0]
    runs = ts.simulate(warm_up, times, n_inputs=500, replicas=800, seed=8, method="overlaps", progress=False)
    theory = ts.integrate(warm_up, times, fluctuations=True, progress=False)
    assert theory.attrs["fluctuations_ended"] == ""
    constant = ts.integrate(warm_up.replace(eta_xi_in=1.0), times, fluctuations=True, progress=False)
    of_warm_up, of_constant = (ts.predict(each, 500).sel(moment="spread") for each in (theory, constant))
    for name in ("Q_modes", "R_modes"):
        spread = runs[name].std("replica", ddof=1)
        assert (abs(spread / of_warm_up[name] - 1.0) < 4.5 / np.sqrt(2 * 800)).all()
        assert (abs(spread / of_constant[name] - 1.0) > 4.5 / np.sqrt(2 * 800)).any()
