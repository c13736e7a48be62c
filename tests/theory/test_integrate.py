"""Integration of the order-parameter ODEs: accuracy, methods, known fixed points, refusals and divergence."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.arrays import FloatArray
from teacher_student.theory.integrate import METHODS
from teacher_student.theory.ode.progress import WINDOW, Progress
from teacher_student.trajectory import resolved_eps_g

BLOCKS = ("Q_modes", "R_modes", "sigma", "xi_out", "v", "eps_g")


def random_problem(**changes: Any) -> ts.Problem:
    """Return a problem of four units, three modes and two teacher units in which every factor learns."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((5, 7)) / np.sqrt(7)
    gram = X @ X.T
    state = ts.OrderParameters(
        Q_modes=gram[:3, :3],
        R_modes=gram[:3, 3:],
        T=gram[3:, 3:],
        sigma=rng.uniform(0.6, 1.4, 3),
        xi_out=rng.standard_normal((4, 3)),
        v=rng.standard_normal(4),
        v_teacher=rng.uniform(0.5, 1.5, 2),
    )
    rates = {"eta_xi_in": 0.8, "eta_sigma": 0.3, "eta_xi_out": 0.5, "eta_v": 0.2, "noise": 0.1}
    return ts.Problem(state, ts.LearningRule(**(rates | changes)))


def values(problem: ts.Problem, alpha: Any, **options: Any) -> FloatArray:
    """Return everything that the solution states at the times `alpha`, (alpha, entries)."""
    trajectory = ts.integrate(problem, alpha, progress=False, **options)
    return np.concatenate([trajectory[name].values.reshape(len(trajectory.alpha), -1) for name in BLOCKS], axis=1)


TIMES = [0.0, 1.0, 4.0, 10.0]


@functools.cache
def tight_reference() -> FloatArray:
    return values(random_problem(), TIMES, method="DOP853", rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("method", "slope"), [("LSODA", 0.9), ("DOP853", 0.9), ("RK45", 1.0), ("Radau", 1.0)])
def test_error_falls_with_the_tolerance_asked(method: str, slope: float) -> None:
    """The logarithm of the error against that of rtol has the method's slope, and no error exceeds 3 rtol."""
    rtol = 10.0 ** -np.arange(3, 10)
    errors = []
    for r in rtol:
        result = values(random_problem(), TIMES, method=method, rtol=r, atol=r * 1e-3)
        errors.append(np.abs(result - tight_reference()).max())
    fitted = np.polyfit(np.log10(rtol), np.log10(errors), 1)[0]
    assert abs(fitted - slope) < 0.2
    assert max(np.array(errors) / rtol) < 3.0


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_agree(method: str, record_check: Callable[..., None]) -> None:
    result = values(random_problem(), TIMES, method=method, rtol=1e-7, atol=1e-10)
    error = np.abs(result - tight_reference()).max()
    record_check("solution of the ODEs at rtol 1e-7: difference", "another method at a tight tolerance", error, 2e-5)
    slower = random_problem(eta_v=0.2 * 0.999)
    assert not np.abs(values(slower, TIMES, method=method, rtol=1e-7, atol=1e-10) - tight_reference()).max() < 2e-5


def test_default_tolerances_are_tight() -> None:
    assert np.abs(values(random_problem(), TIMES) - tight_reference()).max() < 1e-7


def noiseless_problem(activation: str, eta: float, last: float) -> ts.Problem:
    """Return a problem of two units that learn their teacher to the end."""
    R = np.array([[0.02, -0.01], [0.01, 0.03]])
    state = ts.plain_committee(Q=0.25 * np.eye(2), R=R, T=np.eye(2), v=np.ones(2), v_teacher=np.ones(2))
    return ts.Problem(state, ts.LearningRule(activation, eta_xi_in=eta), alpha=np.append(0.0, np.geomspace(0.1, last, 200)))


@pytest.mark.parametrize(
    ("problem", "method"),
    [
        (ts.load_problem("saad-solla-1995"), None),
        (noiseless_problem("erf", 0.5, 3000.0), None),
        (noiseless_problem("erf", 0.5, 3000.0), "LSODA"),
        (noiseless_problem("relu", 0.3, 2000.0), None),
    ],
    ids=["preset", "erf", "erf, implicit", "relu"],
)
def test_eps_g_is_right_down_to_where_it_is_said_to_be_resolved(problem: ts.Problem, method: str | None) -> None:
    tight = ts.integrate(problem, rtol=1e-13, atol=1e-16, progress=False)["eps_g"].values
    worst = {1.0: 0.0, 1e-3: 0.0}
    # What an implicit method resolves at 1e-11 the tight solution does not.
    for rtol in (1e-7, 1e-9, 1e-11) if method is None else (1e-5, 1e-7, 1e-9):
        trajectory = ts.integrate(problem, method=method, rtol=rtol, atol=1e-3 * rtol, progress=False)
        eps_g, resolved = trajectory["eps_g"].values, resolved_eps_g(trajectory)
        assert tight[-1] < 1e-3 * resolved
        for part in worst:
            shown = slice(int(np.argmax(eps_g <= part * resolved)))
            worst[part] = max(worst[part], float(np.max(np.abs(eps_g[shown] / tight[shown] - 1))))
    assert worst[1.0] < 0.1
    assert worst[1e-3] > 0.1
    loose = ts.integrate(problem, [0.0, 0.1], rtol=1e-11, atol=1e-7, progress=False)
    assert resolved_eps_g(loose) > 1e-7


def test_output_at_the_times_asked() -> None:
    problem = random_problem()
    times = [0.5, 0.7, 3.0, 3.0000001, 20.0]
    trajectory = ts.integrate(problem, times, progress=False)
    assert trajectory["alpha"].values.tolist() == times
    assert trajectory.attrs["status"] == "complete"
    for i, time in enumerate(times):  # the same values as when the time is the only one
        assert np.abs(values(problem, [time])[0] - values(problem, times)[i]).max() < 1e-7
    default = ts.integrate(problem, progress=False)
    assert np.array_equal(default["alpha"].values, problem.alpha)
    grid = ts.integrate(problem, 7.0, progress=False)["alpha"].values
    assert (grid[0], grid[-1]) == (0.0, 7.0)


def test_alpha_zero_is_the_initial_state() -> None:
    problem = random_problem()
    trajectory = ts.integrate(problem, [0.0], progress=False)
    for name in ("Q_modes", "R_modes", "sigma", "xi_out", "v"):
        assert np.array_equal(trajectory[name].values[0], getattr(problem.initial, name))
    assert abs(trajectory["eps_g"].values[0] - problem.initial.eps_g()) < 1e-15


FACTORS = {"eta_xi_in": ("Q_modes", "R_modes"), "eta_sigma": ("sigma",), "eta_xi_out": ("xi_out",), "eta_v": ("v",)}


@pytest.mark.parametrize("frozen", [*FACTORS, None])
def test_frozen_factors_stay_exactly(frozen: str | None) -> None:
    """A factor of rate zero does not change by one bit, weight decay or not; `None` freezes everything."""
    rates = list(FACTORS) if frozen is None else [frozen]
    problem = random_problem(**dict.fromkeys(rates, 0.0), weight_decay=0.1)
    trajectory = ts.integrate(problem, 5.0, progress=False)
    for rate, names in FACTORS.items():
        for name in names:
            start = getattr(problem.initial, name)
            assert (trajectory[name].values == start).all() == (rate in rates), name


def symmetric_problem(K: int, eta: float, difference: float) -> ts.Problem:
    """Return a plain committee in an exactly symmetric state: Q_ij = R = 0.05, Q_ii larger by `difference`, T = 1."""
    Q = 0.05 + difference * np.eye(K)
    state = ts.plain_committee(Q, np.full((K, K), 0.05), np.eye(K), np.ones(K), np.ones(K))
    return ts.Problem(state, ts.LearningRule(eta_xi_in=eta))


def plateau_errors(K: int, eta: float, time: float, difference: float) -> tuple[float, float]:
    """Return the largest error of Q and R, and that of eps_g, at alpha = `time` / `eta` against the plateau."""
    end = ts.integrate(symmetric_problem(K, eta, difference), [time / eta], progress=False).isel(alpha=-1)
    Q, R = 1.0 / (2 * K - 1), 1.0 / np.sqrt(K * (2 * K - 1))
    eps_g = K / np.pi * (np.pi / 6.0 - K * np.arcsin(1.0 / (2 * K)))
    overlaps = max(np.abs(end["Q"].values - Q).max(), np.abs(end["R"].values - R).max())
    return float(overlaps), abs(end["eps_g"].item() - eps_g)


@pytest.mark.parametrize("K", [2, 3, 4])
def test_symmetric_plateau_of_saad_and_solla(K: int) -> None:
    """At small rates: Q = 1 / (2K - 1), R = 1 / sqrt(K (2K - 1)), and their eps_g, all to 1e-4."""
    assert max(plateau_errors(K, 1e-4, 60.0, 0.0)) < 1e-4
    assert not max(plateau_errors(K, 0.3, 60.0, 0.0)) < 1e-4  # at a larger rate the plateau lies elsewhere
    assert not max(plateau_errors(K, 1e-4, 3.0, 0.0)) < 1e-4  # nor is it reached so soon


@pytest.mark.parametrize("K", [2, 3, 4])
def test_symmetric_plateau_from_units_that_differ(K: int) -> None:
    """Units that differ approach each other as 1 / (eta alpha) only, and so do Q and R; eps_g is flat there."""
    early, _ = plateau_errors(K, 1e-5, 150.0, 0.25)
    late, eps_g = plateau_errors(K, 1e-5, 300.0, 0.25)
    assert eps_g < 1e-4
    assert abs(early / late - 2.0) < 0.2


def test_isotropic_teacher_is_learnt_in_the_end() -> None:
    """After its plateau the preset specialises: eps_g vanishes and every unit has the norm of the teacher's."""
    end = ts.integrate(ts.load_problem("saad-solla-1995"), [1000.0], progress=False).isel(alpha=-1)
    assert abs(end["eps_g"].item()) < 1e-10
    assert np.abs(end["Q"].values - np.eye(3)).max() < 1e-5
    assert np.abs(np.sort(end["R"].values, axis=1)[:, -1] - 1.0).max() < 1e-5


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("method", {"method": "Euler"}),
        ("method", {"method": "lsoda"}),
        ("rtol", {"rtol": 0.0}),
        ("rtol", {"rtol": 1.0}),
        ("rtol", {"rtol": -1e-6}),
        ("rtol", {"rtol": float("nan")}),
        ("atol", {"atol": float("inf")}),
        ("atol", {"atol": 0.0}),
        ("alpha", {"alpha": -1.0}),
        ("alpha", {"alpha": 0.0}),
        ("alpha", {"alpha": float("nan")}),
        ("alpha", {"alpha": float("inf")}),
        ("alpha", {"alpha": [0.0, float("nan"), 2.0]}),
        ("alpha", {"alpha": [-1.0, 2.0]}),
        ("alpha", {"alpha": []}),
        ("alpha", {"alpha": [[0.0, 1.0]]}),
        ("alpha", {"alpha": "soon"}),
        ("alpha[2]", {"alpha": [0.0, 2.0, 1.0]}),
        ("alpha[1]", {"alpha": [1.0, 1.0]}),
    ],
)
def test_bad_input_is_refused(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(ts.InvalidInput, match=rf"\A{re.escape(field)}: got [^\n]+, expected [^\n]+\Z"):
        ts.integrate(random_problem(), progress=False, **options)


def test_divergence_keeps_what_was_computed() -> None:
    problem = ts.load_problem("saad-solla-1995")
    wild = replace(problem, rule=replace(problem.rule, eta_xi_in=50.0))
    times = np.arange(0.0, 101.0)
    with pytest.raises(ts.Diverged, match=r"diverged at alpha = 9\.\d+: Q\[0,0\]") as caught:
        ts.integrate(wild, times, progress=False)
    trajectory = caught.value.trajectory
    assert trajectory is not None
    assert trajectory["alpha"].values.tolist() == times[:10].tolist()
    assert trajectory.attrs["status"].startswith("diverged at alpha")
    before = ts.integrate(wild, times[:10], progress=False)
    assert before.attrs["status"] == "complete"
    assert np.abs(trajectory["eps_g"].values - before["eps_g"].values).max() < 1e-6
    assert np.isfinite(trajectory["Q"].values).all()


def dying_unit(**changes: Any) -> ts.Problem:
    """Return a ReLU unit that is to learn the negative of its teacher: sigma falls to zero, and both signs lead back there."""
    state = ts.OrderParameters(
        Q_modes=[[1.0]], R_modes=[[0.5]], T=[[1.0]], sigma=[0.5], xi_out=[[1.0]], v=[1.0], v_teacher=[-1.0]
    )
    return ts.Problem(state, ts.LearningRule(**({"activation": "relu", "eta_xi_in": 0.1, "eta_sigma": 0.5} | changes)))


@pytest.mark.parametrize("method", [None, "LSODA", "RK45"])
def test_a_unit_that_dies_ends_the_integration(method: str | None) -> None:
    """No step leads on from sigma = 0, where the right-hand side jumps: one line says where, and what came before is kept."""
    with pytest.raises(ts.Diverged, match=r"alpha = 2\.4706\d*: unit 0 dies \(Q\[0,0\] = .*steps become too short") as caught:
        ts.integrate(dying_unit(), [0, 1, 2, 3], method=method, progress=False)
    trajectory = caught.value.trajectory
    assert trajectory is not None
    np.testing.assert_array_equal(trajectory["alpha"], [0, 1, 2])
    # Sixteen runs of the chain at N = 4,000 have the means 0.2590(23) and 0.0741(21), and stay at zero from alpha = 2.5 on.
    np.testing.assert_allclose(trajectory["sigma"].values.ravel(), [0.5, 0.25850933, 0.07280843], rtol=1e-7)


def test_progress_is_judged_by_the_pace() -> None:
    """Steps that grow, and short ones that are many, are progress; steps that shrink towards a time are none."""
    growing, short, shrinking = (Progress(end=1.0, most_steps=1e6) for _ in range(3))
    assert all(growing.is_made(1e-12 * 1.001**step) for step in range(27_000))
    assert all(short.is_made(2e-6 * step) for step in range(20_000))
    made = [shrinking.is_made(0.5 - 0.5 * 0.99**step) for step in range(3 * WINDOW)]
    assert all(made[: 2 * WINDOW - 1])
    assert not all(made)
