"""Claims on accuracy: few modes, how their number grows with the width, and what modes cost beside standard training."""

from __future__ import annotations

from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.fits import fit_width_laws, width_verdict
from teacher_student.deep.reproduction.estimates import Estimate, difference_of_accuracies, estimate
from teacher_student.deep.reproduction.measure import right_samples
from teacher_student.deep.reproduction.plan import ON_THE_GRID, Plan, grid_name
from teacher_student.deep.reproduction.verdict import Claim, numbers
from teacher_student.deep.widths import LeastModes, crossing

Runs = dict[str, list[dict[str, Any]]]  # results of one section by name, seeds in their order


def grid(results: Runs, kind: str, plan: Plan) -> LeastModes:
    """Return accuracies on the grid as those of `least_modes`."""
    accuracy = np.array(
        [[[r["accuracy"] for r in results[grid_name(kind, N, P)]] for P in plan.n_modes] for N in plan.widths]
    ).transpose(0, 2, 1)
    standard = np.array([[r["accuracy"] for r in results[grid_name("standard", N, 0)]] for N in plan.widths])
    least = [
        [crossing(plan.n_modes, row, plan.fraction * best) for row, best in zip(rows, bests, strict=True)]
        for rows, bests in zip(accuracy, standard, strict=True)
    ]
    return LeastModes(np.array(plan.widths), np.array(plan.n_modes), plan.fraction, accuracy, standard, np.array(least))


def few_modes(results: Runs, plan: Plan) -> list[Claim]:
    """Ask whether the modes tried reach a given part of standard accuracy at every width."""
    claims = []
    for kind in ON_THE_GRID[:2]:
        found = grid(results, kind, plan)
        missed = found.widths[~np.isfinite(found.mean)]
        least = {f"N={N}": numbers(estimate(row)) for N, row in zip(found.widths, found.least, strict=True)}
        lost = {
            f"N={N}": numbers(estimate(standard - accuracy[:, -1]))
            for N, standard, accuracy in zip(found.widths, found.standard, found.accuracy, strict=True)
        }
        if len(missed) == 0:
            verdict = f"held: {found.mean.min():.1f} to {found.mean.max():.1f} modes reach {plan.fraction:g} of standard accuracy"
        elif len(missed) == len(found.widths):
            verdict = f"did not hold: at no width do {plan.n_modes[-1]} modes reach {plan.fraction:g} of standard accuracy"
        else:
            verdict = f"held in part: not with {plan.n_modes[-1]} modes at N = {', '.join(map(str, missed))}"
        found_numbers = {"least": least, f"standard less P={plan.n_modes[-1]}": lost}
        claims.append(Claim(f"A few modes are enough ({kind})", verdict, found_numbers))
    return claims


def growth(results: Runs, plan: Plan) -> list[Claim]:
    """Ask which law the least number of modes follows."""
    claims = []
    for kind in ON_THE_GRID[:2]:
        found = grid(results, kind, plan)
        fits = [] if found.obstacle else fit_width_laws(found.widths, found.mean, found.error)
        verdict = width_verdict(fits) if fits else f"not decided: {found.obstacle}"
        laws = {fit.name: {"BIC": fit.bic, **fit.parameters} for fit in fits}
        claims.append(Claim(f"The least number of modes grows like ln N, then stays constant ({kind})", verdict, laws))
    return claims


BUDGET_PAIRS: dict[str, tuple[str, str]] = {
    "a constant rate": ("standard, constant rate", "modes, constant rate"),
    "a falling rate": ("standard", "modes"),
    "a falling rate, small start": ("standard", "modes, small start"),
    "a falling rate, spectral start": ("standard", "modes, spectral start"),
    "a falling rate, many modes in the first matrix": ("standard", "modes, many in the first matrix"),
    "a falling rate, many modes in the second matrix": ("standard", "modes, many in the second matrix"),
    "a falling rate, many modes in all": ("standard", "modes, many in all"),
    "a high rate that falls, many modes in all": ("standard, high rate", "modes, many in all, high rate"),
    "a constant rate, narrow": ("standard, constant rate, narrow", "modes, constant rate, narrow"),
    "a falling rate, narrow": ("standard, narrow", "modes, narrow"),
}


# What is compared with modes at a falling rate, to see what closes the difference.
REMEDIES = ("small start", "spectral start", "many in the first matrix", "many in the second matrix", "many in all")


def budget_differences(results: Runs, same_test: bool, n_test: int) -> dict[str, Estimate]:
    """Return by how much modes fall short of standard training under the same budget, for the `BUDGET_PAIRS` that there are."""
    right = _right(results, n_test)
    return {
        label: difference_of_accuracies(right[standard], right[modes], same_test)
        for label, (standard, modes) in BUDGET_PAIRS.items()
        if modes in right
    }


def remedies(results: Runs, same_test: bool, n_test: int) -> dict[str, Estimate]:
    """Return by how much each of `REMEDIES` makes modes more accurate, at a falling rate."""
    right = _right(results, n_test)
    return {name: difference_of_accuracies(right[f"modes, {name}"], right["modes"], same_test) for name in REMEDIES}


def _right(results: Runs, n_test: int) -> dict[str, Array]:
    return {name: np.array([right_samples(result, n_test) for result in runs]) for name, runs in results.items()}


def budget_claim(results: Runs, same_test: bool, n_test: int) -> Claim:
    """Ask where modes are as accurate as standard training with the same data, batches and epochs."""
    found = budget_differences(results, same_test, n_test)
    told = {"short of standard training by": 1, "beyond it by": -1, "not told apart from it": 0}
    verdicts = []
    for words, sign in told.items():
        where = [f"{value} with {label}" for label, value in found.items() if value.sign == sign]
        if where:
            verdicts.append(f"{words} {', '.join(where)}" if sign else f"{words}, {', '.join(where)}")
    gained = remedies(results, same_test, n_test)
    changes = [f"{value} with {name}{'' if value.sign else ' (not told from 0)'}" for name, value in gained.items()]
    verdict = "; ".join([*verdicts, f"modes at a falling rate gain {', '.join(changes)}"])
    accuracies = {
        name: {key: numbers(estimate([r[key] for r in runs])) for key in ("accuracy", "training_accuracy", "loss")}
        for name, runs in results.items()
    }
    gains = {name: numbers(value) for name, value in gained.items()}
    differences = {label: numbers(value) for label, value in found.items()}
    return Claim(
        "Modes are as accurate as standard training",
        verdict,
        {"standard less modes": differences, "gain of modes": gains, **accuracies},
    )
