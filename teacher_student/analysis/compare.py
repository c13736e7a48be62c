"""Theory against simulation: deviations in units of measured and of predicted errors, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from teacher_student.analysis.agreement import agreement, check_other_runs, check_same_runs
from teacher_student.analysis.verdict import DIFFERS, Test, Verdict, judge, not_judged, raises_alarm
from teacher_student.arrays import FloatArray
from teacher_student.errors import refuse
from teacher_student.layout import FACTORS
from teacher_student.summaries import html_table
from teacher_student.theory.integrate import integrate, predicts_fluctuations
from teacher_student.theory.noise.predictions import predict
from teacher_student.theory.noise.sampling_error import sampling_error
from teacher_student.trajectory import resolved_times
from teacher_student.trajectory_form import as_trajectory, problem_of

VARIABLES = ("eps_g", *FACTORS, "Q", "R")

# Replicas that start from the same overlaps differ there by rounding only, which is no spread to compare with.
_ROUNDING = 1e-10
_NOTHING_LEARNS = "nothing learns, so that nothing fluctuates"
_NO_NOISE = "there is no linear noise, because g' has jumps and its Gaussian averages are sampled"


@dataclass(frozen=True, eq=False)
class Deviation:
    """The difference between the mean of the replicas and the theory, for one order parameter over all times and indices.

    Attributes
    ----------
    name : str
        The order parameter.
    n_compared : int
        Entries with a spread between replicas, so no frozen ones; of eps_g only those that the theory resolves.
    rms, largest : float
        Root mean square and largest absolute deviation, in standard errors of the mean (Student's t for few replicas).
    rms_predicted, beyond : float
        Root mean square deviation from the predicted mean at this N, in predicted standard errors, and the fraction of them
        beyond 1.96 (5 % of independent normal ones).
    spread : float
        Root mean square of the replicas' standard deviation over the predicted one.
    where, alpha : str, float
        Entry and time of the largest.
    largest_absolute : float
        Largest absolute deviation as it is, over all entries.
    """

    name: str
    n_compared: int
    rms: float
    rms_predicted: float
    beyond: float
    spread: float
    largest: float
    where: str
    alpha: float
    largest_absolute: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """A theory and a simulation at the same times, and their deviations.

    Attributes
    ----------
    theory, simulation : xarray.Dataset
        The trajectories, at the same alpha.
    z : xarray.Dataset
        (mean over replicas - theory) / standard error for every variable; NaN where replicas do not differ, and for eps_g
        where that of the theory is below what rounding and the integrator's tolerance resolve. The error includes that of the
        theory where its Gaussian averages are sampled, see `averages`.
    z_predicted : xarray.Dataset
        The same with the mean and spread predicted at this N instead of the ODE and the replicas' own spread.
    deviations : tuple of Deviation
        One a variable.
    prediction : xarray.Dataset or None
        Predicted mean and spread at this N; None where nothing learns, or g' has jumps and its averages are sampled.
    verdict : Verdict
        Whether simulation and theory agree; "not judged" without a prediction.
    other : xarray.Dataset or None
        A second simulation by the other method.
    agreement : tuple of Test
        Tests of the two simulations against each other.
    averages : xarray.Dataset or None
        Standard errors of the theory where its Gaussian averages are sampled. The errors that divide `z` and `z_predicted`
        include them.
    """

    theory: xr.Dataset
    simulation: xr.Dataset
    z: xr.Dataset
    z_predicted: xr.Dataset
    deviations: tuple[Deviation, ...]
    prediction: xr.Dataset | None
    verdict: Verdict
    other: xr.Dataset | None = None
    agreement: tuple[Test, ...] = ()
    averages: xr.Dataset | None = None

    def __repr__(self) -> str:
        return f"Comparison({problem_of(self.simulation).name}: {self._runs}, {self.verdict!r})"

    def _repr_html_(self) -> str:
        """Return verdict and deviations as tables for a notebook."""
        header = ("", "largest, standard errors", "where", "alpha", "rms, predicted", "spread / predicted")
        rows = [
            (d.name, d.largest, d.where, d.alpha, d.rms_predicted, d.spread) if d.n_compared else (d.name, *5 * ("",))
            for d in self.deviations
        ]
        title = f"{problem_of(self.simulation).name}: {self._runs}"
        return html_table(title, rows, header) + self.verdict._repr_html_()

    @property
    def _runs(self) -> str:
        runs = [f"N={self.simulation.attrs['n_inputs']}"]
        for simulation in (self.simulation, self.other):
            if simulation is not None:
                runs.append(f"{simulation.sizes['replica']} replicas ({simulation.attrs['method']})")
        return ", ".join([*runs, f"alpha up to {float(self.simulation['alpha'][-1]):.6g}"])

    @property
    def largest_sampling_error(self) -> float:
        """Largest standard error that sampled averages give the theory, in those of the mean over the runs."""
        if self.averages is None:
            return 0.0
        ratios = [self.averages[name].values / standard_error(self.simulation, name) for name in VARIABLES]
        return max((float(np.nanmax(ratio)) for ratio in ratios if np.isfinite(ratio).any()), default=0.0)

    @property
    def simulations_agree(self) -> bool:
        """Whether the two simulations agree with each other (True if there is one)."""
        return not raises_alarm(self.agreement)

    @property
    def passed(self) -> bool:
        """Whether theory and simulations agree, or differ by an effect of finite N only."""
        return self.simulations_agree and self.verdict.outcome != DIFFERS

    def plot(self) -> tuple[Any, Any]:
        """Return the comparison figure, (fig, axes)."""
        from teacher_student.trajectory_figures import comparison  # matplotlib takes a while, and only figures need it

        return comparison(self.theory, self.simulation, self.prediction, self.other, self.verdict.left_out)

    def report(self) -> str:
        """Return the report that ``teacher-student compare`` writes, as Markdown: runs, verdict, deviations and problem."""
        from teacher_student.analysis.report import report  # what compares does not know how it is told

        return report(self)


def standard_error(simulation: xr.Dataset, name: str) -> FloatArray:
    """Return the replicas' standard error of the mean of a variable, (alpha, ...); NaN where replicas do not differ."""
    values = simulation[name].values
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    # Entries of one matrix share a scale; eps_g falls over decades, so each of its values has its own.
    scale = np.abs(values).mean(axis=0) if name == "eps_g" else np.abs(values).max()
    moved = simulation["alpha"].values > 0
    spread = (error > _ROUNDING * scale) & moved.reshape((-1,) + (1,) * (error.ndim - 1))
    return np.asarray(np.where(spread, error, np.nan))


def compare(theory: xr.Dataset, simulation: xr.Dataset, other: xr.Dataset | None = None) -> Comparison:
    """Compare a theory trajectory with a simulation of the same problem, and judge whether they agree.

    Simulations are measured at whole steps. If the theory is not given with fluctuations at just these times, its problem (an
    attribute of the trajectory) is integrated again. A simulation by the `other` method, of fewer runs, is compared with the
    first one.

    Raises
    ------
    InvalidInput
        If the two are not a theory and a simulation, hold numbers that are not finite, their shapes differ, or there is no time
        they share; if `other` is of another problem, N or times, or has runs of `simulation`.
    """
    theory = as_trajectory(theory, "theory", kind="theory")
    simulation = as_trajectory(simulation, "simulation", kind="simulation")
    problem, _ = problem_of(theory, "theory"), problem_of(simulation, "simulation")
    if other is not None:
        other = as_trajectory(other, "other", kind="simulation")
        check_same_runs(simulation, other, ("simulation", "other"))
        check_other_runs(simulation, other, ("simulation", "other"))
    for argument, runs in (("simulation", simulation), ("other", other)):
        if runs is not None and runs.attrs["method"] == "leap":
            refuse(argument, "leaps, made of the theory's drift and noise", "SGD on weights or the chain")
    for dimension in ("mode", "student", "teacher"):
        if theory.sizes[dimension] != simulation.sizes[dimension]:
            refuse(
                "simulation",
                f"{simulation.sizes[dimension]} as size of {dimension}",
                f"{theory.sizes[dimension]}, as in the theory",
            )
    reached = float(theory["alpha"].values.max(initial=0.0))
    half_step = 0.5 / simulation.attrs["n_inputs"]
    simulation = simulation.isel(alpha=simulation["alpha"].values <= reached + half_step)
    if simulation.sizes["alpha"] == 0:
        refuse("simulation", "no output time", f"a time up to the theory's last, {reached}")
    wanted = "covariance" in theory or predicts_fluctuations(problem)
    same_times = np.array_equal(theory["alpha"].values, simulation["alpha"].values)
    if not same_times or (wanted and "covariance" not in theory):
        options = {name: theory.attrs[name] for name in ("method", "rtol", "atol") if name in theory.attrs}
        theory = integrate(problem, simulation["alpha"].values, fluctuations=wanted, progress=False, **options)
        if theory.attrs["status"] == "interrupted":
            raise KeyboardInterrupt
    fluctuates = "covariance" in theory
    prediction = predict(theory, simulation.attrs["n_inputs"]) if fluctuates else None
    averages = sampling_error(theory) if "average_error" in theory.attrs else None
    z, z_predicted = (xr.Dataset(coords={"alpha": simulation["alpha"]}) for _ in range(2))
    deviations = []
    for name in VARIABLES:
        error = standard_error(simulation, name)
        if name == "eps_g":
            error = np.where(resolved_times(theory).values, error, np.nan)
        mean = simulation[name].mean("replica").values
        of_theory = 0.0 if averages is None else averages[name].values
        z[name] = (theory[name].dims, (mean - theory[name].values) / np.hypot(error, of_theory))
        expected, predicted_error = _predicted(prediction, name, theory, error, simulation.sizes["replica"])
        z_predicted[name] = (theory[name].dims, (mean - expected) / np.hypot(predicted_error, of_theory))
        deviations.append(_deviation(name, z[name], z_predicted[name], error / predicted_error, mean - theory[name].values))
    return Comparison(
        theory=theory,
        simulation=simulation,
        z=z,
        z_predicted=z_predicted,
        deviations=tuple(deviations),
        prediction=prediction,
        verdict=judge(theory, simulation) if fluctuates else not_judged((_NOTHING_LEARNS if wanted else _NO_NOISE,)),
        other=other,
        agreement=() if other is None else agreement(simulation, other),
        averages=averages,
    )


def _predicted(
    prediction: xr.Dataset | None, name: str, theory: xr.Dataset, error: FloatArray, n_replicas: int
) -> tuple[FloatArray, FloatArray]:
    """Return predicted mean and standard error of a variable, the latter NaN where replicas do not differ."""
    if prediction is None:
        return theory[name].values, np.full(error.shape, np.nan)
    mean, spread = prediction[name].values
    return mean, np.where(np.isfinite(error) & (spread > 0), spread / np.sqrt(n_replicas), np.nan)


def _deviation(name: str, z: xr.DataArray, z_predicted: xr.DataArray, spread: FloatArray, difference: FloatArray) -> Deviation:
    compared = np.isfinite(z.values)
    absolute = float(np.abs(difference).max())
    nan = float("nan")
    if not compared.any():
        return Deviation(name, 0, nan, nan, nan, nan, nan, "", nan, absolute)
    index = np.unravel_index(int(np.nanargmax(np.abs(z.values))), z.shape)
    entry = ",".join(str(i) for i in index[1:])
    predicted = z_predicted.values[np.isfinite(z_predicted.values)]
    return Deviation(
        name=name,
        n_compared=int(compared.sum()),
        rms=float(np.sqrt(np.mean(z.values[compared] ** 2))),
        rms_predicted=float(np.sqrt(np.mean(predicted**2))) if len(predicted) else nan,
        beyond=float(np.mean(np.abs(predicted) > 1.96)) if len(predicted) else nan,
        spread=float(np.sqrt(np.mean(spread[np.isfinite(spread)] ** 2))) if len(predicted) else nan,
        largest=float(np.abs(z.values[index])),
        where=f"{name}[{entry}]" if entry else name,
        alpha=float(z["alpha"][index[0]]),
        largest_absolute=absolute,
    )
