"""Fixed points and their spectra: against closed forms, quadrature, and the flow itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
from symmetric_students import symmetric_point, two_units

import teacher_student as ts
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.linearisation import jacobian
from teacher_student.theory.right_hand_side import right_hand_side
from teacher_student.theory.stability.fixed_points import NoFixedPoint


def perfect(K: int) -> ts.OrderParameters:
    return ts.plain_committee(Q=np.eye(K), R=np.eye(K), T=np.eye(K), v=np.ones(K), v_teacher=np.ones(K))


@pytest.mark.parametrize("K", [2, 3, 4])
def test_the_symmetric_fixed_point_at_small_rates_is_that_of_saad_and_solla(K: int, record_check: Callable[..., None]) -> None:
    coarse, fine = symmetric_point(K, 2e-3), symmetric_point(K, 1e-3)
    # Linear in the rate, so this leaves its square.
    Q, R = (2 * getattr(fine.state, name) - getattr(coarse.state, name) for name in ("Q", "R"))
    np.testing.assert_allclose(Q, 1 / (2 * K - 1), atol=1e-7)
    np.testing.assert_allclose(R, 1 / np.sqrt(K * (2 * K - 1)), atol=1e-7)
    expected = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    error = abs(2 * fine.eps_g - coarse.eps_g - expected)
    record_check("eps_g of the symmetric plateau, small rates: difference", "Saad and Solla's formula (1995)", error, 1e-7)
    assert fine.eps_g != pytest.approx(expected, abs=1e-7)
    assert fine.residual < 1e-12


def escape_rate_by_quadrature(K: int) -> float:
    """Return the escape rate over eta of students w_i = w + d_i, sum d_i = 0, within the teacher's span, at small rates.

    The output does not change at first order, so dd_i/dalpha = -eta <delta g''(lambda) u^2> d_i, u the field along d_i.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    rho = np.stack(np.meshgrid(*[nodes] * K, indexing="ij"))
    weight = np.prod(np.stack(np.meshgrid(*[weights] * K, indexing="ij")), axis=0)
    erf = scipy.special.erf
    field = rho.sum(axis=0) / np.sqrt(K * (2 * K - 1))
    delta = K * erf(field / np.sqrt(2)) - erf(rho / np.sqrt(2)).sum(axis=0)
    second_derivative = -np.sqrt(2 / np.pi) * field * np.exp(-(field**2) / 2)
    u = (rho[0] - rho[1]) / np.sqrt(2)
    return -float(np.sum(weight * delta * second_derivative * u**2))


@pytest.mark.parametrize("K", [2, 3])
def test_the_escape_rate_at_small_rates_is_that_of_the_weights(K: int, record_check: Callable[..., None]) -> None:
    rates = [symmetric_point(K, eta).escape_rates[: (K - 1) ** 2] / eta for eta in (2e-3, 1e-3)]
    error = np.abs((2 * rates[1] - rates[0]) / escape_rate_by_quadrature(K) - 1.0).max()
    record_check("escape rate of the symmetric plateau: relative difference", "growth of weights, by quadrature", error, 1e-5)


@pytest.mark.parametrize("eta", [0.7, 3.0, 4.5])
def test_the_spectrum_of_one_unit_at_perfect_learning(eta: float) -> None:
    # delta = g'(rho) e, e the field of the difference: <g'^2 rho^2> for e along the teacher, <g'^2> and <g'^4> for its norm.
    point = ts.fixed_point(ts.Problem(initial=perfect(1), rule=ts.LearningRule(eta_xi_in=eta)))
    along = -eta * (2 / np.pi) * 3**-1.5
    norm = -2 * eta * (2 / np.pi) / np.sqrt(3) + eta**2 * (2 / np.pi) ** 2 / np.sqrt(5)
    np.testing.assert_allclose(np.sort(point.eigenvalues.real), np.sort([along, norm]), atol=1e-8)
    assert point.n_unstable == (1 if eta > np.pi * np.sqrt(5 / 3) else 0)


def test_the_maximal_rate_of_one_unit_is_found(record_check: Callable[..., None]) -> None:
    problem = ts.Problem(initial=perfect(1), rule=ts.LearningRule(eta_xi_in=1.0))
    branch = ts.continuation(problem, "eta_xi_in", np.linspace(1.0, 5.0, 5))
    error = abs(branch.stability_lost - np.pi * np.sqrt(5 / 3))
    record_check("maximal learning rate of one unit: difference", "closed form", error, 1e-6)
    assert branch.n_unstable.tolist() == [0, 0, 0, 0, 1]
    assert branch.ended == ""


def test_the_maximal_rate_of_two_units_separates_decay_from_growth() -> None:
    branch = ts.continuation(ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0)), "eta_xi_in", [1.0, 2.0, 3.0])
    eta_max = branch.stability_lost
    near = ts.plain_committee(Q=1.0001 * np.eye(2), R=np.eye(2), T=np.eye(2), v=np.ones(2), v_teacher=np.ones(2))
    for factor in (0.97, 1.03):
        problem = ts.Problem(initial=near, rule=ts.LearningRule(eta_xi_in=factor * eta_max))
        eps_g = ts.integrate(problem, [0.0, 50.0, 150.0], progress=False)["eps_g"].values
        assert (eps_g[2] > eps_g[1]) == (factor > 1)


def test_the_plateau_of_the_preset_is_a_saddle_with_one_direction_for_each_way_to_specialise() -> None:
    problem = ts.load_problem("saad-solla-1995")
    point = ts.fixed_point(problem, near=30.0)
    assert point.n_unstable == 4  # (K - 1)^2
    assert np.ptp(point.escape_rates) < 1e-8
    assert point.zero_modes == ()
    np.testing.assert_allclose(point.state.R, point.state.R[0, 0], rtol=1e-10)
    again = ts.fixed_point(problem, near=point.state)
    np.testing.assert_allclose(again.state.Q, point.state.Q, atol=1e-12)
    assert again.distance < 1e-12
    assert ts.fixed_point(problem, near=900.0).eps_g == pytest.approx(0.0, abs=1e-14)


def test_small_deviations_grow_along_the_eigenvectors_at_the_eigenvalues(record_check: Callable[..., None]) -> None:
    point = two_units()
    coordinates = coordinates_of(point.state, point.problem.rule)
    start = coordinates.start[coordinates.moving]
    flow = right_hand_side(point.state, point.problem.rule, coordinates)
    errors = []
    for i in range(len(point.eigenvalues)):
        vector = point.eigenvectors[:, i].real
        solution = scipy.integrate.solve_ivp(flow, (0, 2.0), start + 1e-6 * vector, rtol=1e-12, atol=1e-15)
        expected = 1e-6 * (np.exp(2.0 * point.eigenvalues[i]) * point.eigenvectors[:, i]).real
        errors.append(np.abs(solution.y[:, -1] - start - expected).max())
    record_check("deviations of 1e-6 along eigenvectors after a time of 2: difference", "the flow", max(errors), 1e-11)


def test_failure_is_told_with_the_residual() -> None:
    with pytest.raises(NoFixedPoint, match="ended") as failure:
        ts.fixed_point(ts.load_problem("staircase"), near=10.0)  # a slow passage, near no fixed point
    assert failure.value.residual > 1e-12


def test_a_search_that_meets_states_without_a_derivative_ends_in_a_failure_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that knows nothing of the teacher and whose output fades: Newton leaves the states of networks."""
    state = ts.plain_committee(Q=[[0.05]], R=[[0.0]], T=[[1.0]], v=[0.5], v_teacher=[1.0])
    met = []

    def watched(f: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> np.ndarray:
        J = jacobian(f, y)
        met.append(np.isfinite(J).all())
        return J

    monkeypatch.setattr("teacher_student.theory.stability.fixed_points.jacobian", watched)
    problem = ts.Problem(initial=state, rule=ts.LearningRule(eta_xi_in=0.05, eta_v=0.1))
    with pytest.raises(NoFixedPoint, match="overlaps of no network"):
        ts.fixed_point(problem)
    assert not all(met)


def test_a_fixed_point_without_a_derivative_ends_in_a_failure_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0))
    assert ts.fixed_point(problem).residual < 1e-12
    unknown = "teacher_student.theory.stability.fixed_points.jacobian"
    monkeypatch.setattr(unknown, lambda f, y: np.full((len(y), len(y)), np.nan))
    with pytest.raises(NoFixedPoint, match="has no derivative"):
        ts.fixed_point(problem)


def test_what_does_not_fit_is_refused() -> None:
    problem = ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0))
    with pytest.raises(ts.InvalidInput, match="near"):
        ts.fixed_point(problem, near=perfect(1))
    with pytest.raises(ts.InvalidInput, match=r"near: .*sigma"):
        ts.fixed_point(problem, near=dataclasses.replace(perfect(2), sigma=[1.0, 0.9]))
    with pytest.raises(ts.InvalidInput, match="near"):
        ts.fixed_point(problem, near="plateau")  # type: ignore[arg-type]
    with pytest.raises(ts.InvalidInput, match="rule"):
        ts.fixed_point(ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=0.0)))
    with pytest.raises(ts.InvalidInput, match="field"):
        ts.continuation(problem, "batch_size", [1, 2])
    with pytest.raises(ts.InvalidInput, match="field"):
        ts.continuation(dataclasses.replace(problem, rule=ts.LearningRule(eta_xi_in=1.0, eta_v=1.0)), "v", [1.0, 2.0])
    with pytest.raises(ts.InvalidInput, match="near: got nan"):
        ts.fixed_point(problem, near=np.nan)
    for values in ([0.0, 1.0, 0.5], "rates", 1.0):
        with pytest.raises(ts.InvalidInput, match="values"):
            ts.continuation(problem, "noise", values)  # type: ignore[arg-type]
    for xtol in (0, -1.0, "a", 10.0, True, np.nan):
        with pytest.raises(ts.InvalidInput, match=r"^xtol: .*a .*number between 0 and 1"):
            ts.continuation(problem, "eta_xi_in", [1.0, 3.0], xtol=xtol)  # type: ignore[arg-type]
    for values in ([0.5, 0.1, -0.1], [1.0, np.inf]):
        with pytest.raises(ts.InvalidInput, match=r"^noise: "):
            ts.continuation(problem, "noise", values, near=0)
    for call in (lambda: ts.continuation(None, "noise", [0.0, 0.1]), lambda: ts.fixed_point(None)):  # type: ignore[arg-type]
        with pytest.raises(ts.InvalidInput, match=r"^problem: got 'NoneType'"):
            call()


def test_numbers_of_numpy_are_numbers() -> None:
    problem = ts.Problem(initial=perfect(1), rule=ts.LearningRule(eta_xi_in=0.5, noise=0.1))
    expected = ts.fixed_point(problem, near=30.0, tolerance=2.0**-30)
    for near in (np.int64(30), np.float32(30)):
        point = ts.fixed_point(problem, near=near, tolerance=np.float32(2.0**-30))
        np.testing.assert_array_equal(point.eigenvalues, expected.eigenvalues)


def test_a_branch_in_noise_is_that_of_single_fixed_points() -> None:
    problem = ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0))
    branch = ts.continuation(problem, "noise", [0.0, 0.1, 0.2])
    noisy = dataclasses.replace(problem, rule=ts.LearningRule(eta_xi_in=1.0, noise=0.2))
    late = ts.integrate(noisy, [0.0, 2000.0], progress=False)["eps_g"].values[-1]
    assert branch.points[-1].eps_g == pytest.approx(late, rel=1e-7)
    assert (np.diff([point.eps_g for point in branch.points]) > 0).all()
    assert np.isnan(branch.stability_lost)


def test_a_branch_that_ends_is_kept_up_to_where_it_was_followed() -> None:
    """Noise makes students longer, and beyond a noise of 1.21 nothing holds them: they grow for ever."""
    problem = ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0))
    branch = ts.continuation(problem, "noise", [0.0, 0.5, 2.0, 10.0])
    assert branch.values[:2].tolist() == [0.0, 0.5]
    assert 1.18 < branch.values[2] < 1.25
    assert len(branch.values) == len(branch.points) == len(branch.n_unstable) == 3
    assert branch.ended.startswith(f"after noise = {branch.values[2]:.6g}, at ")
    assert branch.points[2].problem.rule.noise == branch.values[2]
    assert branch.points[2].residual < 1e-12
    assert np.diagonal(branch.points[2].state.Q).min() > 500
    beyond = dataclasses.replace(problem, rule=ts.LearningRule(eta_xi_in=1.0, noise=1.5))
    with pytest.raises(ts.Diverged):
        ts.integrate(beyond, [0.0, 1e5], progress=False)
    # Where the branch is steep, but goes on, it is followed to the value that was asked for.
    steep = ts.continuation(problem, "noise", [0.0, 1.0])
    assert steep.values.tolist() == [0.0, 1.0]
    assert steep.ended == ""
    noisy = dataclasses.replace(problem, rule=ts.LearningRule(eta_xi_in=1.0, noise=1.0))
    late = ts.integrate(noisy, [0.0, 1e5], progress=False)["eps_g"].values[-1]
    assert steep.points[-1].eps_g == pytest.approx(late, rel=1e-6)


def test_a_scaled_factor_is_followed_with_its_scale() -> None:
    problem = ts.Problem(initial=perfect(2), rule=ts.LearningRule(eta_xi_in=1.0))
    branch = ts.continuation(problem, "v_teacher", [1.0, 1.1, 1.2])
    np.testing.assert_allclose(branch.points[-1].state.v_teacher, 1.2)
    again = ts.fixed_point(branch.points[-1].problem)
    assert again.eps_g == pytest.approx(branch.points[-1].eps_g, abs=1e-14)
    assert again.eps_g > 1e-4
