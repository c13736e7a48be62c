"""Stages of eps_g: known curves, grids, noise, and theory against simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.optimize
import scipy.stats
import xarray as xr

import teacher_student as ts
from teacher_student import cli
from teacher_student.analysis.stages import Stage, table
from teacher_student.trajectory import resolved_eps_g

ALPHA = np.geomspace(0.01, 1e4, 121)
EDGES = np.log([0.1, 1.0, 100.0, 300.0])
EXPONENTS = np.array([-0.1, -1.5, -0.2, -3.0, 0.0])
WIDTH = 0.2


def as_trajectory(alpha: np.ndarray, eps_g: np.ndarray) -> xr.Dataset:
    dims = ("replica", "alpha") if eps_g.ndim == 2 else ("alpha",)
    data = {"eps_g": (dims, eps_g), "v_teacher": ("teacher", np.ones(2)), "T": (("teacher", "teacher_"), np.eye(2))}
    return xr.Dataset(data, coords={"alpha": alpha})


def local_exponent(x: float) -> float:
    """Return a slope that goes through EXPONENTS at EDGES, each change of the form of a tanh."""
    return float(EXPONENTS[0] + np.sum(np.diff(EXPONENTS) * 0.5 * (1 + np.tanh((x - EDGES) / WIDTH))))


def staircase(alpha: np.ndarray) -> np.ndarray:
    """Return exp of the integral of `local_exponent` over ln alpha."""
    distance = (np.log(alpha)[:, np.newaxis] - EDGES) / WIDTH
    y = EXPONENTS[0] * np.log(alpha) + (distance + np.logaddexp(distance, -distance)) @ np.diff(EXPONENTS) * 0.5 * WIDTH
    return np.asarray(np.exp(y))


def kinds(found: tuple[Stage, ...]) -> list[str]:
    return [stage.kind for stage in found]


def test_a_curve_with_known_stages() -> None:
    found = ts.stages(as_trajectory(ALPHA, staircase(ALPHA)))
    assert kinds(found) == ["plateau", "fall", "plateau", "fall", "plateau"]
    edges = [
        scipy.optimize.brentq(lambda x: local_exponent(x) + 2 / 3, edge - 3 * WIDTH, edge + 3 * WIDTH, xtol=1e-12)
        for edge in EDGES
    ]
    limits = np.array([np.log(ALPHA[0]), *edges, np.log(ALPHA[-1])])
    np.testing.assert_allclose(np.log([stage.alpha_start for stage in found]), limits[:-1], atol=0.005)
    np.testing.assert_allclose(np.log([stage.alpha_end for stage in found]), limits[1:], atol=0.005)
    for stage, start, end in zip(found, limits[:-1], limits[1:], strict=True):
        change = scipy.integrate.quad(local_exponent, start, end, epsabs=1e-10)[0]
        level = scipy.integrate.quad(lambda x: np.log(staircase(np.exp([x]))[0]), start, end, epsabs=1e-10)[0] / (end - start)
        assert stage.exponent == pytest.approx(change / (end - start), abs=0.01)
        assert np.log(stage.level) == pytest.approx(level, abs=0.005)
    assert [stage.open_start for stage in found] == [True, False, False, False, False]
    assert [stage.open_end for stage in found] == [False, False, False, False, True]
    assert all(np.isnan(stage.level_error) for stage in found)


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(-1.0, ["fall"]), (-3.0, ["fall"]), (0.0, ["plateau"]), (-0.5, ["plateau"]), (1.0, ["rise"])],
)
def test_a_power_law_is_one_stage(exponent: float, expected: list[str]) -> None:
    found = ts.stages(as_trajectory(ALPHA, 0.1 * ALPHA**exponent))
    assert kinds(found) == expected
    assert found[0].exponent == pytest.approx(exponent, abs=1e-9)
    assert found[0].open_start
    assert found[0].open_end


def test_what_is_too_short_or_too_shallow_joins_its_neighbours() -> None:
    x = np.log(ALPHA)
    wiggle = as_trajectory(ALPHA, np.exp(-0.1 * x + 0.15 * np.tanh((x - 1.0) / 0.1)))
    assert kinds(ts.stages(wiggle)) == ["plateau"]
    assert kinds(ts.stages(wiggle, shortest=0.02)) == ["plateau", "rise", "plateau"]
    ledge = as_trajectory(ALPHA, np.exp(-2.0 * x + 0.3 * np.tanh((x - 1.0) / 0.15)))
    assert kinds(ts.stages(ledge)) == ["fall"]
    assert kinds(ts.stages(ledge, shortest=0.05)) == ["fall", "plateau", "fall"]


def test_a_minimum_between_fall_and_rise_on_a_coarse_grid() -> None:
    found = ts.stages(as_trajectory(ALPHA, ALPHA**-2.0 + 1e-4 * ALPHA**2.0), shortest=0.5)
    assert kinds(found) == ["fall", "rise"]
    # slope = 2 (u - 1) / (u + 1), u = 1e-4 alpha^4; the short flat stretch between joins one of the two.
    assert 10.0 / 2 ** (1 / 4) * 0.97 < found[0].alpha_end < 10.0 * 2 ** (1 / 4) * 1.03


def test_no_stage_lies_between_output_times_alone() -> None:
    """A curve that never rises, at so few times that the interpolation through them does."""
    alpha = np.geomspace(0.01, 1e4, 9)
    logarithm = -0.02 * np.log(alpha) - 8.0 * np.maximum(np.log(alpha / 10.0), 0.0)
    overshooting = scipy.interpolate.CubicSpline(np.log(alpha), logarithm)(np.log(ALPHA))
    assert kinds(ts.stages(as_trajectory(ALPHA, np.exp(overshooting)))) == ["plateau", "rise", "fall"]
    assert kinds(ts.stages(as_trajectory(alpha, np.exp(logarithm)))) == ["plateau", "fall"]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("saad-solla-1995", ["plateau", "fall", "plateau", "fall"]),
        ("staircase", ["plateau", "fall", "plateau", "fall", "plateau", "fall"]),
        ("li-huang-2023", ["plateau", "fall", "plateau", "fall", "plateau"]),
    ],
)
def test_theory_gives_the_same_stages_on_any_grid(preset: str, expected: list[str], record_check: Callable[..., None]) -> None:
    problem = ts.load_problem(preset)
    first, last = problem.alpha[1], problem.alpha[-1]
    decades = np.log10(last / first)
    lists = []
    for per_decade in (10, 15, 60):
        times = np.geomspace(first, last, round(per_decade * decades) + 1)
        lists.append(ts.stages(ts.integrate(problem, times, progress=False)))
    of_edges, of_levels = [], []
    for found in lists:
        assert kinds(found) == expected
        for stage, reference in zip(found, lists[-1], strict=True):
            # Where eps_g reaches rounding is known to one output time; a stage it ends has neither a level nor an end of its own.
            if not reference.open_end:
                of_edges.append(abs(stage.alpha_end / reference.alpha_end - 1.0))
                of_levels.append(abs(stage.level / reference.level - 1.0))
                assert stage.exponent == pytest.approx(reference.exponent, abs=0.03)
    grids = "10 and 15 points a decade against 60"
    record_check("edges of stages on other output grids: relative difference", grids, max(of_edges), 0.03)
    record_check("levels of stages on other output grids: relative difference", grids, max(of_levels), 0.04)


def test_the_plateau_of_saad_and_solla_is_at_the_symmetric_fixed_point() -> None:
    # K = M = 3 at small rates: eps_g = (K / pi)(pi / 6 - K asin(1 / 2K)).
    initial = ts.plain_committee(
        Q=0.3 + 1e-5 * np.eye(3), R=0.1 + 1e-5 * np.eye(3), T=np.eye(3), v=np.ones(3), v_teacher=np.ones(3)
    )
    problem = ts.Problem(initial=initial, rule=ts.LearningRule(eta_xi_in=0.001))
    found = ts.stages(ts.integrate(problem, np.geomspace(1e3, 1e5, 41), progress=False))
    plateau = next(stage for stage in found if stage.kind == "plateau")
    assert plateau.level == pytest.approx(3 / np.pi * (np.pi / 6 - 3 * np.arcsin(1 / 6)), rel=0.02)


def noisy(seed: int, replicas: int = 16, deviation: float = 0.1) -> xr.Dataset:
    """Return replicas that scatter independently from time to time about the known curve."""
    rng = np.random.default_rng(seed)
    return as_trajectory(ALPHA, staircase(ALPHA) * np.exp(deviation * rng.standard_normal((replicas, len(ALPHA)))))


def test_noise_does_not_change_the_list_and_its_errors_are_right() -> None:
    lists = [ts.stages(noisy(seed), window=0.3) for seed in range(40)]
    assert all(kinds(found) == ["plateau", "fall", "plateau", "fall", "plateau"] for found in lists)
    for i, name in ((1, "level"), (2, "level"), (2, "exponent"), (2, "alpha_start"), (1, "exponent")):
        values = np.array([getattr(found[i], name) for found in lists])
        errors = np.array([getattr(found[i], name + "_error") for found in lists])
        # The standard deviation over 40 repetitions is itself known to 1 / sqrt(78) = 11 %; 4 of these.
        assert values.std(ddof=1) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.45)


def covered(replicas: int = 8, lists: int = 160) -> int:
    """Return how many noisy lists have the true edge in the 95 % interval, the slope taking decades through the threshold."""
    x = np.linspace(0.0, np.log(1e4), 121)
    centre, width = np.log(100.0), 3.0
    y = -0.75 * x - 0.45 * width * np.log(np.cosh((x - centre) / width))
    edge = centre + width * np.arctanh((2 / 3 - 0.75) / 0.45)
    count = 0
    for seed in range(lists):
        noise = 0.03 * np.random.default_rng(seed).standard_normal((replicas, len(x)))
        first, second = ts.stages(as_trajectory(np.exp(x), np.exp(y + noise)), window=0.2)
        assert (first.kind, second.kind) == ("plateau", "fall")
        error = first.alpha_end_error / first.alpha_end
        count += bool(abs(np.log(first.alpha_end) - edge) < scipy.stats.t.ppf(0.975, replicas - 1) * error)
    return count


def test_an_edge_the_slope_dwells_at_has_the_error_of_all_its_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = 160
    expected, spread = 0.95 * lists, np.sqrt(0.95 * 0.05 * lists)
    assert abs(covered(lists=lists) - expected) < 4 * spread
    # The jackknife alone sees how far one crossing moves, not that the noise of all chose among several.
    monkeypatch.setattr("teacher_student.analysis.stages.crossing_error", lambda x, s, error, at: 0.0)
    assert abs(covered(lists=lists) - expected) > 4 * spread


def test_the_window_follows_from_the_errors() -> None:
    # Noise of 30 % and 20 points a decade: slopes between neighbouring points mean nothing, and falls would be everywhere.
    found = ts.stages(noisy(1, deviation=0.3))
    assert kinds(found) == ["plateau", "fall", "plateau", "fall", "plateau"]
    single = as_trajectory(ALPHA, noisy(1, deviation=0.3)["eps_g"].values[0])
    assert len(ts.stages(single)) > 5
    one = as_trajectory(ALPHA, noisy(1, replicas=1)["eps_g"].values)
    assert table(ts.stages(one)) == table(ts.stages(one, window=0.2)) != table(ts.stages(one, window=0.0))


@pytest.fixture(scope="module")
def simulation() -> xr.Dataset:
    problem = ts.load_problem("saad-solla-1995")
    times = problem.alpha[(problem.alpha == 0) | (problem.alpha > 0.2)]
    return ts.simulate(problem, times, n_inputs=1000, replicas=12, seed=3, method="overlaps", progress=False)


def deviations(theory: tuple[Stage, ...], simulation: tuple[Stage, ...]) -> np.ndarray:
    z = []
    for expected, found in zip(theory, simulation, strict=True):
        for name in ("alpha_start", "alpha_end", "level", "exponent"):
            error = getattr(found, name + "_error")
            if error > 0:
                z.append((getattr(found, name) - getattr(expected, name)) / error)
    return np.array(z)


def test_theory_and_simulation_give_the_same_list_within_errors(
    simulation: xr.Dataset, record_check: Callable[..., None]
) -> None:
    problem, times = ts.load_problem("saad-solla-1995"), simulation["alpha"].values
    # The last fall goes down to where the data end, and its level depends on it: both are cut at a level that no replica is near.
    least = 4e-8
    curve = ts.integrate(problem, times, progress=False)
    last = int(np.argmax(curve["eps_g"].values <= least)) - 1
    for eps_g in (curve["eps_g"].values, *simulation["eps_g"].values):
        assert eps_g[last] > 2 * least > 4 * eps_g[last + 1]
    assert least > 2 * resolved_eps_g(curve)
    found, theory = ts.stages(simulation, least=least), ts.stages(curve, least=least)
    assert found[-1].alpha_end == theory[-1].alpha_end == pytest.approx(times[last])
    assert kinds(found) == kinds(theory)
    z = deviations(theory, found)
    assert len(z) == 14
    # Student's t with 11 degrees of freedom, 14 correlated numbers: beyond 4.5 with probability of at most 1.3 %.
    record_check("edges, levels and exponents of stages: largest |z|", "runs of the chain", np.abs(z).max(), 4.5)
    faster = dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, eta_xi_in=0.55))
    wrong = ts.stages(ts.integrate(faster, times, progress=False), least=least)
    assert np.abs(deviations(wrong, found)).max() > 4.5
    # Cut where each is resolved, which is not at one level, the lists differ by more than their errors.
    assert np.abs(deviations(ts.stages(curve), ts.stages(simulation))).max() > 4.5


def test_the_command_prints_the_table(simulation: xr.Dataset, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    ts.save_trajectory(simulation, tmp_path / "run.nc")
    assert cli.main(["stages", str(tmp_path / "run.nc")]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == table(ts.stages(simulation))
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "plateau", "fall", "plateau", "fall"]
    assert "<" in lines[1]
    assert ">" in lines[-1]
    assert lines[3].count("+-") == 4
    assert cli.main(["stages", str(tmp_path / "run.nc"), "--least", "1e-3"]) == 0
    cut = capsys.readouterr().out
    assert cut.rstrip("\n") == table(ts.stages(simulation, least=1e-3)) != printed.rstrip("\n")
    assert cli.main(["stages", str(tmp_path / "run.nc"), "--least", "-1"]) == 2
    assert "least: got -1.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting", [{"slope": 0.0}, {"slope": np.nan}, {"shortest": -1.0}, {"window": -0.1}, {"slope": "a"}, {"least": 0.0}]
)
def test_impossible_settings_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ts.InvalidInput, match=next(iter(setting))):
        ts.stages(as_trajectory(ALPHA, staircase(ALPHA)), **setting)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    curve = as_trajectory(ALPHA, staircase(ALPHA))
    settings = {"slope": np.float32(0.75), "shortest": np.float64(0.25), "window": np.int64(0), "least": np.float32(2**-20)}
    assert table(ts.stages(curve, **settings)) == table(ts.stages(curve, slope=0.75, shortest=0.25, window=0, least=2**-20))


def test_times_without_a_number_are_left_out() -> None:
    """A point of a sweep that diverged is NaN from there on, also if only one replica did."""
    eps_g = np.array([staircase(ALPHA), 1.01 * staircase(ALPHA), 0.99 * staircase(ALPHA)])
    expected = ts.stages(as_trajectory(ALPHA[:60], eps_g[:, :60]), window=0.1)
    eps_g[1, 60:] = np.nan
    assert ts.stages(as_trajectory(ALPHA, eps_g), window=0.1) == expected
    eps_g[0, 30] = np.inf
    assert kinds(ts.stages(as_trajectory(ALPHA, eps_g), window=0.1)) == kinds(expected)


def test_a_trajectory_without_enough_times_is_refused() -> None:
    with pytest.raises(ts.InvalidInput, match=r"0 time\(s\) above 0 with a finite eps_g"):
        ts.stages(as_trajectory(ALPHA, np.full_like(ALPHA, np.nan)))
    with pytest.raises(ts.InvalidInput, match="trajectory"):
        ts.stages(as_trajectory(ALPHA[:3], ALPHA[:3]))
    with pytest.raises(ts.InvalidInput, match="trajectory"):
        ts.stages(as_trajectory(ALPHA, np.zeros_like(ALPHA)))
