"""Designs: which points a sweep has, what varies at them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import teacher_student as ts
from teacher_student.sweeps.sweep_file import write_sweep

PROBLEM: dict[str, Any] = {
    "initial": {
        "kind": "plain",
        "Q": [[0.2, 0.0], [0.0, 0.3]],
        "R": [[0.05, 0.0], [0.0, 0.04]],
        "T": [[1.0, 0.0], [0.0, 1.0]],
        "v": [1.0, 1.0],
        "v_teacher": [1.0, 1.0],
    },
    "rule": {"eta_xi_in": 0.5},
    "run": {"alpha": 5.0, "n_inputs": 50, "replicas": 2},
}


def test_a_grid_has_all_combinations_and_its_last_field_varies_fastest() -> None:
    vary = {"rule": {"noise": {"linear": [0.0, 1.0, 3]}, "eta_xi_in": {"logarithmic": [0.1, 10.0, 3]}}}
    sweep = ts.Sweep(PROBLEM, {**vary, "rule.activation": ["erf", "relu"]})
    assert sweep.dimensions == {"rule.noise": 3, "rule.eta_xi_in": 3, "rule.activation": 2}
    points = [tuple(sweep.at(i).values()) for i in range(sweep.n_points)]
    assert points == [(x, y, g) for x in (0.0, 0.5, 1.0) for y in sweep.values["rule.eta_xi_in"] for g in ("erf", "relu")]
    np.testing.assert_allclose(sweep.values["rule.eta_xi_in"], [0.1, 1.0, 10.0], rtol=1e-15)
    rule = sweep.problem_at(9).rule
    assert (rule.noise, rule.eta_xi_in, rule.activation) == (*points[9][:2], "relu")


def test_fields_within_arrays_fields_tied_together_and_fixed_ones_reach_the_problem() -> None:
    vary = {"initial.Q.0.1, initial.Q.1.0": [0.01, 0.02], "initial.v": [[1.0, 2.0], [3.0, 4.0]]}
    sweep = ts.Sweep(PROBLEM, vary, fixed={"run": {"alpha": {"first": 1.0, "last": 2.0, "points": 3}}, "rule.noise": 0.3})
    assert sweep.dimensions == {"initial.Q.0.1": 2, "initial.v": 2}
    problem = sweep.problem_at(3)
    np.testing.assert_array_equal(problem.initial.Q_modes, [[0.2, 0.02], [0.02, 0.3]])
    np.testing.assert_array_equal(problem.initial.v, [3.0, 4.0])
    assert problem.rule.noise == 0.3
    assert problem.alpha.tolist() == pytest.approx([0.0, 1.0, np.sqrt(2.0), 2.0])
    # The problem that was given is left as it was.
    assert PROBLEM["initial"]["Q"] == [[0.2, 0.0], [0.0, 0.3]]
    np.testing.assert_array_equal(sweep.problem_at(0).initial.Q_modes[0, 1], 0.01)


def test_what_a_schedule_of_rates_is_made_of_can_vary() -> None:
    schedule = {"kind": "power-law", "start": 0.5, "exponent": 1.0, "alpha": 10.0}
    sweep = ts.Sweep(PROBLEM, {"rule.eta_xi_in.exponent": [0.5, 2.0]}, fixed={"rule": {"eta_xi_in": schedule}})
    assert sweep.problem_at(1).rule.eta_xi_in == ts.PowerLaw(start=0.5, exponent=2.0, alpha=10.0)


def test_a_preset_a_problem_and_its_tables_give_the_same_points(tmp_path: Path) -> None:
    vary = {"rule.noise": [0.0, 0.5]}
    problem = ts.load_problem("both-layers")
    (tmp_path / "p.toml").write_text(problem.to_toml())
    (tmp_path / "s.toml").write_text('problem = "p.toml"\n[vary]\nrule.noise = [0.0, 0.5]\n')
    problems = [
        ts.Sweep("both-layers", vary).problem_at(1).rule,
        ts.Sweep(problem, vary).problem_at(1).rule,
        ts.load_sweep(tmp_path / "s.toml").problem_at(1).rule,
    ]
    assert problems[0] == problems[1] == problems[2]
    assert problems[0].noise == 0.5


def test_every_point_has_a_seed_of_its_own_that_does_not_depend_on_the_others() -> None:
    few, more = (ts.Sweep(PROBLEM, {"rule.noise": np.linspace(0, 1, n)}, seed=7) for n in (10, 300))
    seeds = [more.seed_at(i) for i in range(300)]
    assert len(set(seeds)) == 300
    assert seeds[:10] == [few.seed_at(i) for i in range(10)]
    assert few.seed_at(0) != ts.Sweep(PROBLEM, {"rule.noise": [0.0]}, seed=8).seed_at(0)
    assert ts.Sweep(PROBLEM, {"run.seed": [5, 6]}).seed_at(1) == 6
    assert ts.Sweep(PROBLEM, {"run.n_inputs, run.seed": [50, 60]}).seed_at(1) == 60


@pytest.mark.parametrize("design", ["random", "sobol", "latin-hypercube"])
def test_random_designs_have_the_distributions_they_are_asked_for(design: str) -> None:
    """Kolmogorov-Smirnov at the 1e-4 level for 300 points; the wrong law must fail it."""
    vary = {
        "rule.eta_xi_in": {"uniform": [0.1, 2.0]},
        "rule.noise": {"log_uniform": [1e-3, 1.0]},
        "run.n_inputs": {"integers": [10, 12]},
        "rule.activation": {"choices": ["erf", "relu"]},
    }
    sweep = ts.Sweep(PROBLEM, vary, design=design, points=300, seed=1)
    assert sweep.dimensions == {"point": 300}
    rates, noises = (np.array(sweep.values[name]) for name in ("rule.eta_xi_in", "rule.noise"))
    uniform, log_uniform = scipy.stats.uniform(0.1, 1.9), scipy.stats.loguniform(1e-3, 1.0)
    assert scipy.stats.kstest(rates, uniform.cdf).pvalue > 1e-4
    assert scipy.stats.kstest(noises, log_uniform.cdf).pvalue > 1e-4
    assert scipy.stats.kstest(noises, scipy.stats.uniform(0.0, 1.0).cdf).pvalue < 1e-4
    # Counts of a third and a half of 300, within five standard deviations of independent draws.
    assert {n: abs(sweep.values["run.n_inputs"].count(n) - 100) < 41 for n in (10, 11, 12)} == dict.fromkeys((10, 11, 12), True)
    assert abs(sweep.values["rule.activation"].count("erf") - 150) < 44
    assert abs(np.corrcoef(rates, noises)[0, 1]) < 5 / np.sqrt(300)
    again = ts.Sweep(PROBLEM, vary, design=design, points=300, seed=1)
    assert again.values == sweep.values
    assert ts.Sweep(PROBLEM, vary, design=design, points=300, seed=2).values != sweep.values


def test_repeated_values_are_found_among_many_and_of_any_type() -> None:
    """In time that grows as their number: pairs of 200,000 would take minutes."""
    assert len(ts.Sweep(PROBLEM, {"rule.noise": {"linear": [0.0, 1.0, 200_000]}}).values["rule.noise"]) == 200_000
    for values in ([0.0, 1.0, 0.0], ["erf", "relu", "erf"], [[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]]):
        with pytest.raises(ts.InvalidInput, match=r"^vary\.rule\.noise\[2\]: got "):
            ts.Sweep(PROBLEM, {"rule.noise": values})


def test_text_of_a_sweep_gives_the_same_sweep(tmp_path: Path) -> None:
    vary = {"rule.noise": {"uniform": [0.1, 0.2]}, "rule.activation": {"choices": ["erf", "relu"]}}
    sweep = ts.Sweep(PROBLEM, vary, design="sobol", points=3, seed=2, simulation="weights", variables=["eps_g", "R"])
    (tmp_path / "s.toml").write_text(write_sweep(sweep))
    again = ts.load_sweep(tmp_path / "s.toml")
    assert write_sweep(again) == write_sweep(sweep)
    assert again.values == sweep.values
    assert again.variables == ("R", "eps_g")


GOOD = {"problem": PROBLEM, "vary": {"rule.noise": [0.1]}}
RANDOM = {"problem": PROBLEM, "design": "random", "points": 3}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("design", {**GOOD, "design": "cube"}),
    ("points", {**GOOD, "points": 3}),
    ("points", {**RANDOM, "points": 0, "vary": {"rule.noise": {"uniform": [0, 1]}}}),
    ("seed", {**GOOD, "seed": -1}),
    ("simulation", {**GOOD, "simulation": "chain"}),
    ("theory", {**GOOD, "theory": False}),
    ("theory", {**GOOD, "theory": 1}),
    ("variables", {**GOOD, "variables": ["Q", "q"]}),
    ("problem", {**GOOD, "problem": "no-such-problem"}),
    ("problem", {**GOOD, "problem": 3}),
    ("vary", {**GOOD, "vary": {}}),
    ("vary", {**GOOD, "vary": [1]}),
    ("vary.rule.noise", {**GOOD, "vary": {"rule.noise": 0.1}}),
    ("vary.rule.noise", {**GOOD, "vary": {"rule.noise": []}}),
    ("vary.rule.noise[1]", {**GOOD, "vary": {"rule.noise": [0.1, 0.1]}}),
    ("vary.rule.noise, rule.noise", {**GOOD, "vary": {"rule.noise, rule.noise": [0.1]}}),
    ("vary.rule.noise", {**GOOD, "vary": {"rule.noise": {"uniform": [0, 1]}}}),
    ("vary.rule.noise.linear", {**GOOD, "vary": {"rule.noise": {"linear": [0, 1]}}}),
    ("vary.rule.noise.linear[2]", {**GOOD, "vary": {"rule.noise": {"linear": [0, 1, 1]}}}),
    ("vary.rule.noise.linear[1]", {**GOOD, "vary": {"rule.noise": {"linear": [1, 0, 5]}}}),
    ("vary.rule.noise.logarithmic[0]", {**GOOD, "vary": {"rule.noise": {"logarithmic": [0, 1, 5]}}}),
    ("vary.rule.noise", {**RANDOM, "vary": {"rule.noise": [0.1]}}),
    ("vary.rule.noise.choices", {**RANDOM, "vary": {"rule.noise": {"choices": []}}}),
    ("vary.rule.noise.uniform[1]", {**RANDOM, "vary": {"rule.noise": {"uniform": [0, float("inf")]}}}),
    ("vary.run.replicas.integers[0]", {**RANDOM, "vary": {"run.replicas": {"integers": [0.5, 2]}}}),
    ("rule.noise.sigma", {**GOOD, "vary": {"rule.noise.sigma": [0.1]}, "fixed": {"rule.noise": 0.1}}),
    ("initial.v.7", {**GOOD, "vary": {"initial.v.7": [0.1]}}),
    ("rule.eta", {**GOOD, "vary": {"rule.eta": [0.1]}}),
    ("rule.noise", {**GOOD, "vary": {"rule.noise": [0.1, -0.1]}}),
    ("n_inputs", {**GOOD, "vary": {"run.n_inputs": [3]}}),
    ("R", {**GOOD, "vary": {"initial.R.0.0": [0.1, 0.9]}}),
    ("vary.initial.Q", {**GOOD, "vary": {"initial.Q.0.0": [0.2, 0.3], "initial.Q": [[[1.0, 0.0], [0.0, 1.0]]]}}),
    ("vary.rule.noise.linear[1]", {**GOOD, "vary": {"rule.noise": {"linear": [0, 10**400, 3]}}}),
    ("vary.rule.noise.linear[2]", {**GOOD, "vary": {"rule.noise": {"linear": [0, 1, 10**12]}}}),
    ("vary", {**GOOD, "vary": {name: {"linear": [0, 1, 1001]} for name in ("rule.noise", "rule.eta_v")}}),
    ("points", {**RANDOM, "points": 10**12, "vary": {"rule.noise": {"uniform": [0, 1]}}}),
    ("vary.run.n_inputs.integers[1]", {**RANDOM, "vary": {"run.n_inputs": {"integers": [30, 2**53 + 1]}}}),
    ("alpha", {**GOOD, "vary": {"run.n_inputs": [50, 10**18]}, "simulation": "overlaps"}),
    ("run.alpha.points", {**GOOD, "fixed": {"run.alpha": {"first": 1.0, "last": 2.0, "points": 10**12}}}),
]


@pytest.mark.parametrize(("field", "arguments"), REFUSED, ids=[f"{i}: {field}" for i, (field, _) in enumerate(REFUSED)])
def test_what_is_impossible_is_refused_in_one_line_before_any_work(field: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ts.InvalidInput) as caught:
        ts.sweep(ts.Sweep(**arguments), tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{field}: got " in message
    assert ", expected " in message
    assert not (tmp_path / "out").exists()
