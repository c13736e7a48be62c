"""A comparison as Markdown: the runs, the verdict with its tests, and all deviations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from teacher_student.analysis.verdict import FALSE_ALARM_RATE, NOT_JUDGED, Test
from teacher_student.problem import Problem
from teacher_student.trajectory_form import problem_of, seeds_of

if TYPE_CHECKING:
    from teacher_student.analysis.compare import Comparison


def report(comparison: Comparison, seconds: Mapping[str, float] | None = None, command: str | None = None) -> str:
    """Return the comparison as Markdown; `seconds` are those of "theory", "simulation" and perhaps "other", if they are known."""
    taken = {name: f"{number:.1f} s, " for name, number in (seconds or {}).items()}
    simulation, theory, other = comparison.simulation, comparison.theory, comparison.other
    problem = _as_it_ran(simulation)
    lines = [
        f"# {problem.name}",
        "",
        problem.description,
        "",
        f"- {'' if command is None else f'Command: `{command}`, '}teacher_student {simulation.attrs['version']}",
        f"- Theory: {theory.attrs['method']}, rtol {theory.attrs['rtol']:g}, {theory.attrs['right_hand_sides']} right-hand "
        f"sides, {_points(theory)}{taken.get('theory', '')}{theory.attrs['status']}",
        _run("Simulation", simulation, taken.get("simulation", "")),
    ]
    if other is not None:
        lines.append(_run("Second simulation", other, taken.get("other", "")))
    lines += [
        f"- Compared at {simulation.sizes['alpha']} times up to alpha = {float(simulation['alpha'][-1]):g}",
        *_scaling(problem),
        *(["- The seconds include compilation where nothing was in the cache."] if taken else []),
        "",
        "## Verdict",
        "",
        *_verdict(comparison),
    ]
    if comparison.agreement:
        says = "agree with each other" if comparison.simulations_agree else "DIFFER from each other"
        lines += ["", f"The two simulations {says}:", "", "| test | finding | p |", "|---|---|---|"]
        lines += [f"| {test.name} | {test.finding} | {test.p:.2g} |" for test in comparison.agreement]
    lines += ["", *_deviations(comparison), "", "## Problem, as it ran", "", "```toml", problem.to_toml().rstrip(), "```", ""]
    return "\n".join(lines)


def _as_it_ran(simulation: xr.Dataset) -> Problem:
    """Return the problem with times, N, replicas and seed (of pooled runs the first) of the run in place of those of its file."""
    problem, replicas = problem_of(simulation), simulation.sizes["replica"]
    seed = next(iter(seeds_of(simulation)), problem.seed)
    return problem.replace(alpha=simulation["alpha"].values, n_inputs=simulation.attrs["n_inputs"], replicas=replicas, seed=seed)


def summary(comparison: Comparison) -> str:
    """Return the verdict in one line."""
    verdict = comparison.verdict
    text = f"theory and simulation: {verdict.outcome}"
    if verdict.left_out:
        text += f" (alpha not judged: {_spans(verdict.left_out)})"
    if verdict.outcome == NOT_JUDGED:
        text += f": {'; '.join(verdict.reasons)}"
    if comparison.agreement:
        text += f"; the two simulations {'agree' if comparison.simulations_agree else 'differ'}"
    return text


def _run(kind: str, simulation: xr.Dataset, seconds: str) -> str:
    return (
        f"- {kind}: SGD ({simulation.attrs['method']}), N = {simulation.attrs['n_inputs']}, {simulation.sizes['replica']} "
        f"replicas, seed {simulation.attrs['seed']}, {seconds}{simulation.attrs['status']}"
    )


def _scaling(problem: Problem) -> list[str]:
    if problem.output_scaling == "1":
        return []
    text = f"- Output scaling {problem.output_scaling} (of the teacher with M for K): v, v_teacher and eta_v below contain it"
    return [text]


def _points(theory: xr.Dataset) -> str:
    if "covariance" not in theory:
        return ""
    variance, error = (np.diagonal(theory[name].values, axis1=1, axis2=2) for name in ("covariance", "covariance_error"))
    relative = np.abs(error[variance > 0]) / variance[variance > 0]
    if not len(relative):
        return ""
    ended = theory.attrs["fluctuations_ended"]
    found = "linear noise, exact averages"
    if relative.any():
        found = (
            f"linear noise from {theory.attrs['diffusion_points']} quasi-random points (error of the predicted variances: median "
            f"{100 * np.median(relative):.1f} %, largest {100 * relative.max():.1f} %)"
        )
    return f"{found}{', which ends ' + ended if ended else ''}, "


def _verdict(comparison: Comparison) -> list[str]:
    verdict, theory = comparison.verdict, comparison.theory
    lines = [f"**{verdict.outcome}**"]
    if comparison.averages is not None:
        lines += [
            "",
            f"The theory's Gaussian averages are sampled ({theory.attrs['average_points']} points, error of the right-hand "
            f"side {theory.attrs['average_error']:.1e}). Their error moves the theory by up to "
            f"{comparison.largest_sampling_error:.2g} standard errors of these runs' mean. What follows allows for it.",
        ]
    lines += ["", verdict.meaning]
    if verdict.outcome == NOT_JUDGED:
        return lines
    lines += [
        "",
        f"All tests together raise a false alarm in {100 * FALSE_ALARM_RATE:g} of 100 correct simulations: each fails below "
        f"p = {FALSE_ALARM_RATE / len(verdict.with_shift):.2g}. Innovations are what the runs gain between times of measurement, "
        "in units of the predicted spread (see the theory page).",
        "",
        f"Judged: alpha in {_spans(verdict.judged)}."
        + (f" Left out: {_spans(verdict.left_out)}; {'; '.join(verdict.reasons)}." if verdict.left_out else ""),
        "",
        "| test | against the ODE | p | with the predicted shift | p |",
        "|---|---|---|---|---|",
    ]
    rows: list[tuple[Test, Test]] = list(zip(verdict.without_shift, verdict.with_shift, strict=True))
    lines += [f"| {a.name} | {a.finding} | {a.p:.2g} | {b.finding} | {b.p:.2g} |" for a, b in rows]
    lines += [
        "",
        "What the simulation says its parameters are, estimated together:",
        "",
        "| parameter | set | estimated |",
        "|---|---|---|",
    ]
    lines += [f"| {e.name} | {e.value:g} | {e.estimate:.6g} +- {e.error:.2g} |" for e in verdict.estimates]
    return lines


def _spans(spans: tuple[tuple[float, float], ...]) -> str:
    return ", ".join(f"{start:.4g} to {end:.4g}" for start, end in spans)


def _deviations(comparison: Comparison) -> list[str]:
    replicas = comparison.simulation.sizes["replica"]
    lines = [
        "## Deviations of the replicas' mean",
        "",
        "At every alpha, of eps_g as long as the theory's tolerance resolves it: from the ODE in the replicas' own standard "
        "errors (rms near "
        f"{_expected_rms(replicas)} for {replicas} replicas if N were infinite), and from the predicted mean at this N in "
        "predicted standard errors, with the fraction beyond 1.96 (0.05 if all were independent and normal). Entries and times "
        "are correlated; the verdict rests on the independent innovations instead. Indices count from 0.",
        "",
        "| | compared | rms | largest | where | alpha | largest, absolute | rms, predicted | beyond 1.96 | spread / predicted |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for d in comparison.deviations:
        where = f"{d.rms:.2f} | {d.largest:.2f} | {d.where} | {d.alpha:.4g}" if d.n_compared else "no spread | | |"
        predicted = f"{d.rms_predicted:.2f} | {d.beyond:.2f} | {d.spread:.2f}" if d.n_compared else "| |"
        lines.append(f"| {d.name} | {d.n_compared} | {where} | {d.largest_absolute:.2e} | {predicted} |")
    measured = [d for d in comparison.deviations if d.n_compared]
    if measured:
        worst = max(measured, key=lambda d: d.largest)
        lines += ["", f"The largest is {worst.largest:.2f} standard errors, in {worst.where} at alpha = {worst.alpha:.4g}."]
    return lines


def _expected_rms(replicas: int) -> str:
    """The standard deviation of Student's t with `replicas` - 1 degrees of freedom, where it exists."""
    degrees = replicas - 1
    return f"{np.sqrt(degrees / (degrees - 2)):.2f}" if degrees > 2 else "unbounded"
