"""Run every benchmark, or those named, print what they print, and keep it as sections of a page of the documentation.

Each section has the script's own description, what it printed, and when and with which version it was run.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import subprocess
import sys
from pathlib import Path

import teacher_student as ts
from teacher_student.files import replacing

# In this order: script and title.
SCRIPTS = {
    "table.py": "Beside NumPy, PyTorch and JAX",
    "sgd_roofline.py": "SGD on weights: where the time goes",
    "chain.py": "The chain of overlaps",
    "leaps.py": "Leaps at large N",
    "noise.py": "Linear noise beside the ODEs",
    "growth.py": "How cost grows",
    "start_up.py": "Start-up and compilation",
    "deep.py": "Modes in deep networks",
}
INTRODUCTION = """Benchmarks
==========

Written by ``make benchmark``, which prints the same; not edited by hand. Times depend on the machine and on what else it does:
quote ratios, which are taken within one run.
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
    run_at = f"Run on {datetime.date.today()} with teacher_student {ts.__version__}."
    return f"\n{title}\n{'-' * len(title)}\n\n``benchmarks/{script.name}``: {description} {run_at}\n{figure}\n::\n\n{block}"


def kept(page: Path, title: str) -> str:
    """Return the section of this title that `page` has now, empty if it has none."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, found, rest = text.partition(f"\n{title}\n{'-' * len(title)}\n")
    others = [rest.find(f"\n{other}\n{'-' * len(other)}\n") for other in SCRIPTS.values()]
    end = min((at for at in others if at >= 0), default=len(rest))
    return found + rest[:end]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="those to run, as chain.py; the page keeps other sections")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.rst"), help="the page")
    arguments = parser.parse_args()
    unknown = set(arguments.scripts) - set(SCRIPTS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; expected some of {', '.join(SCRIPTS)}")
    folder = Path(__file__).parent
    for name, title in SCRIPTS.items():
        if arguments.scripts and name not in arguments.scripts:
            continue
        print(f"\n{title} (benchmarks/{name})\n", flush=True)
        sections = {other: kept(arguments.output, other) for other in SCRIPTS.values()}
        sections[title] = section(title, folder / name, run(folder / name))
        with replacing(arguments.output) as temporary:
            temporary.write_text(INTRODUCTION + "".join(sections.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
