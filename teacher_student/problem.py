"""A problem: an initial state, a learning rule, and what a run of it needs (output times, N, replicas, seed)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_instance, check_seed, check_whole, refuse, shown
from teacher_student.layout import RATES as RATES
from teacher_student.learning_rule import LearningRule as LearningRule
from teacher_student.networks import check_n_inputs
from teacher_student.order_parameters import OrderParameters
from teacher_student.output_factors import check_applied
from teacher_student.summaries import html_table
from teacher_student.times import MOST_STEPS, output_times
from teacher_student.toml_text import toml
from teacher_student.velocities import Velocities, check_velocities

RUN_KEYS = ("alpha", "n_inputs", "replicas", "seed")


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """One problem of online learning, to be integrated and simulated.

    Parameters
    ----------
    initial : OrderParameters
        The state at alpha = 0. Simulations start from weights with exactly these overlaps.
    rule : LearningRule
        The learning rule.
    alpha : float or increasing sequence, optional
        Output times alpha = steps / N; a number is the last time of a logarithmic grid.
    n_inputs : int, optional
        N of simulations, at least P + M.
    replicas, seed : int, optional
        Independent runs of a simulation, and the seed that all their random numbers come from.
    name, description : str, optional
        For titles and reports.
    output_scaling : str, optional
        Set by `with_output_scaling` and by problem files: the factor of the outputs, "1/K" or "1/sqrt(K)", that the output
        weights and eta_v already contain. It changes no number of a run.
    velocity : Velocities, optional
        Velocities at alpha = 0 of a rule with friction; by default zero. A factor that does not learn moves by its own until
        friction has stopped it.

    Raises
    ------
    InvalidInput
        If one of these values is impossible; the message names the field.
    """

    initial: OrderParameters
    rule: LearningRule
    alpha: FloatArray = field(default_factory=lambda: output_times(100.0))
    n_inputs: int = 500
    replicas: int = 16
    seed: int = 0
    name: str = "problem"
    description: str = ""
    output_scaling: str = "1"
    velocity: Velocities | None = None

    def __post_init__(self) -> None:
        check_instance("initial", self.initial, OrderParameters)
        check_instance("rule", self.rule, LearningRule)
        if self.rule.spherical and (self.initial.Q_modes.diagonal() == 0).any():
            refuse("initial.Q_modes", self.initial.Q_modes.tolist(), "modes of a length above 0, for the rule keeps it")
        object.__setattr__(self, "alpha", output_times(self.alpha))
        object.__setattr__(self, "n_inputs", check_n_inputs(self.initial, self.n_inputs, self.rule.has_velocity))
        if self.velocity is not None:
            check_instance("velocity", self.velocity, Velocities)
            if self.rule.friction is None:
                refuse("velocity", "velocities", "none, for the rule has no friction")
            check_velocities(self.initial, self.velocity)
        replicas, seed = check_seed_and_replicas(self.replicas, self.seed)
        object.__setattr__(self, "replicas", replicas)
        object.__setattr__(self, "seed", seed)
        check_applied(self.output_scaling)
        for name in ("name", "description"):
            text = getattr(self, name)
            if not isinstance(text, str) or not _is_unicode(text):
                refuse(name, text, "a string of valid Unicode")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Problem):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # compares by value, arrays included

    def __repr__(self) -> str:
        state = self.initial
        sizes = f"K={state.n_units}, P={state.n_modes}, M={state.n_teacher}"
        return f"Problem({shown(self.name)}: {sizes}, {self.rule!r}, {self._run_in_words})"

    def _repr_html_(self) -> str:
        """Return description, sizes, rule and run as a table for a notebook."""
        rows: list[tuple[str, object]] = [("description", self.description)] if self.description else []
        rows += [("initial", f"{self.initial!r}"), ("run", self._run_in_words)]
        if self.output_scaling != "1":
            rows.append(("output_scaling", str(self.output_scaling)))
        rows += [(f"rule.{name}", value) for name, value in self.rule.settings.items()]
        return html_table(f"Problem {self.name}", rows)

    @property
    def _run_in_words(self) -> str:
        times = f"alpha up to {self.alpha[-1]:.6g} at {len(self.alpha)} times"
        return f"{times}, N={self.n_inputs}, replicas={self.replicas}, seed={shown(self.seed)}"

    def replace(self, **changes: Any) -> Problem:
        """Return the problem with fields of its own, of its rule or of its initial state replaced.

        Parameters
        ----------
        **changes
            New values by the names of fields, as ``problem.replace(eta_xi_in=0.3, noise=0.1, n_inputs=1000)``. Names of all
            three differ. Overlaps and output weights are those of `OrderParameters`, which contain the ``output_scaling``.

        Raises
        ------
        InvalidInput
            If there is no such field, or its value is impossible.
        """
        of_rule, of_state = ({f.name for f in fields(kind)} for kind in (LearningRule, OrderParameters))
        own = {f.name for f in fields(self)}
        for name, value in changes.items():
            if name not in own | of_rule | of_state:
                refuse(name, value, "a field of the problem: " + ", ".join(sorted(own | of_rule | of_state)))
        chosen = {name: value for name, value in changes.items() if name in own}
        new_of_rule, new_of_state = ({n: v for n, v in changes.items() if n in part} for part in (of_rule, of_state))
        if new_of_rule:
            rule = check_instance("rule", chosen.get("rule", self.rule), LearningRule)
            chosen["rule"] = dataclasses.replace(rule, **new_of_rule)
        if new_of_state:
            initial = check_instance("initial", chosen.get("initial", self.initial), OrderParameters)
            chosen["initial"] = dataclasses.replace(initial, **new_of_state)
        return dataclasses.replace(self, **chosen)

    def to_toml(self) -> str:
        """Return the problem as TOML text, every number written out; `load_problem` of it gives an equal problem."""
        lines = [f"name = {toml(self.name)}", f"description = {toml(self.description)}", "", "[initial]"]
        lines += [f"{f.name} = {toml(getattr(self.initial, f.name).tolist())}" for f in fields(self.initial)]
        if self.output_scaling != "1":
            lines += [f"output_scaling = {toml(self.output_scaling)}", "output_scaling_applied = true"]
        if self.velocity is not None:
            lines += ["", "[velocity]"]
            lines += [f"{f.name} = {toml(getattr(self.velocity, f.name).tolist())}" for f in fields(self.velocity)]
        rule = {f.name: getattr(self.rule, f.name) for f in fields(self.rule)}
        lines += ["", "[rule]", *(f"{name} = {toml(value)}" for name, value in rule.items() if value is not None)]
        lines += ["", "[run]", *(f"{key} = {toml(np.asarray(getattr(self, key)).tolist())}" for key in RUN_KEYS)]
        return "\n".join(lines) + "\n"


def check_problem(problem: object) -> None:
    """Raise `InvalidInput` unless `problem` is a `Problem`."""
    if not isinstance(problem, Problem):
        refuse("problem", type(problem).__name__, "a Problem")


def difference_of(first: Problem, second: Problem) -> str | None:
    """Return the first field, as "rule.noise", in which two problems differ in what learns and how, or None.

    Output times, N, replicas, seed, name and description do not count: they are settings of runs.
    """
    for name, kind in (("initial", OrderParameters), ("rule", LearningRule)):
        for f in fields(kind):
            if not np.array_equal(getattr(getattr(first, name), f.name), getattr(getattr(second, name), f.name)):
                return f"{name}.{f.name}"
    return next((name for name in ("output_scaling", "velocity") if getattr(first, name) != getattr(second, name)), None)


def check_size_of_runs(problem: Problem, n_inputs: object) -> int:
    """Return N of simulations of `problem` as an int; raises `InvalidInput` if they cannot have it."""
    N, friction = check_n_inputs(problem.initial, n_inputs, problem.rule.has_velocity), problem.rule.friction
    if N > MOST_STEPS:
        refuse("n_inputs", N, "at most 1e18, for so many steps are one unit of alpha")
    if friction is not None and friction > N:
        refuse("friction", friction, f"at most N = {N}, for velocities shrink by 1 - friction / N per step")
    return N


def check_seed_and_replicas(replicas: object, seed: object) -> tuple[int, int]:
    """Return both as ints; raises `InvalidInput` unless `replicas` is at least 1 and `seed` at least 0."""
    return check_whole("replicas", replicas, least=1), check_seed("seed", seed)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
