"""Problems that are read from TOML: files, presets, and the text a problem is stored as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from teacher_student.dotted_fields import set_fields
from teacher_student.errors import InvalidInput, check_instance, check_seed, check_whole, refuse
from teacher_student.networks import li_huang_weights, overlaps
from teacher_student.order_parameters import OrderParameters, plain_committee
from teacher_student.output_factors import Applied, check_output_scaling
from teacher_student.output_scaling import with_output_scaling
from teacher_student.problem import RATES, RUN_KEYS, LearningRule, Problem
from teacher_student.random_starts import random_committee
from teacher_student.schedules import Schedule
from teacher_student.times import log_spaced_times
from teacher_student.toml_files import tables, text_of_problem
from teacher_student.toml_text import SCHEDULES, toml
from teacher_student.velocities import Velocities

DEFAULT_PRESET = "staircase"

_MOST_TIMES = 1_000_000


def load_problem(source: str | Path, changes: dict[str, Any] | None = None) -> Problem:
    """Return the problem in a TOML file, or the preset of that name.

    Parameters
    ----------
    source : str or Path
        The file, or the name of a preset.
    changes : dict, optional
        Fields to replace in its tables, by dotted names: ``{"rule.eta_xi_in": 0.3, "initial.R.0.1": 0.2}``.

    Raises
    ------
    InvalidInput
        If it is no path, if there is neither, if the file is no TOML, or at the first field that is unknown or impossible.
    """
    text = text_of_problem(source)
    changes = {} if changes is None else check_instance("changes", changes, dict, "a table of fields by dotted names")
    try:
        document = tables(text, "problem")
        for name, value in changes.items():
            set_fields(document, check_instance("changes", name, str, "names of fields"), value)
        return build_problem(document)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from None


def load_document(source: str | Path) -> dict[str, Any]:
    """Return the tables of a problem in a TOML file, or of the preset of that name, as they stand there.

    Raises `InvalidInput` if there is neither or the file is no TOML.
    """
    return tables(text_of_problem(source), "problem", source)


def parse_problem(text: str) -> Problem:
    """Return the problem that `text` states in TOML; raises `InvalidInput` naming the first field at fault."""
    return build_problem(tables(text, "problem"))


def build_problem(document: dict[str, Any]) -> Problem:
    """Return the problem of the tables of a TOML file; raises `InvalidInput` naming the first field at fault."""
    _check_keys("", document, ("name", "description", "initial", "rule", "run", "velocity"))
    sections = {name: document.get(name, {}) for name in ("initial", "rule", "run")}
    for name, table in sections.items():
        if not isinstance(table, dict):
            refuse(name, table, f"a table [{name}]")
        if name != "run" and not table:
            refuse(name, table, f"a table [{name}] with entries")
    _check_keys("rule.", sections["rule"], tuple(f.name for f in fields(LearningRule)))
    if "eta_xi_in" not in sections["rule"]:
        refuse("rule.eta_xi_in", None, "a number of at least 0 (0 freezes the input modes)")
    _check_keys("run.", sections["run"], RUN_KEYS)
    run = dict(sections["run"])
    if isinstance(run.get("n_inputs"), float) and run["n_inputs"].is_integer():
        run["n_inputs"] = int(run["n_inputs"])  # 1e3, which TOML takes for a number with a fraction
    if isinstance(run.get("alpha"), dict):
        run["alpha"] = _times_of_table(run["alpha"])
    labels = {name: document[name] for name in ("name", "description") if name in document}
    output_scaling, applied = _output_scaling(sections["initial"])
    initial = _initial(sections["initial"])
    with_prefix = _Prefix("rule.")
    given = {name: sections["rule"].get(name) for name in RATES}
    rates = {name: _schedule(f"rule.{name}.", table) for name, table in given.items() if isinstance(table, dict)}
    rule = with_prefix(LearningRule, {**sections["rule"], **rates})
    velocity = _velocity(document.get("velocity"))
    problem = Problem(initial=initial, rule=rule, **run, **labels, velocity=velocity)
    if applied:
        return replace(problem, output_scaling=Applied(output_scaling))
    return with_output_scaling(problem, output_scaling)


class _Prefix:
    """Calls a constructor and puts the TOML table's name before the field that a refusal names."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, build: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        try:
            return build(**arguments)
        except InvalidInput as error:
            raise InvalidInput(self.prefix + str(error)) from None


def _check_keys(prefix: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            refuse(prefix + key, table[key], "no such key; known here: " + ", ".join(known))


def _require_keys(prefix: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    _check_keys(prefix, table, known)
    for key in known:
        if key not in table:
            refuse(prefix + key, None, f"a value; needed here: {', '.join(known)}")


def _times_of_table(table: dict[str, Any]) -> Any:
    _require_keys("run.alpha.", table, ("first", "last", "points"))
    first, last, points = table["first"], table["last"], table["points"]
    check_whole("run.alpha.points", points, 2)  # which may not be left out here
    with_prefix = _Prefix("run.alpha.")
    return with_prefix(log_spaced_times, {"first": first, "last": last, "points": points})


def _output_scaling(table: dict[str, Any]) -> tuple[str, bool]:
    """Return the factor of the outputs in the table [initial], and whether v, v_teacher and eta_v already contain it."""
    output_scaling, applied = table.get("output_scaling", "1"), table.get("output_scaling_applied", False)
    _Prefix("initial.")(check_output_scaling, {"output_scaling": output_scaling})
    if not isinstance(applied, bool):
        refuse("initial.output_scaling_applied", applied, "true or false")
    return output_scaling, applied


def _schedule(prefix: str, table: dict[str, Any]) -> Schedule:
    """Return the schedule of a rate that is a table; `prefix` is its name with a dot."""
    if "kind" not in table:
        refuse(prefix[:-1], table, "a number of at least 0, or a table with kind = " + " or ".join(map(toml, SCHEDULES)))
    table = dict(table)
    kind = table.pop("kind")
    if not isinstance(kind, str) or kind not in SCHEDULES:
        refuse(f"{prefix}kind", kind, "one of " + ", ".join(SCHEDULES))
    known = fields(SCHEDULES[kind])
    needed = tuple(f.name for f in known if f.default is MISSING)
    _check_keys(prefix, table, tuple(f.name for f in known))
    _require_keys(prefix, {name: table[name] for name in needed if name in table}, needed)
    with_prefix = _Prefix(prefix)
    return with_prefix(SCHEDULES[kind], table)


def _velocity(table: Any) -> Velocities | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        refuse("velocity", table, "a table [velocity]")
    _require_keys("velocity.", table, tuple(f.name for f in fields(Velocities)))
    with_prefix = _Prefix("velocity.")
    return with_prefix(Velocities, table)


def _initial(table: dict[str, Any]) -> OrderParameters:
    table = dict(table)
    kind = table.pop("kind", "overlaps")
    with_prefix = _Prefix("initial.")
    if kind != "li-huang":  # whose output weights are 1 / K by themselves
        table = {key: value for key, value in table.items() if key not in ("output_scaling", "output_scaling_applied")}
    if kind == "overlaps":
        _require_keys("initial.", table, tuple(f.name for f in fields(OrderParameters)))
        return with_prefix(OrderParameters, table)
    if kind == "plain":
        _require_keys("initial.", table, ("Q", "R", "T", "v", "v_teacher"))
        return with_prefix(plain_committee, table)
    if kind == "li-huang":
        _require_keys("initial.", table, ("n_inputs", "n_units", "n_modes", "seed"))
        for key, value in table.items():
            check_whole(f"initial.{key}", value, 0, "a whole number")
        rng = np.random.default_rng(check_seed("initial.seed", table.pop("seed")))
        return overlaps(with_prefix(li_huang_weights, {**table, "rng": rng}))
    if kind == "random":
        needed = ("n_inputs", "n_units", "n_teacher", "seed")
        norms = ("student_norm", "student_correlation", "teacher_norm", "teacher_correlation")
        known = (*needed, *norms, "v", "v_teacher")
        _check_keys("initial.", table, known)
        _require_keys("initial.", {key: value for key, value in table.items() if key in needed}, needed)
        return with_prefix(random_committee, table)
    refuse("initial.kind", kind, "one of overlaps, plain, random, li-huang")
