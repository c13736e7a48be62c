"""Views of a flat buffer: they show it, and none of them outlives it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import teacher_student
from teacher_student.kernels import njit
from teacher_student.layout import Sizes
from teacher_student.theory.step import step_at, step_size

PACKAGE = Path(teacher_student.__file__).parent
MAKERS = {"view", "step_at", "factors_at", "forces_at", "matrices_at", "state_at"}
# Bundles that hold their buffer; of these a local array may be the buffer.
HOLDERS = {"step_at", "state_at"}
ALLOCATIONS = {"empty", "zeros", "ones", "empty_like", "zeros_like", "copy"}


def _called(node: ast.AST) -> str:
    """Return the last name of what `node` calls, or nothing."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def unheld(source: str) -> list[str]:
    """Return the calls in `source` that make views of an array that the same function allocates, and that nothing else holds."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        local = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                targets, value = node.targets[0], node.value
                pairs = (
                    zip(targets.elts, value.elts, strict=True)
                    if isinstance(targets, ast.Tuple) and isinstance(value, ast.Tuple)
                    else [(targets, value)]
                )
                local |= {target.id for target, of in pairs if isinstance(target, ast.Name) and _called(of) in ALLOCATIONS}
        for node in ast.walk(function):
            name = _called(node)
            if name in MAKERS - HOLDERS and isinstance(node, ast.Call):
                buffer = node.args[0]
                if _called(buffer) in ALLOCATIONS or (isinstance(buffer, ast.Name) and buffer.id in local):
                    found.append(f"{function.name}: {ast.unparse(node)}")
    return found


def test_no_view_is_made_of_a_local_array_that_nothing_holds() -> None:
    """Negative controls: the same with the array named before, and without a name."""
    assert unheld("def f(n):\n work, x = np.empty(n), 1\n return factors_at(work, 0, n)") == ["f: factors_at(work, 0, n)"]
    assert unheld("def f(n):\n return view(np.zeros(n), 0, (n,))") == ["f: view(np.zeros(n), 0, (n,))"]
    assert unheld("def f(n):\n work = np.empty(n)\n step = step_at(work, n)\n return step.h[0]") == []
    assert {str(path): calls for path in PACKAGE.rglob("*.py") if (calls := unheld(path.read_text()))} == {}


@njit
def _first_of_step(sizes: Sizes, n: int) -> float:
    work = np.empty(step_size(sizes))
    step = step_at(work, sizes)
    for a in range(len(step.h)):
        step.h[a] = 1.0
    # If the buffer were freed by now, one of these arrays would lie where it was.
    for _ in range(n):
        other = np.full(step_size(sizes), -7.0)
        if other[0] + step.h[0] != -6.0:
            return step.h[0]
    return step.h[0]


@pytest.mark.parametrize("sizes", [Sizes(2, 2, 2), Sizes(3, 5, 1)])
def test_a_step_keeps_its_buffer(sizes: Sizes) -> None:
    assert _first_of_step(sizes, 100) == 1.0
