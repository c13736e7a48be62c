"""Laws fitted to what was measured, and which of them the data prefer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from teacher_student.arrays import Array
from teacher_student.errors import refuse

# A difference in BIC of 6 is the "strong evidence" of Kass and Raftery, J. Am. Stat. Assoc. 90, 773 (1995).
STRONG = 6.0
LEAST_POINTS = 8
# Largest over smallest tau below which laws of rank are all the same line.
_LEAST_RANGE = 2.0
_POINTS_ON_A_SIDE = 3
_BREAKS = 400
_SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Fit:
    """A law fitted by least squares: its parameters by name, their standard errors, and what it predicts at the data."""

    name: str
    parameters: dict[str, float]
    errors: dict[str, float]
    predicted: Array
    bic: float


@dataclass(frozen=True, eq=False)
class PowerLaws:
    """One and two power laws of ranked importance, and the exponential that a smooth bend may be instead.

    `by_chance` is what `gain` stays below in 95 of 100 sorted samples of as many independent log-normal numbers, which follow
    no power law at all: ranked numbers bend, and BIC, for which residuals are independent, takes that for a break.
    """

    rank: Array
    tau: Array
    one: Fit
    two: Fit
    exponential: Fit
    by_chance: float

    @property
    def rival(self) -> Fit:
        """The better of one power law and the exponential."""
        return min(self.one, self.exponential, key=lambda fit: fit.bic)

    @property
    def gain(self) -> float:
        """By how much the BIC of two power laws is lower than that of their rival."""
        return self.rival.bic - self.two.bic

    @property
    def two_supported(self) -> bool:
        """Whether two power laws gain more than sorted numbers do by chance."""
        return self.gain > self.by_chance

    @property
    def conclusion(self) -> str:
        """One sentence on what the ranked importances are, as far as these numbers tell."""
        largest = self.tau[0] / self.tau[-1]
        if largest < _LEAST_RANGE:
            return f"the modes matter almost alike: the largest tau is {largest:.2f} times the smallest, too little to tell a law"
        if self.two_supported:
            slopes = " and ".join(f"{self.two.parameters[name]:.3g}" for name in ("slope_1", "slope_2"))
            return (
                f"tau follows two power laws of its rank, of slopes {slopes} with a break at {self.two.parameters['break']:.3g}"
            )
        if self.gain > 0:
            return "ranked tau bends, but no more than sorted random numbers do: these modes follow no law of rank"
        ((name, number),) = list(self.rival.parameters.items())[1:]
        law = "one power law" if self.rival is self.one else "an exponential"
        return f"ranked tau follows {law} best, of {name} {number:.3g}; two power laws are no better"

    @property
    def verdict(self) -> str:
        """One sentence on which law the data prefer."""
        name = self.rival.name
        if self.two_supported:
            return (
                f"two power laws: BIC lower by {self.gain:.1f} than for {name}, sorted random numbers reach {self.by_chance:.1f}"
            )
        if self.gain <= 0:
            return f"{name}: two power laws are not supported, their BIC is higher by {-self.gain:.1f}"
        return (
            f"two power laws are not supported: BIC lower by {self.gain:.1f} than for {name}, "
            f"but sorted random numbers reach {self.by_chance:.1f}"
        )


def fit_power_laws(tau: npt.ArrayLike) -> PowerLaws:
    """Fit log tau against log rank, largest tau first, by one line, by two that meet at a break, and tau by an exponential.

    Fits are least squares in log tau. Errors are those of independent residuals; ranked numbers are not independent, so that
    they are lower bounds, and runs with other seeds tell more. The break may lie anywhere that leaves three points on each
    side. Two are supported if they gain more than in 95 of 100 sorted samples of log-normal numbers (of any mean and spread,
    which all fits follow); numbers with much heavier tails pass more often. Raises `InvalidInput` for fewer than eight values
    above 0.
    """
    values = np.sort(np.asarray(tau, dtype=float))[::-1]
    if values.ndim != 1 or len(values) < LEAST_POINTS or not np.isfinite(values).all() or values[-1] <= 0:
        refuse("tau", np.shape(tau), f"at least {LEAST_POINTS} finite numbers above 0")
    rank = np.arange(1, len(values) + 1)
    x, y = np.log(rank), np.log(values)
    one, exponential = _line("one power law", x, y, "slope"), _line("exponential", rank.astype(float), y, "rate")
    return PowerLaws(rank, values, one, _two_lines(x, y), exponential, _gain_by_chance(len(values)))


@cache
def _gain_by_chance(n: int) -> float:
    """Return the 95 % quantile of the gain of two power laws over `n` sorted log-normal numbers."""
    y = -np.sort(np.random.default_rng(0).standard_normal((_SAMPLES, n)), axis=1)
    rank = np.arange(1.0, n + 1)
    one, exponential = (_bic(_rss_of_line(x, y), n, 2) for x in (np.log(rank), rank))
    two = _bic(_rss_of_two_lines(np.log(rank), y, _breaks(np.log(rank))).min(axis=1), n, 4)
    return float(np.quantile(np.minimum(one, exponential) - two, 0.95))


def _line(name: str, x: Array, y: Array, slope_name: str) -> Fit:
    design = np.column_stack([np.ones_like(x), x])
    coefficients, predicted = _solve(design, y)
    errors = _errors(design, y - predicted)
    parameters = {"log_tau_1": coefficients[0], slope_name: coefficients[1]}
    return Fit(
        name,
        parameters,
        dict(zip(parameters, errors, strict=True)),
        np.exp(predicted),
        float(_bic(_rss(y - predicted), len(y), 2)),
    )


def _two_lines(x: Array, y: Array) -> Fit:
    breaks = _breaks(x)
    at = breaks[_rss_of_two_lines(x, y[None], breaks)[0].argmin()]
    design = np.column_stack([np.ones_like(x), x, np.maximum(x - at, 0.0)])
    coefficients, predicted = _solve(design, y)
    jacobian = np.column_stack([design, -coefficients[2] * (x > at)])
    errors = _errors(jacobian, y - predicted)
    rank = float(np.exp(at))
    parameters = {
        "log_tau_1": float(coefficients[0]),
        "slope_1": float(coefficients[1]),
        "slope_2": float(coefficients[1] + coefficients[2]),
        "break": rank,
    }
    covariance = _covariance(jacobian, y - predicted)
    slope_2_error = float(np.sqrt(max(covariance[1, 1] + covariance[2, 2] + 2 * covariance[1, 2], 0.0)))
    found = (errors[0], errors[1], slope_2_error, rank * errors[3])
    bic = float(_bic(_rss(y - predicted), len(y), 4))
    return Fit("two power laws", parameters, dict(zip(parameters, found, strict=True)), np.exp(predicted), bic)


def _breaks(x: Array) -> Array:
    return np.linspace(x[_POINTS_ON_A_SIDE - 1], x[-_POINTS_ON_A_SIDE], _BREAKS)


def _rss_of_line(x: Array, y: Array) -> Array:
    """Return the sums of squared residuals of a line through each row of `y`, (samples, n)."""
    return _rss(y - _project(_line_basis(x), y))


def _rss_of_two_lines(x: Array, y: Array, breaks: Array) -> Array:
    """Return the sums of squared residuals, (samples, breaks), of two lines that meet at each of `breaks`; `y` (samples, n)."""
    basis = _line_basis(x)
    bend = np.maximum(x - breaks[:, None], 0.0)
    bend -= _project(basis, bend)
    bend /= np.linalg.norm(bend, axis=1, keepdims=True)
    residual = y - _project(basis, y)
    return _rss(residual)[:, None] - (residual @ bend.T) ** 2


def _line_basis(x: Array) -> Array:
    return np.linalg.qr(np.column_stack([np.ones_like(x), x]))[0]


def _project(basis: Array, y: Array) -> Array:
    return (y @ basis) @ basis.T


def _rss(residual: Array) -> Array:
    return (residual**2).sum(axis=-1)


def _solve(design: Array, y: Array) -> tuple[Array, Array]:
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    return coefficients, design @ coefficients


def _covariance(jacobian: Array, residual: Array) -> Array:
    freedom = max(len(residual) - jacobian.shape[1], 1)
    return np.linalg.pinv(jacobian.T @ jacobian) * float(residual @ residual) / freedom


def _errors(jacobian: Array, residual: Array) -> list[float]:
    return [float(error) for error in np.sqrt(np.maximum(np.diag(_covariance(jacobian, residual)), 0.0))]


def _bic(rss: Array, n: int, n_parameters: int) -> Array:
    """Return Schwarz's criterion for `n` Gaussian residuals of unknown size, which counts as one more parameter."""
    return n * np.log(np.maximum(rss / n, 1e-30)) + (n_parameters + 1) * np.log(n)


_Law = Callable[[Array, Array], Array]

WIDTH_LAWS: dict[str, tuple[_Law, tuple[str, ...]]] = {
    "constant": (lambda N, p: np.full_like(N, p[0]), ("a",)),
    "logarithm a + b ln N": (lambda N, p: p[0] + p[1] * np.log(N), ("a", "b")),
    "power a N^b": (lambda N, p: np.exp(np.minimum(p[0] + p[1] * np.log(N), 700.0)), ("ln a", "b")),
    "saturating a N / (N + b)": (lambda N, p: p[0] * N / (N + np.exp(np.minimum(p[1], 700.0))), ("a", "ln b")),
}


def fit_width_laws(widths: npt.ArrayLike, least: npt.ArrayLike, errors: npt.ArrayLike) -> list[Fit]:
    """Return the laws of `WIDTH_LAWS` fitted to the least number of modes against width, best (lowest BIC) first.

    `least` are means over seeds, (widths,), and `errors` their standard errors, which weigh them; BIC is chi^2 plus
    ln(widths) a parameter. All but the constant have two parameters. Raises `InvalidInput` for fewer than four widths,
    and for lengths that differ.
    """
    N, P, s = (np.asarray(values, dtype=float) for values in (widths, least, errors))
    if not N.shape == P.shape == s.shape:
        refuse("least, errors", (P.shape, s.shape), f"a number for each of the {N.size} widths")
    if N.ndim != 1 or not (np.isfinite(N).all() and (N > 0).all()):
        refuse("widths", N.tolist(), "numbers above 0")
    if len(N) < 4 or not (np.isfinite(P).all() and (s > 0).all()):
        refuse("widths", N.tolist(), "at least four, each with a finite number of modes and an error above 0")
    slope, level = np.polyfit(np.log(N), P, 1)
    log_slope, log_level = np.polyfit(np.log(N), np.log(np.maximum(P, 1e-3)), 1)
    starts = {
        "constant": [P.mean()],
        "logarithm a + b ln N": [level, slope],
        "power a N^b": [log_level, log_slope],
        "saturating a N / (N + b)": [P.max(), np.log(N[0])],
    }
    fits = []
    for name, (law, parameters) in WIDTH_LAWS.items():
        found = least_squares(lambda p, law=law: (law(N, p) - P) / s, starts[name], x_scale="jac")
        # A parameter that the fit has driven to where it no longer matters has no error that could be told.
        covariance = np.linalg.pinv(found.jac.T @ found.jac)
        told = np.linalg.norm(found.jac, axis=0) > 1e-6
        error = np.where(told, np.sqrt(np.maximum(np.diag(covariance), 0.0)), np.inf)
        values = dict(zip(parameters, map(float, found.x), strict=True))
        spread = dict(zip(parameters, map(float, error), strict=True))
        fits.append(Fit(name, values, spread, law(N, found.x), float(2 * found.cost + len(parameters) * np.log(len(N)))))
    return sorted(fits, key=lambda fit: fit.bic)


def width_verdict(fits: list[Fit]) -> str:
    """Return one sentence on which of the fits of `fit_width_laws` the data prefer: growth only if clearly better than none."""
    best, constant = fits[0], next(fit for fit in fits if fit.name == "constant")
    gain = constant.bic - best.bic
    if best is constant:
        return "no dependence on width is supported: a constant describes the numbers best"
    if gain <= STRONG:
        return f"no dependence on width is supported: BIC lower by only {gain:.1f} than that of a constant (6 is asked for)"
    rivals = [fit.name for fit in fits[1:] if fit.name != "constant" and fit.bic - best.bic <= STRONG]
    undecided = "; not told apart from " + ", ".join(rivals) if rivals else ""
    return f"{best.name}, BIC lower by {gain:.1f} than the constant's{undecided}"
