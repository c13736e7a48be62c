"""Specialisation on overlaps written down by hand, on weights at finite N, and on presets."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.analysis import specialization as module
from teacher_student.trajectory import build_trajectory


def trajectory_of(alpha: list[float], R: np.ndarray, T: np.ndarray) -> xr.Dataset:
    """Return a plain committee's trajectory with unit-norm students and overlaps `R` (alpha, student, teacher)."""
    n, K, M = R.shape
    gram = np.linalg.inv(T)
    Q = R @ gram @ np.swapaxes(R, 1, 2)  # within the teacher's span, and what is missing to norm 1 outside
    Q[:, range(K), range(K)] = 1.0
    problem = ts.Problem(
        initial=ts.plain_committee(Q=Q[0], R=R[0], T=T, v=np.ones(K), v_teacher=np.ones(M)),
        rule=ts.LearningRule(eta_xi_in=1.0),
    )
    factors = {
        "Q_modes": Q,
        "R_modes": R,
        "sigma": np.ones((n, K)),
        "xi_out": np.broadcast_to(np.eye(K), (n, K, K)).copy(),
        "v": np.ones((n, K)),
    }
    return build_trajectory(problem, np.array(alpha), factors, replicas=False, attributes={})


def test_known_overlaps() -> None:
    R = np.zeros((4, 3, 2))
    R[:, 0, 1] = [0.0, 0.1, 0.9, -0.9]  # student 0 turns to teacher 1, whatever the sign
    R[:, 1, 0] = [0.0, 0.9, 0.5, 0.95]  # student 1 to teacher 0, with a relapse
    R[:, 2, :] = 0.3  # student 2 to both alike
    result = ts.specialization(trajectory_of([0.0, 1.0, 10.0, 100.0], R, np.eye(2)))
    assert result["assignment"].values.tolist() == [1, 0, -1]
    np.testing.assert_allclose(result["degree"].values[:, 0], [0.0, 0.01, 0.81, 0.81], atol=1e-12)
    np.testing.assert_allclose(result["degree"].values[:, 2], 0.0, atol=1e-12)
    expected = [10 ** (0.49 / 0.80), 10 * 10 ** (0.25 / (0.95**2 - 0.25))]
    np.testing.assert_allclose(result["onset"].values[:2], expected, rtol=1e-12)
    assert np.isnan(result["onset"].values[2])
    assert result["order"].values.tolist() == [0, 1, -1]


def test_norms_and_teacher_scale_do_not_enter() -> None:
    T = np.diag([4.0, 9.0])
    R = np.array([[[1.8, 0.0], [0.0, 0.3]]])
    result = ts.specialization(trajectory_of([1.0], R, T))
    np.testing.assert_allclose(result["normalized_overlaps"].values[0], [[0.9, 0.0], [0.0, 0.1]], atol=1e-12)
    np.testing.assert_allclose(result["degree"].values[0], [0.81, 0.01], atol=1e-12)
    assert result["onset"].values[0] == 1.0  # above the threshold from the first time on


def test_units_of_a_teacher_that_overlap_limit_the_degree_not_the_onset() -> None:
    T = np.array([[1.0, 0.8], [0.8, 1.0]])
    middle = 0.9 / np.sqrt(0.9)  # between both teacher units
    R = np.array([[[middle, middle]], [[1.0, 0.8]]])
    result = ts.specialization(trajectory_of([1.0, 10.0], R, T))
    np.testing.assert_allclose(result["degree"].values[:, 0], [0.0, 0.36], atol=1e-12)
    np.testing.assert_allclose(result["attainable"].values, [0.36], atol=1e-12)
    np.testing.assert_allclose(result["onset"].values, [10**0.5], rtol=1e-12)


def test_units_of_the_li_huang_preset_that_have_reached_their_teacher_unit_have_an_onset() -> None:
    # Teacher units overlap strongly, up to a cosine of 0.99; two student units still wait at the last time.
    result = ts.specialization(ts.integrate(ts.load_problem("li-huang-2023"), progress=False))
    assert result["assignment"].values.tolist() == list(range(8))
    reached = np.diagonal(result["normalized_overlaps"].values[-1]) > 0.95
    assert reached.tolist() == [True, True, False, False, True, True, True, True]
    assert np.isfinite(result["onset"].values).tolist() == reached.tolist()
    assert sorted(result["order"].values) == [-1, -1, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("K", "M"), [(3, 3), (4, 2), (2, 4), (1, 3), (3, 1)])
def test_the_assignment_is_the_best_of_all(K: int, M: int) -> None:
    rng = np.random.default_rng(K + 10 * M)
    closeness = rng.random((5, K, M))
    found = module.assignment(closeness)
    for matrix, chosen in zip(closeness, found, strict=True):
        taken = chosen[chosen >= 0]
        assert len(set(taken)) == len(taken) == min(K, M)
        total = sum(matrix[k, m] for k, m in enumerate(chosen) if m >= 0)
        if K <= M:
            best = max(sum(matrix[k, p[k]] for k in range(K)) for p in itertools.permutations(range(M), K))
        else:
            best = max(sum(matrix[p[m], m] for m in range(M)) for p in itertools.permutations(range(K), M))
        assert total == pytest.approx(best)


def test_degree_lies_in_the_unit_interval_and_reaches_both_ends() -> None:
    overlap = np.random.default_rng(0).uniform(-1, 1, (100, 3, 4))
    degree = module.degree_of_specialization(overlap)
    assert degree.min() >= 0
    assert degree.max() <= 1
    assert module.degree_of_specialization(np.array([[1.0, 0.0]])) == 1.0
    assert module.degree_of_specialization(np.array([[0.5, -0.5]])) == 0.0
    np.testing.assert_allclose(module.degree_of_specialization(np.array([[0.5]])), 0.25)


def test_rank_measures_are_those_of_the_weights() -> None:
    weights = ts.networks.li_huang_weights(40, 6, 3, np.random.default_rng(2))
    problem = ts.Problem(initial=ts.networks.overlaps(weights), rule=ts.LearningRule(eta_xi_in=1.0), n_inputs=40)
    result = ts.specialization(ts.integrate(problem, [0.0, 0.1], progress=False)).isel(alpha=0)
    W = (weights.xi_out * weights.sigma) @ weights.xi_in
    p = np.linalg.svd(W, compute_uv=False)[:3] ** 2
    p /= p.sum()
    assert float(result["participation"]) == pytest.approx(1 / np.sum(p**2))
    assert float(result["effective_rank"]) == pytest.approx(np.prod(p**-p), rel=1e-6)
    assert 1 < float(result["participation"]) < float(result["effective_rank"]) < 3
    norms = np.linalg.norm(weights.xi_in, axis=1) / np.sqrt(40) + np.linalg.norm(weights.xi_out, axis=0)
    tau = np.abs(weights.sigma) + np.abs(weights.sigma).mean() / norms.mean() * norms
    np.testing.assert_allclose(result["tau"].values, tau)
    np.testing.assert_allclose(result["share"].values, tau / tau.sum())


def test_rank_measures_at_their_limits() -> None:
    for measure in (module.participation_ratio, module.effective_rank):
        np.testing.assert_allclose(measure(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), [3.0, 1.0, 0.0])


def test_units_of_the_staircase_specialise_in_the_order_of_their_output_weights(record_check: Callable[..., None]) -> None:
    problem = ts.load_problem("staircase")
    theory = ts.specialization(ts.integrate(problem, progress=False))
    assert theory["order"].values.tolist() == [0, 1, 2]
    assert theory["assignment"].values.tolist() == [0, 1, 2]
    assert (np.diff(theory["onset"].values) > 0).all()
    thin = ts.specialization(ts.integrate(problem, np.geomspace(0.05, 4000.0, 50), progress=False))
    error = np.abs(thin["onset"].values / theory["onset"].values - 1.0).max()
    record_check("onset of specialisation on 50 output times: relative difference", "the preset's output times", error, 0.02)


def test_simulated_replicas_specialise_when_the_theory_does(record_check: Callable[..., None]) -> None:
    problem = ts.load_problem("staircase")
    times = problem.alpha[problem.alpha < 150]
    runs = ts.simulate(problem, times, n_inputs=2000, replicas=16, seed=7, method="overlaps", progress=False)
    theory = ts.specialization(ts.integrate(problem, runs["alpha"].values, progress=False))
    found = ts.specialization(runs)
    assert found["degree"].dims == ("replica", "alpha", "student")
    assert found["normalized_overlaps"].dims == ("replica", "alpha", "student", "teacher")
    assert (found["assignment"].values[:, 0] == 0).all()
    assert (found["order"].values[:, 0] == 0).all()
    for k in (0, 1):
        onsets = found["onset"].values[:, k]
        z = (onsets.mean() - float(theory["onset"][k])) / (onsets.std(ddof=1) / 4)
        # Student's t with 15 degrees of freedom: beyond with probability 0.001.
        record_check("onset of specialisation: |z|", "runs of the chain", abs(z), 4.1)
        wrong = ts.specialization(ts.integrate(problem, runs["alpha"].values, progress=False), threshold=0.7)
        assert abs((onsets.mean() - float(wrong["onset"][k])) / (onsets.std(ddof=1) / 4)) > 4.1


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.nan, "half"])
def test_impossible_thresholds_are_refused(threshold: object) -> None:
    trajectory = trajectory_of([1.0], np.array([[[0.5]]]), np.eye(1))
    with pytest.raises(ts.InvalidInput, match="threshold"):
        ts.specialization(trajectory, threshold)  # type: ignore[arg-type]
    assert ts.specialization(trajectory, np.float32(0.5)).attrs["threshold"] == 0.5
