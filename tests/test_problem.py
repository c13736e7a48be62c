"""Problems and their TOML: every possible problem survives the round trip, every impossible one is refused by name."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import teacher_student as ts
from teacher_student.output_factors import Applied
from teacher_student.problem_file import parse_problem
from teacher_student.times import output_times

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
TEXT = """
name = "small"

[initial]
kind = "plain"
Q = [[0.5]]
R = [[0.1]]
T = [[1.0]]
v = [1.0]
v_teacher = [1.0]

[rule]
activation = "erf"
eta_xi_in = 0.5

[run]
alpha = 10.0
n_inputs = 100
replicas = 2
seed = 1
"""

positive = st.floats(0.0, 1e12)
entries = st.floats(-100.0, 100.0)
sizes = st.integers(1, 3)


def arrays(draw: st.DrawFn, *shape: int) -> np.ndarray:
    n_entries = math.prod(shape)
    return np.array(draw(st.lists(entries, min_size=n_entries, max_size=n_entries))).reshape(shape)


@st.composite
def problems(draw: st.DrawFn) -> ts.Problem:
    K, P, M = draw(sizes), draw(sizes), draw(sizes)
    rows = arrays(draw, P + M, 3)
    gram = rows @ rows.T
    initial = ts.OrderParameters(
        Q_modes=gram[:P, :P],
        R_modes=gram[:P, P:],
        T=gram[P:, P:],
        sigma=arrays(draw, P),
        xi_out=arrays(draw, K, P),
        v=arrays(draw, K),
        v_teacher=arrays(draw, M),
    )
    rates = {name: draw(positive) for name in ("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v", "noise", "weight_decay")}
    activation, teacher_activation = draw(st.sampled_from([("erf", None), ("relu", "linear"), ("linear", "quadratic")]))
    time = st.one_of(st.just(0.0), st.floats(1e-99, 1e12))  # a last time that is smaller is refused
    times = draw(st.lists(time, min_size=1, max_size=5, unique=True))
    return ts.Problem(
        initial=initial,
        rule=ts.LearningRule(activation, **rates, batch_size=draw(st.integers(1, 10**6)), teacher_activation=teacher_activation),
        alpha=sorted(times),
        n_inputs=draw(st.integers(P + M, 10**9)),
        replicas=draw(st.integers(1, 10**6)),
        seed=draw(st.integers(0, 2**64)),
        name=draw(st.text(max_size=20)),
        description=draw(st.text(max_size=50)),
        output_scaling=Applied(draw(st.sampled_from(["1", "1/K", "1/sqrt(K)"]))),
    )


@FEW
@given(problem=problems())
def test_toml_round_trip(problem: ts.Problem) -> None:
    again = parse_problem(problem.to_toml())
    assert again == problem
    assert again.to_toml() == problem.to_toml()


def with_entry(key: str, value: str) -> str:
    """Return `TEXT` with the entry `table.key` (or a top-level `key`) set to the TOML `value`."""
    table, _, name = key.rpartition(".")
    lines = [line for line in TEXT.splitlines() if line.partition(" = ")[0] != name]
    lines.insert(lines.index(f"[{table}]") + 1 if table else 0, f"{name} = {value}")
    return "\n".join(lines)


def refusal(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    """Return the message with which `call` refuses, checked to be one line of the usual form."""
    with pytest.raises(ts.InvalidInput, match=r": got .+, expected ") as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


RATES = ("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v", "noise", "weight_decay")
NOT_A_RATE = ("-1.0", "-1", "nan", "inf", '"1"', "true", "[1.0]", "{ a = 1 }", "2020-01-01", "1" + "0" * 400)
NOT_AN_ARRAY = (
    "[[nan]]",
    "[[inf]]",
    '[["1"]]',
    "true",
    '"1"',
    "1.0",
    "[]",
    "[[]]",
    "[[1.0], [1.0, 2.0]]",
    "2020-01-01",
)
NOT_A_COUNT = ("-1", "1.0", "nan", '"1"', "true", "[1]", "2020-01-01")
BAD = [(f"rule.{name}", value) for name in RATES for value in NOT_A_RATE]
BAD += [(f"initial.{name}", value) for name in ("Q", "R", "T") for value in (*NOT_AN_ARRAY, "[[1e200, 0.0]]")]
BAD += [(f"initial.{name}", value) for name in ("v", "v_teacher") for value in ("[nan]", "[inf]", '["1"]', "1.0")]
BAD += [(key, value) for key in ("rule.batch_size", "run.n_inputs", "run.replicas", "run.seed") for value in NOT_A_COUNT]
BAD += [("rule.batch_size", "0"), ("run.n_inputs", "1"), ("run.replicas", "0")]
BAD += [("run.alpha", v) for v in ("-1.0", "0", "nan", "inf", "[]", "[2, 1]", "[1, 1]", "[0, inf]", '["a"]', "2020-01-01")]
BAD += [("run.alpha", v) for v in ('"5"', "true", "[true, 2]", '["1", "2"]', "1" + "0" * 400, "[1" + "0" * 400 + "]")]
BAD += [(key, value) for key in ("name", "description") for value in ("1", "[]", "true")]
BAD += [
    ("initial.kind", '"x"'),
    ("initial.kind", "1"),
    ("rule.activation", '"x"'),
    ("rule.activation", "[1]"),
    ("rule.teacher_activation", '"x"'),
]
BAD += [(key, "1") for key in ("unknown", "initial.unknown", "rule.unknown", "run.unknown", "rule.eta", "run.n")]
BAD += [("initial.output_scaling", v) for v in ('"K"', '""', "1", "true", "[1]")]
BAD += [("initial.output_scaling_applied", v) for v in ("1", '"yes"', "[]")]
BAD += [("initial.Q", "[[-0.5]]"), ("initial.R", "[[5.0]]"), ("initial.T", "[[-1.0]]")]


def test_the_teachers_activation_is_the_students_unless_given() -> None:
    assert parse_problem(TEXT).rule.teacher_activation is None
    assert "teacher_activation" not in parse_problem(TEXT).to_toml()
    rule = parse_problem(with_entry("rule.teacher_activation", '"erf"')).rule
    assert (rule.activation, rule.teacher_activation) == ("erf", "erf")


@pytest.mark.parametrize(("key", "value"), BAD, ids=lambda text: text[:20])
def test_bad_entry_is_refused_by_name(key: str, value: str) -> None:
    """Unknown keys, wrong types, NaN, infinity, negative and huge numbers: one line that names the key."""
    name = key.rpartition(".")[2]
    name = {"Q": "Q(_modes)?", "R": "R(_modes)?"}.get(name, name)
    message = refusal(parse_problem, with_entry(key, value))
    assert re.match(rf"(initial\.|rule\.|run\.)?{name}(\[.*\])?: got ", message), message


@pytest.mark.parametrize("key", ["Q", "R", "T", "v", "v_teacher", "eta_xi_in"])
def test_missing_entry_is_refused_by_name(key: str) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if line.partition(" = ")[0] != key)
    assert refusal(parse_problem, text).partition(": got None")[0].endswith(f".{key}")


@pytest.mark.parametrize("table", ["initial", "rule", "run"])
def test_value_in_place_of_a_table_is_refused_by_name(table: str) -> None:
    """A number where a table belongs, or, but for [run], no table at all."""
    blocks = TEXT.split("\n\n")
    others = "\n\n".join(block for block in blocks if not block.startswith(f"[{table}]"))
    assert refusal(parse_problem, f"{table} = 1\n{others}").startswith(f"{table}: got 1")
    if table == "run":
        assert parse_problem(others).rule == parse_problem(TEXT).rule
    else:
        assert refusal(parse_problem, others).startswith(f"{table}: got ")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("{ first = 0.0, last = 1.0, points = 5 }", "first"),
        ("{ first = nan, last = 1.0, points = 5 }", "first"),
        ("{ first = true, last = 1.0, points = 5 }", "first"),
        ("{ first = 2.0, last = 1.0, points = 5 }", "last"),
        ("{ first = 2.0, last = inf, points = 5 }", "last"),
        ("{ first = 1, last = 1" + "0" * 400 + ", points = 5 }", "last"),
        ("{ first = 0.1, last = 1.0, points = 1 }", "points"),
        ("{ first = 0.1, last = 1.0, points = 5.0 }", "points"),
        ("{ first = 0.1, last = 1.0 }", "points"),
        ("{ first = 0.1, last = 1.0, points = 5, base = 2 }", "base"),
    ],
    ids=lambda text: text[:40],
)
def test_bad_times_are_refused_by_name(table: str, key: str) -> None:
    assert refusal(parse_problem, with_entry("run.alpha", table)).startswith(f"run.alpha.{key}: got ")


def test_times_of_a_table_are_logarithmic() -> None:
    times = parse_problem(with_entry("run.alpha", "{ first = 0.1, last = 10.0, points = 5 }")).alpha
    np.testing.assert_allclose(times, [0.0, 0.1, 10**-0.5, 1.0, 10**0.5, 10.0], rtol=1e-14)


@pytest.mark.parametrize("name", sorted(ts.presets()))
def test_preset_loads(name: str) -> None:
    problem = ts.load_problem(name)
    assert problem.name == name
    assert problem.description == ts.presets()[name]
    assert parse_problem(problem.to_toml()) == problem


def test_problem_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(TEXT, "utf-8")
    assert ts.load_problem(path) == ts.load_problem(str(path)) == parse_problem(TEXT)


def test_files_that_are_no_problem_are_refused(tmp_path: Path) -> None:
    """No file, a folder, no UTF-8, no TOML, TOML that is too deep or too long a number, and an impossible problem."""
    bad = {
        "bytes": b"\xff\xfe",
        "no toml": b"eta = = 1",
        "empty": b"",
        "deep": b"a = " + b"[" * 5000,
        "digits": b"a = " + b"1" * 5000,
        "impossible": with_entry("rule.noise", "-1.0").encode(),
    }
    for name, content in bad.items():
        path = tmp_path / f"{name}.toml"
        path.write_bytes(content)
        assert refusal(ts.load_problem, path), name
    for missing in (tmp_path / "none.toml", tmp_path, tmp_path / "bytes.toml" / "x", "no-such-preset", "", "nul\0byte"):
        assert refusal(ts.load_problem, missing).startswith("problem: got ")


huge = st.integers(10**300, 10**320)
numbers = st.one_of(st.floats(), st.integers(), huge, st.booleans(), st.none(), st.text(max_size=5))
garbage = st.recursive(
    st.one_of(numbers, st.binary(max_size=3), st.dates(), st.complex_numbers(), st.just(datetime.timedelta(1))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)
MANY = settings(FEW, max_examples=300)


def accept_or_refuse(call: Callable[..., object], *arguments: object, **named: object) -> None:
    """Call, and let nothing but `InvalidInput` with a single line pass as a refusal."""
    try:
        call(*arguments, **named)
    except ts.InvalidInput as error:
        assert "\n" not in str(error)


@MANY
@given(name=st.sampled_from(["activation", "teacher_activation", *RATES, "batch_size"]), value=garbage)
def test_learning_rule_takes_any_value_or_refuses_it(name: str, value: object) -> None:
    accept_or_refuse(ts.LearningRule, **{"eta_xi_in": 1.0, name: value})


@MANY
@given(name=st.sampled_from(["Q_modes", "R_modes", "T", "sigma", "xi_out", "v", "v_teacher"]), value=garbage)
def test_order_parameters_take_any_value_or_refuse_it(name: str, value: object) -> None:
    good = {"Q_modes": [[1.0]], "R_modes": [[0.0]], "T": [[1.0]], "sigma": [1.0], "xi_out": [[1.0]]}
    accept_or_refuse(ts.OrderParameters, **{**good, "v": [1.0], "v_teacher": [1.0], name: value})


@MANY
@given(name=st.sampled_from(["initial", "rule", "n_inputs", "replicas", "seed", "name", "description"]), value=garbage)
def test_problem_takes_any_value_or_refuses_it(name: str, value: object) -> None:
    good = parse_problem(TEXT)
    accept_or_refuse(ts.Problem, **{"initial": good.initial, "rule": good.rule, name: value})


@MANY
@given(value=st.one_of(garbage, st.floats(0.0, 1e308), st.lists(st.one_of(numbers, st.floats(0, 10)), max_size=4)))
def test_output_times_take_any_value_or_refuse_it(value: Any) -> None:
    accept_or_refuse(output_times, value)


def test_anything_but_a_problem_is_refused() -> None:
    initial = parse_problem(TEXT).initial
    for call in (ts.integrate, ts.simulate, ts.leap, ts.fixed_point):
        for thing, kind in ((initial, "OrderParameters"), ("erf", "str"), (None, "NoneType")):
            assert refusal(call, thing) == f"problem: got '{kind}', expected a Problem"
    expected = "problem: got 'OrderParameters', expected a Problem"
    assert refusal(ts.with_output_scaling, initial, "1/K") == expected
    assert refusal(ts.continuation, initial, "eta_xi_in", [0.1, 0.2]) == expected
    assert refusal(ts.plateau_length, initial, 100) == "point: got 'OrderParameters', expected a FixedPoint, as of fixed_point"
    assert refusal(ts.scaling, [initial]) == "simulations[0]: got 'OrderParameters', expected a trajectory of simulate"


@pytest.mark.parametrize("last", [5e-324, 1e-300, 1e300, 1e307])
def test_extreme_last_times_are_taken_or_refused(last: float) -> None:
    accept_or_refuse(output_times, last)


@MANY
@given(text=st.one_of(st.text(), st.text(alphabet='[]{}="\n.,#ainrule0123456789-_', max_size=60)))
def test_any_text_is_a_problem_or_refused(text: str) -> None:
    accept_or_refuse(parse_problem, text)
