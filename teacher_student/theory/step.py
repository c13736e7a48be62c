"""One SGD step at given fields (docs/theory.rst: `step`), as the theory averages it: forces, diffusion matrix, noise of leaps.

SGD on weights and the exact chain have a text of their own (`teacher_student.sgd.gradient`): that both agree is evidence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from teacher_student.arrays import FloatArray
from teacher_student.buffers import view
from teacher_student.kernels import njit
from teacher_student.layout import Eta, Factors, Sizes, State, ends_of_slow, factors_at
from teacher_student.theory.model import Model


class Step(NamedTuple):
    """The step at given fields: `h` (P,), with h_a x / sqrt(N) the step of mode a, and that of the slow factors times N.

    `activity` and `response` (K,) are work space. All of them are views of `whole`.
    """

    whole: Any
    h: Any
    slow: Factors
    activity: Any
    response: Any


@njit(cache=True, nogil=True, inline="always")
def step_at(work: FloatArray, sizes: Sizes) -> Step:
    """Return a step that lies in `work`, (step_size,)."""
    K, P = sizes.K, sizes.P
    return Step(work, view(work, 0, (P,)), factors_at(work, P + 2 * K, sizes), view(work, P, (K,)), view(work, P + K, (K,)))


@njit(cache=True, nogil=True, inline="always")
def step_size(sizes: Sizes) -> int:
    """Return the room that a step takes."""
    return sizes.P + 2 * sizes.K + ends_of_slow(sizes)[-1]


@njit(cache=True, nogil=True, forceinline=True)
def write_step(model: Model, eta: Eta, state: State, fields: FloatArray, label_noise: float, step: Step) -> None:
    """Write the step at the `fields` (M + P or more,), those of the teacher and then of the modes, without weight decay."""
    units, v_teacher, K, P, M = model.units, model.teacher.v, model.sizes.K, model.sizes.P, model.sizes.M
    sigma, xi_out, v = state.sigma, state.xi_out, state.v
    activity, response, slow = step.activity, step.response, step.slow
    delta = -label_noise
    for m in range(M):
        delta -= v_teacher[m] * units.g_teacher(fields[m])
    for k in range(K):
        lambda_k = 0.0
        for a in range(P):
            lambda_k += xi_out[k, a] * sigma[a] * fields[M + a]
        activity[k] = units.g(lambda_k)
        response[k] = v[k] * units.g_prime(lambda_k)
        delta += v[k] * activity[k]
    for a in range(P):
        of_mode = 0.0
        for k in range(K):
            of_mode += response[k] * xi_out[k, a]
        step.h[a] = -eta.xi_in * delta * of_mode * sigma[a]
        slow.sigma[a] = -eta.sigma * delta * fields[M + a] * of_mode
    for k in range(K):
        for a in range(P):
            slow.xi_out[k, a] = -eta.xi_out * delta * fields[M + a] * response[k] * sigma[a]
        slow.v[k] = -eta.v * delta * activity[k]


@njit(cache=True, nogil=True, forceinline=True)
def write_increment(step: Step, fields: FloatArray, M: int, batch_size: int, out: State) -> None:
    """Write the change of the flat state, times N, by a `step` at `fields` (M + rows P,), of one block of input directions
    (docs/theory.rst: `increments`, with velocities `velocity-increments`).

    The last row of a mode takes the step: with velocities they do, and what they do to the rest later is linear in the state.
    """
    P, n_rows, slow = len(step.h), len(fields) - M, step.slow.slow
    last, newest = n_rows - P, len(out.slow) - 1
    out.full[:] = 0.0
    for a in range(P):
        for i in range(n_rows):
            out.gram[0, last + a, i] += step.h[a] * fields[M + i]
            out.gram[0, i, last + a] += step.h[a] * fields[M + i]
        for b in range(P):
            out.gram[0, last + a, last + b] += step.h[a] * step.h[b] / batch_size
        for m in range(M):
            out.with_teacher[0, last + a, m] = step.h[a] * fields[m]
    for i in range(len(slow)):
        out.slow[newest, i] = slow[i]
