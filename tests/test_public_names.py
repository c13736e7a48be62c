"""Public names: imported on first use, the same for type checkers and documentation, and all that studies use."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import teacher_student as ts

ROOT = Path(__file__).parents[1]


def typed_names(package: ModuleType) -> dict[str, str]:
    """Return the names that `package` imports for type checkers, each with where from."""
    tree = ast.parse(Path(inspect.getfile(package)).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [line for block in blocks for line in block.body if isinstance(line, ast.ImportFrom)]
    assert all(alias.asname == alias.name for line in imports for alias in line.names)  # else they are private to type checkers
    return {alias.name: f"{line.module}" for line in imports for alias in line.names}


@pytest.mark.parametrize("package", [ts, ts.deep], ids=lambda package: package.__name__)
def test_type_checkers_see_every_public_name(package: ModuleType) -> None:
    modules = {name: package.__name__ for name in (*package._MODULES, *getattr(package, "_WITH_EXTRA", ()))}
    functions = {name: f"{package.__name__}.{module}" for name, module in package._WHERE.items()}
    assert typed_names(package) == {**modules, **functions}
    assert set(dir(package)) - {"__version__"} == set(modules) | set(functions)


@pytest.mark.parametrize("package", [ts, ts.deep], ids=lambda package: package.__name__)
def test_public_names_exist(package: ModuleType) -> None:
    for name in dir(package):
        assert getattr(package, name) is not None


def test_public_names_are_in_the_reference() -> None:
    """As users write them."""
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    assert [name for name in ts._WHERE if f":: ts.{name}\n" not in page] == []


@pytest.mark.parametrize("script", sorted(path for folder in ("odes", "simulations") for path in (ROOT / folder).glob("*.py")))
def test_studies_use_public_names_only(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imported = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [line for line in imported if "teacher_student" in line] == ["import teacher_student as ts"]
    used = [(ast.unparse(node.value), node.attr) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert {name for module, name in used if module == "ts"} <= set(dir(ts))
    assert {name for module, name in used if module == "ts.deep"} <= set(dir(ts.deep))
