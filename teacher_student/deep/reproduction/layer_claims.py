"""Claims on layers: the dimension of their activity, and how far their classes are apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.reproduction.estimates import estimate
from teacher_student.deep.reproduction.verdict import Claim, columns, listed, numbers, word


def _layers(networks: list[dict[str, Any]], when: str, quantity: str) -> Array:
    """Return a quantity of each network and layer, (networks, layers), inputs first."""
    return np.array([network[when][quantity] for network in networks])


def compactness(networks: list[dict[str, Any]], standard: list[dict[str, Any]], kind: str) -> Claim:
    """Ask whether activity gets more compact from layer to layer, more than before training and than under standard training."""
    after, before, rival = (
        _layers(runs, when, "dimension") for runs, when in ((networks, "after"), (networks, "before"), (standard, "after"))
    )
    steps = [estimate(column) for column in np.diff(after, axis=1).T]
    against = {
        "before training": [estimate(column) for column in (after - before)[:, 1:].T],
        "under standard training": [estimate(column) for column in (after - rival)[:, 1:].T],
    }
    n, falls = len(steps), sum(step.sign < 0 for step in steps)
    verdict = (
        f"{word([step.sign < 0 for step in steps], [step.sign > 0 for step in steps])}: the dimension is "
        f"{listed(estimate(column) for column in after.T)} from the input on, and falls in {falls} of {n} steps"
    )
    for name, found in against.items():
        if name == "before training" or networks is not standard:
            lower, higher = (sum(value.sign == sign for value in found) for sign in (-1, 1))
            verdict += f"; in {n} hidden layers it is lower than {name} in {lower}, higher in {higher}"
    told = {
        "after": columns(after),
        "before": columns(before),
        **{f"less {name}": [numbers(value) for value in found] for name, found in against.items()},
    }
    return Claim(f"Activity gets more compact from layer to layer ({kind})", verdict, told)


def separation(networks: list[dict[str, Any]], standard: list[dict[str, Any]], kind: str) -> Claim:
    """Ask whether class subspaces are further apart than under standard training, hidden layer by hidden layer."""
    angles = {
        "after": _layers(networks, "after", "angle"),
        "before": _layers(networks, "before", "angle"),
        "permuted labels": _layers(networks, "after", "permuted_angle"),
        "standard": _layers(standard, "after", "angle"),
        "standard before": _layers(standard, "before", "angle"),
    }
    more = [estimate(column) for column in (angles["after"] - angles["standard"])[:, 1:].T]
    gained = [estimate(column) for column in (angles["after"] - angles["before"])[:, 1:].T]
    verdict = (
        f"{word([value.sign > 0 for value in more], [value.sign < 0 for value in more])}: angles between classes are larger by "
        f"{listed(more)} degrees in the hidden layers than under standard training; training made them larger by {listed(gained)}"
    )
    return Claim(
        f"Classes are better separated than under standard training ({kind})",
        verdict,
        {name: columns(values) for name, values in angles.items()},
    )
