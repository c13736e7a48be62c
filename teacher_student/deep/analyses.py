"""The deep commands that look into networks or compare them: importance | ablate | latent | widths | cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from teacher_student.deep import figures
from teacher_student.deep.cost import compare_costs
from teacher_student.deep.fits import LEAST_POINTS, Fit, fit_power_laws, fit_width_laws, width_verdict
from teacher_student.deep.importance import ablate, mode_importance
from teacher_student.deep.latent import check_directions, latent_geometry
from teacher_student.deep.numbers import finite
from teacher_student.deep.requests import requested_data, requested_network, requested_problem, trained, with_modes
from teacher_student.deep.training import uninterrupted
from teacher_student.deep.widths import least_modes
from teacher_student.errors import check_whole, refuse
from teacher_student.files import output_folder, replacing, save_figure

_ERRORS = "lower bounds: ranked numbers are not independent"


def _importance(options: argparse.Namespace) -> int:
    folder = output_folder(options.output)
    model, matrix, _ = requested_network(options)
    tau = np.sort(mode_importance(model.layers_[matrix]))[::-1]
    numbers: dict[str, Any] = {"matrix": matrix, "tau": tau.tolist()}
    if len(tau) < LEAST_POINTS:
        numbers["verdict"] = f"no power law fitted: it needs {LEAST_POINTS} modes or more"
        figure = figures.importance(tau)[0]
    else:
        laws = fit_power_laws(tau)
        fits = (laws.one, laws.two, laws.exponential)
        numbers |= {
            "conclusion": laws.conclusion,
            "verdict": laws.verdict,
            "errors": _ERRORS,
            **{fit.name: {"parameters": fit.parameters, "errors": fit.errors} for fit in fits},
        }
        figure = figures.importance(laws)[0]
    print(f"matrix {matrix}, {len(tau)} modes: {numbers.get('conclusion', numbers['verdict'])}")
    print(f"tau from {tau[0]:.3f} down to {tau[-1]:.3f}, a factor of {tau[0] / tau[-1]:.2f}")
    if len(tau) >= LEAST_POINTS:
        for fit in fits:
            _print_fit(fit)
        print(f"of the laws: {laws.verdict}\nerrors are {_ERRORS}")
    return _write(folder, "importance", figure, numbers)


def _ablate(options: argparse.Namespace) -> int:
    folder = output_folder(options.output)
    model, matrix, load = requested_network(options)
    data = load()
    result = ablate(model, data.X_test, data.y_test, matrix, np.random.default_rng(0))
    half = len(result.removed) // 2
    for order, accuracy in result.accuracy.items():
        print(f"{order:10s} all modes {accuracy[0]:.3f}, {half} removed {accuracy[half]:.3f}, none left {accuracy[-1]:.3f}")
    numbers = {"matrix": matrix, "accuracy": {order: values.tolist() for order, values in result.accuracy.items()}}
    return _write(folder, "ablation", figures.ablation(result)[0], numbers)


def _latent(options: argparse.Namespace) -> int:
    problem = requested_problem(options)
    seeds, k = problem.latent.get("seeds", 3), problem.latent.get("k", 2)
    check_whole("latent.seeds", seeds)
    folder = output_folder(options.output)
    data = requested_data(problem)
    smallest = min([data.X_test.shape[1], *np.atleast_1d(problem.model.get("hidden_layer_sizes", 100))])
    check_directions(k, smallest, data.y_test)
    decomposition = with_modes(problem.model).get("decomposition", "modes")
    first = problem.model.get("random_state", 0)
    results: dict[str, list[Any]] = {"modes": [], "standard training": []}
    for name, kind in (("modes", decomposition), ("standard training", "none")):
        for seed in range(first, first + seeds):
            print(f"{name}, seed {seed}", file=sys.stderr)
            model = uninterrupted(trained(problem, data, decomposition=kind, random_state=seed))
            results[name].append(latent_geometry(model, data.X_test, data.y_test, k))
    for name, runs in results.items():
        for quantity in ("dimension", "angle", "permuted_angle"):
            values = [getattr(run, quantity) for run in runs]
            print(
                f"{name}: {quantity} by layer " + ", ".join(f"{sum(column) / seeds:.2f}" for column in zip(*values, strict=True))
            )
    numbers = {
        name: [{key: value.tolist() for key, value in asdict(run).items()} for run in runs] for name, runs in results.items()
    }
    _write(folder, "dimension", figures.dimension(results)[0], numbers)
    return _write(folder, "separation", figures.separation(results)[0], numbers)


def _widths(options: argparse.Namespace) -> int:
    problem = requested_problem(options)
    for key in ("widths", "n_modes"):
        _check_list(f"widths.{key}", problem.widths.get(key))
    folder = output_folder(options.output)
    dropped, first_seed = ("hidden_layer_sizes", "n_modes", "random_state"), problem.model.get("random_state", 0)
    settings = {key: value for key, value in with_modes(problem.model).items() if key not in dropped}
    result = least_modes(requested_data(problem), **problem.widths, first_seed=first_seed, **settings)
    for i, N in enumerate(result.widths):
        least = f"{result.mean[i]:.2f} +- {_error(result.error[i])}" if np.isfinite(result.mean[i]) else "beyond those tried"
        print(f"N = {N}: standard {result.standard[i].mean():.4f}, least P {least}")
    if len(result.bounded):
        print(f"N = {', '.join(map(str, result.bounded))}: upper bounds, P = {result.n_modes[0]} is enough for a seed")
    fits = [] if result.obstacle else fit_width_laws(result.widths, result.mean, result.error)
    for fit in fits:
        _print_fit(fit)
    verdict = width_verdict(fits) if fits else f"no law fitted: {result.obstacle}"
    print(verdict)
    _write(folder, "accuracy", figures.accuracy_against_modes(result)[0], {"accuracy": result.accuracy.tolist()})
    numbers = {
        "widths": result.widths.tolist(),
        "n_modes": result.n_modes.tolist(),
        "least": result.least.tolist(),
        "upper_bounds": result.bounded.tolist(),
        "standard": result.standard.tolist(),
        "verdict": verdict,
        "laws": {fit.name: {"BIC": fit.bic, "parameters": fit.parameters, "errors": fit.errors} for fit in fits},
    }
    return _write(folder, "least-modes", figures.least_modes(result, fits)[0], numbers)


def _cost(options: argparse.Namespace) -> int:
    problem = requested_problem(options)
    n_modes = problem.cost.get("n_modes", [2, 4, 8, 20])
    _check_list("cost.n_modes", n_modes)
    folder = output_folder(options.output)
    costs = compare_costs(requested_data(problem), n_modes, {**with_modes(problem.model), "verbose": True})
    print("    P  parameters  operations  CPU [s]  clock [s]  test accuracy")
    for cost in costs:
        label = "W" if cost.n_modes == 0 else str(cost.n_modes)
        times = f"{cost.cpu_seconds:7.2f}  {cost.seconds:9.2f}"
        print(f"{label:>5s}  {cost.parameters:10d}  {cost.operations:10.3g}  {times}  {cost.accuracy:13.4f}")
    return _write(folder, "cost", figures.training_costs(costs)[0], [asdict(cost) for cost in costs])


def _check_list(name: str, value: object) -> None:
    if not isinstance(value, list) or not value:
        refuse(name, value, "a list of whole numbers")


def _print_fit(fit: Fit) -> None:
    values = ", ".join(f"{name} = {value:.4g} +- {_error(fit.errors[name])}" for name, value in fit.parameters.items())
    print(f"{fit.name}: {values} (BIC {fit.bic:.1f})")


def _error(error: float) -> str:
    return f"{error:.2g}" if np.isfinite(error) else "undetermined"


def _write(folder: Path, name: str, figure: Figure, numbers: object) -> int:
    """Write NAME.png and NAME.json into `folder`."""
    save_figure(figure, folder / f"{name}.png")
    with replacing(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(finite(numbers), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"{folder / name}.png\n{folder / name}.json")
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from teacher_student.deep.reproduction.command import reproduce

    return reproduce(options)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "importance": _importance,
    "ablate": _ablate,
    "latent": _latent,
    "widths": _widths,
    "cost": _cost,
    "reproduce": _reproduce,
}
