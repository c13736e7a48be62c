"""The comparison's numbers against a direct computation, and what its report says of a wrong theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.analysis.compare import Comparison, standard_error
from teacher_student.analysis.report import report, summary
from teacher_student.analysis.verdict import Test, raises_alarm, worst_of
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
    assert result.verdict.meaning == "Nothing was judged: nothing learns, so that nothing fluctuates."
    assert summary(result) == "theory and simulation: not judged: nothing learns, so that nothing fluctuates"
    assert result.verdict.meaning in result.report()
    assert result.prediction is None
    assert "not judged" in report(result, {"theory": 0.0, "simulation": 0.0}, "command")


def test_why_nothing_was_judged_is_said() -> None:
    short = dataclasses.replace(PROBLEM, alpha=np.array([0.0, 0.1]))
    result = ts.compare(ts.integrate(short), ts.simulate(short, n_inputs=50, replicas=3))
    assert result.verdict.outcome == "not judged"
    (reason,) = result.verdict.reasons
    assert reason == "the runs are short: an interval needs 2000 steps of all 3 run(s) together"
    initial = ts.plain_committee(Q=[[0.5]], R=[[0.1]], T=[[1.0]], v=[0.6], v_teacher=[1.0])
    rule = ts.LearningRule(activation="relu", teacher_activation="tanh", eta_xi_in=0.1)
    rough = ts.Problem(initial=initial, rule=rule, alpha=[0.0, 1.0])
    result = ts.compare(ts.integrate(rough), ts.simulate(rough, n_inputs=50, replicas=3))
    assert result.verdict.reasons == ("there is no linear noise, because g' has jumps and its Gaussian averages are sampled",)


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


def test_numbers_that_are_not_finite_are_refused_not_taken_for_agreement() -> None:
    """A wrong theory does not agree with a simulation in which half of the last eps_g is masked, or one run is NaN."""
    rule = dataclasses.replace(PROBLEM.rule, eta_xi_in=0.5)
    theory = ts.integrate(dataclasses.replace(PROBLEM, rule=rule), fluctuations=True, progress=False)
    faster = dataclasses.replace(PROBLEM, rule=dataclasses.replace(rule, eta_xi_in=0.8))
    simulation, other = (
        ts.simulate(faster, n_inputs=500, replicas=20, seed=seed, method="overlaps", progress=False) for seed in (1, 2)
    )
    assert ts.compare(theory, simulation).verdict.outcome == "differs (model or code)"
    masked, all_nan = simulation.copy(deep=True), simulation.copy(deep=True)
    masked["eps_g"].values[10:, -1] = np.nan
    for name in all_nan.data_vars:
        if "replica" in all_nan[name].dims:
            all_nan[name].values[3] = np.nan
    hint = "expected finite numbers; leave out such replicas or times"
    for broken, text in (
        (masked, "eps_g that is not finite at alpha = 2 in 10 replica(s), the first number 10"),
        (all_nan, "Q_modes that is not finite at alpha = 0 in 1 replica(s), the first number 3"),
    ):
        for argument, given in (("simulation", (broken,)), ("other", (simulation, broken))):
            with pytest.raises(ts.InvalidInput) as caught:
                ts.compare(theory, *given)
            assert str(caught.value) == f"{argument}: got {text!r}, {hint}"
        with pytest.raises(ts.InvalidInput, match=r"^simulations\[1\]: got '.*not finite"):
            ts.scaling([simulation, broken, other], progress=False)
        with pytest.raises(ts.InvalidInput, match=r"^simulations\[0\]: got '.*not finite"):
            ts.pool([broken])
        with pytest.raises(ts.InvalidInput, match=r"^simulation: got '.*not finite"):
            ts.plots.comparison(theory, broken)
    left_out = all_nan.isel(replica=[r for r in range(20) if r != 3])
    assert ts.compare(theory, left_out).verdict.outcome == "differs (model or code)"
    theory["eps_g"].values[1] = np.inf
    with pytest.raises(ts.InvalidInput, match=r"^theory: got 'eps_g that is not finite at alpha = 0.5', expected finite"):
        ts.compare(theory, simulation)


def test_a_p_value_that_is_no_number_raises_the_alarm() -> None:
    assert worst_of([0.2, 0.3]) == 0.4
    assert worst_of([0.6, 0.9]) == 1.0
    assert np.isnan(worst_of([0.9, np.nan]))
    fine = Test("a", "", 1.0)
    assert not raises_alarm([fine, fine])
    assert raises_alarm([fine, Test("b", "", float("nan"))])
    assert raises_alarm([fine, Test("b", "", 0.004)])


def test_one_run_without_the_dimension_of_replicas_is_compared() -> None:
    simulation = ts.simulate(PROBLEM, n_inputs=5000, replicas=3, method="overlaps", progress=False)
    theory = ts.integrate(PROBLEM, simulation["alpha"].values, fluctuations=True, progress=False)
    alone, first = (ts.compare(theory, simulation.isel(replica=which)) for which in (0, [0]))
    assert alone.verdict.with_shift == first.verdict.with_shift
    assert len(alone.verdict.with_shift) > 0
    with pytest.raises(ts.InvalidInput, match=r"^theory: got 'a trajectory of simulation', expected a trajectory of integrate$"):
        ts.compare(simulation.isel(replica=0), simulation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": None}, "theory.attrs['problem']: got None, expected the problem as TOML text"),
        ({"problem": 3}, "theory.attrs['problem']: got 3, expected the problem as TOML text"),
    ],
)
def test_what_has_no_problem_is_refused(change: dict[str, object], message: str) -> None:
    theory = ts.integrate(PROBLEM, fluctuations=True, progress=False).assign_attrs(change)
    simulation = ts.simulate(PROBLEM, n_inputs=100, replicas=3, method="overlaps", progress=False)
    for call in (lambda: ts.compare(theory, simulation), lambda: ts.predict(theory, 100), lambda: ts.sampling_error(theory)):
        with pytest.raises(ts.InvalidInput) as caught:
            call()
        assert str(caught.value) == message
    with pytest.raises(ts.InvalidInput, match=r"^theory.attrs\['problem'\]: problem: got text that is no TOML"):
        ts.predict(theory.assign_attrs(problem="x = ["), 100)
    with pytest.raises(ts.InvalidInput, match=r"^theory: got '3 as size of student', expected 4, as in its problem$"):
        ts.predict(ts.integrate(ts.load_problem("saad-solla-1995"), [0.1], True, progress=False).assign_attrs(
            problem=PROBLEM.to_toml()), 100)  # fmt: skip
