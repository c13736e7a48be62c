"""Results of parts in a folder: one file each, whole or absent, used again by the same command and by no other."""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from teacher_student import __version__
from teacher_student.deep.data import Data
from teacher_student.deep.reproduction.measure import measure
from teacher_student.deep.reproduction.plan import Part, Plan
from teacher_student.files import output_folder, remove_leftovers, replacing

Results = dict[str, dict[str, list[dict[str, Any]]]]  # section, name, seeds in their order


def complete(parts: list[Part], plan: Plan, folder: Path, data_of: Callable[[Part], Data]) -> Results:
    """Return the results of all parts: read from `folder` where they are there, measured and written there where not.

    A file that is damaged, or of other settings or data, is measured anew. What is done is told on standard error, a line a part.
    Ctrl-C is passed on with how many parts are done.
    """
    output_folder(folder)
    remove_leftovers(folder)
    results: Results = {}
    stored = 0
    for number, part in enumerate(parts, 1):
        data, path = data_of(part), folder / part.file
        stamp = _stamp(part, plan, data)
        result = _read(path, stamp)
        if result is None:
            try:
                result = _timed(part, plan, data)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"{number - 1} of {len(parts)} networks are kept") from None
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"stamp": stamp, "result": result}, allow_nan=False) + "\n", encoding="utf-8")
            label = f"[{number}/{len(parts)}] {part.section}, {part.name}, seed {part.seed}"
            print(f"{label}: accuracy {result['accuracy']:.4f}, {result['cpu_seconds']:.1f} s", file=sys.stderr, flush=True)
        else:
            stored += 1
        results.setdefault(part.section, {}).setdefault(part.name, []).append(result)
    if stored:
        print(f"{stored} of {len(parts)} networks were there already", file=sys.stderr)
    return results


def _timed(part: Part, plan: Plan, data: Data) -> dict[str, Any]:
    begin = time.process_time()
    result = measure(part, plan, data)
    return {**result, "cpu_seconds": time.process_time() - begin}


def _stamp(part: Part, plan: Plan, data: Data) -> dict[str, Any]:
    """Return all that decides a result, as JSON gives it back."""
    looked_into = [plan.n_draws, plan.k] if part.section == "networks" else []
    stamp = {"version": __version__, "model": part.model, "plan": looked_into, "data": [data.name, *_checksums(data)]}
    return json.loads(json.dumps(stamp))


@cache
def _checksums(data: Data) -> list[int]:
    inputs = [zlib.crc32(np.ascontiguousarray(X).data) for X in (data.X_train, data.X_test)]
    return inputs + [zlib.crc32("\n".join(map(str, y)).encode()) for y in (data.y_train, data.y_test)]


def _read(path: Path, stamp: dict[str, Any]) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text("utf-8"))
        return stored["result"] if stored["stamp"] == stamp else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
