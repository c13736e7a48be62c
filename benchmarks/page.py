"""Run every benchmark, print what it prints, and keep it as a page of the documentation.

A line at its head names the machine; each section has the script's own description, what it printed, and when it was run.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

from timing import machine

import teacher_student as ts
from teacher_student.files import replacing

# In this order: script and title.
SCRIPTS = {
    "table.py": "Beside NumPy, PyTorch and JAX",
    "sgd_roofline.py": "SGD on weights: where the time goes",
    "chain.py": "The chain of overlaps",
    "growth.py": "How cost grows",
    "start_up.py": "Start-up and compilation",
    "deep.py": "Modes in deep networks",
}
INTRODUCTION = """Benchmarks
==========

Written by ``make benchmark``, which prints the same; not edited by hand. Times depend on the machine and on what else it does:
quote ratios, which are taken within one run.

{machine}; teacher_student {version}.
"""


def run(script: Path) -> str:
    """Run `script`, print its lines as they come, and return them; raises if it fails."""
    lines = []
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"{script.name} failed")
    return "".join(lines)


def section(title: str, script: Path, printed: str) -> str:
    """Return a section of the page."""
    description = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    block = "".join(f"   {line}\n" if line.strip() else "\n" for line in printed.splitlines())
    figure = "\n.. image:: benchmark_growth.png\n" if script.name == "growth.py" else ""
    return f"\n{title}\n{'-' * len(title)}\n\n``benchmarks/{script.name}``: {description}\n{figure}\n::\n\n{block}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.rst"), help="the page")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    sections = []
    for name, title in SCRIPTS.items():
        print(f"\n{title} (benchmarks/{name})\n", flush=True)
        sections.append(section(title, folder / name, run(folder / name)))
    with replacing(arguments.output) as temporary:
        temporary.write_text(INTRODUCTION.format(machine=machine(), version=ts.__version__) + "".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
