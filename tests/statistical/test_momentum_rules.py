"""Heavy-ball momentum, at fixed beta and with friction: theory, SGD on weights and the chain agree, within standard errors.

z is a deviation in units of its estimated standard error, one for every moving coordinate, velocities included, and every time.
The largest abs(z) must be below 4.5 and the root mean square of z between 0.4 and 1.6, wide because coordinates and times are
strongly correlated. Chain and weights are compared by Hotelling's test, of means and of squared deviations: p > 1e-3. Every
criterion is held against deliberate mistakes that it must find.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import xarray as xr
from scipy import stats

import teacher_student as ts
from teacher_student.arrays import FloatArray
from teacher_student.theory.coordinates import Coordinates, coordinates_of
from teacher_student.theory.noise.predictions import moving_coordinates
from teacher_student.theory.right_hand_side import right_hand_side

MakeProblem = Callable[..., ts.Problem]

LARGEST_Z = 4.5
RMS_Z = (0.4, 1.6)
SMALLEST_P = 1e-3
TIMES = [0.5, 1.0, 2.0]
RULES = {
    "friction": {"friction": 2.0, "eta_xi_in": ts.Cosine(start=1.3, end=0.7, period=2.0)},
    "momentum": {
        "momentum": 0.5,
        "eta_xi_in": 0.5,
        "eta_sigma": 0.25,
        "eta_xi_out": 0.35,
        "eta_v": ts.PowerLaw(start=0.3, alpha=2.0, exponent=1.0),
    },
}
# N and number of runs at which the ODEs' own error of order 1/N stays below a standard error; runs enough for z to be normal.
ENSEMBLES = {"weights": (800, 36), "overlaps": (5000, 36)}


def problem_of(make_problem: MakeProblem, rule: str, activation: str, **changes: object) -> ts.Problem:
    return make_problem(3, 2, 2, **{**RULES[rule], "activation": activation, **changes})


def coordinates_in(problem: ts.Problem) -> Coordinates:
    return coordinates_of(problem.initial, problem.rule, problem.velocity)


def ode(problem: ts.Problem) -> FloatArray:
    """Return the moving coordinates at `TIMES`, (alpha, n)."""
    return moving_coordinates(ts.integrate(problem, TIMES, progress=False), coordinates_in(problem))


def runs_of(problem: ts.Problem, method: str, n_inputs: int, replicas: int, seed: int = 1) -> FloatArray:
    """Return the moving coordinates of the runs at `TIMES`, (replica, alpha, n)."""
    runs = ts.simulate(problem, TIMES, n_inputs=n_inputs, replicas=replicas, seed=seed, method=method, progress=False)
    return moving_coordinates(runs, coordinates_in(problem))


@functools.cache
def right_ode(make_problem: MakeProblem, activation: str, rule: str) -> FloatArray:
    """Return the moving coordinates by the theory that mistaken runs are compared with too."""
    return ode(problem_of(make_problem, rule, activation))


@functools.cache
def right_runs(make_problem: MakeProblem, activation: str, rule: str, method: str) -> FloatArray:
    """Return the runs that mistaken theories are compared with too."""
    return runs_of(problem_of(make_problem, rule, activation), method, *ENSEMBLES[method])


def mean_z(runs: FloatArray, expected: FloatArray) -> FloatArray:
    """Return z of the runs' means, (alpha, n)."""
    return np.asarray((runs.mean(axis=0) - expected) / (runs.std(axis=0, ddof=1) / np.sqrt(len(runs))))


def agrees(z: FloatArray) -> bool:
    return bool(np.abs(z).max() < LARGEST_Z and RMS_Z[0] < np.sqrt(np.mean(z**2)) < RMS_Z[1])


@pytest.mark.parametrize("method", ["weights", "overlaps"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", ["erf", "relu", "tanh", "arctangent"])
@pytest.mark.usefixtures("arctangent")
def test_mean_of_runs_is_the_ode(
    make_problem: MakeProblem, activation: str, rule: str, method: str, record_check: Callable[..., None]
) -> None:
    """Closed averages, closed ones at finite rates, and sampled ones; every factor learns, with noise, decay and batches of 2."""
    z = mean_z(right_runs(make_problem, activation, rule, method), right_ode(make_problem, activation, rule))
    assert z.size == 3 * (3 + 4 + 2 + 6 + 3 if rule == "momentum" else 2 * 18 + 4)
    record_check(f"mean of runs with {rule}: largest |z|", "the ODEs", np.abs(z).max(), LARGEST_Z)
    assert agrees(z), f"max |z| = {np.abs(z).max():.2f}, rms z = {np.sqrt(np.mean(z**2)):.2f}"


@pytest.mark.parametrize("activation", ["erf", "relu"])
@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        ("friction", {"friction": 2.1}),
        ("friction", {"friction": 1.9}),
        ("friction", {"batch_size": 10**9}),  # <h_a h_b> left out
        ("friction", {"eta_v": 0.42}),
        ("friction", {"weight_decay": 0.0}),
        ("momentum", {"momentum": 0.525}),
        ("momentum", {"batch_size": 8}),  # 1 / (1 - beta)^2 = 4 left out of the term in eta^2
        ("momentum", {"momentum": 0.0}),
    ],
    ids=str,
)
def test_comparison_finds_mistakes(make_problem: MakeProblem, rule: str, mistake: dict[str, float], activation: str) -> None:
    """Negative control: the same criterion finds one wrong argument or term of the theory."""
    runs = right_runs(make_problem, activation, rule, "overlaps")
    assert not agrees(mean_z(runs, ode(problem_of(make_problem, rule, activation, **mistake))))


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        ("friction", {"friction": 2.1}),
        ("friction", {"batch_size": 1}),
        ("momentum", {"momentum": 0.525}),
        ("momentum", {"batch_size": 8}),
    ],
    ids=str,
)
@pytest.mark.parametrize("activation", ["tanh", "arctangent"])
@pytest.mark.usefixtures("arctangent")
def test_comparison_with_sampled_averages_finds_mistakes(
    make_problem: MakeProblem, activation: str, rule: str, mistake: dict[str, float]
) -> None:
    """Negative control: here the mistake is one of the chain, which costs less than a theory with sampled averages."""
    runs = runs_of(problem_of(make_problem, rule, activation, **mistake), "overlaps", *ENSEMBLES["overlaps"])
    assert not agrees(mean_z(runs, right_ode(make_problem, activation, rule)))


@pytest.mark.parametrize("method", ["weights", "overlaps"])
@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_restarted_runs_are_the_ode(
    make_problem: MakeProblem, activation: str, method: str, record_check: Callable[..., None]
) -> None:
    """From the velocities and the time of the schedule that a run had reached; not from rest, and not anew."""
    problem, (N, replicas) = problem_of(make_problem, "friction", activation), ENSEMBLES[method]
    first = ts.simulate(problem, [0.6], n_inputs=N, seed=1, method=method, progress=False)
    restarted = ts.warm_restart(first)
    assert restarted.velocity is not None
    runs = runs_of(restarted, method, N, replicas, seed=2)
    z = mean_z(runs, ode(restarted))
    record_check("mean of restarted runs with friction: largest |z|", "the ODEs", np.abs(z).max(), LARGEST_Z)
    assert agrees(z), f"max |z| = {np.abs(z).max():.2f}, rms z = {np.sqrt(np.mean(z**2)):.2f}"
    from_rest = dataclasses.replace(restarted, velocity=None)
    anew = dataclasses.replace(restarted, rule=problem.rule)
    assert not agrees(mean_z(runs, ode(from_rest)))
    assert not agrees(mean_z(runs, ode(anew)))


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (0.0, False)])
def test_comparison_finds_the_velocities_overlaps_left_out(make_problem: MakeProblem, factor: float, right: bool) -> None:
    """Negative control: without Q_velocities in dC_velocities/dalpha the ODEs do not agree, with it they do."""
    problem = problem_of(make_problem, "friction", "erf")
    coordinates = coordinates_in(problem)
    f = right_hand_side(problem.initial, problem.rule, coordinates)
    C = [i for i, label in enumerate(coordinates.labels) if label.startswith("C_")]
    V = [coordinates.labels.index(f"Q_velocities[{min(a, b)},{max(a, b)}]") for a in range(2) for b in range(2)]

    def mistaken(alpha: float, y: FloatArray) -> FloatArray:
        change = f(alpha, y).copy()
        change[C] -= (1.0 - factor) * y[V]
        return change

    start = coordinates.start[coordinates.moving]
    solution = scipy.integrate.solve_ivp(mistaken, (0.0, TIMES[-1]), start, t_eval=TIMES, rtol=1e-9, atol=1e-11)
    assert agrees(mean_z(right_runs(make_problem, "erf", "friction", "overlaps"), solution.y.T)) == right


def p_value(first: FloatArray, second: FloatArray) -> float:
    """Return the p-value of Hotelling's test that two samples (runs, n) of correlated coordinates have the same mean.

    Combinations of coordinates of relative variance below 1e-6 are left out.
    """
    sizes = len(first), len(second)
    freedom = sum(sizes) - 2
    pooled = sum((size - 1) / freedom * np.cov(sample.T) for size, sample in zip(sizes, (first, second), strict=True))
    scale = np.sqrt(np.diagonal(pooled))
    eigenvalues, vectors = np.linalg.eigh(pooled / np.outer(scale, scale))
    kept = eigenvalues > 1e-6
    n = int(kept.sum())
    difference = vectors[:, kept].T @ ((first.mean(axis=0) - second.mean(axis=0)) / scale)
    T_square = sizes[0] * sizes[1] / sum(sizes) * float(np.sum(difference**2 / eigenvalues[kept]))
    return float(stats.f.sf(T_square * (freedom - n + 1) / (n * freedom), n, freedom - n + 1))


def law_p_values(problem: ts.Problem, other: ts.Problem, n_inputs: int) -> dict[str, float]:
    """Return p-values for equal means and equal variances at the last time, of weights of `problem` and the chain of `other`."""
    on_weights, chain = runs_of(problem, "weights", n_inputs, 600), runs_of(other, "overlaps", n_inputs, 600, seed=2)
    on_weights, chain = on_weights[:, -1], chain[:, -1]
    squares = ((sample - sample.mean(axis=0)) ** 2 for sample in (on_weights, chain))
    return {"means": p_value(on_weights, chain), "variances": p_value(*squares)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("activation", "n_inputs", "batch_size"), [("erf", 30, 2), ("relu", 30, 1), ("linear", 12, 4), ("erf", 6, 1), ("erf", 7, 4)]
)
def test_chain_is_sgd_on_weights_in_law(
    make_problem: MakeProblem, rule: str, activation: str, n_inputs: int, batch_size: int, record_check: Callable[..., None]
) -> None:
    """Down to N = M + 2 P = 6, where nothing lies outside teacher, modes and velocities."""
    problem = problem_of(make_problem, rule, activation, batch_size=batch_size)
    for what, p in law_p_values(problem, problem, n_inputs).items():
        record_check(f"chain with {rule}, {what}: 1 - p", "SGD on weights", 1.0 - p, 1.0 - SMALLEST_P)


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [("friction", {"friction": 2.1}), ("friction", {"batch_size": 3}), ("momentum", {"momentum": 0.525})],
    ids=str,
)
def test_comparison_in_law_finds_mistakes(make_problem: MakeProblem, rule: str, mistake: dict[str, float]) -> None:
    problems = problem_of(make_problem, rule, "erf"), problem_of(make_problem, rule, "erf", **mistake)
    assert min(law_p_values(*problems, 30).values()) < SMALLEST_P


def predicted(problem: ts.Problem) -> xr.Dataset:
    return ts.integrate(problem, TIMES, fluctuations=True, progress=False)


@pytest.mark.parametrize("rule", RULES)
def test_linear_noise_predicts_spread_and_mean(make_problem: MakeProblem, rule: str, record_check: Callable[..., None]) -> None:
    """At N = 400 means agree with the ODE plus the predicted shift of order 1/N, not without it, and variances with V / N.

    With momentum the shift of plain SGD at the rates eta / (1 - beta) does not do, nor do variances 20 % off.
    """
    problem = problem_of(make_problem, rule, "erf")
    N, coordinates, theory = 400, coordinates_in(problem), predicted(problem)
    y, shift = moving_coordinates(theory, coordinates), theory["shift"].values / N
    runs = runs_of(problem, "overlaps", N, 2000)
    z = mean_z(runs, y + shift)
    record_check(f"mean of runs at N = 400 with {rule}: largest |z|", "ODE and shift", np.abs(z).max(), LARGEST_Z)
    assert agrees(z), f"max |z| = {np.abs(z).max():.2f}, rms z = {np.sqrt(np.mean(z**2)):.2f}"
    assert not agrees(mean_z(runs, y))
    if rule == "momentum":
        plain = dataclasses.replace(problem, rule=problem.rule.without_momentum)
        assert not agrees(mean_z(runs, y + predicted(plain)["shift"].values / N))
    variance = np.diagonal(theory["covariance"].values, axis1=1, axis2=2) / N
    difference = np.log(runs.var(axis=0, ddof=1) / variance)
    error = (stats.kurtosis(runs, axis=0, fisher=False) - 1) / len(runs)
    z = difference / np.sqrt(error)
    record_check(f"variance of runs at N = 400 with {rule}: largest |z|", "linear noise", np.abs(z).max(), LARGEST_Z)
    assert agrees(z), f"max |z| = {np.abs(z).max():.2f}, rms z = {np.sqrt(np.mean(z**2)):.2f}"
    assert not agrees((difference + np.log(1.2)) / np.sqrt(error))
