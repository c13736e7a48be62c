"""Student and teacher at finite N: weights, their overlaps, and weights that have given overlaps."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_instance, check_whole, refuse
from teacher_student.memory import bytes_of_memory
from teacher_student.order_parameters import OrderParameters, as_array, check_shape

# Overlaps that differ by less, in units of the lengths, differ by rounding.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Weights:
    """A student xi_out diag(sigma) xi_in with output weights v, and a teacher W* with output weights v_teacher.

    Shapes: `xi_in` (P, N), `sigma` (P,), `xi_out` (K, P), `v` (K,), `W_teacher` (M, N), `v_teacher` (M,).
    """

    xi_in: FloatArray
    sigma: FloatArray
    xi_out: FloatArray
    v: FloatArray
    W_teacher: FloatArray
    v_teacher: FloatArray


def overlaps(weights: Weights) -> OrderParameters:
    """Return the order parameters of `weights`; raises `InvalidInput` if they are none, or shapes do not fit."""
    check_instance("weights", weights, Weights)
    xi_in, W_teacher = as_array("xi_in", weights.xi_in, 2), as_array("W_teacher", weights.W_teacher, 2)
    if xi_in.shape[1] != W_teacher.shape[1] or xi_in.shape[1] == 0:
        refuse("xi_in", f"shape {xi_in.shape}", f"(P, N) with the N of W_teacher, whose shape is {W_teacher.shape}")
    n_inputs = xi_in.shape[1]
    return OrderParameters(
        Q_modes=xi_in @ xi_in.T / n_inputs,
        R_modes=xi_in @ W_teacher.T / n_inputs,
        T=W_teacher @ W_teacher.T / n_inputs,
        sigma=weights.sigma,
        xi_out=weights.xi_out,
        v=weights.v,
        v_teacher=weights.v_teacher,
    )


def triangular_factor(gram: FloatArray) -> FloatArray:
    """Return the lower triangular F with F F^T = `gram`, (n, n), a Gram matrix that may be singular.

    It comes from an eigendecomposition and a QR decomposition, without division by a pivot; the diagonal is at least 0.
    Raises `InvalidInput` unless `gram` is a square matrix of finite numbers.
    """
    gram = as_array("gram", gram, 2)
    check_shape("gram", gram, (len(gram), len(gram)), "a square")
    eigenvalues, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))
    triangle: FloatArray = np.asarray(np.linalg.qr(root.T, mode="r"))
    factor = np.ascontiguousarray(triangle.T)
    return _repeated(factor * np.where(np.diagonal(factor) < 0.0, -1.0, 1.0), gram)


def _repeated(rows: FloatArray, gram: FloatArray) -> FloatArray:
    """Return `rows` (n, m) with those that are equal or opposite by their Gram matrix `gram` made so bit for bit.

    Modes that are the same, or lie on a teacher unit, then stay the same in simulations, which rounding would part.
    """
    lengths = np.sqrt(gram.diagonal())
    signs = np.where(gram < 0.0, -1.0, 1.0)
    differences = np.abs(gram[:, np.newaxis] - signs[:, :, np.newaxis] * gram)
    allowed = _ROUNDING * np.maximum(lengths[:, np.newaxis], lengths)[:, :, np.newaxis] * lengths
    first = (differences <= allowed).all(axis=2).argmax(axis=1)
    for i in np.flatnonzero(first < np.arange(len(gram))):
        rows[i] = signs[i, first[i]] * rows[first[i]]
    return rows


def gram_of(state: OrderParameters) -> FloatArray:
    """Return the Gram matrix, (M + P, M + P), of the rows (W*, xi_in) / sqrt(N); raises `InvalidInput` for no state."""
    check_instance("state", state, OrderParameters)
    return np.block([[state.T, state.R_modes.T], [state.R_modes, state.Q_modes]])


def gram_factor(state: OrderParameters) -> FloatArray:
    """Return the triangular factor, (M + P, M + P), of the Gram matrix of (W*, xi_in) / sqrt(N) (docs/theory.rst: `factor`)."""
    return triangular_factor(gram_of(state))


def draw_rows(gram: FloatArray, n_inputs: int, rng: np.random.Generator) -> FloatArray:
    """Return rows (n, N) with the Gram matrix `gram` (n, n) times N, n <= N, uniformly distributed among all such rows.

    Raises `InvalidInput` for no matrix, fewer inputs than rows, or no generator.
    """
    gram = as_array("gram", gram, 2)
    n_inputs = check_whole("n_inputs", n_inputs, len(gram))
    check_instance("rng", rng, np.random.Generator)
    frame, triangle = np.linalg.qr(rng.standard_normal((n_inputs, len(gram))))
    frame *= np.sign(np.diagonal(triangle))  # makes the frame Haar distributed
    return _repeated(np.asarray(np.sqrt(n_inputs) * triangular_factor(gram) @ frame.T), gram)


def check_n_inputs(state: OrderParameters, n_inputs: object, with_velocities: bool = False) -> int:
    """Return `n_inputs` as an int; raises `InvalidInput` unless it is a whole number of at least P + M, or 2 P + M."""
    check_instance("state", state, OrderParameters)
    least, sum_of_rows = state.n_modes + state.n_teacher, "P + M"
    if with_velocities:
        least, sum_of_rows = least + state.n_modes, "2 P + M, modes having velocities,"
    return check_whole("n_inputs", n_inputs, least, f"a whole number N of at least {sum_of_rows} = {least}")


def bytes_of_weights(state: OrderParameters, n_inputs: int) -> int:
    """Return the size of student's and teacher's rows, in bytes; raises `InvalidInput` as `check_n_inputs` does."""
    n_inputs = check_n_inputs(state, n_inputs)
    return 8 * n_inputs * (state.n_modes + state.n_teacher)


def draw_weights(state: OrderParameters, n_inputs: int, rng: np.random.Generator) -> Weights:
    """Return weights with exactly the overlaps of `state`, uniformly distributed among all such weights.

    The inputs are isotropic, so the law of learning depends on the overlaps only. Raises `InvalidInput` for no state, N < P +
    M or no generator.
    """
    n_inputs = check_n_inputs(state, n_inputs)
    check_instance("rng", rng, np.random.Generator)
    M = state.n_teacher
    rows = draw_rows(gram_of(state), n_inputs, rng)
    return Weights(
        xi_in=np.ascontiguousarray(rows[M:]),
        sigma=state.sigma.copy(),
        xi_out=state.xi_out.copy(),
        v=state.v.copy(),
        W_teacher=np.ascontiguousarray(rows[:M]),
        v_teacher=state.v_teacher.copy(),
    )


def li_huang_weights(n_inputs: int, n_units: int, n_modes: int, rng: np.random.Generator) -> Weights:
    """Return student and teacher as Li and Huang (2023) draw them for their on-line setting.

    Both are decomposed into `n_modes` modes and share sigma and xi_out; every factor has i.i.d. Gaussian entries of
    standard deviation (ln N)^(-1/6), and the output weights are 1 / K. Raises `InvalidInput` for sizes below 1, N < 3, sizes
    beyond this machine's memory, or no generator.
    """
    sizes = {"n_inputs": n_inputs, "n_units": n_units, "n_modes": n_modes}
    for (name, value), least in zip(sizes.items(), (3, 1, 1), strict=True):
        check_whole(name, value, least)
    check_instance("rng", rng, np.random.Generator)
    held = 8 * (n_inputs * (2 * n_modes + n_units) + n_units * n_units)
    memory = bytes_of_memory()
    if held > (sys.maxsize if memory is None else memory):
        largest = max(sizes, key=lambda name: sizes[name])
        refuse(largest, sizes[largest], f"fewer: weights and overlaps of so many take {held // 2**30} GiB of memory")
    deviation = np.log(n_inputs) ** (-1.0 / 6.0)
    sigma = deviation * rng.standard_normal(n_modes)
    xi_out = deviation * rng.standard_normal((n_units, n_modes))
    xi_in_teacher = deviation * rng.standard_normal((n_modes, n_inputs))
    return Weights(
        xi_in=deviation * rng.standard_normal((n_modes, n_inputs)),
        sigma=sigma,
        xi_out=xi_out,
        v=np.full(n_units, 1.0 / n_units),
        W_teacher=(xi_out * sigma) @ xi_in_teacher,
        v_teacher=np.full(n_units, 1.0 / n_units),
    )
