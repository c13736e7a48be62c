"""The learning rule: activations, rates of all factors, noise, decay, batch size, momentum."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.errors import check_flag, check_non_negative, check_whole, refuse
from teacher_student.layout import RATES, Eta
from teacher_student.rates import ROUNDING
from teacher_student.schedules import Rate, Schedule, check_rate, largest_rate, scaled, schedule_rows
from teacher_student.summaries import html_table, named

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
        """The rates of the four factors, eta_xi_in first, as (4, width) data for `teacher_student.rates.rates_at`."""
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
