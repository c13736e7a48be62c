"""Where the time of SGD on weights goes: random numbers and memory traffic, each alone, beside the steps themselves.

K = M = 4, plain committee, erf, one thread; the smallest thread time of many short runs, all within one process. "Memory" loads
and stores what a step does and computes nothing with it: in blocks of inputs, as this package does, or once a step, as SGD
written step by step must. The roofline is random numbers plus memory. Two threads are timed by the wall clock.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit
from timing import least_in_turn, machine, seconds_per_step

import teacher_student as ts
from teacher_student.activations import get_activation
from teacher_student.bundles import rule_bundle
from teacher_student.sgd import weights
from teacher_student.sgd.blocks import BLOCK, TILE
from teacher_student.sgd.normals import fill_normals

N_INPUTS = (1_000, 10_000, 100_000)
FIRST_LAYER = ts.LearningRule(eta_xi_in=0.5)
EVERY_FACTOR = ts.LearningRule(eta_xi_in=0.5, eta_sigma=0.1, eta_xi_out=0.1, eta_v=0.1)
UNITS = 4


def replica(n_inputs: int, seed: int = 0) -> weights.WeightsReplica:
    """Return a run that has just started."""
    one = np.eye(UNITS)
    start = ts.plain_committee(Q=0.5 * one, R=0.1 * one, T=one, v=np.ones(UNITS), v_teacher=np.ones(UNITS))
    return weights.start(start, None, n_inputs, np.random.Generator(np.random.SFC64(seed)))


def steps(run: weights.WeightsReplica, rule: ts.LearningRule, n_steps: int) -> None:
    """Take `n_steps` steps."""
    erf = get_activation("erf")
    if weights.advance(run, erf, erf, rule_bundle(rule), None, run.arrays.rows.shape[1], 0, n_steps) != n_steps:
        raise SystemExit("the student diverged")


@njit(nogil=True)
def random_numbers(stream: np.ndarray, n_inputs: int, n_steps: int) -> None:
    """Draw `n_steps` inputs, over and over into the fastest cache."""
    out = np.empty(BLOCK * TILE)
    for begin in range(0, n_steps * n_inputs, len(out)):
        fill_normals(stream, out[: n_steps * n_inputs - begin])


@njit(nogil=True, fastmath={"reassoc"})
def load(row: np.ndarray) -> float:
    """Read a row."""
    total = 0.0
    for i in range(len(row)):
        total += row[i]
    return total


@njit(nogil=True)
def store(row: np.ndarray) -> None:
    """Read and write a row."""
    for i in range(len(row)):
        row[i] = -row[i]


@njit(nogil=True)
def memory_of_blocks(xi_in: np.ndarray, W_teacher: np.ndarray, inputs: np.ndarray, n_steps: int) -> float:
    """Load and store what `n_steps` steps do in blocks: inputs written, all rows read, inputs read, student's rows rewritten."""
    total, N = 0.0, xi_in.shape[1]
    for _ in range(n_steps // BLOCK):
        for tile in range(len(inputs)):
            inputs[tile] = 1.0
            begin, end = tile * TILE, min(N, (tile + 1) * TILE)
            for a in range(len(xi_in)):
                total += load(xi_in[a, begin:end])
            for m in range(len(W_teacher)):
                total += load(W_teacher[m, begin:end])
        for tile in range(len(inputs)):
            begin, end = tile * TILE, min(N, (tile + 1) * TILE)
            for s in range(BLOCK):
                total += load(inputs[tile, s])
            for a in range(len(xi_in)):
                store(xi_in[a, begin:end])
    return total


@njit(nogil=True)
def memory_of_steps(xi_in: np.ndarray, W_teacher: np.ndarray, n_steps: int) -> float:
    """Load and store what `n_steps` steps must one by one: all rows read, the student's rewritten."""
    total = 0.0
    for _ in range(n_steps):
        for m in range(len(W_teacher)):
            total += load(W_teacher[m])
        for a in range(len(xi_in)):
            store(xi_in[a])
    return total


def microseconds(work: Callable[[int], object], n_steps: int, runs: int) -> float:
    """Return microseconds of thread time a step."""
    return 1e6 * seconds_per_step(work, n_steps, runs)


def ratio_of_threads(n_inputs: int, n_steps: int, runs: int) -> float:
    """Return how many times the steps of one thread two threads take in the same time, each with a replica of its own."""
    replicas = [replica(n_inputs, seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:

        def on_threads(n_threads: int) -> None:
            list(pool.map(lambda run: steps(run, FIRST_LAYER, n_steps), replicas[:n_threads]))

        one, two = least_in_turn([partial(on_threads, 1), partial(on_threads, 2)], runs)
    return 2.0 * one / two


def line(n_inputs: int, runs: int) -> str:
    """Return a line of the table."""
    n_steps = max(BLOCK, 2_000_000 // n_inputs // BLOCK * BLOCK)
    run = replica(n_inputs)
    xi_in, W_teacher, inputs = run.arrays.rows.copy(), run.arrays.W_teacher, run.arrays.inputs.copy()
    step = microseconds(lambda n: steps(run, FIRST_LAYER, n), n_steps, runs)
    every = microseconds(lambda n: steps(run, EVERY_FACTOR, n), n_steps, runs)
    random = microseconds(lambda n: random_numbers(run.arrays.stream, n_inputs, n), n_steps, runs)
    blocks = microseconds(lambda n: memory_of_blocks(xi_in, W_teacher, inputs, n), n_steps, runs)
    one_by_one = microseconds(lambda n: memory_of_steps(xi_in, W_teacher, n), n_steps, runs)
    return (
        f"{n_inputs:14d}{1e6 / step:10.0f}{step:8.2f}{random:8.2f}{blocks:8.2f}{step / (random + blocks):10.2f}"
        f"{one_by_one:24.2f}{step / (random + one_by_one):10.2f}{every / step:27.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="runs of about a millisecond of which the fastest counts")
    runs = parser.parse_args().runs
    print(machine())
    print("microseconds a step; K = M = 4, erf, first layer learning")
    print(
        "             N   steps/s    step  random  memory  step/sum   memory, a pass a step  step/sum   every factor/first layer"
    )
    for n_inputs in N_INPUTS:
        print(line(n_inputs, runs), flush=True)
    if (os.cpu_count() or 1) > 1:
        for n_inputs in N_INPUTS:
            ratio = ratio_of_threads(n_inputs, max(BLOCK, 5_000_000 // n_inputs), 2 * runs)
            print(f"N = {n_inputs}: two threads with a replica each take {ratio:.2f} times the steps of one")


if __name__ == "__main__":
    main()
