"""What objects print of themselves, in terminals and notebooks, and problems with fields replaced."""

from __future__ import annotations

import dataclasses
import sys
import types
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import teacher_student as ts
from teacher_student.dotted_fields import settings_of
from teacher_student.progress_bars import hidden

PROBLEM = ts.load_problem("staircase")


class Tags(HTMLParser):
    """Counts what is opened and closed; raises where a tag closes that was not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def comparison() -> object:
    problem = PROBLEM.replace(alpha=np.array([0.0, 0.5, 1.0]), name="a < b & c")
    theory = ts.integrate(problem, fluctuations=True, progress=False)
    simulation = ts.simulate(problem, n_inputs=100, replicas=8, seed=3, method="overlaps", progress=False)
    return ts.compare(theory, simulation)


def test_objects_are_shown_in_a_line(comparison: object) -> None:
    large = ts.load_problem("li-huang-2023")
    of_large = [large, large.rule, large.initial]
    for each in [PROBLEM, PROBLEM.rule, PROBLEM.initial, *of_large, comparison, comparison.verdict]:
        text = repr(each)
        assert type(each).__name__ in text
        assert "\n" not in text
        assert len(text) < 300
    assert repr(PROBLEM.rule) == "LearningRule(activation='erf', eta_xi_in=0.2, eta_sigma=0.02)"
    assert eval(repr(PROBLEM.rule), {"LearningRule": ts.LearningRule}) == PROBLEM.rule
    assert "K=3, P=3, M=3" in repr(PROBLEM)
    assert "N=400, replicas=48, seed=1" in repr(PROBLEM)
    assert "N=100, 8 replicas (overlaps)" in repr(comparison)
    assert comparison.verdict.outcome in repr(comparison)
    many = ts.Piecewise(rates=tuple(np.linspace(1.0, 2.0, 400)), alpha=tuple(range(1, 400)))
    assert len(repr(ts.LearningRule(eta_xi_in=many))) < 200


def test_notebooks_show_tables_in_which_names_are_text(comparison: object) -> None:
    for each in (PROBLEM, PROBLEM.rule, PROBLEM.initial, comparison, comparison.verdict):
        tags = Tags(each._repr_html_())
        assert tags.open == []
        assert tags.seen <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert "a &lt; b &amp; c" in comparison._repr_html_()
    assert "0.064" in PROBLEM.initial._repr_html_()


def test_fields_of_all_three_parts_can_be_replaced() -> None:
    new = PROBLEM.replace(eta_xi_in=0.3, noise=0.1, n_inputs=99, v=[1.0, 2.0, 3.0])
    assert (new.rule.eta_xi_in, new.rule.noise, new.n_inputs) == (0.3, 0.1, 99)
    assert new.initial.v.tolist() == [1.0, 2.0, 3.0]
    assert new == dataclasses.replace(
        PROBLEM,
        rule=dataclasses.replace(PROBLEM.rule, eta_xi_in=0.3, noise=0.1),
        initial=dataclasses.replace(PROBLEM.initial, v=[1.0, 2.0, 3.0]),
        n_inputs=99,
    )
    assert PROBLEM.replace() == PROBLEM
    assert PROBLEM.rule.eta_xi_in == 0.2
    given = PROBLEM.replace(rule=ts.LearningRule(eta_xi_in=1.0), eta_v=0.5)
    assert (given.rule.eta_xi_in, given.rule.eta_v, given.rule.eta_sigma) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"eta": 0.3}, "eta"),
        ({"eta_xi_in": -1.0}, "eta_xi_in"),
        ({"n_inputs": 3}, "n_inputs"),
        ({"T": np.eye(2)}, "T"),
        ({"rule": None, "noise": 0.1}, "rule"),
        ({"output_scaling": "1/K"}, "output_scaling"),
    ],
)
def test_what_cannot_be_replaced_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(ts.InvalidInput, match=f"^{field}: got "):
        PROBLEM.replace(**changes)


def test_settings_are_toml_or_words() -> None:
    texts = ["rule.eta_xi_in=0.3", "rule.activation = relu", "initial.R.0.1=2e-3", 'name="a=b"', "run.alpha=[0, 1]", "x=1\ny=2"]
    assert settings_of(texts) == {
        "rule.eta_xi_in": 0.3,
        "rule.activation": "relu",
        "initial.R.0.1": 0.002,
        "name": "a=b",
        "run.alpha": [0, 1],
        "x": "1\ny=2",
    }
    for bad in (["rule.noise"], ["=1"], ["a=1", "a=2"], [""]):
        with pytest.raises(ts.InvalidInput, match=r"^set: got "):
            settings_of(bad)


def test_a_file_with_changes_is_the_changed_file() -> None:
    changed = ts.load_problem("staircase", {"rule.eta_xi_in": 0.3, "run.n_inputs": 1e3, "initial.v.0": 2.0})
    assert (changed.rule.eta_xi_in, changed.n_inputs, changed.initial.v[0]) == (0.3, 1000, 2.0)
    for changes in ({"rule.eta": 1.0}, {"rule.noise": -1.0}, {"run.n_inputs": 1000.5}, {"initial.v.9": 1.0}, {1: 2}, "noise"):
        with pytest.raises(ts.InvalidInput, match=r"^(staircase: |changes: got)"):
            ts.load_problem("staircase", changes)


def test_bars_are_shown_in_notebooks_and_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hidden(False) is True
    assert hidden(True) is None  # tqdm looks at the terminal
    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    assert hidden(True) is False
    assert hidden(False) is True
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert hidden(True) is None


def test_a_simulation_takes_one_run_or_the_number_of_the_problem() -> None:
    options = {"alpha": [0.0, 0.1], "n_inputs": 20, "method": "overlaps", "progress": False}
    assert ts.simulate(PROBLEM, **options).sizes["replica"] == 1
    assert ts.simulate(PROBLEM, replicas=None, **options).sizes["replica"] == PROBLEM.replicas


def test_a_whole_run_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ts.integrate(PROBLEM, [0.0, 0.1], progress=False).attrs["status"] == "complete"


def test_a_report_needs_neither_a_command_nor_times(comparison: object) -> None:
    report = comparison.report()
    assert report.startswith("# a < b & c\n")
    assert f"**{comparison.verdict.outcome}**" in report
    assert "Command" not in report
    assert "seconds include" not in report
