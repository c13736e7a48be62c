"""Predicted mean and spread of runs at finite N against the exact chain, and against formulas where there are any.

z is a deviation in units of its estimated standard error. The largest |z| of a test must stay below 5, and the root mean square
of all together lie between 0.3 and 1.7: wide, because order parameters and times are strongly correlated. A deliberate mistake
must break the same criterion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.errors import InvalidInput
from teacher_student.theory.coordinates import coordinates_of
from teacher_student.theory.noise.predictions import NORMALIZED_OVERLAPS, moving_coordinates, predict

TIMES = np.array([0.4, 1.2, 3.0])
LARGEST_Z = 5.0
RMS_Z = (0.3, 1.7)
REPLICAS = 1500
# So many runs that the shift 1 / N is many standard errors, at an N where terms 1 / N^2 are below one: at N = 100 with 4,000 runs
# the mean of the cosines was five off.
SMALL_N, SMALL_N_REPLICAS = 800, 32000


def believable(z: np.ndarray) -> bool:
    return bool(np.abs(z).max() < LARGEST_Z)


def rms(z: np.ndarray) -> float:
    return float(np.sqrt(np.mean(z**2)))


def run(problem: ts.Problem, n_inputs: int, replicas: int, seed: int) -> xr.Dataset:
    runs = ts.simulate(problem, TIMES, n_inputs=n_inputs, replicas=replicas, seed=seed, method="overlaps", progress=False)
    norms = np.sqrt(runs["Q"].values.diagonal(axis1=2, axis2=3)[..., np.newaxis] * problem.initial.T.diagonal())
    runs[NORMALIZED_OVERLAPS] = (("replica", "alpha", "student", "teacher"), runs["R"].values / norms)
    return runs


@pytest.fixture(scope="module")
def problem(make_problem: Callable[..., ts.Problem]) -> ts.Problem:
    return make_problem(2, 2, 2, batch_size=1, noise=0.6)


@pytest.fixture(scope="module")
def theory(problem: ts.Problem) -> xr.Dataset:
    return ts.integrate(problem, TIMES, fluctuations=True, progress=False)


@pytest.fixture(scope="module")
def runs(problem: ts.Problem) -> xr.Dataset:
    return run(problem, 500, REPLICAS, seed=1)


@pytest.fixture(scope="module")
def fast_problem(make_problem: Callable[..., ts.Problem]) -> ts.Problem:
    """Return a problem of rates so high that the 1/N shift of the mean is many standard errors."""
    rates = {"eta_xi_in": 2.0, "eta_sigma": 2.0, "eta_xi_out": 2.0, "eta_v": 3.0}
    return make_problem(2, 2, 2, batch_size=1, noise=0.5, **rates)


@pytest.fixture(scope="module")
def fast_theory(fast_problem: ts.Problem) -> xr.Dataset:
    return ts.integrate(fast_problem, TIMES, fluctuations=True, progress=False)


@pytest.fixture(scope="module")
def small_runs(fast_problem: ts.Problem) -> xr.Dataset:
    return run(fast_problem, SMALL_N, SMALL_N_REPLICAS, seed=2)


def spread_z(name: str, prediction: xr.Dataset, runs: xr.Dataset) -> np.ndarray:
    """Return z of the log-variances over runs; var(log s^2) = (kurtosis - 1) / replicas."""
    deviation = (runs[name] - runs[name].mean("replica")).values
    variance = np.mean(deviation**2, axis=0) * REPLICAS / (REPLICAS - 1)
    kurtosis = np.mean(deviation**4, axis=0) / np.mean(deviation**2, axis=0) ** 2
    predicted = prediction[name].sel(moment="spread").values ** 2
    return (np.log(variance / predicted) / np.sqrt((kurtosis - 1.0) / REPLICAS)).ravel()


def mean_z(name: str, mean: np.ndarray, runs: xr.Dataset) -> np.ndarray:
    error = runs[name].std("replica", ddof=1).values / np.sqrt(runs.sizes["replica"])
    return ((runs[name].mean("replica").values - mean) / error).ravel()


OBSERVABLES = ("eps_g", "Q", "R", NORMALIZED_OVERLAPS, "Q_modes", "R_modes", "sigma", "xi_out", "v")


def test_predicted_spread_is_that_of_runs(theory: xr.Dataset, runs: xr.Dataset) -> None:
    z = {name: spread_z(name, predict(theory, 500), runs) for name in OBSERVABLES}
    assert all(believable(values) for values in z.values()), {name: np.abs(values).max() for name, values in z.items()}
    assert RMS_Z[0] < rms(np.concatenate(list(z.values()))) < RMS_Z[1]


@pytest.mark.parametrize("name", OBSERVABLES)
def test_the_spread_at_another_n_is_not_that_of_these_runs(theory: xr.Dataset, runs: xr.Dataset, name: str) -> None:
    """An N 40 % off shows already; 1 / N for 1 / sqrt(N) is a spread 22 times too small."""
    for n_inputs in (350, 700, 500**2):
        assert not believable(spread_z(name, predict(theory, n_inputs), runs))


def test_the_spread_without_the_labels_noise_is_not_that_of_these_runs(problem: ts.Problem, runs: xr.Dataset) -> None:
    clean = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, noise=0.0))
    prediction = predict(ts.integrate(clean, TIMES, fluctuations=True, progress=False), 500)
    for name in OBSERVABLES:
        assert not believable(spread_z(name, prediction, runs)), name


def test_predicted_mean_is_that_of_runs(fast_theory: xr.Dataset, small_runs: xr.Dataset) -> None:
    mean = predict(fast_theory, SMALL_N).sel(moment="mean")
    z = {name: mean_z(name, mean[name].values, small_runs) for name in OBSERVABLES}
    assert all(believable(values) for values in z.values()), {name: np.abs(values).max() for name, values in z.items()}
    assert RMS_Z[0] < rms(np.concatenate(list(z.values()))) < RMS_Z[1]


@pytest.mark.parametrize("name", OBSERVABLES)
def test_without_the_shift_the_mean_is_not_that_of_runs(fast_theory: xr.Dataset, small_runs: xr.Dataset, name: str) -> None:
    limit = predict(fast_theory, 10**9).sel(moment="mean")
    assert not believable(mean_z(name, limit[name].values, small_runs))


@pytest.mark.parametrize("name", ["eps_g", "Q", "R", NORMALIZED_OVERLAPS])
def test_the_mean_needs_the_curvature(fast_theory: xr.Dataset, small_runs: xr.Dataset, name: str) -> None:
    flat = predict(fast_theory.assign(covariance=0.0 * fast_theory["covariance"]), SMALL_N).sel(moment="mean")
    assert not believable(mean_z(name, flat[name].values, small_runs))


def test_coordinates_themselves_have_the_spread_and_shift_of_the_linear_noise(problem: ts.Problem, theory: xr.Dataset) -> None:
    N = 321
    prediction = predict(theory, N)
    coordinates = coordinates_of(problem.initial, problem.rule)
    variance = np.diagonal(theory["covariance"].values, axis1=1, axis2=2)
    spread = moving_coordinates(prediction.sel(moment="spread"), coordinates)
    np.testing.assert_allclose(spread, np.sqrt(variance / N), rtol=1e-8)
    mean = moving_coordinates(prediction.sel(moment="mean"), coordinates)
    np.testing.assert_allclose(mean, moving_coordinates(theory, coordinates) + theory["shift"].values / N, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(prediction["Q_modes"], np.swapaxes(prediction["Q_modes"].values, -1, -2))


def test_a_single_unit_has_the_moments_of_its_formula() -> None:
    """K = M = 1: R / sqrt(QT) differentiated by hand, twice."""
    initial = ts.plain_committee(Q=[[0.5]], R=[[0.3]], T=[[1.7]], v=[1.0], v_teacher=[1.0])
    problem = ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=0.8, noise=0.3))
    theory = ts.integrate(problem, [0.7, 2.0], fluctuations=True, progress=False)
    assert theory["coordinate"].values.tolist() == ["Q_modes[0,0]", "R_modes[0,0]"]
    N, Q, R, T = 400, theory["Q"].values.ravel(), theory["R"].values.ravel(), 1.7
    V, m = theory["covariance"].values, theory["shift"].values
    gradient = np.array([-R / (2 * Q**1.5 * np.sqrt(T)), 1 / np.sqrt(Q * T)])
    mixed = -1 / (2 * Q**1.5 * np.sqrt(T))
    curvature = 0.75 * R / (Q**2.5 * np.sqrt(T)) * V[:, 0, 0] / 2 + mixed * V[:, 0, 1]
    prediction = predict(theory, N)[NORMALIZED_OVERLAPS].values[:, :, 0, 0]
    np.testing.assert_allclose(
        prediction[0], R / np.sqrt(Q * T) + (np.einsum("ia,ai->a", gradient, m) + curvature) / N, rtol=1e-7
    )
    np.testing.assert_allclose(prediction[1], np.sqrt(np.einsum("ia,aij,ja->a", gradient, V, gradient) / N), rtol=1e-7)


def test_frozen_factors_have_no_spread_and_keep_their_values(make_problem: Callable[..., ts.Problem]) -> None:
    problem = make_problem(2, 2, 1, eta_sigma=0.0, eta_xi_out=0.0)
    prediction = predict(ts.integrate(problem, [0.0, 1.0], fluctuations=True, progress=False), 100)
    for name in ("sigma", "xi_out"):
        assert (prediction[name].sel(moment="spread") == 0.0).all()
        for t in (0, 1):
            np.testing.assert_array_equal(prediction[name].sel(moment="mean")[t], getattr(problem.initial, name))
    late = prediction.sel(moment="spread").isel(alpha=1)
    assert all((late[name] > 0.0).all() for name in ("Q_modes", "R_modes", "v", "Q", "R", NORMALIZED_OVERLAPS, "eps_g"))
    assert all((prediction[name].sel(moment="spread").isel(alpha=0) == 0.0).all() for name in prediction.data_vars)


def test_what_cannot_be_predicted_is_refused(problem: ts.Problem, theory: xr.Dataset) -> None:
    with pytest.raises(InvalidInput, match="fluctuations=True"):
        predict(ts.integrate(problem, TIMES, progress=False), 100)
    with pytest.raises(InvalidInput, match="theory"):
        predict(None, 100)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="n_inputs"):
        predict(theory, 3)
    assert predict(theory, 4).attrs["n_inputs"] == 4


def covariance_z(V: np.ndarray, theory: xr.Dataset, runs: xr.Dataset, problem: ts.Problem) -> np.ndarray:
    """Return z of all entries (upper triangle) of the covariance of runs times N from `V`, at all times."""
    y = moving_coordinates(runs, coordinates_of(problem.initial, problem.rule)) * np.sqrt(runs.attrs["n_inputs"])
    scale = np.sqrt(np.diagonal(theory["covariance"].values, axis1=1, axis2=2))
    centred = (y - y.mean(axis=0)) / scale
    predicted = V / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :])
    products = centred[..., :, np.newaxis] * centred[..., np.newaxis, :]
    n = len(y)
    z = (products.sum(axis=0) / (n - 1) - predicted) / (products.std(axis=0, ddof=1) / np.sqrt(n))
    rows, columns = np.triu_indices(V.shape[1])
    return z[:, rows, columns]


@pytest.mark.parametrize(("n_inputs", "replicas"), [(500, REPLICAS), (5000, 800)])
def test_the_whole_covariance_is_that_of_runs(
    problem: ts.Problem, theory: xr.Dataset, runs: xr.Dataset, n_inputs: int, replicas: int
) -> None:
    measured = runs if n_inputs == 500 else run(problem, n_inputs, replicas, seed=3)
    V = theory["covariance"].values
    z = covariance_z(V, theory, measured, problem)
    assert z.shape == (3, 15 * 16 // 2)
    assert believable(z), f"max |z| = {np.abs(z).max():.2f}"
    assert RMS_Z[0] < rms(z) < RMS_Z[1]
    variances_alone = V * np.eye(V.shape[1])
    assert not believable(covariance_z(variances_alone, theory, measured, problem))
    assert not believable(covariance_z(1.4 * V, theory, measured, problem))


def test_a_prediction_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    theory = ts.integrate(ts.load_problem("all-factors"), [0.0, 0.5, 1.0], fluctuations=True, progress=False)
    prediction = ts.predict(theory, 200)
    prediction.to_netcdf(tmp_path / "prediction.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "prediction.nc", engine="h5netcdf") as loaded:
        xr.testing.assert_identical(loaded.load(), prediction)
