"""Where everything lies in the state: one flat vector, with views of its parts and names for them.

Theory, chain, linear noise, coordinates and trajectories all ask this module. The flat state of student and teacher holds

    gram (blocks, rows P, rows P)      overlaps X X^T / N of the rows X that move, for each block of input directions,
    with_teacher (blocks, rows P, M)   overlaps X W*^T / N of these rows with the teacher units,
    slow (rows, n_slow)                the slow factors, which move by order 1/N a step: `SLOW_FACTORS`, one after the other,

each in row-major order. `rows` is the number of memory rows of a mode: 1, the mode itself, or 2 if it has a velocity too; first
come all modes, then their velocities. The second row of `slow` holds the velocities of the slow factors.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from teacher_student.arrays import Array, FloatArray, IntArray
from teacher_student.buffers import view
from teacher_student.kernels import njit
from teacher_student.tuple_types import remember_type


class Part(NamedTuple):
    """A named part of the state: its dimensions in a trajectory, and what it is in words."""

    dimensions: tuple[str, ...]
    long_name: str


# The slow factors in the order in which they lie in the state; a learned factor more is one line more.
SLOW_FACTORS = {
    "sigma": Part(("mode",), "mode strengths"),
    "xi_out": Part(("student", "mode"), "output modes"),
    "v": Part(("student",), "output weights of the student"),
}
FACTORS = {
    "Q_modes": Part(("mode", "mode_"), "overlaps of input modes"),
    "R_modes": Part(("mode", "teacher"), "overlaps of input modes with teacher units"),
    **SLOW_FACTORS,
}
VELOCITIES = {
    "Q_velocities": Part(("mode", "mode_"), "overlaps of the velocities of input modes"),
    "R_velocities": Part(("mode", "teacher"), "overlaps of the velocities of input modes with teacher units"),
    "sigma_velocity": Part(("mode",), "velocities of mode strengths"),
    "xi_out_velocity": Part(("student", "mode"), "velocities of output modes"),
    "v_velocity": Part(("student",), "velocities of output weights"),
    "C_velocities": Part(("mode", "mode_"), "overlaps of input modes with velocities of input modes"),
}
# What follows from the state at one time.
DERIVED = {
    "Q": Part(("student", "student_"), "student-student overlaps"),
    "R": Part(("student", "teacher"), "student-teacher overlaps"),
    "eps_g": Part((), "generalisation error"),
}
OF_TEACHER = {
    "T": Part(("teacher", "teacher_"), "teacher-teacher overlaps"),
    "v_teacher": Part(("teacher",), "output weights of the teacher"),
}
# Which rate moves what: xi_in, whose overlaps are the first two factors, and the slow factors.
RATES = ("eta_xi_in", *(f"eta_{name}" for name in SLOW_FACTORS))


class Eta(NamedTuple):
    """The rates at one time, in the order of `RATES`: of the input modes per step / sqrt(N), of the slow factors per step / N."""

    xi_in: float
    sigma: float
    xi_out: float
    v: float


class Sizes(NamedTuple):
    """How many student units K, modes P and teacher units M there are, memory rows a mode, and blocks of input directions."""

    K: int
    P: int
    M: int
    rows: int = 1
    blocks: int = 1

    @property
    def of_dimensions(self) -> dict[str, int]:
        """The length of every dimension of a part."""
        return {"mode": self.P, "mode_": self.P, "student": self.K, "student_": self.K, "teacher": self.M, "teacher_": self.M}

    @property
    def n_slow(self) -> int:
        """Entries of all slow factors together."""
        return _spans(self)[-1][1]

    @property
    def n_full(self) -> int:
        """Entries of the flat state."""
        n_rows = self.rows * self.P
        return self.blocks * n_rows * (n_rows + self.M) + self.rows * self.n_slow

    @property
    def names(self) -> tuple[str, ...]:
        """The named parts of the state, velocities among them if there are any."""
        return (*FACTORS, *VELOCITIES) if self.rows > 1 else tuple(FACTORS)

    def shape_of(self, part: Part) -> tuple[int, ...]:
        """Return the shape of `part`."""
        return tuple(self.of_dimensions[dimension] for dimension in part.dimensions)

    def size_of(self, part: Part) -> int:
        """Return the number of entries of `part`."""
        return int(np.prod(self.shape_of(part)))


class State(NamedTuple):
    """A flat state `full` (n_full,) and its views as the module describes; `sigma`, `xi_out` and `v` are parts of slow[0]."""

    full: Any
    gram: Any
    with_teacher: Any
    slow: Any
    sigma: Any
    xi_out: Any
    v: Any


def views(full: Array, sizes: Sizes) -> State:
    """Return the views of the flat state `full`, (n_full,): what is written into them is written into it.

    Compiled code has `state_at`.
    """
    n_rows = sizes.rows * sizes.P
    end_gram = sizes.blocks * n_rows * n_rows
    end_with_teacher = end_gram + sizes.blocks * n_rows * sizes.M
    slow = full[end_with_teacher : sizes.n_full].reshape(sizes.rows, sizes.n_slow)
    factors = factors_of(slow[0], sizes)
    return State(
        full=full,
        gram=full[:end_gram].reshape(sizes.blocks, n_rows, n_rows),
        with_teacher=full[end_gram:end_with_teacher].reshape(sizes.blocks, n_rows, sizes.M),
        slow=slow,
        **dict(zip(SLOW_FACTORS, factors[1:], strict=True)),
    )


class Factors(NamedTuple):
    """Slow factors as one array, `slow` (n_slow, ...), and its views `sigma` (P, ...), `xi_out` (K, P, ...) and `v` (K, ...)."""

    slow: Any
    sigma: Any
    xi_out: Any
    v: Any


remember_type(Sizes)
remember_type(Factors, lambda factors: factors.v.ndim)


@njit(cache=True, nogil=True, inline="always")
def ends_of_slow(sizes: Sizes) -> tuple[int, int, int]:
    """Return where each of `SLOW_FACTORS` ends in a row of the slow factors, within compiled code."""
    K, P = sizes.K, sizes.P
    return P, P + K * P, P + K * P + K


@njit(cache=True, nogil=True, inline="always")
def factors_at(buffer: FloatArray, begin: int, sizes: Sizes) -> Factors:
    """Return slow factors that lie in `buffer` from `begin` on, within compiled code."""
    K, P = sizes.K, sizes.P
    sigma, xi_out, v = ends_of_slow(sizes)
    return Factors(
        view(buffer, begin, (v,)),
        view(buffer, begin, (P,)),
        view(buffer, begin + sigma, (K, P)),
        view(buffer, begin + xi_out, (K,)),
    )


@njit(cache=True, nogil=True, inline="always")
def state_at(full: FloatArray, sizes: Sizes) -> State:
    """Return what `views` returns, within compiled code."""
    M, n_memory, blocks = sizes.M, sizes.rows, sizes.blocks
    n_rows = n_memory * sizes.P
    end_gram = blocks * n_rows * n_rows
    begin = end_gram + blocks * n_rows * M
    factors = factors_at(full, begin, sizes)
    return State(
        full,
        view(full, 0, (blocks, n_rows, n_rows)),
        view(full, end_gram, (blocks, n_rows, M)),
        view(full, begin, (n_memory, len(factors.slow))),
        factors.sigma,
        factors.xi_out,
        factors.v,
    )


@functools.cache
def _spans(sizes: Sizes) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Return where each slow factor begins and ends in a row of the slow factors, and its shape."""
    ends = np.cumsum([sizes.size_of(part) for part in SLOW_FACTORS.values()]).tolist()
    return tuple(zip([0, *ends[:-1]], ends, map(sizes.shape_of, SLOW_FACTORS.values()), strict=True))


def factors_of(slow: Array, sizes: Sizes) -> Factors:
    """Return `slow`, (n_slow, ...), with views of its factors, contiguous if it is."""
    further = slow.shape[1:]
    return Factors(slow, *[slow[begin:end].reshape(shape + further) for begin, end, shape in _spans(sizes)])


def slow_of(source: object, suffix: str = "") -> FloatArray:
    """Return the slow factors (n_slow,) of anything that has them as attributes, of velocities with their names' `suffix`."""
    return np.concatenate([np.ravel(getattr(source, name + suffix)) for name in SLOW_FACTORS])


@functools.cache
def rates_of_slow(sizes: Sizes) -> IntArray:
    """Return which of `RATES` moves each slow factor's entry, (n_slow,), not to be written."""
    return np.repeat(np.arange(1, len(RATES)), [end - begin for begin, end, _ in _spans(sizes)])


def join(gram: FloatArray, with_teacher: FloatArray, slow: FloatArray) -> FloatArray:
    """Return flat states (..., n_full), of one block, of their three parts, each with the same leading dimensions."""
    leading = slow.shape[:-2]
    return np.concatenate([part.reshape(*leading, -1) for part in (gram, with_teacher, slow)], axis=-1)


@functools.cache
def positions(sizes: Sizes) -> dict[str, IntArray]:
    """Return where every named part lies in the flat state, as an array of positions in the part's shape, not to be written.

    Parts of the modes have a leading axis of blocks if there are several.
    """
    whole = views(np.arange(sizes.n_full), sizes)
    P = sizes.P
    found = {"Q_modes": whole.gram[:, :P, :P], "R_modes": whole.with_teacher[:, :P]}
    if sizes.rows > 1:
        found |= {
            "Q_velocities": whole.gram[:, P:, P:],
            "R_velocities": whole.with_teacher[:, P:],
            "C_velocities": whole.gram[:, :P, P:],
        }
    if sizes.blocks == 1:
        found = {name: array[0] for name, array in found.items()}
    begin = 0
    for name, part in SLOW_FACTORS.items():
        end = begin + sizes.size_of(part)
        for row, entry in zip(whole.slow, (name, f"{name}_velocity"), strict=False):
            found[entry] = row[begin:end].reshape(sizes.shape_of(part))
        begin = end
    return {name: found[name] for name in sizes.names}


def unpack(full: FloatArray, sizes: Sizes) -> dict[str, FloatArray]:
    """Return the named parts of flat states (..., n_full), each with the leading dimensions of `full`."""
    return {name: full[..., position] for name, position in positions(sizes).items()}


def pack(parts: Mapping[str, FloatArray], sizes: Sizes) -> FloatArray:
    """Return flat states (..., n_full) of the named `parts`, each with the same leading dimensions."""
    leading = np.shape(parts["v"])[:-1]
    full = np.empty((*leading, sizes.n_full))
    for name, position in positions(sizes).items():
        full[..., position] = parts[name]
    if sizes.rows > 1:
        gram = views(np.arange(sizes.n_full), sizes).gram
        full[..., gram[:, sizes.P :, : sizes.P]] = full[..., np.swapaxes(gram[:, : sizes.P, sizes.P :], 1, 2)]
    return full
