"""Learning rates as functions of alpha. They are data, which SGD and theory evaluate with one compiled function, in
`teacher_student.rates`.

Step number n, counted from 0, uses the rates at alpha = n / N, the time before the step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_non_negative, check_positive, check_whole, refuse
from teacher_student.rates import CONSTANT, COSINE, EXPONENTIAL, PIECEWISE, POWER_LAW, RAMP, ROUNDING, rates_at


@dataclass(frozen=True)
class Piecewise:
    """A rate that jumps: `rates[0]` before `alpha[0]`, then `rates[1]`, and so on.

    Parameters
    ----------
    rates : sequence of float
        One more than there are jumps.
    alpha : sequence of float
        Times of the jumps, increasing and above 0. The step at alpha = `alpha[i]` is the first with `rates[i + 1]`.
    elapsed : float
        What the schedule's clock shows at alpha = 0; above 0 in a run that continues another.
    """

    rates: tuple[float, ...]
    alpha: tuple[float, ...]
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        _set_rates_and_times(self)

    def row(self) -> list[float]:
        """Return the kind, `elapsed`, the number of jumps, the first rate, and time and rate of each jump."""
        return _row_of_times(PIECEWISE, self)

    def jumps(self) -> list[float]:
        """Return the times after alpha = 0 at which the rate, or a derivative of it, jumps."""
        return _to_come(self.alpha, self.elapsed)

    def scaled(self, factor: float) -> Piecewise:
        """Return the schedule times `factor`."""
        return dataclasses.replace(self, rates=tuple(factor * rate for rate in self.rates))


@dataclass(frozen=True)
class PowerLaw:
    """A rate start (1 + t / alpha)^-exponent, at t = elapsed + the time alpha of the run.

    Parameters
    ----------
    start : float
        Rate at t = 0.
    alpha : float
        Time at which the rate begins to fall, above 0.
    exponent : float
        0 or above.
    elapsed : float
        What the schedule's clock shows at alpha = 0; above 0 in a run that continues another.
    """

    start: float
    alpha: float
    exponent: float
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "exponent", "elapsed"):
            _set_number(self, name)
        object.__setattr__(self, "alpha", check_positive("alpha", self.alpha))

    def row(self) -> list[float]:
        """Return the kind, `elapsed` and the parameters."""
        return [POWER_LAW, self.elapsed, self.start, self.alpha, self.exponent]

    def jumps(self) -> list[float]:
        """Return no times: the rate is smooth."""
        return []

    def scaled(self, factor: float) -> PowerLaw:
        """Return the schedule times `factor`."""
        return dataclasses.replace(self, start=factor * self.start)


@dataclass(frozen=True)
class Cosine:
    """A rate that goes from `start` to `end` along half a cosine, once or repeatedly.

    Parameters
    ----------
    start, end : float
        Rates at the beginning and the end of a period.
    period : float
        Time it takes, above 0.
    repeats : int
        Number of periods; each begins with a jump back to `start`. After the last the rate stays at `end`.
    elapsed : float
        What the schedule's clock shows at alpha = 0; above 0 in a run that continues another.

    Notes
    -----
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, arXiv:1608.03983, with periods
    of equal length.
    """

    start: float
    end: float
    period: float
    repeats: int = 1
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "end", "elapsed"):
            _set_number(self, name)
        object.__setattr__(self, "period", check_positive("period", self.period))
        object.__setattr__(self, "repeats", check_whole("repeats", self.repeats, least=1))
        if self.repeats > 1_000_000:
            refuse("repeats", self.repeats, "at most a million")

    def row(self) -> list[float]:
        """Return the kind, `elapsed` and the parameters."""
        return [COSINE, self.elapsed, self.start, self.end, self.period, float(self.repeats)]

    def jumps(self) -> list[float]:
        """Return the times after alpha = 0 at which the rate, or a derivative of it, jumps."""
        return _to_come([k * self.period for k in range(1, self.repeats + 1)], self.elapsed)

    def scaled(self, factor: float) -> Cosine:
        """Return the schedule times `factor`."""
        return dataclasses.replace(self, start=factor * self.start, end=factor * self.end)


@dataclass(frozen=True)
class Exponential:
    """A rate that goes from `start` to `end` as end + (start - end) exp(-t / alpha), at t = elapsed + the time alpha of the run.

    Parameters
    ----------
    start, end : float
        Rates at t = 0 and in the limit; by default it decays to 0.
    alpha : float
        Time in which the difference from `end` falls by a factor e, above 0.
    elapsed : float
        What the schedule's clock shows at alpha = 0; above 0 in a run that continues another.
    """

    start: float
    alpha: float
    end: float = 0.0
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "end", "elapsed"):
            _set_number(self, name)
        object.__setattr__(self, "alpha", check_positive("alpha", self.alpha))

    def row(self) -> list[float]:
        """Return the kind, `elapsed` and the parameters."""
        return [EXPONENTIAL, self.elapsed, self.start, self.alpha, self.end]

    def jumps(self) -> list[float]:
        """Return no times: the rate is smooth."""
        return []

    def scaled(self, factor: float) -> Exponential:
        """Return the schedule times `factor`."""
        return dataclasses.replace(self, start=factor * self.start, end=factor * self.end)


@dataclass(frozen=True)
class Ramp:
    """A rate along straight lines: `rates[0]` at alpha = 0, `rates[i + 1]` at `alpha[i]`, and the last one from there on.

    A warm-up of length 5 to the rate 0.8 is ``Ramp(rates=(0.0, 0.8), alpha=(5.0,))``; with a linear decay from 50 to 60 it is
    ``Ramp(rates=(0.0, 0.8, 0.8, 0.0), alpha=(5.0, 50.0, 60.0))``.

    Parameters
    ----------
    rates : sequence of float
        One more than there are times.
    alpha : sequence of float
        Times at which the slope changes, increasing and above 0.
    elapsed : float
        What the schedule's clock shows at alpha = 0; above 0 in a run that continues another.
    """

    rates: tuple[float, ...]
    alpha: tuple[float, ...]
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        _set_rates_and_times(self)

    def row(self) -> list[float]:
        """Return the kind, `elapsed`, the number of times, the first rate, and time and rate of each."""
        return _row_of_times(RAMP, self)

    def jumps(self) -> list[float]:
        """Return the times after alpha = 0 at which the slope of the rate jumps."""
        return _to_come(self.alpha, self.elapsed)

    def scaled(self, factor: float) -> Ramp:
        """Return the schedule times `factor`."""
        return dataclasses.replace(self, rates=tuple(factor * rate for rate in self.rates))


Schedule = Piecewise | PowerLaw | Cosine | Exponential | Ramp
Rate = float | Schedule


def _set_rates_and_times(schedule: Piecewise | Ramp) -> None:
    """Check `rates`, `alpha` and `elapsed` of `schedule`, and make them tuples of floats and a float."""
    for name in ("rates", "alpha"):
        # In a set, or the keys of a table, there is no order that the user has chosen.
        if isinstance(getattr(schedule, name), (str, bytes, Set, Mapping)) or not np.iterable(getattr(schedule, name)):
            refuse(name, getattr(schedule, name), "a sequence of numbers")
        numbers = tuple(check_non_negative(f"{name}[{i}]", value) for i, value in enumerate(getattr(schedule, name)))
        object.__setattr__(schedule, name, numbers)
    _set_number(schedule, "elapsed")
    if len(schedule.alpha) == 0:
        refuse("alpha", schedule.alpha, "at least one time (a constant rate is a plain number)")
    if len(schedule.rates) != len(schedule.alpha) + 1:
        refuse("rates", schedule.rates, f"{len(schedule.alpha) + 1} rates, one more than times in alpha")
    for i, (before, after) in enumerate(zip((0.0, *schedule.alpha), schedule.alpha, strict=False)):
        if after <= before:
            refuse(f"alpha[{i}]", after, f"a time after {before:g}")


def _row_of_times(kind: float, schedule: Piecewise | Ramp) -> list[float]:
    """Return the `kind`, `elapsed`, the number of times, the first rate, and time and rate of each."""
    points = zip(schedule.alpha, schedule.rates[1:], strict=True)
    return [kind, schedule.elapsed, len(schedule.alpha), schedule.rates[0], *(number for point in points for number in point)]


def _to_come(times: Iterable[float], elapsed: float) -> list[float]:
    """Return those `times` of a schedule's clock that are not reached at alpha = 0, as times alpha."""
    return [time - elapsed for time in times if time > elapsed * (1.0 + ROUNDING)]


def _set_number(schedule: Schedule, name: str) -> None:
    object.__setattr__(schedule, name, check_non_negative(name, getattr(schedule, name)))


def check_rate(name: str, rate: object) -> Rate:
    """Return `rate`, a number as a float; raises `InvalidInput` unless it is a schedule or a finite number of at least 0."""
    if isinstance(rate, Schedule):
        return rate
    return check_non_negative(name, rate, "a number of at least 0 or a schedule")


def later(rate: Rate, alpha: float) -> Rate:
    """Return `rate` as it goes on after `alpha`."""
    return dataclasses.replace(rate, elapsed=rate.elapsed + alpha) if isinstance(rate, Schedule) else rate


def scaled(rate: Rate, factor: float) -> Rate:
    """Return `rate` times `factor`."""
    return rate.scaled(factor) if isinstance(rate, Schedule) else factor * rate


def schedule_rows(rates: list[Rate]) -> FloatArray:
    """Return `rates` as an array, (n, width), that `rates_at` understands: a row a rate, padded with zeros."""
    rows = [rate.row() if isinstance(rate, Schedule) else [CONSTANT, 0.0, rate] for rate in rates]
    schedules = np.zeros((len(rows), max(map(len, rows))))
    for row, numbers in zip(schedules, rows, strict=True):
        row[: len(numbers)] = numbers
    return schedules


def largest_rate(rate: Rate) -> float:
    """Return the largest value of `rate` at alpha of at least 0."""
    if not isinstance(rate, Schedule):
        return rate
    now = np.empty(1)
    rates_at(schedule_rows([rate]), 0.0, now)
    if isinstance(rate, Piecewise):
        return max(rate.rates[-1 - len(rate.jumps()) :])
    if isinstance(rate, Ramp):
        return max(float(now[0]), *rate.rates[-1 - len(rate.jumps()) :])
    if isinstance(rate, PowerLaw):
        return float(now[0])
    if isinstance(rate, Exponential):
        return max(float(now[0]), rate.end)
    return max(float(now[0]), rate.end, rate.start if len(rate.jumps()) > 1 else 0.0)
