"""The claims, each with its estimates, its nulls and a verdict, from the results of all networks."""

from __future__ import annotations

from collections.abc import Sequence

from teacher_student.deep.reproduction.accuracy_claims import budget_claim, few_modes, growth
from teacher_student.deep.reproduction.layer_claims import compactness, separation
from teacher_student.deep.reproduction.mode_claims import WITH_MODES, bend, order, removal
from teacher_student.deep.reproduction.plan import Plan
from teacher_student.deep.reproduction.results import Results
from teacher_student.deep.reproduction.verdict import Claim


def all_claims(results: Results, plan: Plan, sizes: Sequence[int], same_test: bool, n_test: int) -> list[Claim]:
    """Return the claims in the order of the paper; `sizes` are the neurons of each layer of the networks looked into."""
    networks = results["networks"]
    found = [*few_modes(results["grid"], plan), *growth(results["grid"], plan)]
    found += [bend(networks[kind], kind, plan, sizes) for kind in networks]
    found += [order(networks[kind], kind) for kind in WITH_MODES]
    found += [removal(networks[kind], kind) for kind in networks]
    found += [compactness(networks[kind], networks["standard"], kind) for kind in networks]
    found += [separation(networks[kind], networks["standard"], kind) for kind in WITH_MODES]
    if "budget" in results:
        found.append(budget_claim(results["budget"], same_test, n_test))
    return found
