"""The design of a sweep: a problem, the fields that vary, and the points at which it is run."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from teacher_student.dotted_fields import set_fields
from teacher_student.errors import InvalidInput, check_seed, check_whole, refuse, shown
from teacher_student.problem import Problem, check_size_of_runs
from teacher_student.problem_file import build_problem, load_document
from teacher_student.sweeps.values import MOST_POINTS, OF_DRAWS, OF_GRIDS, drawn_values, listed_values
from teacher_student.times import whole_steps
from teacher_student.toml_files import tables
from teacher_student.trajectory import DIMENSIONS

DESIGNS = ("grid", "random", "sobol", "latin-hypercube")
METHODS = ("weights", "overlaps")


@dataclass(frozen=True, eq=False)
class Sweep:
    """A problem, the fields that vary, and the runs at every point.

    Parameters
    ----------
    problem : str, dict or Problem
        A TOML file, a preset's name, the tables of such a file, or a `Problem`.
    vary : dict
        For every field that varies, by its dotted name in the problem's TOML (``"rule.noise"``, ``"initial.n_modes"``,
        ``"initial.R.0.1"`` for one entry of an array), the values. Several names with commas between take the same value.
        In a grid: a list of values, ``{"linear": [first, last, points]}`` or ``{"logarithmic": [first, last, points]}``.
        In the other designs: ``{"uniform": [low, high]}``, ``{"log_uniform": [low, high]}``, ``{"integers": [low, high]}``
        (both included) or ``{"choices": [...]}``.
    fixed : dict
        Fields of the problem to be replaced at all points, by their dotted names.
    design : str
        "grid": all combinations. "random": independent points. "sobol", "latin-hypercube": points that fill the range evenly.
    points : int, optional
        Number of points; needed unless the design is a grid.
    seed : int
        Of the design and of all simulations. A point's own seed follows from this one and from the point's number alone.
    theory : bool
        Integrate the theory at every point.
    simulation : str, optional
        Simulate every point by this method, "weights" or "overlaps", with the problem's N and replicas.
    variables : sequence of str
        What of every trajectory is kept; by default everything.

    Attributes
    ----------
    values : dict
        The values of every field: along its dimension of a grid, else at every point.

    Raises
    ------
    InvalidInput
        If one of these values is impossible. `problem_at` checks the problems themselves.
    """

    problem: Any
    vary: dict[str, Any]
    fixed: dict[str, Any] = field(default_factory=dict)
    design: str = "grid"
    points: int | None = None
    seed: int = 0
    theory: bool = True
    simulation: str | None = None
    variables: tuple[str, ...] = tuple(DIMENSIONS)
    values: dict[str, list[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.design, str) or self.design not in DESIGNS:
            refuse("design", self.design, "one of " + ", ".join(DESIGNS))
        if self.simulation is not None and (not isinstance(self.simulation, str) or self.simulation not in METHODS):
            refuse("simulation", self.simulation, "one of " + ", ".join(METHODS))
        if not isinstance(self.theory, bool):
            refuse("theory", self.theory, "true or false")
        if not self.theory and self.simulation is None:
            refuse("theory", False, "true, or a simulation: nothing is to be run")
        check_seed("seed", self.seed)
        if self.design == "grid":
            if self.points is not None:
                refuse("points", self.points, "no such key in a grid, whose values are listed")
        else:
            _check_points(check_whole("points", self.points, 1), "points")
        if not isinstance(self.variables, (list, tuple)) or not self.variables:
            refuse("variables", self.variables, "a list of " + ", ".join(DIMENSIONS))
        for name in self.variables:
            if not isinstance(name, str) or name not in DIMENSIONS:
                refuse("variables", name, "some of " + ", ".join(DIMENSIONS))
        object.__setattr__(self, "variables", tuple(name for name in DIMENSIONS if name in self.variables))
        for name in ("vary", "fixed"):
            if not isinstance(getattr(self, name), dict):
                refuse(name, getattr(self, name), f"a table [{name}] of fields")
        vary = _dotted(_plain(self.vary))
        _check_names(vary)
        document = _document(self.problem)
        for name, value in _fields_of_sections(_plain(self.fixed)).items():
            set_fields(document, name, value)
        object.__setattr__(self, "vary", vary)
        object.__setattr__(self, "problem", document)
        object.__setattr__(self, "fixed", {})
        values = listed_values(vary) if self.design == "grid" else drawn_values(vary, self.design, self.points or 0, self.seed)
        object.__setattr__(self, "values", values)
        _check_points(self.n_points, "vary")

    @property
    def dimensions(self) -> dict[str, int]:
        """The dimensions of the results and their sizes: one a field in a grid, named by it, else ``point``."""
        if self.design == "grid":
            return {name.split(",")[0].strip(): len(values) for name, values in self.values.items()}
        return {"point": len(next(iter(self.values.values())))}

    @property
    def n_points(self) -> int:
        """The number of points."""
        return math.prod(self.dimensions.values())

    def at(self, index: int) -> dict[str, Any]:
        """Return the value of every field at point `index`; in a grid the last field varies fastest."""
        if self.design == "grid":
            place = np.unravel_index(index, tuple(self.dimensions.values()))
            return {name: values[i] for (name, values), i in zip(self.values.items(), place, strict=True)}
        return {name: values[index] for name, values in self.values.items()}

    def seed_at(self, index: int) -> int:
        """Return the seed of the simulation at point `index`: the field run.seed where that varies, else one of its own."""
        for names, value in self.at(index).items():
            if "run.seed" in map(str.strip, names.split(",")):
                return int(value)
        sequence = np.random.SeedSequence(self.seed, spawn_key=(0, index))
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def problem_at(self, index: int) -> Problem:
        """Return the problem at point `index`; raises `InvalidInput`, with the point's fields, if it is impossible."""
        settings = self.at(index)
        try:
            problem = problem_with(self.problem, settings)
            if self.simulation is not None:
                whole_steps(problem.alpha, check_size_of_runs(problem, problem.n_inputs))
            return problem
        except InvalidInput as error:
            where = ", ".join(f"{name} = {shown(value)}" for name, value in settings.items())
            raise InvalidInput(f"{error} (at {where})") from None


def problem_with(document: dict[str, Any], settings: dict[str, Any]) -> Problem:
    """Return the problem of the TOML tables `document` with the fields of `settings` replaced."""
    document = copy.deepcopy(document)
    for name, value in settings.items():
        set_fields(document, name, value)
    return build_problem(document)


def _document(problem: Any) -> dict[str, Any]:
    if isinstance(problem, Problem):
        return tables(problem.to_toml(), "problem")
    if isinstance(problem, dict):
        return _plain(problem)
    if not isinstance(problem, str) and not hasattr(problem, "__fspath__"):
        refuse("problem", problem, "a TOML file, a preset's name, or a table [problem]")
    return load_document(problem)


def _plain(value: Any) -> Any:
    """Return `value` in the types of TOML: lists for arrays and tuples, Python's numbers for NumPy's."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _dotted(vary: dict[str, Any]) -> dict[str, Any]:
    """Return `vary` with dotted names in place of tables in tables, down to what says which values."""
    found: dict[str, Any] = {}
    for key, spec in vary.items():
        if isinstance(spec, dict) and spec and not set(spec) <= {*OF_GRIDS, *OF_DRAWS}:
            found.update({f"{key}.{name}": entry for name, entry in _dotted(spec).items()})
        else:
            found[str(key)] = spec
    return found


def _fields_of_sections(fixed: dict[str, Any]) -> dict[str, Any]:
    """Return `fixed` by dotted names; only [initial], [rule] and [run] are taken apart, what they hold may be tables."""
    found: dict[str, Any] = {}
    for key, value in fixed.items():
        if isinstance(value, dict) and key in ("initial", "rule", "run"):
            found.update({f"{key}.{name}": entry for name, entry in value.items()})
        else:
            found[str(key)] = value
    return found


def _check_points(count: int, name: str) -> None:
    if count > MOST_POINTS:
        refuse(name, f"{count} points", f"at most {MOST_POINTS}")


def _check_names(vary: dict[str, Any]) -> None:
    if not vary:
        refuse("vary", {}, "at least one field that varies")
    seen: set[str] = set()
    for names in vary:
        for name in map(str.strip, names.split(",")):
            if name in seen:
                refuse(f"vary.{names}", name, "a field that nothing else varies")
            replaced = [other for other in seen if other.startswith(f"{name}.")]
            if replaced:
                refuse(f"vary.{names}", name, f"it before {min(replaced)}, whose values it replaces")
            seen.add(name)
