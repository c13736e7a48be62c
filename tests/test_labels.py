"""No label of a figure touches another."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from labels import touching_labels

mpl.use("Agg")

import matplotlib.pyplot as plt

import teacher_student as ts
from teacher_student.analysis.scaling import Exponent, Scaling
from teacher_student.deep import figures
from teacher_student.deep.cost import Cost


@pytest.fixture(autouse=True)
def _close_figures() -> object:
    yield
    plt.close("all")


def test_labels_that_touch_are_found() -> None:
    """The negative control: names of ticks that are too long, and a text over a legend."""
    fig, ax = plt.subplots(layout="constrained")
    ax.set_xticks([0.0, 0.1], ["a long name of a tick", "another long name"])
    ax.set_xlim(0.0, 1.0)
    assert touching_labels(fig) == [("a long name of a tick", "another long name")]
    fig, ax = plt.subplots(layout="constrained")
    ax.plot([0, 1], [0, 1], label="line")
    ax.legend(loc="center")
    ax.text(0.5, 0.5, "text")
    assert ("text", "line") in touching_labels(fig)


@pytest.mark.parametrize("name", ["staircase", "li-huang-2023", "both-layers"])
def test_labels_of_comparisons_do_not_touch(name: str) -> None:
    problem = ts.load_problem(name).replace(alpha=ts.log_spaced_times(0.1, 1000.0, 9))
    theory = ts.integrate(problem, progress=False)
    simulation = ts.simulate(problem, [0.0, 0.1, 1.0], n_inputs=30, replicas=2, method="overlaps", progress=False)
    for given in ((theory, None), (None, simulation), (theory, simulation)):
        assert touching_labels(ts.plots.comparison(*given)[0]) == []


def test_labels_of_sweeps_do_not_touch() -> None:
    fields = ("rule.eta_xi_in", "rule.noise")
    rates, noises = np.geomspace(0.2, 8.0, 9), np.linspace(0.0, 1.0, 5)
    times = np.geomspace(0.1, 1000.0, 20)
    status = np.full((9, 5), "complete", dtype=object)
    status[7:] = "diverged at alpha = 3"
    eps_g = np.exp(-rates[:, np.newaxis, np.newaxis] * times) + 0.01 * noises[:, np.newaxis]
    dataset = xr.Dataset(
        {
            "eps_g": ((*fields, "alpha"), eps_g),
            "status": (fields, status),
            "T": ((*fields, "teacher", "teacher_"), np.ones((9, 5, 1, 1))),
            "v_teacher": ((*fields, "teacher"), np.ones((9, 5, 1))),
        },
        {fields[0]: rates, fields[1]: noises, "alpha": times},
        {"format": "teacher_student sweep 1"},
    )
    passage = ts.sweep_values(dataset, "passage", level=0.1)
    for figure, _ in (
        ts.plots.phase_diagram(dataset, *fields, passage),
        ts.plots.phase_diagram(dataset, *fields),
        ts.plots.family(dataset.isel({fields[1]: 0}), fields[0]),
        ts.plots.family(dataset, fields[1], passage),
    ):
        assert touching_labels(figure) == []


def test_labels_of_scalings_and_costs_do_not_touch() -> None:
    exponents = [Exponent(value, 0.01, 1.0, 1.0, 1, value) for value in (-0.5, -1.0)]
    N = np.array([100.0, 1000.0, 10000.0])
    scaling = Scaling((100, 1000, 10000), (8, 8, 8), N**-0.5, 0.1 * N**-0.5, 1.0 / N, 0.1 / N, *exponents)
    assert touching_labels(ts.plots.finite_size_scaling(scaling)[0]) == []
    costs = [Cost("modes" if P else "none", P, 100 * (P + 1), 10_000 * (P + 1), 0.1 * (P + 1), 0.2, 0.9) for P in (0, 2, 20)]
    assert touching_labels(figures.training_costs(costs)[0]) == []
