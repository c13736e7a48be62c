"""Claims on modes: the bend of ranked importance, their order, and what their removal costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from teacher_student.arrays import Array
from teacher_student.deep.fits import LEAST_POINTS, fit_power_laws
from teacher_student.deep.reproduction.estimates import (
    Estimate,
    Null,
    estimate,
    gaussian_null,
    log_normal_null,
    rank_correlation,
    removal_cost,
    slopes,
)
from teacher_student.deep.reproduction.plan import KINDS, Plan
from teacher_student.deep.reproduction.verdict import Claim, listed, numbers, word

WITH_MODES = [kind for kind, changes in KINDS.items() if changes["decomposition"] != "none"]
_NORMAL_QUANTILE = 2.576  # of a mean whose law is known, at the level of `estimates.CONFIDENCE`
_NO_CORRELATION = 0.3


def importance_of(networks: list[dict[str, Any]], matrix: int, when: str) -> dict[str, Array]:
    """Return |sigma|, gamma |xi_in|, gamma |xi_out| and "tau" of a matrix, each (networks, P), modes in their own order."""
    parts = [network[when]["importance"][matrix] for network in networks]
    found = {name: np.array([part[name] for part in parts]) for name in ("sigma", "xi_in", "xi_out")}
    return {**found, "tau": sum(found.values(), np.zeros(1))}


def share_of_inputs(parts: dict[str, Array]) -> float:
    """Return which part |xi_in| has in the lengths of the modes of a matrix; `parts` as of `importance_of`."""
    return float(parts["xi_in"].sum() / (parts["xi_in"] + parts["xi_out"]).sum())


def n_matrices(networks: list[dict[str, Any]]) -> int:
    """Return the number of weight matrices."""
    return len(networks[0]["after"]["importance"])


def bend(networks: list[dict[str, Any]], kind: str, plan: Plan, sizes: Sequence[int]) -> Claim:
    """Compare the bend of ranked tau after training with the same networks before, and with sorted random numbers."""
    told: dict[str, Any] = {}
    after_bends, before_bends, changes, unlike = [], [], [], []
    for matrix in range(n_matrices(networks)):
        after, before = (importance_of(networks, matrix, when) for when in ("after", "before"))
        P = after["tau"].shape[1]
        if plan.first_ranks > P - 2:
            told[f"matrix {matrix}"] = f"{P} modes, too few for two slopes"
            continue
        fits = {
            when: [slopes(tau, plan.first_ranks) for tau in values["tau"]]
            for when, values in (("after", after), ("before", before))
        }
        change = estimate([a.bend - b.bend for a, b in zip(fits["after"], fits["before"], strict=True)])
        nulls = {"log-normal numbers": log_normal_null(after["tau"], plan.first_ranks)}
        if kind in WITH_MODES:
            n_in, n_out = sizes[matrix : matrix + 2]
            nulls["Gaussian factors"] = gaussian_null(P, n_in, n_out, share_of_inputs(after), plan.first_ranks)
        after_bends.append(estimate([fit.bend for fit in fits["after"]]))
        before_bends.append(estimate([fit.bend for fit in fits["before"]]))
        changes.append(change)
        unlike.append(all(_differs(after_bends[-1], null) for null in nulls.values()))
        averaged = slopes(-np.sort(-after["tau"], axis=1).mean(axis=0), plan.first_ranks)
        laws = [fit_power_laws(tau) for tau in after["tau"]] if P >= LEAST_POINTS else []
        told[f"matrix {matrix}"] = {
            **{
                f"{when}, {which}": numbers(estimate([getattr(fit, which) for fit in found]))
                for when, found in fits.items()
                for which in ("first", "second", "bend")
            },
            "bend, after less before": numbers(change),
            "slopes of tau averaged rank by rank": [averaged.first, averaged.second],
            **{f"null of {name}": vars(null) for name, null in nulls.items()},
            "unlike both nulls": unlike[-1],
            "two power laws beyond 95 of 100 sorted samples": f"{sum(fit.two_supported for fit in laws)} of {len(laws)}",
        }
    n, signs = len(changes), [change.sign for change in changes]
    supported = [a.sign < 0 and sign < 0 and other for a, sign, other in zip(after_bends, signs, unlike, strict=True)]
    contradicted = [b.sign < 0 and not made for b, made in zip(before_bends, supported, strict=True)]
    verdict = (
        f"{word(supported, contradicted)}: the second slope less the first is {listed(after_bends)} after training, and "
        f"{listed(before_bends)} before it; training makes it stronger in {signs.count(-1)} of {n} matrices, weaker in "
        f"{signs.count(1)}, and is not seen to change it in {signs.count(0)}; sorted random numbers have another in {sum(unlike)}"
    )
    return Claim(f"Training makes ranked importance two power laws ({kind})", verdict, told)


def _differs(value: Estimate, null: Null) -> bool:
    return abs(value.mean - null.bend) > _NORMAL_QUANTILE * null.deviation / np.sqrt(value.n)


def order(networks: list[dict[str, Any]], kind: str) -> Claim:
    """Ask whether tau before training, of the same mode, predicts tau after it."""
    told: dict[str, Any] = {}
    correlations = []
    for matrix in range(n_matrices(networks)):
        after, before = (importance_of(networks, matrix, when) for when in ("after", "before"))
        found = {
            name: estimate([rank_correlation(a, b) for a, b in zip(after[name], before[name], strict=True)])
            for name in ("tau", "sigma", "xi_in", "xi_out")
            if np.ptp(before[name], axis=1).min() > 1e-6 * before[name].max()  # sigma of unit fields starts equal for all modes
        }
        told[f"matrix {matrix}"] = {name: numbers(value) for name, value in found.items()}
        correlations.append(found["tau"])
    verdict = word(
        [abs(value.mean) + value.half_width < _NO_CORRELATION for value in correlations],
        [value.sign > 0 for value in correlations],
    )
    verdict += f": the rank correlation of tau before and after training is {listed(correlations)}, matrix by matrix"
    return Claim(f"Training makes the order of the modes ({kind})", verdict, told)


def removal(networks: list[dict[str, Any]], kind: str) -> Claim:
    """Ask whether removing the leading modes first costs more than a random order, and whether the tau of before does as well."""
    told: dict[str, Any] = {}
    costs: dict[str, list[Estimate]] = {}
    lost = []
    for matrix in range(n_matrices(networks)):
        rows = [{name: np.array(row) for name, row in network["removal"][matrix].items()} for network in networks]
        half = len(rows[0]["random"]) // 2
        at_half = {f"{name}, half removed": numbers(estimate([row[name][half] for row in rows])) for name in rows[0]}
        for name in rows[0].keys() - {"random"}:
            costs.setdefault(name, []).append(estimate([removal_cost(row[name], row["random"]) for row in rows]))
        told[f"matrix {matrix}"] = {**{f"cost, {name}": numbers(found[-1]) for name, found in sorted(costs.items())}, **at_half}
        if "before, descending" in costs:
            lost.append(estimate([(row["before, descending"] - row["descending"]).mean() for row in rows]))
            told[f"matrix {matrix}"]["cost, descending less before, descending"] = numbers(lost[-1])
    leading = costs["descending"]
    verdict = (
        f"{word([cost.sign > 0 for cost in leading], [cost.sign < 0 for cost in leading])}: removing the largest tau first costs "
        f"{listed(leading)} of accuracy more than a random order, matrix by matrix, on average over all numbers of modes removed"
    )
    if lost:
        verdict += (
            f"; by the tau of before training it costs {listed(costs['before, descending'])}, less than by that of after in "
            f"{sum(value.sign > 0 for value in lost)} of {len(lost)} matrices"
        )
    return Claim(f"Leading modes carry the performance ({kind})", verdict, told)
