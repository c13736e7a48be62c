"""Theory against simulation: deviations of the replicas' mean in units of its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from teacher_student.errors import refuse
from teacher_student.problem_file import parse_problem
from teacher_student.theory.integrate import integrate

FloatArray = npt.NDArray[np.float64]

VARIABLES = ("eps_g", "Q_modes", "R_modes", "sigma", "xi_out", "v", "Q", "R")

# Replicas that start from the same overlaps differ by rounding alone: no spread to compare with.
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Deviation:
    """How far the mean of the replicas is from the theory, for one order parameter over all times and indices.

    Attributes
    ----------
    name : str
        The order parameter.
    n_compared : int
        Entries with a spread between replicas; frozen ones have none.
    rms, largest : float
        Root mean square and largest absolute deviation, in standard errors of the mean (Student's t for few replicas).
    where, alpha : str, float
        Entry and time of the largest.
    largest_absolute : float
        Largest absolute deviation as it is, over all entries.
    """

    name: str
    n_compared: int
    rms: float
    largest: float
    where: str
    alpha: float
    largest_absolute: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """A theory and a simulation at the same times, and their deviations.

    Attributes
    ----------
    theory, simulation : xarray.Dataset
        The trajectories, at the same alpha.
    z : xarray.Dataset
        (mean over replicas - theory) / standard error for every variable; NaN where replicas do not differ.
    deviations : tuple of Deviation
        One a variable.
    """

    theory: xr.Dataset
    simulation: xr.Dataset
    z: xr.Dataset
    deviations: tuple[Deviation, ...]

    def plot(self) -> tuple[Any, Any]:
        """Return the comparison figure, (fig, axes)."""
        from teacher_student.plots import comparison  # matplotlib takes a while, and only figures need it

        return comparison(self.theory, self.simulation)


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


def compare(theory: xr.Dataset, simulation: xr.Dataset) -> Comparison:
    """Compare a theory trajectory with a simulation of the same problem.

    Simulations are measured at whole steps. If the theory is not given at just these times, its problem (an attribute of the
    trajectory) is integrated again at them.

    Raises
    ------
    InvalidInput
        If the two are not a theory and a simulation, their shapes differ, or there is no time they share.
    """
    for argument, trajectory, replicas in (("theory", theory, False), ("simulation", simulation, True)):
        if not isinstance(trajectory, xr.Dataset) or ("replica" in trajectory.dims) != replicas:
            refuse(argument, type(trajectory).__name__, f"a trajectory {'with' if replicas else 'without'} replicas")
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
    if not np.array_equal(theory["alpha"].values, simulation["alpha"].values):
        problem = parse_problem(theory.attrs["problem"])
        options = {name: theory.attrs[name] for name in ("method", "rtol", "atol")}
        theory = integrate(problem, simulation["alpha"].values, progress=False, **options)
    z = xr.Dataset(coords={"alpha": simulation["alpha"]})
    deviations = []
    for name in VARIABLES:
        difference = simulation[name].mean("replica").values - theory[name].values
        z[name] = (theory[name].dims, difference / standard_error(simulation, name))
        deviations.append(_deviation(name, z[name], difference))
    return Comparison(theory, simulation, z, tuple(deviations))


def _deviation(name: str, z: xr.DataArray, difference: FloatArray) -> Deviation:
    compared = np.isfinite(z.values)
    absolute = float(np.abs(difference).max())
    if not compared.any():
        return Deviation(name, 0, float("nan"), float("nan"), "", float("nan"), absolute)
    index = np.unravel_index(int(np.nanargmax(np.abs(z.values))), z.shape)
    entry = ",".join(str(i) for i in index[1:])
    return Deviation(
        name=name,
        n_compared=int(compared.sum()),
        rms=float(np.sqrt(np.nanmean(z.values**2))),
        largest=float(np.abs(z.values[index])),
        where=f"{name}[{entry}]" if entry else name,
        alpha=float(z["alpha"][index[0]]),
        largest_absolute=absolute,
    )


def report(comparison: Comparison, seconds: dict[str, float], command: str) -> str:
    """Return the comparison as Markdown: what was run and how long, the deviations, where the largest is, the problem."""
    simulation, theory = comparison.simulation, comparison.theory
    problem = parse_problem(simulation.attrs["problem"])
    replicas = simulation.sizes["replica"]
    lines = [
        f"# {problem.name}",
        "",
        problem.description,
        "",
        f"- Command: `{command}`, teacher_student {simulation.attrs['version']}",
        f"- Theory: {theory.attrs['method']}, rtol {theory.attrs['rtol']:g}, "
        f"{theory.attrs['right_hand_sides']} right-hand sides, {seconds['theory']:.1f} s, {theory.attrs['status']}",
        f"- Simulation: SGD ({simulation.attrs['method']}), N = {simulation.attrs['n_inputs']}, {replicas} replicas, "
        f"seed {simulation.attrs['seed']}, {seconds['simulation']:.1f} s, {simulation.attrs['status']}",
        f"- Compared at {simulation.sizes['alpha']} times up to alpha = {float(simulation['alpha'][-1]):g}",
        "- The seconds include compilation where nothing was in the cache.",
        "",
        "## Deviation of the replicas' mean from the theory",
        "",
        "In units of the replicas' standard error. For N -> infinity the rms is near 1 "
        f"({_expected_rms(replicas)} for {replicas} replicas); at finite N the mean itself lies O(1/N) off the ODE.",
        "",
        "| | compared | rms | largest | where | alpha | largest, absolute |",
        "|---|---|---|---|---|---|---|",
    ]
    for d in comparison.deviations:
        where = f"{d.rms:.2f} | {d.largest:.2f} | {d.where} | {d.alpha:.4g}" if d.n_compared else "no spread | | |"
        lines.append(f"| {d.name} | {d.n_compared} | {where} | {d.largest_absolute:.2e} |")
    measured = [d for d in comparison.deviations if d.n_compared]
    if measured:
        worst = max(measured, key=lambda d: d.largest)
        lines += ["", f"The largest is {worst.largest:.2f} standard errors, in {worst.where} at alpha = {worst.alpha:.4g}."]
    lines += ["", "## Problem", "", "```toml", problem.to_toml().rstrip(), "```", ""]
    return "\n".join(lines)


def _expected_rms(replicas: int) -> str:
    """The standard deviation of Student's t with `replicas` - 1 degrees of freedom, where it exists."""
    degrees = replicas - 1
    return f"{np.sqrt(degrees / (degrees - 2)):.2f}" if degrees > 2 else "unbounded"
