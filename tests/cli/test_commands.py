"""The command line, every subcommand on a temporary folder, good and bad input."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest
from small_problem import PROBLEM

import teacher_student as ts
from teacher_student import cli
from teacher_student.cli import main_job


def names(folder: Path) -> set[str]:
    """Return what is in the folder beside the problem; no temporary file may stay."""
    return {path.name for path in folder.iterdir()} - {"small.toml"}


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "all-factors",
        "both-layers",
        "li-huang-2023",
        "saad-solla-1995",
        "staircase",
    ]


def test_presets_print_one_that_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets", "staircase"]) == 0
    (folder / "small.toml").write_text(capsys.readouterr().out)
    assert ts.load_problem("small.toml") == ts.load_problem("staircase")
    assert cli.main(["presets", "stairs"]) == 2
    assert capsys.readouterr().err.startswith("teacher-student: preset: got 'stairs', expected one of all-factors, ")
    assert cli.main(["deep", "presets", "digits"]) == 0
    assert 'name = "digits"' in capsys.readouterr().out
    assert cli.main(["deep", "presets", "staircase"]) == 2


def test_fields_and_the_last_time_are_replaced(folder: Path) -> None:
    changes = ["--set", "rule.eta_xi_in=0.3", "--set", "rule.activation=relu", "--alpha", "2"]
    assert cli.main(["ode", "small.toml", "-o", "t.nc", *changes]) == 0
    stored = ts.load_problem("small.toml", {"rule.eta_xi_in": 0.3, "rule.activation": "relu"})
    expected = ts.integrate(stored, [*stored.alpha[stored.alpha < 2.0], 2.0])
    assert ts.load_trajectory("t.nc").equals(expected)
    same = ["--n-inputs", "4e1", "--method", "overlaps"]
    assert cli.main(["simulate", "small.toml", "-o", "a.nc", "--alpha", "1", *same]) == 0
    in_file = ["--set", "run.n_inputs=4e1", "--method", "overlaps"]
    assert cli.main(["simulate", "small.toml", "-o", "b.nc", "--alpha", "1", *in_file]) == 0
    a, b = (ts.load_trajectory(name) for name in ("a.nc", "b.nc"))
    assert a.attrs["n_inputs"] == b.attrs["n_inputs"] == 40
    assert a.equals(b)


def test_ode_writes_the_trajectory_that_integrate_returns(folder: Path) -> None:
    assert cli.main(["ode", "small.toml", "-o", "t.nc"]) == 0
    stored = ts.load_trajectory("t.nc")
    expected = ts.integrate(ts.load_problem("small.toml"))
    np.testing.assert_array_equal(stored["Q"].values, expected["Q"].values)
    assert names(folder) == {"t.nc"}


@pytest.mark.parametrize("method", ["weights", "overlaps"])
def test_simulate_takes_its_options(folder: Path, method: str) -> None:
    arguments = ["simulate", "small.toml", "--method", method, "--n-inputs", "40", "--replicas", "3", "--seed", "7"]
    assert cli.main(arguments) == 0
    stored = ts.load_trajectory("small-simulation.nc")
    expected = ts.simulate(ts.load_problem("small.toml"), n_inputs=40, replicas=3, seed=7, method=method)
    np.testing.assert_array_equal(stored["eps_g"].values, expected["eps_g"].values)
    assert stored.attrs["method"] == method


def test_compare_writes_its_files_and_verdict_and_plot_draws_two_of_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "small.toml", "-o", "out", "--n-inputs", "400", "--replicas", "32"]) == 0
    assert "theory and simulation: agrees; the two simulations agree" in capsys.readouterr().out
    written = {"theory.nc", "simulation.nc", "simulation-weights.nc", "comparison.png", "report.md"}
    assert names(folder / "out") == written
    stored = {name: ts.load_trajectory(f"out/{name}.nc") for name in ("simulation", "simulation-weights")}
    assert [(x.attrs["method"], x.sizes["replica"]) for x in stored.values()] == [("overlaps", 32), ("weights", 4)]
    report = (folder / "out" / "report.md").read_text()
    assert "**agrees**" in report
    assert "| R_modes |" in report
    ran = tomllib.loads(report.split("```toml")[1].split("```")[0])["run"]
    times = stored["simulation"]["alpha"].values.tolist()
    assert ran == {"alpha": times, "n_inputs": 400, "replicas": 32, "seed": 0}  # of the run, and not of the file
    assert cli.main(["plot", "out/theory.nc", "out/simulation.nc"]) == 0
    assert {"theory.png", "simulation.png"} <= names(folder / "out")


def test_plot_draws_several_files_in_one_figure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ode", "small.toml", "-o", "t.nc", "--fluctuations"]) == 0
    for name, method, rate in (("s", "overlaps", "0.5"), ("w", "weights", "0.5"), ("other", "overlaps", "0.4")):
        options = ["--method", method, "--set", f"rule.eta_xi_in={rate}"]
        assert cli.main(["simulate", "small.toml", "-o", f"{name}.nc", *options]) == 0
    for files, figure in ((["t.nc", "s.nc", "w.nc"], "a.pdf"), (["s.nc"], "b.svg"), (["t.nc"], "c.png")):
        assert cli.main(["plot", *files, "-o", figure]) == 0
    assert {"a.pdf", "b.svg", "c.png"} <= names(folder)
    capsys.readouterr()
    bad = {
        "output": (["t.nc"], "a.jpg"),
        "files": (["t.nc", "t.nc"], "d.png"),
        "files: got 'another rule.eta_xi_in'": (["t.nc", "other.nc"], "d.png"),
    }
    for field, (files, figure) in bad.items():
        assert cli.main(["plot", *files, "-o", figure]) == 2
        assert capsys.readouterr().err.startswith(f"teacher-student: {field}")
    assert "d.png" not in names(folder)


BAD_PROBLEMS = {
    "rule.eta": ("eta_xi_in = 0.5", "eta_xi_in = 0.5\neta = 1.0"),
    "rule.eta_xi_in": ("eta_xi_in = 0.5", "eta_xi_in = -0.5"),
    "rule.noise": ("eta_xi_in = 0.5", "eta_xi_in = 0.5\nnoise = nan"),
    "rule.momentum": ("eta_xi_in = 0.5", "eta_xi_in = 0.5\nmomentum = 1.2"),
    "rule.friction": ("eta_xi_in = 0.5", "eta_xi_in = 0.5\nmomentum = 0.5\nfriction = 1.0"),
    "velocity.Q_velocities": ("[rule]", "[velocity]\nv_velocity = [0.0, 0.0]\n[rule]\nfriction = 1.0"),
    "initial.Q": ("Q = [[0.2, 0.0], [0.0, 0.3]]", "Q = [[0.2], [0.3]]"),
    "initial.R": ("R = [[0.1, 0.0]", "R = [[0.9, 0.0]"),
    "initial.T[0, 1]": ("T = [[1.0, 0.0]", "T = [[1.0, 0.5]"),
    "n_inputs": ("n_inputs = 60", "n_inputs = 3"),
    "alpha[1]": ("alpha = { first = 0.1, last = 5.0, points = 8 }", "alpha = [2.0, 1.0]"),
    "replicas": ("replicas = 4", 'replicas = "four"'),
    "run.alpha.points": ("points = 8", "points = 0"),
}


@pytest.mark.parametrize("field", BAD_PROBLEMS)
def test_a_bad_problem_is_refused_in_one_line_before_anything_is_written(
    folder: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = BAD_PROBLEMS[field]
    assert good in PROBLEM
    (folder / "small.toml").write_text(PROBLEM.replace(good, bad))
    assert cli.main(["compare", "small.toml", "-o", "out"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"teacher-student: small.toml: {field}: got ")
    assert message.count("\n") == 1
    assert names(folder) == set()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["ode", "no-such-problem"], "problem"),
        (["ode", "small.toml", "-o", "small.toml/t.nc"], "output"),
        (["ode", "small.toml", "-o", "."], "output"),
        (["compare", "small.toml", "-o", "small.toml"], "output"),
        (["compare", "small.toml", "--n-inputs", "3"], "n_inputs"),
        (["compare", "small.toml", "--n-inputs", "ten"], "n_inputs"),
        (["compare", "small.toml", "--n-inputs", "100,200"], "n_inputs"),
        (["compare", "small.toml", "--n-inputs", "100,200,200"], "n_inputs"),
        (["compare", "small.toml", "--n-inputs", "100,200,3"], "n_inputs"),
        (["compare", "small.toml", "--n-inputs", "100,200,400", "--method", "weights"], "method"),
        (["compare", "small.toml", "--alpha", "-1"], "alpha"),
        (["compare", "small.toml", "--alpha", "nan"], "alpha"),
        (["compare", "small.toml", "--replicas", "0"], "replicas"),
        (["simulate", "small.toml", "--seed", "-1"], "seed"),
        (["simulate", "small.toml", "--n-inputs", "ten"], "n_inputs"),
        (["simulate", "small.toml", "--n-inputs", "40,50,60"], "n_inputs"),
        (["ode", "small.toml", "--alpha", "-1"], "alpha"),
        (["ode", "small.toml", "--set", "rule.noise"], "set"),
        (["ode", "small.toml", "--set", "rule.eta=1"], "small.toml: rule.eta"),
        (["compare", "small.toml", "--set", "rule.noise=-1"], "small.toml: rule.noise"),
        (["deep", "train", "--set", "model.modes=1"], "digits: model.modes"),
        (["simulate", "small.toml", "--n-inputs", str(10**15)], "n_inputs"),  # more than the memory of any machine
        (["simulate", "small.toml", "--replicas", str(10**12), "--method", "overlaps"], "replicas"),
        (["compare", "small.toml", "--n-inputs", str(10**15)], "n_inputs"),
        (["compare", "small.toml", "--replicas", str(10**12)], "replicas"),
        (["plot", "small.toml"], "file"),
        (["plot", "missing.nc"], "file"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    folder: Path, arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"teacher-student: {field}: got ")
    assert message.count("\n") == 1
    assert names(folder) == set()


def test_a_friction_above_n_is_refused_before_the_theory_is_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "small.toml").write_text(PROBLEM.replace("eta_xi_in = 0.5", "eta_xi_in = 0.5\nfriction = 61.0"))
    assert cli.main(["compare", "small.toml", "-o", "out"]) == 2
    assert capsys.readouterr().err.startswith("teacher-student: friction: got 61.0, expected at most N = 60")
    assert names(folder) == set()


def test_compare_says_by_its_status_that_theory_and_simulation_differ(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = main_job.run_theory

    def theory_of_another_rate(problem: ts.Problem, *arguments: object, **options: object) -> object:
        rule = dataclasses.replace(problem.rule, eta_xi_in=1.05 * problem.rule.eta_xi_in)
        return right(dataclasses.replace(problem, rule=rule), *arguments, **options)

    monkeypatch.setattr(main_job, "run_theory", theory_of_another_rate)
    arguments = ["compare", "small.toml", "-o", "out", "--n-inputs", "1000", "--replicas", "64", "--method", "overlaps"]
    assert cli.main(arguments) == 1
    report = (folder / "out" / "report.md").read_text()
    assert "**differs (model or code)**" in report
    # What the simulation says its rate is, from a theory that has 5 % more.
    (row,) = [line for line in report.splitlines() if line.startswith("| eta_xi_in | 0.525 |")]
    estimate, error = (float(number) for number in row.split("|")[3].split("+-"))
    assert abs(estimate - 0.5) < 4 * error < 0.02


def test_compare_at_several_n_fits_their_scaling(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "small.toml", "-o", "out", "--n-inputs", "50,100,200", "--replicas", "40", "--alpha", "1"]) == 0
    assert names(folder / "out") == {"simulation-50.nc", "simulation-100.nc", "simulation-200.nc", "scaling.png", "report.md"}
    assert ts.load_trajectory("out/simulation-50.nc")["alpha"].values[-1] == 1.0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("spread: N^(-0.")
    assert lines[-1].startswith("deviation of the mean: N^(-")
    report = (folder / "out" / "report.md").read_text()
    assert lines[-3].split(": ")[1] in ("falls with N as predicted", "not decided")
    assert f"**{lines[-3].split(': ')[1]}**" in report
    assert "--n-inputs 50,100,200" in report
    assert "| spread | N^(-0.5) | N^(-0." in report
    assert "| deviation | N^(-1) | N^(" in report


def test_an_argument_of_the_wrong_type_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", "--replicas", "ten"])
    assert capsys.readouterr().err == "teacher-student compare: argument --replicas: invalid int value: 'ten'\n"


def test_divergence_is_reported_with_its_time_and_keeps_what_came_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PROBLEM.replace("eta_xi_in = 0.5", "eta_xi_in = 50.0").replace("last = 5.0", "last = 2000.0")
    (folder / "small.toml").write_text(text.replace("n_inputs = 60", "n_inputs = 20"))
    assert cli.main(["ode", "small.toml", "-o", "t.nc"]) == 3
    assert "diverged at alpha = " in capsys.readouterr().err
    kept = ts.load_trajectory("t.nc")
    assert kept.attrs["status"].startswith("diverged at alpha = ")
    assert 1 < kept.sizes["alpha"] < 9
    assert np.isfinite(kept["Q"].values).all()
    assert cli.main(["compare", "small.toml", "-o", "out"]) == 3
    assert ts.load_trajectory("out/simulation.nc").attrs["status"].startswith("diverged at alpha = ")


def test_an_interrupted_simulation_is_kept_and_marked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from teacher_student.sgd import replicas

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replicas, "tqdm", type("Bar", (replicas.tqdm,), {"update": interrupt}))
    assert cli.main(["simulate", "small.toml", "-o", "s.nc"]) == 130
    kept = ts.load_trajectory("s.nc")
    assert kept.attrs["status"] == "interrupted"
    assert 1 <= kept.sizes["alpha"] < 9
