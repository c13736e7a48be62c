"""A problem: an initial state, a learning rule, and what a run of it needs (output times, N, replicas, seed)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.errors import check_flag, check_instance, check_non_negative, check_seed, check_whole, refuse, shown
from teacher_student.layout import RATES as RATES
from teacher_student.layout import Eta
from teacher_student.networks import check_n_inputs
from teacher_student.order_parameters import OrderParameters
from teacher_student.output_factors import check_applied
from teacher_student.schedules import ROUNDING, Rate, Schedule, check_rate, largest_rate, scaled, schedule_rows
from teacher_student.summaries import html_table, named
from teacher_student.times import MOST_STEPS, output_times
from teacher_student.toml_text import toml
from teacher_student.velocities import Velocities, check_velocities

RUN_KEYS = ("alpha", "n_inputs", "replicas", "seed")
_LARGEST_BATCH = 10**15  # kernels count in 64 bits, and in floating point up to 2^53


@dataclass(frozen=True, repr=False)
class LearningRule:
    """The learning rule: on-line SGD with one rate for each factor (docs/theory.rst: `step`, with velocities `heavyball`).

    Parameters
    ----------
    activation : str
        Name of the student's activation.
    eta_xi_in : float or schedule
        Rate of the input modes, eta / sqrt(N) per step on weights of order one.
    eta_sigma, eta_xi_out, eta_v : float or schedule
        Rates of mode strengths, output modes and output weights, eta / N per step. A rate of zero at all times freezes its
        factor. A schedule is a `Piecewise`, `PowerLaw`, `Cosine`, `Exponential` or `Ramp` of alpha.
    noise : float
        Standard deviation of the Gaussian noise on the teacher's label.
    weight_decay : float
        kappa; every trained factor theta shrinks by eta_theta kappa theta / N per step.
    batch_size : int
        Inputs per step; the step follows their mean gradient.
    teacher_activation : str, optional
        Name of the teacher's activation; by default that of the student.
    momentum : float
        beta of heavy-ball momentum, from 0 to below 1: every trained factor has a velocity, which is beta times itself plus the
        step of plain SGD, and moves by it.
    friction : float, optional
        gamma of heavy-ball momentum with 1 - beta = gamma / N: the velocity is (1 - gamma / N) times itself plus the step of
        plain SGD, and its factor moves by 1 / N of it. By default there are no velocities.
    spherical : bool
        Rescale every input mode, a row of xi_in, to the length it had at alpha = 0 after each step.

    Raises
    ------
    InvalidInput
        If a rate, the noise or the decay is negative or not finite, the batch is no whole number above 0, `spherical` is neither
        true nor false, or there is no such activation.
    """

    activation: str = "erf"
    eta_xi_in: Rate = field(kw_only=True)
    eta_sigma: Rate = 0.0
    eta_xi_out: Rate = 0.0
    eta_v: Rate = 0.0
    noise: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 1
    teacher_activation: str | None = None
    momentum: float = 0.0
    friction: float | None = None
    spherical: bool = False

    def __post_init__(self) -> None:
        get_activations(self.activation, self.teacher_activation)
        for name in RATES:
            object.__setattr__(self, name, check_rate(name, getattr(self, name)))
        for name in ("noise", "weight_decay"):
            object.__setattr__(self, name, check_non_negative(name, getattr(self, name)))
        object.__setattr__(self, "batch_size", check_whole("batch_size", self.batch_size, least=1))
        if self.batch_size > _LARGEST_BATCH:
            refuse("batch_size", self.batch_size, f"at most {_LARGEST_BATCH}")
        object.__setattr__(self, "momentum", check_non_negative("momentum", self.momentum, "a number from 0 to below 1"))
        if self.momentum >= 1:
            refuse("momentum", self.momentum, "a number from 0 to below 1")
        if self.friction is not None:
            object.__setattr__(self, "friction", check_non_negative("friction", self.friction))
            if self.momentum > 0:
                refuse("friction", self.friction, f"either friction or a momentum, which is {self.momentum}")
        object.__setattr__(self, "spherical", check_flag("spherical", self.spherical))
        if self.spherical and self.has_velocity:
            refuse("spherical", self.spherical, "false, for the rule has momentum or friction")

    def __repr__(self) -> str:
        return f"LearningRule({named(self.settings)})"

    def _repr_html_(self) -> str:
        """Return what differs from the defaults as a table for a notebook."""
        return html_table("LearningRule", self.settings.items())

    @property
    def settings(self) -> dict[str, object]:
        """The activation, the rate of the input modes, and all that differs from its default."""
        always = ("activation", "eta_xi_in")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in always or getattr(self, f.name) != f.default}

    @property
    def schedules(self) -> FloatArray:
        """The rates of the four factors, eta_xi_in first, as (4, width) data for `teacher_student.schedules.rates_at`."""
        return schedule_rows([getattr(self, name) for name in RATES])

    @property
    def has_velocity(self) -> bool:
        """Whether trained factors have velocities, by `momentum` or `friction`."""
        return self.momentum > 0 or self.friction is not None

    @property
    def without_momentum(self) -> LearningRule:
        """The plain rule that fixed momentum amounts to at leading order in 1/N: every rate eta is eta / (1 - momentum)."""
        if self.momentum == 0:
            return self
        rates: dict[str, Any] = {name: scaled(getattr(self, name), 1.0 / (1.0 - self.momentum)) for name in RATES}
        return dataclasses.replace(self, **rates, momentum=0.0)

    @property
    def largest_rates(self) -> FloatArray:
        """The largest value of each rate, (4,); zero if its factor is frozen."""
        return np.array([largest_rate(getattr(self, name)) for name in RATES])

    @property
    def jumps(self) -> FloatArray:
        """The times alpha > 0 at which a rate or a derivative of it jumps, increasing; one for those that differ by rounding."""
        schedules = [rate for name in RATES if isinstance(rate := getattr(self, name), Schedule)]
        times = np.unique([time for schedule in schedules for time in schedule.jumps()])
        return times[np.diff(times, prepend=-np.inf) > self.rounding(times)]

    def rounding(self, alpha: FloatArray) -> FloatArray:
        """Return how far from times `alpha` a schedule may jump that jumps there up to rounding."""
        elapsed = max(getattr(getattr(self, name), "elapsed", 0.0) for name in RATES)
        return np.asarray(10.0 * ROUNDING * (alpha + elapsed))

    @property
    def eta(self) -> Eta:
        """The same as `rates`, by name."""
        return Eta(*self.rates.tolist())

    @property
    def rates(self) -> FloatArray:
        """(eta_xi_in, eta_sigma, eta_xi_out, eta_v), the order of all kernels; raises `InvalidInput` if one is a schedule."""
        for name in RATES:
            if isinstance(rate := getattr(self, name), Schedule):
                refuse(f"rule.{name}", rate, "a constant rate here")
        return self.largest_rates


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
