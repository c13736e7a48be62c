"""One leap: its mean and covariance at order 1/N and their order in its length, and what it must not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import teacher_student as ts
from teacher_student import cli
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.layout import views
from teacher_student.leaps.dormand_prince import ERROR, NODES, STAGES, carry
from teacher_student.leaps.leap import STEP, Run, leap
from teacher_student.leaps.model import LeapModel, leap_model, slope_of
from teacher_student.leaps.noise import restore_gram
from teacher_student.rates import rates_at
from teacher_student.theory.coordinates import coordinates_of, sizes_of
from teacher_student.theory.noise.diffusion import step_moments
from teacher_student.theory.noise.linearisation import half_hessian_of_covariance, jacobian
from teacher_student.theory.noise.spherical import moments_at_fixed_lengths
from teacher_student.theory.right_hand_side import right_hand_side

N_INPUTS = 1e8  # kicks small enough for differences of first and second order in them


def both_layers(**rule: object) -> ts.Problem:
    """Return a problem of 15 coordinates in which every factor learns, with decay, batches and changing rates."""
    initial = ts.OrderParameters(
        Q_modes=[[0.9, 0.2], [0.2, 0.7]],
        R_modes=[[0.5], [0.3]],
        T=[[1.2]],
        sigma=[1.0, 0.8],
        xi_out=[[1.0, 0.3], [-0.2, 0.9]],
        v=[1.0, 0.7],
        v_teacher=[1.1],
    )
    given = {"eta_xi_in": ts.PowerLaw(1.5, 3.0, 0.5), "eta_sigma": 0.6, "eta_xi_out": 0.5, "eta_v": 0.7, **rule}
    return ts.Problem(initial=initial, rule=ts.LearningRule(noise=0.3, weight_decay=0.1, batch_size=2, **given))


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("activation", ["erf", "relu", "quadratic", "tanh"])
def test_the_drift_is_that_of_the_theory(activation: str, spherical: bool) -> None:
    problem = both_layers(activation=activation, spherical=spherical)
    coordinates = coordinates_of(problem.initial, problem.rule)
    expected = right_hand_side(problem.initial, problem.rule, coordinates)(0.7, coordinates.start[coordinates.moving])
    out = np.empty_like(coordinates.start)
    slope_of(leap_model(problem, 1e-8).equations, 0.7, coordinates.start, out)
    np.testing.assert_allclose(out[coordinates.moving], expected, rtol=1e-12, atol=1e-14)


def test_the_method_is_that_of_dormand_and_prince() -> None:
    np.testing.assert_allclose(STAGES.sum(axis=1), NODES, atol=1e-14)
    weights = STAGES[6]
    for power in range(1, 6):  # of the last stage, which is the solution; of order 5
        assert weights @ NODES[:6] ** (power - 1) == pytest.approx(1.0 / power, abs=1e-14)
    for power in range(1, 5):  # the embedded solution of order 4
        assert ERROR @ NODES ** (power - 1) == pytest.approx(0.0, abs=1e-14)
    assert abs(ERROR @ NODES**4) > 1e-4


def test_the_drift_alone_is_as_exact_as_asked() -> None:
    problem = both_layers()
    model, coordinates = leap_model(problem, 1e-8), coordinates_of(problem.initial, problem.rule)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    start = coordinates.start[coordinates.moving]
    exact = scipy.integrate.solve_ivp(f, (0.0, 3.0), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    for tolerance in (1e-5, 1e-8):
        y = coordinates.start.copy()
        carry(model._replace(tolerance=tolerance), y, 0.0, 3.0, 0.1)
        assert 1e-3 * tolerance < np.abs(y[coordinates.moving] - exact).max() < 10.0 * tolerance


def leap_moments(model: LeapModel, y: np.ndarray, points: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return N times covariance and mean beyond the drift after one leap, by differences in the weights of its noise."""

    def end(weights: np.ndarray) -> np.ndarray:
        run = Run(y.copy(), np.empty(0), np.zeros(7), points)
        run.record[STEP] = 0.1 * length
        leap(model, 0.0, run, points, weights, length, N_INPUTS)
        return run.y

    n_points = len(points)
    drifted = y.copy()
    carry(model, drifted, 0.0, length, 0.1 * length)
    centre = end(np.zeros((2, n_points)))
    covariance, mean = np.zeros((len(y), len(y))), centre - drifted
    for i in range(2):
        for j in range(n_points):
            weights = np.zeros((2, n_points))
            weights[i, j] = 1.0
            above, below = end(weights), end(-weights)
            response = 0.5 * (above - below)
            covariance += np.outer(response, response)
            mean += 0.5 * (above + below - 2.0 * centre)
    return N_INPUTS * covariance, N_INPUTS * mean


def exact_moments(
    problem: ts.Problem, points: np.ndarray, length: float, continuous: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return V and m at `length` from the equations of linear noise, with moments of a step over the same points.

    With `continuous` m lacks what steps of length 1/N differ by from a continuous time.
    """
    state, rule = problem.initial, problem.rule
    coordinates = coordinates_of(state, rule)
    f = right_hand_side(state, rule, coordinates)
    start = coordinates.start[coordinates.moving]
    n = len(start)

    def equations(alpha: float, packed: np.ndarray) -> np.ndarray:
        y, V, m = packed[:n], packed[n : n + n * n].reshape(n, n), packed[n + n * n :]
        J = jacobian(lambda x: f(alpha, x), y)
        moments = step_moments(coordinates.expand(y), state, rule, coordinates, points, alpha)
        correction = moments.mean_correction
        if rule.spherical:
            correction = correction + of_drift(problem, alpha, coordinates.expand(y), points)
        velocity = f(alpha, y)
        acceleration = (f(alpha + 1e-4, y + 1e-4 * velocity) - f(alpha - 1e-4, y - 1e-4 * velocity)) / 2e-4
        source = half_hessian_of_covariance(lambda x: f(alpha, x), y, 0.5 * (V + V.T)) if V.any() else 0.0
        slope = J @ m + source + correction - (0.0 if continuous else 0.5) * acceleration
        return np.concatenate([velocity, (J @ V + V @ J.T + moments.covariance).ravel(), slope])

    begin = np.concatenate([start, np.zeros(n * n + n)])
    end = scipy.integrate.solve_ivp(equations, (0.0, length), begin, rtol=1e-7, atol=1e-9).y[:, -1]
    return end[n : n + n * n].reshape(n, n), end[n + n * n :]


def of_drift(problem: ts.Problem, alpha: float, full: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return what the mean correction of spherical steps gains if their mean is that of the theory, not over the points."""
    state, free = problem.initial, dataclasses.replace(problem.rule, spherical=False)
    raw = coordinates_of(state, free)
    rates = np.empty(4)
    rates_at(free.schedules, alpha, rates)
    without_decay = dataclasses.replace(free, weight_decay=0.0)
    mean = right_hand_side(state, without_decay, raw)(alpha, full[raw.moving])
    of_points = step_moments(full, state, free, raw, points, alpha).mean
    nothing = np.zeros((len(raw.moving), len(raw.moving))), np.zeros(len(raw.moving))
    decay = rates[0] * free.weight_decay
    rest = *nothing, full, coordinates_of(state, problem.rule), decay, raw.moving
    return moments_at_fixed_lengths(mean, *rest)[2] - moments_at_fixed_lengths(of_points, *rest)[2]


@pytest.mark.parametrize("spherical", [False, True])
def test_mean_and_covariance_of_a_leap_are_right_to_fourth_order(spherical: bool, record_check: Callable[..., None]) -> None:
    problem = both_layers(spherical=spherical)
    coordinates = coordinates_of(problem.initial, problem.rule)
    points = gaussian_points(4, 32, seed=3)
    model = leap_model(problem, 1e-13)
    of_V, of_m = [], []
    for length in (0.4, 0.2, 0.1):
        V, m = exact_moments(problem, points, length)
        covariance, mean = leap_moments(model, coordinates.start, points, length)
        covariance, mean = covariance[np.ix_(coordinates.moving, coordinates.moving)], mean[coordinates.moving]
        scale = np.sqrt(np.outer(np.diagonal(V), np.diagonal(V)))
        of_V.append(np.abs((covariance - V) / scale).max())
        of_m.append(np.abs(mean - m).max() / np.abs(m).max())
    slope = np.log(of_V[1] / of_V[2]) / np.log(2.0)
    record_check("leap: order of the covariance's error in length, less 4", "equations of linear noise", abs(slope - 4.0), 0.3)
    assert of_V[2] < 1e-5 < np.abs((0.99 * covariance - V) / scale).max()
    # Second differences and Hessians leave 5e-5 of the mean; forgetting that steps are no continuous time would show.
    assert of_m[0] < 2e-3
    assert max(of_m[1:]) < 3e-4
    without = exact_moments(problem, points, length, continuous=True)[1]
    assert np.abs(mean - without).max() / np.abs(m).max() > 0.03


def kicked(problem: ts.Problem, alpha: float = 5.0, replicas: int = 4, n_inputs: int = 10_000) -> ts.OrderParameters:
    return ts.leap(problem, [0.5 * alpha, alpha], n_inputs=n_inputs, replicas=replicas, seed=3, progress=False)


def test_students_that_are_the_same_never_part() -> None:
    one = np.ones((3, 3))
    Q = np.array([[0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.1, 0.1, 0.4]])
    R = np.array([[0.3, 0.2], [0.3, 0.2], [0.1, 0.4]])
    initial = ts.plain_committee(Q=Q, R=R, T=np.eye(2), v=np.ones(3), v_teacher=np.ones(2))
    runs = kicked(ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.0, noise=0.1)), alpha=10.0)
    assert runs["R"].values.std(axis=0).max() > 1e-3 * one[0, 0]
    assert np.abs(runs["R"].values[..., 0, :] - runs["R"].values[..., 1, :]).max() < 1e-12
    assert np.abs(runs["Q"].values[..., 0, 0] - runs["Q"].values[..., 0, 1]).max() < 1e-12


def test_what_no_step_changes_no_leap_changes() -> None:
    state = ts.OrderParameters(
        Q_modes=[[1.25, 0.1], [0.1, 0.8]],
        R_modes=[[0.8, 0.0], [0.4, 0.0]],
        T=[[1.0, 0.0], [0.0, 0.0]],
        sigma=[1.0, 1.0],
        xi_out=[[1.0, 0.5]],
        v=[1.0],
        v_teacher=[1.0, 0.3],
    )
    runs = kicked(ts.Problem(initial=state, rule=ts.LearningRule(eta_xi_in=0.5, noise=0.3)))
    unused = np.array([0.5, -1.0])  # a combination of modes that the student's one unit does not see
    Q_modes, R_modes = runs["Q_modes"].values, runs["R_modes"].values
    assert Q_modes[..., 0, 0].std(axis=0).min() > 1e-3
    np.testing.assert_allclose(np.einsum("a,rtab,b->rt", unused, Q_modes, unused), unused @ state.Q_modes @ unused, atol=1e-11)
    np.testing.assert_allclose(np.einsum("a,rtam->rtm", unused, R_modes), np.tile([0.0, 0.0], (4, 2, 1)), atol=1e-11)
    assert (R_modes[..., 1] == 0.0).all()  # a teacher unit without weights
    for name in ("sigma", "xi_out", "v"):
        assert (runs[name].values == getattr(state, name)).all()


def test_kept_lengths_are_kept() -> None:
    runs = kicked(both_layers(spherical=True))
    assert runs["Q_modes"].values[..., 0, 1].std(axis=0).min() > 1e-3
    np.testing.assert_allclose(runs["Q_modes"].values[..., [0, 1], [0, 1]], np.tile([0.9, 0.7], (4, 2, 1)), rtol=1e-7)


def test_overlaps_remain_those_of_vectors() -> None:
    """From within the teacher's span the rest of the student grows by few steps, whose sum is less Gaussian than positive."""
    initial = ts.plain_committee(Q=0.02 * np.eye(2), R=[[0.1, 0.1], [0.1, -0.1]], T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    problem = ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=1.0))
    runs = ts.leap(problem, [0.0005, 0.001, 0.01, 1.0], n_inputs=10_000, replicas=20, seed=1, progress=False)
    assert runs.attrs["gram_defect"] > 0.0
    for r, t in np.ndindex(20, 4):
        at = runs.isel(replica=r, alpha=t)
        ts.plain_committee(Q=at["Q"], R=at["R"], T=at["T"], v=at["v"], v_teacher=at["v_teacher"])  # refuses what is none
    y = coordinates_of(initial, problem.rule).start.copy()
    y[0] -= 0.001  # shorter than its part along the teacher
    assert restore_gram(initial.T, views(y, sizes_of(initial)), np.empty((4, 4))) == pytest.approx(0.001 / 0.019)
    assert restore_gram(initial.T, views(y, sizes_of(initial)), np.empty((4, 4))) == 0.0
    np.testing.assert_allclose(y[:4], [0.02, 0.0, 0.0, 0.02], atol=1e-15)


@pytest.mark.parametrize("eta", [1.0, ts.Piecewise([1.0, 0.2, 2.0], [1.0, 4.3])], ids=["constant", "jumps"])
def test_at_infinite_n_a_run_is_the_solution_of_the_odes(eta: object) -> None:
    problem = dataclasses.replace(both_layers(eta_xi_in=eta), seed=2)
    runs = ts.leap(problem, [1.0, 3.0, 10.0], n_inputs=10**16, replicas=2, progress=False)
    theory = ts.integrate(problem, [1.0, 3.0, 10.0], progress=False)
    for name in ("Q", "R", "sigma", "xi_out", "v", "eps_g"):
        np.testing.assert_allclose(runs[name].values[0], theory[name].values, atol=3e-7)


def test_shorter_leaps_at_a_smaller_tolerance() -> None:
    few, many = (ts.leap(both_layers(), [20.0], n_inputs=10**6, tolerance=tol, progress=False) for tol in (1e-2, 1e-6))
    assert many.attrs["leaps"] / few.attrs["leaps"] == pytest.approx(10.0, rel=0.5)  # its fourth root
    assert few.attrs["leap_error"] < 3e-2
    assert many.attrs["leap_error"] < 3e-6


def test_a_replica_is_the_same_run_however_many_there_are() -> None:
    three, one = (ts.leap(both_layers(), [1.0, 2.0], n_inputs=10**6, replicas=n, seed=4, progress=False) for n in (3, 1))
    np.testing.assert_array_equal(three["Q"].values[0], one["Q"].values[0])
    assert (three["Q"].values[1] != three["Q"].values[0]).any()
    assert "no evidence" in one.attrs["note"]
    assert one.attrs["method"] == "leap"


def test_the_command_line_leaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    problem = dataclasses.replace(both_layers(), alpha=np.array([0.5, 1.0]))
    (tmp_path / "small.toml").write_text(problem.to_toml())
    arguments = ["--method", "leap", "--n-inputs", "1000000", "--replicas", "2", "--seed", "5", "-o", "runs.nc"]
    assert cli.main(["simulate", "small.toml", *arguments]) == 0
    stored = ts.load_trajectory("runs.nc")
    expected = ts.leap(problem, n_inputs=10**6, replicas=2, seed=5, progress=False)
    np.testing.assert_array_equal(stored["Q"], expected["Q"])
    assert stored.attrs["note"] == expected.attrs["note"]
    assert cli.main(["simulate", "small.toml", "--method", "leap", "--n-inputs", "400"]) == 2


def test_a_checkpoint_holds_all_that_decides_the_run(tmp_path: Path) -> None:
    settings = {"n_inputs": 10**6, "replicas": 2, "progress": False}
    whole = ts.leap(both_layers(), [1.0, 2.0], **settings, checkpoint=tmp_path / "runs")
    again = ts.leap(both_layers(), [1.0, 2.0], **settings, checkpoint=tmp_path / "runs")  # from the last step on
    np.testing.assert_array_equal(whole["Q"], again["Q"])
    assert whole.attrs == again.attrs
    with pytest.raises(ts.InvalidInput, match="tolerance"):
        ts.leap(both_layers(), [1.0, 2.0], **settings, checkpoint=tmp_path / "runs", tolerance=1e-3)


def test_divergence_is_told_where_the_theory_has_it() -> None:
    initial = ts.plain_committee(Q=0.3 * np.eye(2), R=0.1 * np.eye(2), T=np.eye(2), v=[1.0, 1.0], v_teacher=[1.0, 1.0])
    problem = ts.Problem(initial=initial, rule=ts.LearningRule("quadratic", eta_xi_in=2.0))
    times = []
    for run in (ts.integrate, lambda *args, **given: ts.leap(*args, **given, n_inputs=10**8)):
        with pytest.raises(ts.Diverged, match="diverged at alpha = ") as failure:
            run(problem, [0.005, 1.0], progress=False)
        assert failure.value.trajectory.sizes["alpha"] == 1
        times.append(float(str(failure.value).split("alpha = ")[1].split(":")[0]))
    assert str(failure.value).endswith("the state moves too fast for leaps in replica 0")  # and not what SGD fails by
    assert times[1] == pytest.approx(times[0], rel=0.01)


def test_what_does_not_fit_is_refused() -> None:
    problem = both_layers()
    with pytest.raises(ts.InvalidInput, match=r"n_inputs: got 9999, expected at least 10000 for leaps"):
        ts.leap(problem, n_inputs=9999)
    for tolerance in (0.0, 1, "fine", 0.5):
        with pytest.raises(ts.InvalidInput, match="tolerance"):
            ts.leap(problem, n_inputs=10**6, tolerance=tolerance)  # type: ignore[arg-type]
    ts.register_activation("kinked", lambda x: max(x, 0.1 * x * x), lambda x: 1.0 if x > 0.2 * x else 0.2 * x)
    with pytest.raises(ts.InvalidInput, match=r"activation: got 'kinked.*no jumps"):
        ts.leap(both_layers(activation="kinked"), n_inputs=10**6)
    with pytest.raises(ts.InvalidInput, match=r"n_inputs: got 10000, expected at least .* at rates as large.*method overlaps"):
        ts.leap(both_layers(eta_v=1e3), n_inputs=10**4)  # the chain takes these steps: it does not diverge
    theory = ts.integrate(problem, [1.0], progress=False)
    with pytest.raises(ts.InvalidInput, match=r"simulation: got .*leap"):
        ts.compare(theory, ts.leap(problem, [1.0], n_inputs=10**6, replicas=2, progress=False))
