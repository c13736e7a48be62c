"""Every public function with a wrong kind of thing in the place of one argument: one line refuses it, before any work."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

mpl.use("Agg")

import teacher_student as ts
from teacher_student import networks, plots
from teacher_student.analysis.agreement import agreement
from teacher_student.analysis.scaling import Exponent, Scaling
from teacher_student.analysis.stages import passage_times
from teacher_student.animation import animate
from teacher_student.theory.stability.plateau import PlateauLength
from teacher_student.trajectory import normalized_overlaps, resolved_eps_g
from teacher_student.velocities import at_rest

SEED = 20240611
TIMES = [0.0, 0.1, 0.3]
PROBLEM = dataclasses.replace(ts.load_problem("all-factors"), alpha=np.array(TIMES))
STATE, RULE = PROBLEM.initial, PROBLEM.rule
VELOCITIES = at_rest(STATE)
THEORY = ts.integrate(PROBLEM, fluctuations=True, progress=False)
SIMULATION = ts.simulate(PROBLEM, n_inputs=20, replicas=4, seed=1, method="overlaps", progress=False)
OTHER = ts.simulate(PROBLEM, n_inputs=20, replicas=4, seed=2, progress=False)
PREDICTION = ts.predict(THEORY, 20)
ONE, EXPONENT = np.ones(3), Exponent(-0.5, 0.1, 1.0, 1.0, 1)
SCALING = Scaling((10, 20, 40), (4, 4, 4), ONE, 0.1 * ONE, ONE, 0.1 * ONE, EXPONENT, EXPONENT)
WEIGHTS = networks.draw_weights(STATE, 20, np.random.default_rng(0))
CONSTANT = ts.plain_committee(Q=[[0.5]], R=[[0.1]], T=[[1.0]], v=[1.0], v_teacher=[1.0])
SMALL = ts.Problem(initial=CONSTANT, rule=ts.LearningRule(eta_xi_in=0.3), alpha=np.array([0.0, 0.1]))

SWEPT = xr.Dataset(
    {
        "eps_g": (("rule.noise", "rule.eta_v", "alpha"), np.full((2, 2, 3), 0.1)),
        "status": (("rule.noise", "rule.eta_v"), np.full((2, 2), "complete", dtype=object)),
        "T": (("rule.noise", "rule.eta_v", "teacher", "teacher_"), np.ones((2, 2, 1, 1))),
        "v_teacher": (("rule.noise", "rule.eta_v", "teacher"), np.ones((2, 2, 1))),
    },
    {"rule.noise": [0.0, 0.1], "rule.eta_v": [0.1, 0.2], "alpha": TIMES},
    {"format": "teacher_student sweep 1"},
)


def all_take(arguments: tuple[str, ...], tag: str) -> dict[str, set[str]]:
    """Return that what has the `tag` passes for each of the `arguments`."""
    return {argument: {tag} for argument in arguments}


class Loud:
    """An object whose own code fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


# What may be given, and what it passes for.
VALUES: dict[str, tuple[Any, set[str]]] = {
    "None": (None, {"none"}),
    "text": ("no such thing", {"text", "new file", "folder"}),
    "no text": ("", {"text", "folder"}),
    "text with NUL": ("a\0b", {"text"}),
    "bytes": (b"text", set()),
    "3": (3, {"number", "whole", "positive"}),
    "-1": (-1, {"finite"}),
    "0": (0, {"number", "seed", "zero"}),
    "10**400": (10**400, {"seed"}),
    "0.5": (0.5, {"number", "positive", "fraction"}),
    "NaN": (float("nan"), set()),
    "infinity": (float("inf"), set()),
    "True": (True, {"flag"}),
    "1j": (1j, set()),
    "empty list": ([], {"spans"}),
    "list": ([float(n) for n in range(1, 8)], {"times"}),
    "list of text": (["a", "b"], set()),
    "list of None": ([None], set()),
    "empty dict": ({}, {"table"}),
    "dict": ({"a": 1}, {"table"}),
    "set": ({1, 2}, set()),
    "object": (object(), set()),
    "loud object": (Loud(), set()),
    "function": (print, set()),
    "type": (int, set()),
    "array of NaN": (np.full(2, np.nan), set()),
    "array of text": (np.array(["a"]), set()),
    "cube": (np.zeros((2, 2, 2)), set()),
    "array without dimension": (np.array(3.0), {"number", "times"}),
    "DataArray": (xr.DataArray(np.arange(1.0, 8.0), dims="alpha"), {"times"}),
    "dataset without variables": (xr.Dataset(), {"dataset"}),
    "dataset of text": (xr.Dataset({name: ("alpha", ["a"]) for name in THEORY.data_vars}, {"alpha": [1.0]}), {"dataset"}),
    "dataset of numbers": (xr.Dataset(dict.fromkeys(map(str, THEORY.data_vars), 1.0), {"alpha": [1.0]}), {"dataset"}),
    "text as attribute": (THEORY.assign_attrs(problem="x", rtol="y"), {"dataset", "factors"}),
    "no attribute": (xr.Dataset(dict(SIMULATION.variables)), {"dataset", "trajectory", "factors"}),
    "problem": (PROBLEM, {"problem"}),
    "state": (STATE, {"state"}),
    "rule": (RULE, {"rule"}),
    "list of datasets": ([xr.Dataset(), THEORY], set()),
}
# The function, arguments that it takes, and what else passes for one of them.
FUNCTIONS: dict[str, tuple[Callable[..., object], dict[str, Any], dict[str, set[str]]]] = {
    "OrderParameters": (ts.OrderParameters, {f.name: getattr(STATE, f.name) for f in dataclasses.fields(STATE)}, {}),
    "Velocities": (
        ts.Velocities,
        {f.name: getattr(VELOCITIES, f.name) for f in dataclasses.fields(VELOCITIES)},
        {"sigma_velocity": {"spans", "times"}, "v_velocity": {"spans", "times"}},
    ),
    "eps_g": (STATE.eps_g, {"activation": "erf", "teacher_activation": "erf"}, {"teacher_activation": {"none"}}),
    "plain_committee": (ts.plain_committee, {"Q": [[1.0]], "R": [[0.1]], "T": [[1.0]], "v": [1.0], "v_teacher": [1.0]}, {}),
    "LearningRule": (
        ts.LearningRule,
        {f.name: getattr(RULE, f.name) for f in dataclasses.fields(RULE)},
        {
            **{f.name: {"number"} for f in dataclasses.fields(RULE) if f.name.startswith("eta")},
            "noise": {"number"},
            "weight_decay": {"number"},
            "batch_size": {"whole"},
            "momentum": {"fraction", "zero"},
            "friction": {"none", "number"},
            "teacher_activation": {"none"},
            "spherical": {"flag"},
        },
    ),
    "Piecewise": (
        ts.Piecewise,
        {"rates": [1.0, 2.0], "alpha": [1.0], "elapsed": 0.0},
        {"rates": {"times"}, "elapsed": {"number"}},
    ),
    "Ramp": (ts.Ramp, {"rates": [1.0, 2.0], "alpha": [1.0], "elapsed": 0.0}, {"rates": {"times"}, "elapsed": {"number"}}),
    "PowerLaw": (
        ts.PowerLaw,
        {"start": 1.0, "alpha": 1.0, "exponent": 1.0, "elapsed": 0.0},
        {"start": {"number"}, "alpha": {"positive"}, "exponent": {"number"}, "elapsed": {"number"}},
    ),
    "Exponential": (
        ts.Exponential,
        {"start": 1.0, "alpha": 2.0, "end": 0.1, "elapsed": 0.0},
        {**all_take(("start", "end", "elapsed"), "number"), "alpha": {"positive"}},
    ),
    "Cosine": (
        ts.Cosine,
        {"start": 1.0, "end": 0.1, "period": 1.0, "repeats": 1, "elapsed": 0.0},
        {
            **all_take(("start", "end", "elapsed"), "number"),
            "period": {"positive"},
            "repeats": {"whole"},
        },
    ),
    "random_committee": (
        ts.random_committee,
        {"n_inputs": 9, "n_units": 2, "n_teacher": 2, "seed": 1, "student_correlation": 0.1, "v": 1.0, "v_teacher": [1.0, 2.0]},
        {
            **all_take(("n_units", "n_teacher"), "whole"),
            "n_inputs": {"whole"},
            "seed": {"whole", "seed"},
            "student_correlation": {"number", "finite", "fraction"},
            "v": {"number", "finite"},
            "v_teacher": {"number", "finite"},
        },
    ),
    "register_activation": (
        ts.register_activation,
        {"name": "new", "piecewise_linear": 0.1},
        {"piecewise_linear": {"number", "finite"}},
    ),
    "register erf": (ts.register_activation, {"name": "wider", "erf": 2.0}, {"erf": {"positive"}}),
    "register polynomial": (ts.register_activation, {"name": "newer", "polynomial": [0.0, 1.0, 1.0]}, {}),
    "Problem": (
        ts.Problem,
        {f.name: getattr(PROBLEM, f.name) for f in dataclasses.fields(PROBLEM)},
        {
            "initial": {"state"},
            "rule": {"rule"},
            "alpha": {"positive", "times"},
            "replicas": {"whole"},
            "seed": {"whole", "seed"},
            "name": {"text"},
            "description": {"text"},
            "velocity": {"none"},
        },
    ),
    "with_output_scaling": (ts.with_output_scaling, {"problem": PROBLEM, "output_scaling": "1/K"}, {"problem": {"problem"}}),
    "log_spaced_times": (
        ts.log_spaced_times,
        {"first": 0.1, "last": 1.0, "points": 3},
        {"first": {"fraction"}, "last": {"number"}, "points": {"none", "whole"}},
    ),
    "load_problem": (ts.load_problem, {"source": "staircase", "changes": None}, {"changes": {"none", "table"}}),
    **{
        f"replace {name}": (PROBLEM.replace, {name: value}, passes)
        for name, value, passes in (
            ("noise", 0.1, {"noise": {"number"}}),
            ("n_inputs", 50, {}),
            ("v", STATE.v, {}),
            ("rule", RULE, {"rule": {"rule"}}),
            ("nothing", 1, {}),
        )
    },
    "warm_restart": (
        ts.warm_restart,
        {"trajectory": SIMULATION, "rule": RULE, "alpha": 0.1, "replica": 0},
        {"rule": {"none", "rule"}, "alpha": {"none", "zero"}, "replica": {"whole", "zero"}},
    ),
    "integrate": (
        ts.integrate,
        {
            "problem": PROBLEM,
            "alpha": TIMES,
            "fluctuations": False,
            "method": None,
            "rtol": 1e-9,
            "atol": 1e-12,
            "progress": False,
        },
        {
            "problem": {"problem"},
            "alpha": {"none", "positive", "times"},
            "fluctuations": {"flag"},
            "method": {"none"},
            "rtol": {"none", "fraction"},
            "atol": {"none", "fraction"},
            "progress": {"flag"},
        },
    ),
    "predict": (ts.predict, {"theory": THEORY, "n_inputs": 20}, {}),
    "simulate": (
        ts.simulate,
        {
            "problem": PROBLEM,
            "alpha": TIMES,
            "n_inputs": 20,
            "replicas": 1,
            "seed": 0,
            "method": "weights",
            "executor": None,
            "checkpoint": None,
            "progress": False,
        },
        {
            "problem": {"problem"},
            "alpha": {"none", "positive", "times"},
            "n_inputs": {"none"},
            "replicas": {"none", "whole"},
            "seed": {"none", "whole", "seed"},
            "executor": {"none"},
            "checkpoint": {"none", "new file"},
            "progress": {"flag"},
        },
    ),
    "leap": (
        ts.leap,
        {
            "problem": SMALL,
            "alpha": [0.1],
            "n_inputs": 10**6,
            "replicas": 1,
            "seed": 0,
            "tolerance": 1e-4,
            "executor": None,
            "checkpoint": None,
            "progress": False,
        },
        {
            "problem": {"problem"},
            "alpha": {"none", "positive", "times"},
            "replicas": {"none", "whole"},
            "seed": {"none", "whole", "seed"},
            "executor": {"none"},
            "checkpoint": {"none", "new file"},
            "progress": {"flag"},
        },
    ),
    "fixed_point": (
        ts.fixed_point,
        {"problem": SMALL, "near": None, "tolerance": 1e-12},
        {"near": {"none", "number"}, "problem": {"problem"}, "tolerance": {"fraction"}},
    ),
    "continuation": (
        ts.continuation,
        {"problem": SMALL, "field": "eta_xi_in", "values": [0.3, 0.4], "near": None, "xtol": 1e-8},
        {"near": {"none", "number"}, "values": {"times"}, "xtol": {"fraction"}, "problem": {"problem"}},
    ),
    "plateau_length": (ts.plateau_length, {"point": None, "n_inputs": 100, "fraction": 0.5}, {}),
    "replicas_for": (ts.replicas_for, {"n_inputs": [10, 20], "replicas_at_largest": 4}, {"replicas_at_largest": {"whole"}}),
    "escape_probability": (
        ts.escape_probability,
        {"length": PlateauLength(np.array([10]), np.ones(1), 1.0, 1.0, 1.0, (1.0, 1.0), 0.5), "alpha": 1.0},
        {"alpha": {"number", "finite", "times", "spans"}},
    ),
    "sampling_error": (ts.sampling_error, {"theory": THEORY}, {}),
    "compare": (ts.compare, {"theory": THEORY, "simulation": SIMULATION, "other": OTHER}, {"other": {"none"}}),
    "agreement": (agreement, {"first": SIMULATION, "second": OTHER}, {}),
    "scaling": (ts.scaling, {"simulations": [SIMULATION], "progress": False}, {}),
    "pool": (ts.pool, {"simulations": [SIMULATION]}, {}),
    "Sweep": (
        ts.Sweep,
        {
            "problem": "staircase",
            "vary": {"rule.noise": [0.0, 0.1]},
            "fixed": {},
            "design": "grid",
            "points": None,
            "seed": 0,
            "theory": True,
            "simulation": None,
            "variables": ["eps_g"],
        },
        {
            "problem": {"table", "problem"},
            "vary": set(),
            "fixed": {"table"},
            "points": {"none"},
            "seed": {"whole", "seed"},
            "theory": {"flag"},
            "simulation": {"none"},
        },
    ),
    "load_sweep": (ts.load_sweep, {"path": "none.toml"}, {}),
    "sweep": (
        ts.sweep,
        {
            "source": ts.Sweep(PROBLEM, {"rule.noise": [0.1]}),
            "folder": "runs",
            "workers": 1,
            "cluster": None,
            "executor": None,
            "progress": False,
        },
        {
            "folder": {"folder"},
            "workers": {"none", "whole"},
            "cluster": {"none", "text"},
            "executor": {"none"},
            "progress": {"flag"},
        },
    ),
    "integrate_until_stationary": (
        ts.integrate_until_stationary,
        {"problem": SMALL, "largest": 0.2, "tolerance": 1e-3, "progress": False},
        {
            "problem": {"problem"},
            "largest": {"none", "positive"},
            "tolerance": {"fraction"},
            "progress": {"flag"},
        },
    ),
    "sweep_values": (
        ts.sweep_values,
        {"dataset": SWEPT, "of": "final", "level": None, "threshold": 0.5, "simulated": False},
        {"level": {"none", "number"}, "threshold": {"fraction"}, "simulated": {"flag"}},
    ),
    "phase_diagram": (
        plots.phase_diagram,
        {"dataset": SWEPT, "x": "rule.noise", "y": "rule.eta_v", "of": "final", "ax": None, "levels": ()},
        {"ax": {"none"}, "levels": {"spans", "times"}},
    ),
    "family": (
        plots.family,
        {"dataset": SWEPT.isel({"rule.eta_v": 0}), "over": "rule.noise", "of": "eps_g", "ax": None, "levels": ()},
        {"ax": {"none"}, "levels": {"spans", "times"}},
    ),
    "stages": (
        ts.stages,
        {"trajectory": THEORY, "slope": 0.5, "shortest": 0.2, "window": 0.0, "least": None},
        {"slope": {"positive"}, "shortest": {"positive"}, "window": {"none", "number"}, "least": {"none", "positive"}},
    ),
    "passage_times": (
        passage_times,
        {"trajectory": THEORY, "level": 0.1},
        {"level": {"number"}, "trajectory": {"trajectory", "factors"}},
    ),
    "specialization": (
        ts.specialization,
        {"trajectory": SIMULATION, "threshold": 0.5},
        {"threshold": {"fraction"}, "trajectory": {"trajectory", "factors"}},
    ),
    "normalized_overlaps": (normalized_overlaps, {"trajectory": THEORY}, {"trajectory": {"trajectory", "factors"}}),
    "resolved_eps_g": (resolved_eps_g, {"trajectory": THEORY}, {"trajectory": {"trajectory"}}),
    "load_trajectory": (ts.load_trajectory, {"path": "none.nc"}, {}),
    "save_trajectory": (
        ts.save_trajectory,
        {"trajectory": THEORY, "path": "new.nc"},
        {"trajectory": {"dataset"}, "path": {"new file"}},
    ),
    "animate": (
        animate,
        {"trajectory": THEORY, "path": "film.gif", "n_frames": 2},
        {"trajectory": {"trajectory"}, "n_frames": {"whole"}},
    ),
    "generalisation_error": (
        plots.generalisation_error,
        {"theory": THEORY, "simulation": SIMULATION, "ax": None, "prediction": PREDICTION, "other": OTHER, "left_out": ()},
        {**all_take(("theory", "simulation", "ax", "prediction", "other"), "none"), "left_out": {"spans"}},
    ),
    **{
        name: (
            getattr(plots, name),
            {"theory": THEORY, "simulation": SIMULATION, "ax": None, "prediction": PREDICTION},
            all_take(("theory", "simulation", "ax", "prediction"), "none"),
        )
        for name in ("student_teacher_overlaps", "overlap_entries")
    },
    "comparison": (
        plots.comparison,
        {"theory": THEORY, "simulation": SIMULATION, "prediction": PREDICTION, "other": OTHER, "left_out": ()},
        {**all_take(("theory", "simulation", "prediction", "other"), "none"), "left_out": {"spans"}},
    ),
    "finite_size_scaling": (plots.finite_size_scaling, {"scaling": SCALING, "ax": None}, {"ax": {"none"}}),
    "Weights": (networks.overlaps, {"weights": WEIGHTS}, {}),
    **{
        f"Weights.{f.name}": (
            lambda **changed: networks.overlaps(dataclasses.replace(WEIGHTS, **changed)),
            {f.name: getattr(WEIGHTS, f.name)},
            {},
        )
        for f in dataclasses.fields(WEIGHTS)
    },
    "triangular_factor": (networks.triangular_factor, {"gram": np.eye(2)}, {}),
    "gram_of": (networks.gram_of, {"state": STATE}, {"state": {"state"}}),
    "gram_factor": (networks.gram_factor, {"state": STATE}, {"state": {"state"}}),
    "draw_rows": (
        networks.draw_rows,
        {"gram": np.eye(2), "n_inputs": 5, "rng": np.random.default_rng(0)},
        {"n_inputs": {"whole"}},
    ),
    "check_n_inputs": (networks.check_n_inputs, {"state": STATE, "n_inputs": 20}, {"state": {"state"}, "n_inputs": {"seed"}}),
    "bytes_of_weights": (networks.bytes_of_weights, {"state": STATE, "n_inputs": 20}, {"state": {"state"}, "n_inputs": {"seed"}}),
    "draw_weights": (
        networks.draw_weights,
        {"state": STATE, "n_inputs": 20, "rng": np.random.default_rng(0)},
        {"state": {"state"}},
    ),
    "li_huang_weights": (
        networks.li_huang_weights,
        {"n_inputs": 5, "n_units": 1, "n_modes": 1, "rng": np.random.default_rng(0)},
        all_take(("n_inputs", "n_units", "n_modes"), "whole"),
    ),
}
CASES = [
    (function, argument, label)
    for function, (_, arguments, passes) in FUNCTIONS.items()
    for argument, label in itertools.product(arguments, VALUES)
    if not VALUES[label][1] & passes.get(argument, set())
]


class WorkBegan(Exception):
    """Something was integrated or simulated."""


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder, and with what integrations and simulations begin with refusing to."""

    def begin(*_: object, **__: object) -> None:
        raise WorkBegan

    for module in ("teacher_student.theory.integrate", "teacher_student.sgd.replicas", "teacher_student.sweeps.run"):
        monkeypatch.setattr(f"{module}.tqdm", begin)
    monkeypatch.chdir(tmp_path)


def complaint(function: str, argument: str, label: str) -> str | None:
    """Return what is wrong with how `function` takes the value `label` for `argument`, None if it refuses it as it should."""
    call, arguments, _ = FUNCTIONS[function]
    case = f"{function}({argument} = {label})"
    try:
        call(**{**arguments, argument: VALUES[label][0]})
    except ts.InvalidInput as error:
        text = str(error)
        good = "\n" not in text and ": got " in text and ", expected " in text and len(text) < 1000
        return None if good else f"{case}: {text!r}"
    except BaseException as error:
        return f"{case}: {type(error).__name__}: {error}"
    return f"{case}: taken"


def complaints(cases: list[tuple[str, str, str]], folder: Path) -> list[str]:
    """Return all that is wrong with `cases`, and which files they left."""
    found = [text for case in cases if (text := complaint(*case)) is not None]
    return found + [f"file {path.name}" for path in folder.iterdir()]


def test_every_public_function_is_tried() -> None:
    """Those of the package, but `presets`, which takes nothing, and errors."""
    calls = {call.__name__ for call, _, _ in FUNCTIONS.values()}
    names = set(ts.__all__) - {"__version__", "presets", "InvalidInput", "Diverged", "networks", "plots"}
    assert names <= calls
    functions = {name: value for name, value in vars(networks).items() if isinstance(value, type(complaint))}
    own = {name for name, value in functions.items() if value.__module__ == networks.__name__ and not name.startswith("_")}
    own |= {name for name in plots.__all__ if isinstance(getattr(plots, name), type(complaint))}
    assert len(own) > 15
    assert own <= calls


def test_wrong_kinds_are_refused_in_one_line_before_work(tmp_path: Path) -> None:
    chosen = np.random.default_rng(SEED).choice(len(CASES), 400, replace=False)
    assert complaints([CASES[i] for i in chosen], tmp_path) == []


@pytest.mark.long
def test_all_wrong_kinds_are_refused_in_one_line_before_work(tmp_path: Path) -> None:
    assert complaints(CASES, tmp_path) == []


def test_a_value_that_is_taken_is_a_complaint() -> None:
    """The negative control: of the search for faults itself."""
    assert complaint("load_problem", "source", "3") is None
    assert complaint("log_spaced_times", "last", "3") == "log_spaced_times(last = 3): taken"
    assert complaint("integrate", "fluctuations", "True") == "integrate(fluctuations = True): WorkBegan: "
