"""Which networks the reproduction trains: one a part, each with the parameters of its classifier and the seed of its data."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacher_student.deep.checks import check_number, whole_numbers
from teacher_student.deep.estimators import ModeMLPClassifier
from teacher_student.deep.latent import check_directions
from teacher_student.deep.network import build_architecture
from teacher_student.deep.parameters import check_parameters
from teacher_student.deep.problem_file import DeepProblem
from teacher_student.errors import InvalidInput, check_whole, refuse

# Which networks are looked into: what they change in the parameters of the problem.
KINDS: dict[str, dict[str, Any]] = {
    "1L2P": {"decomposition": "modes"},
    "1L1P": {"decomposition": "shared"},
    "1L2P from unit fields": {"decomposition": "modes", "initialisation": "unit-fields"},
    "standard": {"decomposition": "none", "initialisation": "unit-fields"},
}
OF_THE_BUDGET = ("seeds", "many_modes", "high_rate")  # keys of [budget] that are no parameters of a classifier
ON_THE_GRID = ("1L2P", "1L1P", "standard")


@dataclass(frozen=True)
class Plan:
    """Numbers of the reproduction, from the tables [reproduce], [widths], [latent] and [budget] of a problem.

    `networks` of each kind are looked into, `first_ranks` are those of the first of two fits, `n_draws` random orders of removal
    are averaged, and `k` directions span a class. The grid has `widths`, `n_modes`, `seeds` and `n_hidden` layers, and asks for
    `fraction` of standard accuracy. `budget` is as in the file.
    """

    networks: int
    first_ranks: int
    n_draws: int
    k: int
    widths: tuple[int, ...]
    n_modes: tuple[int, ...]
    seeds: int
    n_hidden: int
    fraction: float
    budget: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One network: its section and name, the parameters of its classifier, and what is changed in it before training."""

    section: str
    name: str
    seed: int
    model: dict[str, Any]
    small_start: bool = False

    @property
    def file(self) -> str:
        """Name of the file that its results are kept in."""
        return f"{self.section}, {self.name}, seed {self.seed}.json".replace(" ", "-").replace(",", "").replace("=", "")


def build_plan(problem: DeepProblem) -> Plan:
    """Return the plan of a problem; raises `InvalidInput` for numbers that are impossible."""
    reproduce, widths = problem.reproduce, problem.widths
    plan = Plan(
        networks=reproduce.get("networks", 5),
        first_ranks=reproduce.get("first_ranks", 10),
        n_draws=reproduce.get("n_draws", 10),
        k=problem.latent.get("k", 2),
        widths=_increasing("widths.widths", widths.get("widths", [25, 50, 100, 200])),
        n_modes=_increasing("widths.n_modes", widths.get("n_modes", [2, 5, 10, 20])),
        seeds=widths.get("seeds", 3),
        n_hidden=widths.get("n_hidden", 2),
        fraction=widths.get("fraction", 0.97),
        budget=problem.budget,
    )
    for name, value in (("reproduce.networks", plan.networks), ("widths.seeds", plan.seeds), ("reproduce.n_draws", plan.n_draws)):
        check_whole(name, value, 2)
    check_whole("reproduce.first_ranks", plan.first_ranks, 2)
    check_whole("widths.n_hidden", plan.n_hidden)
    check_number("widths.fraction", plan.fraction, 0.0, above=True)
    if plan.fraction > 1:
        refuse("widths.fraction", plan.fraction, "a part of standard accuracy, above 0 and at most 1")
    if plan.budget:
        whole_numbers("budget.hidden_layer_sizes", plan.budget.get("hidden_layer_sizes", 100))
        check_whole("budget.n_modes", plan.budget.get("n_modes", 30))
        check_whole("budget.seeds", plan.budget.get("seeds", 5), 2)
        check_whole("budget.many_modes", plan.budget.get("many_modes", 200))
    return plan


def _increasing(name: str, values: Any) -> tuple[int, ...]:
    numbers = whole_numbers(name, values)
    if len(numbers) < 2 or any(a >= b for a, b in itertools.pairwise(numbers)):
        refuse(name, values, "at least two increasing whole numbers")
    return numbers


def all_parts(problem: DeepProblem, plan: Plan) -> list[Part]:
    """Return the parts in the order in which they are done: the networks looked into, the grid, the budget."""
    first = problem.model.get("random_state", 0)
    parts = [
        Part("networks", kind, first + i, {**problem.model, **changes})
        for i in range(plan.networks)
        for kind, changes in KINDS.items()
    ]
    for i in range(plan.seeds):
        for N in plan.widths:
            for kind in ON_THE_GRID:
                for P in plan.n_modes if kind != "standard" else (0,):
                    sizes = {"hidden_layer_sizes": [N] * plan.n_hidden}
                    model = {**problem.model, **sizes, **({"n_modes": P} if P else {}), **KINDS[kind]}
                    parts.append(Part("grid", grid_name(kind, N, P), first + i, model))
    budget = {key: value for key, value in plan.budget.items() if key not in OF_THE_BUDGET}
    for i in range(plan.budget.get("seeds", 5) if plan.budget else 0):
        for name, changes in budget_variants(plan.budget, problem.model.get("hidden_layer_sizes", 100)).items():
            parts.append(Part("budget", name, first + i, {**budget, **changes}, small_start=name == "modes, small start"))
    return [Part(p.section, p.name, p.seed, {**p.model, "random_state": p.seed}, p.small_start) for p in parts]


def grid_name(kind: str, N: int, P: int) -> str:
    """Return the name of a network on the grid; `P` is 0 under standard training."""
    return f"{kind} N={N} P={P}" if P else f"{kind} N={N}"


def budget_variants(budget: dict[str, Any], looked_into: Any) -> dict[str, dict[str, Any]]:
    """Return what each network of the comparison of accuracies changes; "narrow" ones have the hidden layers `looked_into`."""
    P, many = budget.get("n_modes", 30), budget.get("many_modes", 200)
    n_matrices = np.size(budget.get("hidden_layer_sizes", 100)) + 1
    modes, standard = {"decomposition": "modes", "n_modes": P}, {"decomposition": "none"}
    falling, spectral = {"schedule": "cosine"}, {"initialisation": "spectral"}
    variants = {
        "standard, constant rate": {**standard, "schedule": "constant"},
        "modes, constant rate": {**modes, "schedule": "constant"},
        "standard": {**standard, **falling},
        "modes": {**modes, **falling},
        "modes, small start": {**modes, **falling},
        "modes, spectral start": {**modes, **falling, **spectral},
        "modes, many in the first matrix": {**modes, **falling, "n_modes": [many] + [P] * (n_matrices - 1)},
        "modes, many in the second matrix": {**modes, **falling, "n_modes": [P, many] + [P] * (n_matrices - 2)},
        "modes, many in all": {**modes, **falling, "n_modes": many},
    }
    if "high_rate" in budget:
        high = {**falling, "learning_rate": budget["high_rate"]}
        variants |= {
            "standard, high rate": {**standard, **high},
            "modes, many in all, high rate": {**modes, **high, "n_modes": many},
        }
    if looked_into != budget.get("hidden_layer_sizes", 100):
        plain = ("standard, constant rate", "modes, constant rate", "standard", "modes")
        variants |= {f"{name}, narrow": {**variants[name], "hidden_layer_sizes": looked_into} for name in plain}
    return variants


def check_parts(parts: list[Part], plan: Plan, n_features: int, y_test: Any) -> None:
    """Raise `InvalidInput` for the first part that cannot be trained or looked into, before any is."""
    for part in parts:
        model = ModeMLPClassifier(**part.model)
        try:
            check_parameters(model)
            sizes = (n_features, *whole_numbers("hidden_layer_sizes", model.hidden_layer_sizes), len(np.unique(y_test)))
            architecture = build_architecture(sizes, model.n_modes, model.decomposition, model.activation)
        except InvalidInput as error:
            raise InvalidInput(f"{part.section}: {error}") from None
        if part.section == "networks":
            check_directions(plan.k, min(sizes[:-1]), y_test)
            P = min(architecture.n_modes)
            if P and plan.first_ranks > P - 2:
                refuse("reproduce.first_ranks", plan.first_ranks, f"at most {P - 2}, two less than there are modes")
