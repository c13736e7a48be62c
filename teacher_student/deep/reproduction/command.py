"""The command `deep reproduce`: what was asked for, all networks, the claims, and the files."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from dataclasses import asdict
from functools import cache

import numpy as np

from teacher_student import __version__
from teacher_student.deep.data import OPENML_NAMES, Data, load_data
from teacher_student.deep.numbers import finite
from teacher_student.deep.reproduction import figures
from teacher_student.deep.reproduction.claims import all_claims
from teacher_student.deep.reproduction.plan import Part, all_parts, build_plan, check_parts
from teacher_student.deep.reproduction.results import complete
from teacher_student.deep.reproduction.verdict import Claim
from teacher_student.deep.requests import requested_problem
from teacher_student.files import output_folder, replacing

INTERRUPTED = 130
PARTS = "networks"


def reproduce(options: argparse.Namespace) -> int:
    """Train all networks of a problem, or go on where the same command was interrupted; write claims and figures."""
    problem = requested_problem(options)
    plan = build_plan(problem)
    parts = all_parts(problem, plan)
    folder = output_folder(options.output)
    # Data with a test part of their own have the same for all networks; of others each network's seed draws a part.
    same_test = problem.data["name"] in OPENML_NAMES and "folder" in problem.data

    @cache
    def data_with(seed: int, inputs: str) -> Data:
        return load_data(**{**problem.data, "seed": seed, "inputs": inputs})

    def data_of(part: Part) -> Data:
        inputs = "standardised" if part.section == "budget" else problem.data.get("inputs", "standardised")
        return data_with(0 if same_test else part.seed, inputs)

    data = data_of(parts[0])
    check_parts(parts, plan, data.X_train.shape[1], data.y_test)
    print(f"{len(parts)} networks; Ctrl-C keeps those that are done, and the same command goes on", file=sys.stderr)
    try:
        results = complete(parts, plan, folder / PARTS, data_of)
    except KeyboardInterrupt as error:
        print(f"teacher-student: interrupted; {error}; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    sizes = [data.X_train.shape[1], *np.atleast_1d(parts[0].model["hidden_layer_sizes"]).tolist(), len(np.unique(data.y_test))]
    claims = all_claims(results, plan, sizes, same_test, len(data.y_test))
    document = {
        "version": __version__,
        "problem": problem.name,
        "data": {"name": data.name, "training": len(data.X_train), "test": len(data.X_test)},
        "settings": {name: table for name, table in asdict(problem).items() if name not in ("name", "description", "data")},
        "cpu_seconds": round(sum(run["cpu_seconds"] for kinds in results.values() for runs in kinds.values() for run in runs)),
        "accuracy": {kind: [round(run["accuracy"], 4) for run in runs] for kind, runs in results["networks"].items()},
        "claims": [asdict(claim) for claim in claims],
    }
    text = report(claims)
    for name, content in (("claims.json", json.dumps(finite(document), indent=1, allow_nan=False) + "\n"), ("claims.txt", text)):
        with replacing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(text, end="")
    print("\n".join([*figures.write(results, plan, sizes, same_test, len(data.y_test), folder), str(folder / "claims.json")]))
    return 0


def report(claims: list[Claim]) -> str:
    """Return the claims and verdicts as text."""

    def wrapped(text: str) -> str:
        whole = text.replace(" +- ", "\u00a0+-\u00a0")  # a number stays in one line with its error
        filled = textwrap.fill(whole, 100, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        return filled.replace("\u00a0", " ")

    return "\n\n".join(f"{claim.claim}\n{wrapped(claim.verdict)}" for claim in claims) + "\n"
