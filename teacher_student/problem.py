"""A problem: an initial state, a learning rule, and what a run of it needs (output times, N, replicas, seed)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_student.activations import get_activations
from teacher_student.errors import check_non_negative, check_seed, check_whole, refuse
from teacher_student.networks import check_n_inputs
from teacher_student.order_parameters import OrderParameters
from teacher_student.output_scaling import check_applied
from teacher_student.schedules import ROUNDING, Rate, Schedule, check_rate, largest_rate, scaled, schedule_rows
from teacher_student.velocities import Velocities, check_velocities

FloatArray = npt.NDArray[np.float64]

POINTS_PER_DECADE = 20
_LARGEST_BATCH = 10**15  # kernels count in 64 bits, and in floating point up to 2^53
_MOST_STEPS = 10**18
RATES = ("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v")


@dataclass(frozen=True)
class LearningRule:
    """How the student learns: online SGD with one rate a factor.

    Parameters
    ----------
    activation : str
        Name of the student's activation.
    eta_xi_in : float or schedule
        Rate of the input modes, eta / sqrt(N) per step on weights of order one.
    eta_sigma, eta_xi_out, eta_v : float or schedule
        Rates of mode strengths, output modes and output weights, eta / N per step. A rate of zero at all times freezes its
        factor. A schedule is a `Piecewise`, a `PowerLaw` or a `Cosine` of alpha.
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
        if not isinstance(self.spherical, bool):
            refuse("spherical", self.spherical, "true or false")
        if self.spherical and self.has_velocity:
            refuse("spherical", self.spherical, "false, for the rule has momentum or friction")

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
    def rates(self) -> FloatArray:
        """(eta_xi_in, eta_sigma, eta_xi_out, eta_v), the order of all kernels; raises `InvalidInput` if one is a schedule."""
        for name in RATES:
            if isinstance(rate := getattr(self, name), Schedule):
                refuse(f"rule.{name}", rate, "a constant rate here")
        return self.largest_rates


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem of online learning, to be integrated and simulated.

    Parameters
    ----------
    initial : OrderParameters
        The state at alpha = 0. Simulations start from weights with exactly these overlaps.
    rule : LearningRule
        What learns, and how fast.
    alpha : float or increasing sequence, optional
        Output times alpha = steps / N; a number is the last time of a logarithmic grid.
    n_inputs : int, optional
        N of simulations, at least P + M.
    replicas, seed : int, optional
        Independent runs of a simulation, and the seed that all their random numbers come from.
    name, description : str, optional
        For titles and reports.
    output_scaling : str, optional
        Not to be given: how `with_output_scaling` or a problem file records the factor of the outputs, "1/K" or "1/sqrt(K)",
        that the output weights and eta_v already contain. It changes no number of a run.
    velocity : Velocities, optional
        Velocities at alpha = 0 of a rule with friction; by default zero. A factor that does not learn moves by its own until
        friction has stopped it.

    Raises
    ------
    InvalidInput
        If anything of this is impossible; the message names the field.
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
        for name, kind in (("initial", OrderParameters), ("rule", LearningRule)):
            if not isinstance(getattr(self, name), kind):
                refuse(name, getattr(self, name), f"an instance of {kind.__name__}")
        if self.rule.spherical and (self.initial.Q_modes.diagonal() == 0).any():
            refuse("initial.Q_modes", self.initial.Q_modes.tolist(), "modes of a length above 0, for the rule keeps it")
        object.__setattr__(self, "alpha", output_times(self.alpha))
        object.__setattr__(self, "n_inputs", check_n_inputs(self.initial, self.n_inputs, self.rule.has_velocity))
        if self.velocity is not None:
            if not isinstance(self.velocity, Velocities):
                refuse("velocity", self.velocity, "an instance of Velocities")
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

    def to_toml(self) -> str:
        """Return the problem as TOML text, every number written out; `load_problem` of it gives an equal problem."""
        from teacher_student.problem_file import write_problem  # problem_file builds on this module

        return write_problem(self)


def check_problem(problem: object) -> None:
    """Raise `InvalidInput` unless `problem` is a `Problem`."""
    if not isinstance(problem, Problem):
        refuse("problem", type(problem).__name__, "a Problem")


def check_size_of_runs(problem: Problem, n_inputs: object) -> int:
    """Return N of simulations of `problem` as an int; raises `InvalidInput` if they cannot have it."""
    N, friction = check_n_inputs(problem.initial, n_inputs, problem.rule.has_velocity), problem.rule.friction
    if N > _MOST_STEPS:
        refuse("n_inputs", N, "at most 1e18, for so many steps are one unit of alpha")
    if friction is not None and friction > N:
        refuse("friction", friction, f"at most N = {N}, for velocities shrink by 1 - friction / N per step")
    return N


def output_times(alpha: float | npt.ArrayLike) -> FloatArray:
    """Return output times alpha as a strictly increasing array.

    A number is the last time of a grid that starts with 0 and goes on with `POINTS_PER_DECADE` logarithmic steps a decade
    from 0.01 (or from a thousandth of a last time below 10). Raises `InvalidInput` for anything but increasing, finite times
    of at least 0.
    """
    try:
        raw = np.asarray(alpha)
        listed = alpha if isinstance(alpha, (list, tuple)) else ()
        if (raw.size and raw.dtype.kind not in "fiu") or any(isinstance(time, bool) for time in listed):
            raise TypeError("text and truth values are no times")
        times = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        refuse("alpha", alpha, "a time or an increasing sequence of times")
    if times.ndim == 0:
        last = float(times)
        if not (math.isfinite(last) and last > 0):
            refuse("alpha", last, "a finite last time above 0")
        if not 1e-100 < last < 1e100:
            refuse("alpha", last, "a last time between 1e-100 and 1e100")
        return log_spaced_times(min(0.01, last / 1000.0), last)
    if times.ndim != 1 or len(times) == 0:
        refuse("alpha", f"shape {times.shape}", "a time or a sequence of at least one time")
    if not np.isfinite(times).all() or times[0] < 0:
        refuse("alpha", times[~np.isfinite(times) | (times < 0)][0].item(), "finite times of at least 0")
    if 0 < times[-1] < 1e-100:
        refuse("alpha", times[-1].item(), "a last time of at least 1e-100")
    late = np.flatnonzero(np.diff(times) <= 0)
    if len(late):
        refuse(f"alpha[{late[0] + 1}]", times[late[0] + 1].item(), f"a time after the one before, {times[late[0]]}")
    times.flags.writeable = False
    return times


def whole_steps(times: FloatArray, n_inputs: int) -> npt.NDArray[np.int64]:
    """Return the steps nearest to `times` at N = `n_inputs`, each once; raises `InvalidInput` beyond 1e18 steps."""
    if float(times[-1]) * n_inputs > _MOST_STEPS:
        refuse("alpha", times[-1].item(), f"at most 1e18 steps, that is alpha of {_MOST_STEPS / n_inputs:.3g}")
    return np.unique(np.rint(times * n_inputs).astype(np.int64))


def log_spaced_times(first: float, last: float, points: int | None = None) -> FloatArray:
    """Return 0 and then `points` logarithmically spaced times from `first` to `last` (20 a decade by default)."""
    first, last = float(first), float(last)  # NumPy has no logarithm of whole numbers beyond 64 bits
    if points is None:
        points = math.ceil(POINTS_PER_DECADE * math.log10(last / first)) + 1
    times = np.concatenate([[0.0], np.geomspace(first, last, points)])
    times.flags.writeable = False
    return times


def check_seed_and_replicas(replicas: object, seed: object) -> tuple[int, int]:
    """Return both as ints; raises `InvalidInput` unless `replicas` is at least 1 and `seed` at least 0."""
    return check_whole("replicas", replicas, least=1), check_seed("seed", seed)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
