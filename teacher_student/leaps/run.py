"""Replicas that leap, from one output time to the next."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from teacher_student.errors import check_fraction, refuse
from teacher_student.leaps.dynamics import Dynamics, dynamics_of
from teacher_student.leaps.leap import DEFECT, ERROR, LEAPS, WANTED, prepare, take_leaps
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import Problem, check_problem, check_size_of_runs
from teacher_student.sgd.replicas import Method, run_replicas
from teacher_student.theory.coordinates import coordinates_of, smooth_pieces, unpack
from teacher_student.theory.gaussian_averages.sampled import gaussian_points

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_INPUTS = 10_000
# A run's own points, of which every leap uses a block.
N_POINTS = 2**14
PER_KICK = 2**8
_NOTE = "drift and noise are those of the theory: no evidence for it"


@dataclass(frozen=True, eq=False)
class LeapReplica:
    """One run in progress, updated in place.

    Shapes: `y` (n_full,) the full state, `tangent` (n_full,) the direction of the fastest rate, `record` as `leap` has it,
    `points` (N_POINTS, M + P + 1).
    """

    initial: OrderParameters
    y: FloatArray
    tangent: FloatArray
    record: FloatArray
    points: FloatArray
    rng: np.random.Generator


def leap(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    *,
    n_inputs: int | None = None,
    replicas: int = 1,
    seed: int | None = None,
    tolerance: float = 1e-4,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Return trajectories of SGD at large N that take many steps at once, with the drift and the noise of the theory.

    It is for N at which the exact chain, ``simulate(..., method="overlaps")``, takes too long. Drift and noise come from the
    theory, so that its agreement with the theory is no evidence for either; it extends what was checked against the chain at
    smaller N.

    Parameters
    ----------
    problem : Problem
        Initial state and rule; every replica starts from exactly these overlaps.
    alpha : float or increasing sequence, optional
        Output times, rounded to whole steps of 1 / N; by default the problem's own.
    n_inputs, seed : int, optional
        N, at least 10,000, and the seed of all random numbers; by default the problem's own.
    replicas : int
        Number of independent runs. Replica r is the same run however many there are, but not at other output times.
    tolerance : float
        Relative error of the covariance that the noise of one leap adds; decides how long leaps are.
    executor, checkpoint, progress
        As in `simulate`.

    Returns
    -------
    xarray.Dataset
        A trajectory like that of `simulate`, of method "leap". Its attributes tell the mean number of ``leaps`` of a replica and
        the largest estimated error of one (``leap_error``). If noise left overlaps that no vectors have, they were put right, and
        ``gram_defect`` is by how much relative to Q_modes.

    Raises
    ------
    InvalidInput
        For anything but a problem; for impossible times, sizes, seeds or tolerances, N below 10,000 or so small at these rates
        that a leap would be shorter than a step, or activations whose g' has jumps and whose Gaussian averages are not known in
        closed form.
    Diverged
        If an order parameter of a replica leaves every bound, or moves too fast for leaps; carries what was computed before.

    Notes
    -----
    The state follows dy = (f + f_1 / N - f' / (2 N)) dalpha + sqrt(D / N) dW in the sense of Ito, with f, f_1 and D as for
    fluctuations and f' the derivative of f along the flow. What this leaves out of SGD is of order 1/N relative to the spread
    between runs. The method is a splitting of drift and noise of order 4 in the length of a leap for mean and covariance at order
    1/N; compare G. N. Milstein and M. V. Tretyakov, SIAM J. Sci. Comput. 18, 1067 (1997), on systems with small noise.
    """
    check_problem(problem)
    N = check_size_of_runs(problem, problem.n_inputs if n_inputs is None else n_inputs)
    if N < LEAST_INPUTS:
        refuse("n_inputs", N, f"at least {LEAST_INPUTS} for leaps; below it the exact chain is fast: method overlaps")
    if problem.rule.has_velocity:
        name = "momentum" if problem.rule.friction is None else "friction"
        refuse(name, getattr(problem.rule, name), "none for leaps; the exact chain has it: method overlaps")
    tolerance = check_fraction("tolerance", tolerance)
    if not 1e-8 <= tolerance <= 0.1:
        refuse("tolerance", tolerance, "a number from 1e-8 to 0.1")
    dynamics = dynamics_of(problem)
    sampled = len(dynamics.drift_points) > 0
    shortest = _begin(problem, dynamics, tolerance, np.random.default_rng(0))[2][WANTED]
    if not N * shortest > 1.0:
        least = f"at least {np.ceil(1.0 / shortest):.3g} at rates as large"
        refuse("n_inputs", N, f"{least}, for leaps that are longer than a step; the exact chain has any N: method overlaps")
    largest = max(1e-3, float(problem.rule.largest_rates.max()))
    method = Method(
        name="leap",
        together=1,
        start=partial(_start, problem, tolerance),
        advance=partial(_advance, problem, tolerance, N),
        measure=_measure,
        # In units of the rate; a leap with a sampled drift takes hundreds of times as long.
        steps_per_call=max(1, int(N * (0.5 if sampled else 50.0) / largest)),
        held=8 * N_POINTS * (problem.initial.n_modes + problem.initial.n_teacher + 1),
        failure="the state moves too fast for leaps",
        describe=_describe,
        settings={"tolerance": tolerance},
    )
    return run_replicas(problem, method, alpha, N, replicas, seed, executor, checkpoint, progress)


def _begin(
    problem: Problem, dynamics: Dynamics, tolerance: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the full state, the direction of its fastest rate and the record before the first leap."""
    coordinates = coordinates_of(problem.initial, problem.rule)
    tangent = np.zeros(len(coordinates.start))
    tangent[coordinates.moving] = rng.standard_normal(len(coordinates.moving))
    tangent[coordinates.mirror] = tangent[coordinates.moving]
    tangent /= max(float(np.linalg.norm(tangent)), 1e-300)
    y, record = coordinates.start.copy(), np.zeros(7)
    prepare(dynamics, 0.0, y, tangent, tolerance, record)
    return y, tangent, record


def _start(problem: Problem, tolerance: float, generators: list[np.random.Generator]) -> LeapReplica:
    """Return the run of the one generator."""
    state, (rng,) = problem.initial, generators
    y, tangent, record = _begin(problem, dynamics_of(problem), tolerance, rng)
    points = gaussian_points(state.n_modes + state.n_teacher + 1, N_POINTS, int(rng.integers(2**32)))
    return LeapReplica(state, y, tangent, record, points, rng)


def _advance(problem: Problem, tolerance: float, N: int, replica: LeapReplica, first_step: int, n_steps: int) -> IntArray:
    """Cover `n_steps` steps, the first of them the run's step `first_step`; return how many were covered, (1,)."""
    dynamics = dynamics_of(problem)
    begin, end = first_step / N, (first_step + n_steps) / N
    for piece in smooth_pieces(problem.rule, end):
        alpha = max(begin, piece.start)
        if piece.end <= alpha:
            continue
        dynamics.window[:] = piece.within(piece.start), piece.within(piece.end)
        if alpha == piece.start > 0.0:
            prepare(dynamics, alpha, replica.y, replica.tangent, tolerance, replica.record)
        span = piece.end - alpha
        covered = take_leaps(
            dynamics,
            alpha,
            replica.y,
            replica.tangent,
            replica.points,
            PER_KICK,
            span,
            float(N),
            tolerance,
            replica.record,
            replica.rng,
        )
        if covered < span:
            return np.array([int((alpha + covered - begin) * N)])
    return np.array([n_steps])


def _measure(replica: LeapReplica) -> dict[str, FloatArray]:
    return {name: array[np.newaxis].copy() for name, array in unpack(replica.y, replica.initial).items()}


def _describe(replicas: list[LeapReplica]) -> dict[str, Any]:
    records = np.array([replica.record for replica in replicas])
    return {
        "note": _NOTE,
        "leaps": float(records[:, LEAPS].mean()),
        "leap_error": float(records[:, ERROR].max()),
        "gram_defect": float(records[:, DEFECT].max()),
        "diffusion_points": N_POINTS,
    }
