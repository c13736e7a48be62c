"""A fixed point followed through one parameter, its stability along the branch, and where stability changes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.optimize

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.errors import check_choice, check_fraction, refuse
from teacher_student.layout import SLOW_FACTORS
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import RATES, Problem, check_problem
from teacher_student.theory.stability.fixed_points import FixedPoint, NoFixedPoint, fixed_point

_RULE_FIELDS = (*RATES, "noise", "weight_decay")
_SCALED_FACTORS = {**{name: f"eta_{name}" for name in SLOW_FACTORS}, "v_teacher": None}
_MAX_HALVINGS = 12
# Larger moves between neighbouring points may be jumps to another branch, so the step is halved first.
_LARGEST_MOVE = 0.3


@dataclass(frozen=True, eq=False)
class Branch:
    """Fixed points along one parameter.

    Attributes
    ----------
    field : str
    values : (n,) array
        The parameter: the values asked for, or, if the branch ends before, those passed and the last one that was reached.
    points : tuple of FixedPoint
    n_unstable : (n,) int array
        Unstable directions.
    changes : (m,) array
        Parameters at which the number of unstable directions changes, one between two neighbouring values, located by root
        finding; NaN where no eigenvalue crosses zero by more than its error.
    ended : str
        After which value and why the branch could not be followed to the last one; empty if it was.
    """

    field: str
    values: FloatArray
    points: tuple[FixedPoint, ...]
    n_unstable: IntArray
    changes: FloatArray
    ended: str

    @property
    def stability_lost(self) -> float:
        """The first parameter, in the order of `values`, at which a stable branch becomes unstable; NaN if none does.

        In a rate it is the maximal learning rate of this fixed point.
        """
        i = 0
        for before, after in itertools.pairwise(self.n_unstable):
            if before == 0 and after > 0:
                return float(self.changes[i])
            i += before != after
        return float("nan")


def continuation(
    problem: Problem, field: str, values: npt.ArrayLike, near: OrderParameters | float | None = None, *, xtol: float = 1e-8
) -> Branch:
    """Follow a fixed point of `problem` through the `values` of one parameter.

    Parameters
    ----------
    problem : Problem
    field : str
        A rate, "noise" or "weight_decay" of the rule; or "sigma", "xi_out", "v" or "v_teacher" if it does not learn: then it is
        the problem's own, times the value.
    values : sequence of float
        Increasing or decreasing.
    near : OrderParameters or float, optional
        Where to search for the first fixed point, as for `fixed_point`.
    xtol : float
        Accuracy of `changes`, in units of the distance between the two values, below 1.

    Raises
    ------
    InvalidInput
        For an unknown field, a factor that learns, or values that are not monotonic or not possible.
    NoFixedPoint
        If there is no fixed point at the first value.
    """
    check_problem(problem)
    parameters = _checked(problem, field, values)
    xtol = check_fraction("xtol", xtol)
    points = [fixed_point(with_value(problem, field, parameters[0]), _for_value(near, problem, field, parameters[0]))]
    reached = [float(parameters[0])]
    changes: list[float] = []
    ended = ""
    for value, following in itertools.pairwise(parameters.tolist()):
        point, last, ended = _follow(problem, field, points[-1], value, following)
        if last != value:
            points.append(point)
            reached.append(last)
            if points[-2].n_unstable != point.n_unstable:
                changes.append(_change(problem, field, points[-2], value, last, xtol * abs(last - value), point))
        if ended:
            break
    return Branch(
        field=field,
        values=np.array(reached),
        points=tuple(points),
        n_unstable=np.array([point.n_unstable for point in points]),
        changes=np.array(changes),
        ended=ended,
    )


def _checked(problem: Problem, field: str, values: npt.ArrayLike) -> FloatArray:
    check_choice("field", field, (*_RULE_FIELDS, *_SCALED_FACTORS))
    rate = _SCALED_FACTORS.get(field)
    rates = dict(zip(RATES, problem.rule.rates, strict=True))
    if rate is not None and rates[rate] > 0:
        refuse("field", field, f"a factor that does not learn ({rate} is {rates[rate]:g})")
    try:
        parameters = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        parameters = np.empty(0)
    steps = np.diff(parameters) if parameters.ndim == 1 else np.empty(0)
    if len(steps) == 0 or not ((steps > 0).all() or (steps < 0).all()):
        refuse("values", values, "an increasing or decreasing sequence of at least two numbers")
    if field in RATES and (parameters > 0).any() and (parameters == 0).any():
        refuse("values", values, "rates above 0 throughout (a rate of 0 freezes its factor)")
    for value in parameters:
        with_value(problem, field, value)  # which refuses impossible ones
    return parameters


def with_value(problem: Problem, field: str, value: float) -> Problem:
    """Return `problem` with the parameter `field` of `continuation` at `value`."""
    if field in _RULE_FIELDS:
        changed: dict[str, Any] = {field: float(value)}
        return dataclasses.replace(problem, rule=dataclasses.replace(problem.rule, **changed))
    return dataclasses.replace(problem, initial=_scaled(problem.initial, problem, field, value))


def _scaled(state: OrderParameters, problem: Problem, field: str, value: float) -> OrderParameters:
    scaled: dict[str, Any] = {field: value * getattr(problem.initial, field)}
    return dataclasses.replace(state, **scaled)


def _for_value(
    near: OrderParameters | float | None, problem: Problem, field: str, value: float
) -> OrderParameters | float | None:
    if isinstance(near, OrderParameters) and field in _SCALED_FACTORS:
        return _scaled(near, problem, field, value)
    return near


def _follow(problem: Problem, field: str, point: FixedPoint, value: float, target: float) -> tuple[FixedPoint, float, str]:
    """Return the fixed point that continues `point` at `value`, the value reached, and why it is not `target`; empty if it is.

    A step that is too long is halved, and one after a step that was not is twice as long.
    """
    smallest = abs(target - value) / 2**_MAX_HALVINGS
    step = target - value
    while value != target:
        following = value + step if abs(step) < abs(target - value) else target
        try:
            found = fixed_point(with_value(problem, field, following), _for_value(point.state, problem, field, following))
            size = 1.0 + float(np.abs(point.state.Q_modes).max())
            reason = "" if found.distance < _LARGEST_MOVE * size else f"the nearest fixed point is {found.distance:.3g} away"
        except NoFixedPoint as error:
            reason = str(error)
        if not reason:
            point, value, step = found, following, 2.0 * step
        elif abs(step) <= smallest:
            return point, value, f"after {field} = {value:.6g}, at {following:.6g}: {reason}"
        else:
            step *= 0.5
    return point, value, ""


def _change(
    problem: Problem, field: str, point: FixedPoint, value: float, following: float, xtol: float, after: FixedPoint
) -> float:
    """Return where, between two values, the eigenvalue crosses that makes the number of unstable directions differ."""
    index = min(point.n_unstable, after.n_unstable)

    def crossing(parameter: float) -> float:
        if parameter == value:
            return _real_parts(point)[index]
        if parameter == following:
            return _real_parts(after)[index]
        between, last, ended = _follow(problem, field, point, value, parameter)
        if last != parameter:
            raise NoFixedPoint(ended, between.residual)
        return _real_parts(between)[index]

    if crossing(value) * crossing(following) > 0:
        return float("nan")
    return float(scipy.optimize.brentq(crossing, value, following, xtol=xtol))


def _real_parts(point: FixedPoint) -> FloatArray:
    """Return the real parts in falling order, without as many eigenvalues closest to zero as have an explained zero mode."""
    n_explained = sum(mode.kind != "unexplained" for mode in point.zero_modes)
    kept = np.argsort(np.abs(point.eigenvalues))[n_explained:]
    return np.asarray(np.sort(point.eigenvalues[kept].real)[::-1])
