"""The main job, `teacher-student compare`: theory and simulations of one problem, held against each other, into a folder."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from teacher_student.cli.jobs import run_simulation, run_theory, save, simulation_settings
from teacher_student.cli.requests import command_line, numbers_of_inputs, requested_problem
from teacher_student.compiled_code import compiling_simulations
from teacher_student.errors import refuse
from teacher_student.files import output_folder, replacing, save_figure
from teacher_student.outcome import DIFFERS, INTERRUPTED, OK

if TYPE_CHECKING:
    from teacher_student.analysis.compare import Comparison
    from teacher_student.problem import Problem

# The options that go into the command that a report states.
_REPLACED = ("alpha", "n_inputs", "replicas", "seed")


def run_comparison(options: argparse.Namespace) -> int:
    """Write both sides, the figure and the report into a folder, print the verdict, and return an exit status."""
    from teacher_student.analysis.compare import compare
    from teacher_student.networks import bytes_of_weights
    from teacher_student.sgd.memory import check_memory_of_runs
    from teacher_student.theory.integrate import predicts_fluctuations
    from teacher_student.times import whole_steps

    problem = requested_problem(options)
    sizes = numbers_of_inputs(options.n_inputs, problem)
    if len(sizes) > 1:
        return _compare_sizes(options, problem, sizes)
    settings = simulation_settings(problem, sizes[0], options)
    check_memory_of_runs(problem, *settings[:2], len(problem.alpha), 0)
    if options.method != "overlaps":
        check_memory_of_runs(problem, settings[0], 1, len(problem.alpha), bytes_of_weights(problem.initial, settings[0]))
    # Where the simulation is measured, so that both files hold the same times.
    alpha = whole_steps(problem.alpha, settings[0]) / settings[0]
    folder = output_folder(options.output)
    seconds = {}
    begin = time.perf_counter()
    with compiling_simulations() as wait_for_it:
        theory, status = run_theory(problem, alpha, fluctuations=predicts_fluctuations(problem))
        seconds["theory"] = time.perf_counter() - begin
        save(theory, folder / "theory.nc", status)
        if status == INTERRUPTED:
            return status
        wait_for_it()
    runs = [("simulation", "simulation.nc", "overlaps" if options.method == "both" else options.method, settings)]
    if options.method == "both":
        # Weights take longer the larger N is: a smaller ensemble of them, with random numbers of its own.
        fewer = (settings[0], max(4, settings[1] // 8), settings[2] + 1)
        runs.append(("other", "simulation-weights.nc", "weights", fewer))
    simulations = []
    for kind, name, method, chosen in runs:
        begin = time.perf_counter()
        simulation, simulation_status = run_simulation(problem, chosen, method)
        seconds[kind] = time.perf_counter() - begin
        save(simulation, folder / name, simulation_status)
        status = simulation_status or status
        if simulation is not None and simulation.sizes["alpha"] >= 2:
            simulations.append(simulation)
        if status == INTERRUPTED:
            break
    if not simulations or theory is None or theory.sizes["alpha"] < 2:
        return status
    result = compare(theory, *simulations)
    _write_comparison(result, folder, seconds, command_line(options, _REPLACED))
    return status or (OK if result.passed else DIFFERS)


def _write_comparison(result: Comparison, folder: Path, seconds: dict[str, float], command: str) -> None:
    from teacher_student.analysis.report import report, summary

    with replacing(folder / "report.md") as temporary:  # before the figure, which takes more that may fail
        temporary.write_text(report(result, seconds, command), encoding="utf-8")
    figure, _ = result.plot()
    save_figure(figure, folder / "comparison.png")
    print(f"{folder / 'comparison.png'}\n{folder / 'report.md'}\n{summary(result)}")


def _compare_sizes(options: argparse.Namespace, problem: Problem, sizes: list[int]) -> int:
    """Run the chain at several N and fit how spread and mean deviation fall with N."""
    import numpy as np

    from teacher_student.analysis.scaling import LEAST_REPLICAS, NOT_AS_PREDICTED, replicas_for, scaling
    from teacher_student.plots import finite_size_scaling

    if options.method == "weights":
        refuse("method", "weights", "overlaps or both with several n_inputs: the chain costs the same at every N")
    at_largest = LEAST_REPLICAS if options.replicas is None else options.replicas
    every = [simulation_settings(problem, N, options) for N in sizes]
    folder = output_folder(options.output)
    problem = dataclasses.replace(problem, alpha=problem.alpha[-1] * np.array([0.0, 0.05, 0.1, 0.2, 0.5, 1.0]))
    simulations = []
    for i, ((N, _, seed), replicas) in enumerate(zip(every, replicas_for(sizes, at_largest), strict=True)):
        # Every N has random numbers of its own, or the deviations at all N would be the same ones.
        simulation, status = run_simulation(problem, (N, replicas, seed + i), "overlaps")
        save(simulation, folder / f"simulation-{N}.nc", status)
        if status != OK or simulation is None:
            return status
        simulations.append(simulation)
    result = scaling(simulations)
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(result.report(problem.name, command_line(options, _REPLACED)), encoding="utf-8")
    figure, _ = finite_size_scaling(result)
    save_figure(figure, folder / "scaling.png")
    print(f"{folder / 'scaling.png'}\n{folder / 'report.md'}\nspread and deviation of the mean: {result.outcome}")
    for name, fit in (("spread", result.spread_exponent), ("deviation of the mean", result.deviation_exponent)):
        print(
            f"{name}: N^({fit.value:.3f} +- {fit.error:.3f}), chi-square {fit.chi_square:.1f}, {fit.degrees} degrees of freedom"
        )
    return DIFFERS if result.outcome == NOT_AS_PREDICTED else OK
