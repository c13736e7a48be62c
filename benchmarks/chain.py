"""Nanoseconds a step of the exact chain against N: one replica, and per replica where many run, beside the same in plain NumPy.

K = 4, P = M = 3, erf, every factor learning, label noise; one thread; the smallest thread time of many short runs, all within one
process. The last columns are ratios to the chain for one replica: plain NumPy step by step, and SGD on weights where N allows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import special
from timing import committee, machine, seconds_per_step

import teacher_student as ts
from teacher_student.activations import get_activation
from teacher_student.bundles import rule_bundle
from teacher_student.networks import gram_factor
from teacher_student.sgd import chain as chain_of_overlaps
from teacher_student.sgd import weights
from teacher_student.sgd.inputs import replica_generators
from teacher_student.sgd.lanes import LANES

N_INPUTS = (100, 1_000, 10_000, 1_000_000, 1_000_000_000)
MOST_WEIGHTS = 10_000
GROUPS = 8
RULE = ts.LearningRule(eta_xi_in=0.5, eta_sigma=0.2, eta_xi_out=0.2, eta_v=0.2, noise=0.1)


def nanoseconds(work: Callable[[int], object], n_steps: int, runs: int) -> float:
    """Return nanoseconds of thread time a step."""
    return 1e9 * seconds_per_step(work, n_steps, runs)


def chain(n_inputs: int, groups: int, together: int) -> Callable[[int], None]:
    """Return what takes steps of `groups` runs of `together` replicas each."""
    generators, initial = replica_generators(0, groups * together), committee(4, 3, 3)
    members = [generators[r : r + together] for r in range(0, groups * together, together)]
    runs = [chain_of_overlaps.start(initial, None, n_inputs, 1, rngs) for rngs in members]
    erf, rule = get_activation("erf"), rule_bundle(RULE)

    def work(n_steps: int) -> None:
        for run in runs:
            if (chain_of_overlaps.advance(run, erf, erf, rule, None, n_inputs, 0, n_steps) < n_steps).any():
                raise SystemExit("the student diverged")

    return work


def on_weights(n_inputs: int) -> Callable[[int], None]:
    """Return what takes steps of SGD on weights."""
    run = weights.start(committee(4, 3, 3), None, n_inputs, *replica_generators(0, 1))
    erf, rule = get_activation("erf"), rule_bundle(RULE)

    def work(n_steps: int) -> None:
        if weights.advance(run, erf, erf, rule, None, n_inputs, 0, n_steps) < n_steps:
            raise SystemExit("the student diverged")

    return work


def in_numpy(n_inputs: int) -> Callable[[int], None]:
    """Return what takes steps of the chain in NumPy, one replica, with a QR decomposition a step."""
    rng, state = np.random.default_rng(0), committee(4, 3, 3)
    M, P = state.n_teacher, state.n_modes
    factor = gram_factor(state)
    F_teacher, F = factor[:M, :M], factor[M:]
    sigma, xi_out, v = state.sigma.copy(), state.xi_out.copy(), state.v.copy()
    eta, eta_sigma, eta_xi_out, eta_v = RULE.rates / n_inputs

    def work(n_steps: int) -> None:
        nonlocal F, xi_out
        for _ in range(n_steps):
            z = rng.standard_normal(M + P)
            rho, u = F_teacher @ z[:M], F @ z
            field = xi_out @ (sigma * u)
            activity = special.erf(np.sqrt(0.5) * field)
            slope = v * np.sqrt(2.0 / np.pi) * np.exp(-0.5 * field**2)
            delta = v @ activity - state.v_teacher @ special.erf(np.sqrt(0.5) * rho) - RULE.noise * rng.standard_normal()
            back = slope @ xi_out
            h = -eta * delta * back * sigma
            F = F + np.outer(h, z)
            rest = np.column_stack([F[:, M:], h * np.sqrt(rng.chisquare(n_inputs - M - P))])
            F[:, M:] = np.linalg.qr(rest.T, mode="r").T
            xi_out = xi_out - eta_xi_out * delta * np.outer(slope, u * sigma)
            sigma[:] -= eta_sigma * delta * u * back
            v[:] -= eta_v * delta * activity

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="runs of about a millisecond of which the fastest counts")
    runs = parser.parse_args().runs
    print(machine())
    print(f"         N   one replica [ns/step]   {GROUPS * LANES} replicas [ns/replica/step]   NumPy / one   weights / one")
    for n_inputs in N_INPUTS:
        one = nanoseconds(chain(n_inputs, 1, 1), 5000, runs)
        many = nanoseconds(chain(n_inputs, GROUPS, LANES), 500, runs) / (GROUPS * LANES)
        numpy = nanoseconds(in_numpy(n_inputs), 50, runs)
        ratio = "-"
        if n_inputs <= MOST_WEIGHTS:
            ratio = f"{nanoseconds(on_weights(n_inputs), max(4, 1_000_000 // n_inputs // 4 * 4), runs) / one:.1f}"
        print(f"{n_inputs:10d}   {one:21.0f}   {many:31.1f}   {numpy / one:11.0f}   {ratio:>13s}")


if __name__ == "__main__":
    main()
