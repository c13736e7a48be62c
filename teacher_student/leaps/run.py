"""Replicas that leap, from one output time to the next."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.errors import check_fraction, refuse
from teacher_student.gaussian_averages.sampled import gaussian_points
from teacher_student.layout import unpack
from teacher_student.leaps.leap import DEFECT, ERROR, LEAPS, WANTED, Run, Settings, prepare, take_leaps
from teacher_student.leaps.model import LeapModel, drift_tolerance, leap_model
from teacher_student.problem import Problem, check_problem, check_size_of_runs
from teacher_student.sgd.replicas import Method, run_replicas
from teacher_student.theory.coordinates import sizes_of
from teacher_student.theory.equalities import independent_coordinates
from teacher_student.theory.stretches import smooth_stretches

LEAST_INPUTS = 10_000
# A run's own points, of which every leap uses a block.
N_POINTS = 2**14
PER_KICK = 2**8
_NOTE = "drift and noise are those of the theory: no evidence for it"


@dataclass(frozen=True, eq=False)
class LeapReplica:
    """One run in progress, updated in place.

    Shapes: `y` (n_full,) the flat state, `tangent` (n_full,) the direction of the fastest rate, `record` as `leap` has it,
    `points` (N_POINTS, M + P + 1).
    """

    y: FloatArray
    tangent: FloatArray
    record: FloatArray
    points: FloatArray
    rng: np.random.Generator

    @property
    def run(self) -> Run:
        """What compiled code takes."""
        return Run(self.y, self.tangent, self.record, self.points)


class Leaper:
    """How replicas of one problem leap; sent elsewhere it leaves its model behind, and every thread makes one of its own."""

    def __init__(self, problem: Problem, n_inputs: int, tolerance: float) -> None:
        self.problem, self.settings = problem, Settings(float(n_inputs), tolerance, PER_KICK)
        self.drift_tolerance = drift_tolerance(problem)
        self._of_thread = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _of_thread=threading.local())

    @property
    def model(self) -> LeapModel:
        """The model of the problem, whose work space no other thread uses."""
        if not hasattr(self._of_thread, "model"):
            self._of_thread.model = leap_model(self.problem, self.drift_tolerance)
        return self._of_thread.model

    def start(self, generators: list[np.random.Generator]) -> LeapReplica:
        """Return the run of the one generator, before its first leap."""
        state, (rng,) = self.problem.initial, generators
        coordinates = independent_coordinates(state, self.problem.rule)
        tangent = coordinates.expand_change(rng.standard_normal(len(coordinates.moving)))
        tangent /= max(float(np.linalg.norm(tangent)), 1e-300)
        self._stay_within(0.0, np.inf)
        replica = LeapReplica(coordinates.start.copy(), tangent, np.zeros(7), np.empty((0, 0)), rng)
        prepare(self.model, 0.0, replica.run, self.settings.tolerance)
        points = gaussian_points(state.n_modes + state.n_teacher + 1, N_POINTS, int(rng.integers(2**32)))
        return dataclasses.replace(replica, points=points)

    def shortest(self) -> float:
        """Return the length of the first leap."""
        return float(self.start([np.random.default_rng(0)]).record[WANTED])

    def advance(self, replica: LeapReplica, first_step: int, n_steps: int) -> IntArray:
        """Cover `n_steps` steps, the first of them the run's step `first_step`; return how many were covered, (1,)."""
        N = self.settings.n_inputs
        begin, end = first_step / N, (first_step + n_steps) / N
        for stretch in smooth_stretches(self.problem.rule, end):
            alpha = max(begin, stretch.start)
            if stretch.end <= alpha:
                continue
            self._stay_within(stretch.within(stretch.start), stretch.within(stretch.end))
            if alpha == stretch.start > 0.0:
                prepare(self.model, alpha, replica.run, self.settings.tolerance)
            span = stretch.end - alpha
            covered = take_leaps(self.model, self.settings, alpha, span, replica.run, replica.rng)
            if covered < span:
                return np.array([int((alpha + covered - begin) * N)])
        return np.array([n_steps])

    def measure(self, replica: LeapReplica) -> dict[str, FloatArray]:
        """Return the order parameters, with an axis for the one replica."""
        parts = unpack(replica.y, sizes_of(self.problem.initial))
        return {name: array[np.newaxis].copy() for name, array in parts.items()}

    def _stay_within(self, first: float, last: float) -> None:
        """Let the model ask the schedules for rates from the time `first` to `last` only."""
        self.model.equations.window[:] = first, last


def leap(
    problem: Problem,
    alpha: float | npt.ArrayLike | None = None,
    *,
    n_inputs: int | None = None,
    replicas: int | None = 1,
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
    replicas : int, optional
        Number of independent runs, 1 unless told; None takes the problem's number. Replica r is the same run however many
        there are, but not at other output times.
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
    leaper = Leaper(problem, N, tolerance)
    sampled = len(leaper.model.equations.model.points) > 0
    shortest = leaper.shortest()
    if not N * shortest > 1.0:
        least = f"at least {np.ceil(1.0 / shortest):.3g} at rates as large"
        refuse("n_inputs", N, f"{least}, for leaps that are longer than a step; the exact chain has any N: method overlaps")
    largest = max(1e-3, float(problem.rule.largest_rates.max()))
    method = Method(
        name="leap",
        together=1,
        start=leaper.start,
        advance=leaper.advance,
        measure=leaper.measure,
        # In units of the rate; a leap with a sampled drift takes hundreds of times as long.
        steps_per_call=max(1, int(N * (0.5 if sampled else 50.0) / largest)),
        held=8 * N_POINTS * (problem.initial.n_modes + problem.initial.n_teacher + 1),
        failure="the state moves too fast for leaps",
        describe=_describe,
        settings={"tolerance": tolerance},
    )
    return run_replicas(problem, method, alpha, N, replicas, seed, executor, checkpoint, progress)


def _describe(replicas: list[LeapReplica]) -> dict[str, Any]:
    records = np.array([replica.record for replica in replicas])
    return {
        "note": _NOTE,
        "leaps": float(records[:, LEAPS].mean()),
        "leap_error": float(records[:, ERROR].max()),
        "gram_defect": float(records[:, DEFECT].max()),
        "diffusion_points": N_POINTS,
    }
