"""What the command line imports: no more than a command needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("numpy", "numba", "scipy", "xarray", "matplotlib", "dask")


def command(arguments: list[str], folder: Path) -> None:
    """Run the command line in `folder`, where the packages are what it imports first; it has to succeed."""
    paths = [str(folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    line = [sys.executable, "-m", "teacher_student.cli", *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def forbid(packages: tuple[str, ...], folder: Path) -> None:
    """Put packages into `folder` that end the process which imports them."""
    for name in packages:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")


@pytest.mark.parametrize("arguments", [["--help"], ["presets"]], ids=" ".join)
def test_help_and_presets_import_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    forbid(SLOW, tmp_path)
    command(arguments, tmp_path)


def test_dask_costs_nothing_where_it_is_installed(tmp_path: Path) -> None:
    forbid(("dask", "distributed"), tmp_path)
    command(["ode", "saad-solla-1995", "-o", "theory.nc"], tmp_path)
    command(["stages", "theory.nc"], tmp_path)
    with pytest.raises(AssertionError, match="xarray was imported"):  # the packages are found first
        forbid(("xarray",), tmp_path)
        command(["stages", "theory.nc"], tmp_path)
