"""Seconds until something happens: import, help, presets, theory, the first step of a second process, the first comparison ever.

Each in processes of its own, as ratios to a bare `import numpy` in the same run; the least of several runs. The comparison starts
once with no compiled code, and compiles in two processes, and once more with it: the difference is compilation. Where the
seconds of compilation go is measured in another run, of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

import numpy as np
from timing import least_seconds, machine, seconds

RUNS = 5
SHORT = ["--alpha", "1", "--n-inputs", "50", "--replicas", "4"]
SIMULATION = """
import teacher_student as ts
ts.simulate(ts.load_problem("staircase"), [1 / 400], n_inputs=400, method="{}", progress=False)
"""
COMPARISON = """
import json, sys, time
from numba.core import event
from teacher_student import cli, compiled_code

class Compilation(event.Listener):
    "Seconds of every kernel without those that it calls."
    def __init__(self):
        self.stack, self.seconds = [], {}

    def on_start(self, _):
        self.stack.append([time.process_time(), 0.0])

    def on_end(self, finished):
        begin, inner = self.stack.pop()
        taken = time.process_time() - begin
        function = finished.data["dispatcher"].py_func
        name = f"{function.__module__}.{function.__qualname__}"
        self.seconds.setdefault(name, []).append(taken - inner)
        if self.stack:
            self.stack[-1][1] += taken

compiled_code._is_compiled = lambda method: True  # all in this process
compilation = Compilation()
event.register("numba:compile", compilation)
cli.main(["compare", *sys.argv[2:]])
json.dump(compilation.seconds, open(sys.argv[1], "w"))
"""


def clocks() -> np.ndarray:
    """Return the wall clock and the processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


def run(arguments: list[str], cache: str) -> None:
    """Run a process in a folder that is thrown away, with its compiled code in `cache`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "MPLBACKEND": "Agg"}
        subprocess.run(arguments, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each but the comparison (default: %(default)s)")
    runs = parser.parse_args().runs
    python, command_line = [sys.executable, "-c"], [sys.executable, "-m", "teacher_student.cli"]
    print(machine())
    print("                                                wall [s]   processor [s]   ratio")
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as cold, tempfile.TemporaryDirectory() as other:
        measured = {
            "import numpy": [*python, "import numpy"],
            "import teacher_student": [*python, "import teacher_student"],
            "--help": [*command_line, "--help"],
            "presets": [*command_line, "presets"],
            "ode saad-solla-1995": [*command_line, "ode", "saad-solla-1995"],
            "first step of SGD on weights": [*python, SIMULATION.format("weights")],
            "first step of the chain": [*python, SIMULATION.format("overlaps")],
        }
        bare = 0.0
        for name, arguments in measured.items():
            wall, processor = least_seconds(partial(run, arguments, warm), runs, clocks)
            bare = bare or processor
            print(f"{name:45s}   {wall:8.2f}   {processor:13.2f}   {processor / bare:5.1f}")
        report = os.path.join(cold, "compilation.json")
        for name in ("a short compare, nothing compiled before", "the same again, all compiled"):
            wall, processor = seconds(partial(run, [*command_line, "compare", *SHORT], cold), clocks)
            print(f"{name:45s}   {wall:8.2f}   {processor:13.2f}   {processor / bare:5.1f}")
        run([*python, COMPARISON, report, *SHORT], other)
        with open(report, encoding="utf-8") as file:
            kernels: dict[str, list[float]] = json.load(file)
    of_numba = sum(sum(parts) for name, parts in kernels.items() if name.startswith("numba."))
    print(f"\ncompilation in one process {sum(map(sum, kernels.values())):.2f} s: of numba's own functions {of_numba:.2f} s, and")
    for name, parts in sorted(kernels.items(), key=lambda entry: -sum(entry[1])):
        if not name.startswith("numba.") and sum(parts) >= 0.1:
            print(f"{sum(parts):8.2f} s   {name}" + (f" ({len(parts)} times)" if len(parts) > 1 else ""))


if __name__ == "__main__":
    main()
