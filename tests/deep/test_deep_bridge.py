"""The bridge: the deep code on one hidden layer of P modes against the on-line SGD of this package, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from plain_sgd import drawn_inputs

import teacher_student as ts
from teacher_student.activations import get_activation
from teacher_student.arrays import FloatArray
from teacher_student.bundles import rule_bundle
from teacher_student.deep.network import Architecture, factors, n_parameters
from teacher_student.deep.stream import Teacher, on_line_sgd
from teacher_student.networks import Weights
from teacher_student.sgd.weights import advance, replica_of

N, K, P, M = 60, 4, 3, 2
ARCHITECTURE = Architecture(sizes=(N, K, 1), n_modes=(P, 0), activation="erf", bias=False)
RATES = {"xi_in0": 1.3, "sigma0": 0.8, "xi_out0": 0.6, "W1": 0.9}


def draw(seed: int) -> tuple[dict[str, FloatArray], Teacher]:
    """Return the factors of a student, as the deep code stores them, and a teacher."""
    rng = np.random.default_rng(seed)
    student = {
        "xi_in0": rng.standard_normal((P, N)),
        "sigma0": 1.0 + 0.3 * rng.standard_normal(P),
        "xi_out0": rng.standard_normal((P, K)),
        "W1": rng.standard_normal((1, K)),
    }
    return student, Teacher(rng.standard_normal((M, N)), rng.standard_normal(M), "erf", noise=0.1)


def flat(values: dict[str, FloatArray | float]) -> FloatArray:
    """Return the flat vector with these factors."""
    theta = np.empty(n_parameters(ARCHITECTURE))
    for name, view in factors(ARCHITECTURE, theta).items():
        view[...] = values[name]
    return theta


class Numbers:
    """Stands for a generator: vectors are the inputs of a run on line, single numbers its label noise."""

    def __init__(self, inputs: Iterator[FloatArray], rng: np.random.Generator) -> None:
        self.inputs, self.rng = inputs, rng

    def standard_normal(self, size: int | None = None) -> Any:
        """Return the next input, or the next number if there is no `size`."""
        return self.rng.standard_normal() if size is None else next(self.inputs)


class OnLine:
    """The on-line SGD of this package from the factors of `student`, on the streams of seed 11."""

    def __init__(self, student: dict[str, FloatArray], teacher: Teacher, batch_size: int, weight_decay: float) -> None:
        rates = dict(zip(("eta_xi_in", "eta_sigma", "eta_xi_out", "eta_v"), RATES.values(), strict=True))
        self.rule = ts.LearningRule(noise=teacher.noise, weight_decay=weight_decay, batch_size=batch_size, **rates)
        factors = (student["xi_in0"], student["sigma0"], np.ascontiguousarray(student["xi_out0"].T), student["W1"][0])
        self.run = replica_of(Weights(*factors, teacher.W, teacher.v), np.random.default_rng(11))
        self.erf = get_activation("erf")

    def numbers(self) -> Numbers:
        """Return the inputs and noise of the run, at its beginning, as a generator."""
        return Numbers(drawn_inputs(self.run.arrays.stream.copy(), N, self.rule.batch_size), np.random.default_rng(11))

    def step(self) -> None:
        """Take one step."""
        assert advance(self.run, self.erf, self.erf, rule_bundle(self.rule), None, N, 0, 1) == 1

    def state(self) -> FloatArray:
        """Return the flat vector as the deep code has it."""
        w = self.run.weights
        return flat({"xi_in0": w.xi_in, "sigma0": w.sigma, "xi_out0": w.xi_out.T, "W1": w.v})


def deep_rates(weight_decay: float) -> tuple[FloatArray, FloatArray]:
    """Return the deep code's rates and decays, an entry a parameter, that stand for the on-line ones.

    On-line, the input modes move by eta / sqrt(N) times the gradient with respect to u times x, which is eta times the gradient
    with respect to xi_in when the input is x / sqrt(N); the others move by eta / N times their gradients. Every factor decays
    by eta kappa / N of itself.
    """
    rate = flat({name: eta if name == "xi_in0" else eta / N for name, eta in RATES.items()})
    return rate, flat({name: eta * weight_decay / N for name, eta in RATES.items()})


def differences_of_single_steps(batch_size: int, weight_decay: float, n_steps: int, rate_factor: float = 1.0) -> FloatArray:
    """Return the largest difference of any parameter after each step of both codes from the same state, (n_steps,)."""
    student, teacher = draw(5)
    on_line = OnLine(student, teacher, batch_size, weight_decay)
    stream = teacher.batches(on_line.numbers(), batch_size)
    rate, decay = deep_rates(weight_decay)
    result = np.empty(n_steps)
    for step in range(n_steps):
        theta = on_line.state()
        on_line_sgd(ARCHITECTURE, theta, stream, rate_factor * rate, 1, decay)
        on_line.step()
        result[step] = np.abs(theta - on_line.state()).max()
    assert np.abs(on_line.state() - flat(student)).max() > 0.5
    return result


SETTINGS = pytest.mark.parametrize(("batch_size", "weight_decay"), [(1, 0.0), (1, 0.2), (3, 0.1)])


@SETTINGS
def test_every_step_of_the_deep_code_is_that_of_the_on_line_sgd_to_rounding(batch_size: int, weight_decay: float) -> None:
    # Parameters are below 4, where numbers are 4.4e-16 apart; the sums over N = 60 in another order add a few such units.
    assert differences_of_single_steps(batch_size, weight_decay, n_steps=600).max() < 1e-14


def test_a_rate_a_millionth_off_is_noticed() -> None:
    assert differences_of_single_steps(1, 0.0, n_steps=100, rate_factor=1.000001).max() > 1e-8


@SETTINGS
def test_whole_runs_differ_less_than_those_from_starts_a_millionth_of_a_millionth_apart(
    batch_size: int, weight_decay: float
) -> None:
    student, teacher = draw(5)
    shifted = {name: value * (1 + 1e-12) for name, value in student.items()}
    runs = [OnLine(start, teacher, batch_size, weight_decay) for start in (student, shifted)]
    theta, (rate, decay) = flat(student), deep_rates(weight_decay)
    on_line_sgd(ARCHITECTURE, theta, teacher.batches(runs[0].numbers(), batch_size), rate, 600, decay)
    for run in runs:
        for _ in range(600):
            run.step()
    reference, apart = (run.state() for run in runs)
    assert np.abs(theta - reference).max() < np.abs(apart - reference).max() < 1e-6


def test_labels_are_the_teacher_plus_noise() -> None:
    teacher = Teacher(np.ones((1, 4)), np.array([2.0]), "linear", noise=0.5)
    x, y = next(teacher.batches(np.random.default_rng(0), 20_000))
    residual = y[:, 0] - x.sum(axis=1)
    assert abs(residual.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * 20_000)
    np.testing.assert_allclose(teacher.label(x), x.sum(axis=1), rtol=1e-12)
