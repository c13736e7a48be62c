"""The comparison's numbers against a direct computation, and what its report says of a wrong theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.analysis.compare import Comparison, standard_error
from teacher_student.analysis.report import report
from teacher_student.trajectory import resolved_eps_g

PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array([0.0, 0.5, 1.0, 2.0]))


def test_z_is_the_deviation_of_the_mean_in_standard_errors() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=100, replicas=5)
    theory = ts.integrate(PROBLEM, simulation["alpha"].values)
    result = ts.compare(theory, simulation)
    v = simulation["v"].values[:, 2, 1]
    by_hand = (v.mean() - theory["v"].values[2, 1]) / (v.std(ddof=1) / np.sqrt(5))
    assert result.z["v"].values[2, 1] == pytest.approx(by_hand, rel=1e-12)
    (deviation,) = [d for d in result.deviations if d.name == "v"]
    assert deviation.largest == pytest.approx(np.nanmax(np.abs(result.z["v"].values)))
    assert deviation.n_compared == 3 * 4  # not at alpha = 0, where replicas are equal up to rounding


def test_eps_g_that_the_theory_does_not_resolve_is_not_compared() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=100, replicas=5)
    theory = ts.integrate(PROBLEM, simulation["alpha"].values, fluctuations=True)
    eps_g = theory["eps_g"].values
    for last in (2, 1):  # the last time at which eps_g is above what is resolved at rtol
        theory.attrs["rtol"] *= 0.5 * eps_g[last : last + 2].sum() / resolved_eps_g(theory)
        result = ts.compare(theory, simulation)
        compared = [False] + [time <= last for time in (1, 2, 3)]
        assert np.isfinite(result.z["eps_g"].values).tolist() == compared
        assert np.isfinite(result.z_predicted["eps_g"].values).tolist() == compared
        assert np.isfinite(result.z["v"].values[1:]).all()


def test_times_that_differ_by_rounding_to_whole_steps_are_integrated_again() -> None:
    times = np.array([0.033, 1.017, 2.0049])
    simulation = ts.simulate(PROBLEM, times, n_inputs=100, replicas=3)
    result = ts.compare(ts.integrate(PROBLEM, times), simulation)
    np.testing.assert_array_equal(result.theory["alpha"].values, [0.03, 1.02, 2.0])
    exact = ts.integrate(PROBLEM, [0.03, 1.02, 2.0])
    np.testing.assert_allclose(result.theory["Q"].values, exact["Q"].values, rtol=1e-12)


def test_a_wrong_theory_is_seen_in_the_deviations() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=1000, replicas=24)
    right = ts.compare(ts.integrate(PROBLEM, simulation["alpha"].values), simulation)
    rule = dataclasses.replace(PROBLEM.rule, eta_xi_in=1.05 * PROBLEM.rule.eta_xi_in)
    wrong_theory = ts.integrate(dataclasses.replace(PROBLEM, rule=rule), simulation["alpha"].values)
    wrong = ts.compare(wrong_theory, simulation)

    def agrees(result: Comparison) -> bool:
        # The rms over these few dozen correlated entries has a standard error of about 0.2: within three of it.
        (deviation,) = [d for d in result.deviations if d.name == "Q_modes"]
        return abs(deviation.rms - 1.0) < 0.6

    assert agrees(right)
    assert not agrees(wrong)


def test_a_fluctuating_variable_is_held_against_its_predicted_mean_and_spread() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=200, replicas=200, method="overlaps")
    result = ts.compare(ts.integrate(PROBLEM), simulation)
    mean, spread = ts.predict(result.theory, 200)["R"].values[:, 3, 0, 1]
    by_hand = (simulation["R"].values[:, 3, 0, 1].mean() - mean) / (spread / np.sqrt(200))
    assert result.z_predicted["R"].values[3, 0, 1] == pytest.approx(by_hand, rel=1e-12)
    (deviation,) = [d for d in result.deviations if d.name == "R"]
    # 200 runs know a spread to 5 %; the entries of R move together.
    assert deviation.spread == pytest.approx(1.0, abs=0.15)


def test_what_does_not_learn_is_not_judged() -> None:
    frozen = dataclasses.replace(PROBLEM, rule=ts.LearningRule(eta_xi_in=0.0))
    result = ts.compare(ts.integrate(frozen), ts.simulate(frozen, n_inputs=50, replicas=3))
    assert result.verdict.outcome == "not judged"
    assert result.prediction is None
    assert "not judged" in report(result, {"theory": 0.0, "simulation": 0.0}, "command")


def test_the_error_of_sampled_averages_is_counted() -> None:
    rule = ts.LearningRule(activation="tanh", eta_xi_in=0.5, eta_v=0.2)
    initial = ts.plain_committee(Q=[[0.5]], R=[[0.1]], T=[[1.0]], v=[0.6], v_teacher=[1.0])
    problem = ts.Problem(initial=initial, rule=rule, alpha=np.array([0.0, 1.0]))
    result = ts.compare(ts.integrate(problem), ts.simulate(problem, n_inputs=100, replicas=20))
    assert result.passed
    assert result.prediction is not None
    assert "averages are sampled" in report(result, {"theory": 0.0, "simulation": 0.0}, "command")
    (deviation,) = [d for d in result.deviations if d.name == "eps_g"]
    assert deviation.largest < 4.5
    # Both errors are in z: with that of the averages taken out again it is the plain one.
    plain = (result.simulation["Q"].mean("replica") - result.theory["Q"]).values / standard_error(result.simulation, "Q")
    both = np.hypot(1.0, result.averages["Q"].values / standard_error(result.simulation, "Q"))
    np.testing.assert_allclose((result.z["Q"].values * both)[1], plain[1], rtol=1e-12)
    assert 0.0 < result.largest_sampling_error < 0.3


def test_one_replica_has_no_standard_error_and_the_report_says_so() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=50)
    result = ts.compare(ts.integrate(PROBLEM), simulation)
    assert all(d.n_compared == 0 for d in result.deviations)
    text = report(result, {"theory": 0.0, "simulation": 0.0}, "command")
    assert "| eps_g | 0 | no spread |" in text


def test_what_is_no_pair_of_theory_and_simulation_is_refused() -> None:
    theory = ts.integrate(PROBLEM)
    with pytest.raises(ts.InvalidInput, match=r"^simulation: got 'a trajectory of theory', expected a trajectory of simulate"):
        ts.compare(theory, theory)
    other = ts.simulate(ts.load_problem("saad-solla-1995"), 0.1, n_inputs=20)
    with pytest.raises(ts.InvalidInput, match=r"^simulation: got '3 as size of student', expected 4"):
        ts.compare(theory, other)
