"""What goes wrong is told in one line, and reaches another process as it is."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import xarray as xr

import teacher_student as ts
from teacher_student.errors import one_line, shown
from teacher_student.theory.stability.fixed_points import NoFixedPoint

SAMPLES: dict[str, Any] = {"message": "it ended", "residual": 0.25, "trajectory": xr.Dataset({"eps_g": ("alpha", [1.0, 2.0])})}


def exceptions() -> list[type[Exception]]:
    """Return all exceptions of the package."""
    found: set[type[Exception]] = set()
    for module in pkgutil.walk_packages(ts.__path__, "teacher_student."):
        if module.name.endswith("__main__"):
            continue
        members = vars(importlib.import_module(module.name)).values()
        found |= {member for member in members if inspect.isclass(member) and issubclass(member, Exception)}
    return sorted((one for one in found if one.__module__.startswith("teacher_student.")), key=lambda one: one.__name__)


def test_every_exception_of_the_package_is_pickled_with_all_that_it_carries() -> None:
    found = exceptions()
    assert {ts.InvalidInput, ts.Diverged, NoFixedPoint} <= set(found)
    for kind in found:
        arguments = {name: SAMPLES[name] for name in inspect.signature(kind).parameters}
        error = kind(**arguments)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):  # datasets have none below
            again = pickle.loads(pickle.dumps(error, protocol))
            assert type(again) is kind
            assert str(again) == str(error) == "it ended"
            assert vars(again).keys() == vars(error).keys() == arguments.keys() - {"message"}
            for name, value in vars(error).items():
                assert again.__dict__[name].identical(value) if name == "trajectory" else again.__dict__[name] == value


def raising(residual: float) -> None:
    raise NoFixedPoint("it ended", residual)


def test_an_exception_leaves_the_other_jobs_of_a_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        failing, other = pool.submit(raising, 0.5), pool.submit(abs, -3)
        with pytest.raises(NoFixedPoint, match="it ended") as caught:
            failing.result(timeout=100)
        assert caught.value.residual == 0.5
        assert other.result(timeout=100) == 3


def test_messages_have_one_line() -> None:
    assert str(ts.InvalidInput("problem: got 'a\nb\x1b\u2028c\udcff'")) == r"problem: got 'a\nb\x1b\u2028c\udcff'"
    assert one_line(one_line("a\n\\n")) == one_line("a\n\\n") == "a\\n\\n"
    assert one_line("Bézier \N{GREEK SMALL LETTER ALPHA}") == "Bézier \N{GREEK SMALL LETTER ALPHA}"


def test_whole_numbers_that_python_does_not_write_are_shown() -> None:
    assert shown([10**5000]) == "list with a whole number of thousands of digits"
    with pytest.raises(ts.InvalidInput, match=r"^seed: got int with .* thousands of digits, expected .* 4000 digits$"):
        ts.simulate(ts.load_problem("staircase"), seed=10**5000)
