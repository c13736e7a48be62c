"""Linear noise: its parts against direct computation, and its predictions against the exact chain at finite N."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import teacher_student as ts
from teacher_student.theory.coordinates import coordinates_of, right_hand_side
from teacher_student.theory.diffusion import gaussian_points, step_moments
from teacher_student.theory.fluctuations import half_hessian_of_covariance, jacobian, propagate_covariance

RULE = ts.LearningRule(eta_xi_in=1.0, eta_sigma=0.5, eta_xi_out=0.5, eta_v=0.5, noise=0.3, weight_decay=0.05, batch_size=2)
PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), rule=RULE)
N_INPUTS, REPLICAS = 200, 3000
TIMES = np.array([1.0, 4.0])


def test_a_stiff_linear_covariance_equation_is_solved_like_by_quadrature() -> None:
    rng = np.random.default_rng(0)
    A = np.diag([-50.0, -1.0, 0.3]) + 0.2 * rng.standard_normal((3, 3))
    C = np.cov(rng.standard_normal((3, 9)))
    V = np.cov(rng.standard_normal((3, 9)))

    def integrand(s: float) -> np.ndarray:
        flow = scipy.linalg.expm(A * s)
        return (flow @ C @ flow.T).ravel()

    added, _ = scipy.integrate.quad_vec(integrand, 0.0, 1.0, epsabs=1e-12)
    flow = scipy.linalg.expm(A)
    result, propagator = propagate_covariance(A, C, V)
    np.testing.assert_allclose(result, flow @ V @ flow.T + added.reshape(3, 3), atol=1e-10)
    np.testing.assert_allclose(propagator, flow, atol=1e-12)


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


def test_predicted_mean_and_covariance_are_those_of_the_chain(measured: np.ndarray) -> None:
    mean, variance, covariance = largest_deviations(PROBLEM, measured)
    # In standard errors. The next order, O(1/N) of the variance, adds up to one standard error at this N and these replicas.
    assert mean < 5.0
    assert variance < 5.0
    assert covariance < 6.0


def test_a_forgotten_batch_size_and_noise_given_as_a_variance_are_seen(measured: np.ndarray) -> None:
    for rule in (dataclasses.replace(RULE, batch_size=1), dataclasses.replace(RULE, noise=RULE.noise**2)):
        mean, variance, covariance = largest_deviations(dataclasses.replace(PROBLEM, rule=rule), measured)
        assert mean > 5.0
        assert variance > 5.0
        assert covariance > 6.0
