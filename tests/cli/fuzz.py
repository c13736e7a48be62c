"""Files and arguments as nobody would write them: presets with a few of their values replaced by others of every kind."""

from __future__ import annotations

import copy
import datetime
import json
import math
import random
import tomllib
from pathlib import Path
from typing import Any

import teacher_student as ts
from teacher_student.deep.problem_file import deep_presets

PACKAGE = Path(ts.__file__).parent

LARGE = [2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400]
NUMBERS = [0, 1, -1, 2, 0.5, *LARGE, *(-n for n in LARGE), math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0, 1e-300]
DATES = [datetime.date(1979, 5, 27), datetime.time(7, 32), datetime.datetime(1979, 5, 27, tzinfo=datetime.UTC)]
TEXTS = [
    "",
    "erf",
    "relu",
    "sign",
    "overlaps",
    "plain",
    "li-huang",
    "a\0b",
    "a\nb\x1b[2J",
    "\u2028",
    "x" * 300,
    "1/K",
    "staircase",
]
LISTS: list[Any] = [
    [],
    [[]],
    [[[]]],
    [1, "a"],
    [0.0, 1.0],
    [[1.0]],
    [[1.0, 2.0], [3.0]],
    [math.nan],
    [10**400],
    [2**63, 2**64],
    [True],
]
TABLES: list[Any] = [
    {},
    {"a": {"b": {}}},
    {"kind": "cosine", "first": 1.0, "last": 0.0, "duration": 10**400},
    {"kind": "piecewise", "values": [1.0], "times": [math.nan]},
    {"kind": "power-law"},
    {"first": 1, "last": 10**400, "points": 3},
    {"first": 5e-324, "last": 1e308, "points": 3},
    *(
        {kind: [*bounds, 3]}
        for kind in ("linear", "logarithmic")
        for bounds in ([2**63, 2**64], [5e-324, 1e308], [-1e308, 1e308])
    ),
    *(
        {kind: bounds}
        for kind in ("uniform", "log_uniform", "integers")
        for bounds in ([1, 10**300], [-1e308, 1e308], [2**63, 2**64])
    ),
    {"linear": [datetime.date(1979, 5, 27), 2, 3]},
    {"choices": [math.nan, math.nan, datetime.date(1979, 5, 27)]},
]
GARBAGE: list[Any] = [*NUMBERS, *NUMBERS, *DATES, *TEXTS, *LISTS, *TABLES, True, False]

SWEEPS = [
    """
simulation = "overlaps"
seed = 3
variables = ["eps_g", "R"]
[vary]
rule.eta_xi_in = { linear = [0.2, 0.5, 2] }
"rule.noise, rule.weight_decay" = [0.0, 0.3]
[problem.initial]
kind = "li-huang"
n_inputs = 12
n_units = 2
n_modes = 2
seed = 5
[problem.rule]
eta_xi_in = 0.5
[problem.run]
alpha = [0.0, 0.5]
n_inputs = 20
replicas = 1
""",
    """
problem = "saad-solla-1995"
design = "sobol"
points = 2
[vary]
rule.eta_xi_in = { log_uniform = [0.1, 1.0] }
run.n_inputs = { integers = [30, 50] }
rule.activation = { choices = ["erf", "relu"] }
[fixed]
run.alpha = [0.0, 0.1]
""",
]
ARGUMENTS = [
    "",
    "-1",
    "0",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "9" * 5000,
    "ten",
    "\0",
    "a\nb",
    "\udcff",
    "0x10",
    "1_000",
    "20",
    "3.5",
    "20,30",
]
PATHS = [
    "",
    ".",
    "/",
    "-",
    "--",
    "~",
    "small.toml",
    "small.toml/x",
    "no/such/folder/x",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "\udcff",
    "x" * 300,
    "out.nc",
]


def problems() -> list[dict[str, Any]]:
    """Return the tables of all presets."""
    return [tomllib.loads(path.read_text("utf-8")) for path in sorted((PACKAGE / "presets").glob("*.toml"))]


def deep_problems() -> list[dict[str, Any]]:
    return [tomllib.loads((PACKAGE / "deep" / "presets" / f"{name}.toml").read_text("utf-8")) for name in deep_presets()]


def sweeps() -> list[dict[str, Any]]:
    return [tomllib.loads(text) for text in SWEEPS]


def mutated(document: dict[str, Any], rng: random.Random) -> str:
    """Return the text of `document` with one or two of its entries replaced, removed, repeated or renamed, or a bit lost."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2))):
        _mutate(document, rng)
    text = text_of(document)
    if rng.random() < 0.05:
        where = rng.randrange(len(text))
        text = text[:where] + rng.choice(("", "[", "\0", "=", "\n", '"', text[where + 1 :]))
    return text


def _mutate(place: Any, rng: random.Random) -> None:
    """Change one entry of a table or list, or go down into it."""
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
        return
    key = rng.choice(keys)
    value = place[key]
    if isinstance(value, (dict, list)) and value and rng.random() < 0.75:
        _mutate(value, rng)
        return
    change = rng.random()
    if change < 0.7:
        place[key] = copy.deepcopy(rng.choice(GARBAGE))
    elif change < 0.8:
        del place[key]
    elif isinstance(place, list):
        place.insert(key, copy.deepcopy(value))
    elif change < 0.9:
        place[f"{key}{rng.choice(('x', '.', ' ', chr(10), ', rule.noise'))}"] = copy.deepcopy(value)
    else:
        place[key] = [value] if rng.random() < 0.5 else {"a": value}


def text_of(document: dict[str, Any]) -> str:
    """Return tables as TOML: every entry of the top level on a line of its own."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return repr(value)


def command(rng: random.Random) -> list[str]:
    """Return a command with arguments of which some are as nobody would give them; what runs all the same is short."""
    number, path = (lambda: rng.choice(ARGUMENTS)), (lambda: rng.choice(PATHS))
    name = rng.choice(("ode", "simulate", "simulate", "compare", "sweep", "plot", "stages", "animate", "deep", "presets"))
    options: list[list[str]] = [["-o", path()]]
    if name in ("ode", "simulate", "compare"):
        field = rng.choice(("rule.noise", "rule.eta", "run.n_inputs", "initial.R.0.1", "name", "run", "", "a.b.c", "initial.Q"))
        options += [["--set", rng.choice(("=", "")).join((field, number()))]]
    if name in ("simulate", "compare"):
        options += [[f"--{key}", number()] for key in ("n-inputs", "replicas", "seed")]
        options += [["--method", rng.choice(("weights", "overlaps", "leap", "both", ""))]]
    if name == "simulate":
        options += [["--checkpoint", path()]]
    if name == "compare":
        options += [["--alpha", rng.choice(("-1", "0", "nan", "inf", "1e400", "1e-300", "0.1", ""))]]
    if name == "sweep":
        options += [
            ["--workers", rng.choice(("-1", "0", "nan", "9" * 5000))],
            ["--cluster", rng.choice(("", "a\nb", "no-such://address"))],
        ]
    if name == "plot":
        options += [["--of", rng.choice(("final", "passage", ""))], ["--level", number()]]
    if name == "stages":
        options += [["--least", number()]]
    if name == "deep":
        analysis = rng.choice(("train", "importance", "ablate", "latent", "widths", "cost", "none"))
        return ["deep", analysis, rng.choice(("digits", path())), "-o", rng.choice(("small.toml/x", "a\0b")), "--seed", number()]
    chosen = [part for option in options if rng.random() < 0.35 for part in option]
    what = rng.choice(("small.toml", "small.toml", path())) if name in ("ode", "simulate", "compare") else path()
    return [name, *([] if name == "presets" else [what]), *chosen]
