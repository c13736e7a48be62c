"""The macroscopic state of student and teacher: overlaps of modes and weights, and the quantities that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.errors import InvalidInput, refuse
from teacher_student.gaussian_averages import averages_of
from teacher_student.gaussian_averages.mehler import converges, mehler_generalisation_error
from teacher_student.kernels import njit
from teacher_student.summaries import html_table

# A Gram matrix typed with twelve digits passes; a wrong one is off by far more.
_GRAM_TOLERANCE = 1e-9
# Products of several overlaps stay finite below it; order parameters of networks are far smaller.
_LARGEST = 1e30


@dataclass(frozen=True, eq=False, repr=False)
class OrderParameters:
    """The state that closes under on-line learning at N -> infinity (docs/theory.rst: `overlaps`); immutable.

    Parameters
    ----------
    Q_modes : (P, P) array
        xi_in xi_in^T / N, overlaps of the student's input modes.
    R_modes : (P, M) array
        xi_in W*^T / N, overlaps of input modes with teacher units.
    T : (M, M) array
        W* W*^T / N, overlaps of teacher units; may be singular.
    sigma : (P,) array
        Strengths of the modes.
    xi_out : (K, P) array
        Output modes.
    v, v_teacher : (K,) and (M,) arrays
        Output weights of student and teacher.

    Raises
    ------
    InvalidInput
        If shapes do not fit, a number is not finite, or [[Q_modes, R_modes], [R_modes^T, T]] is no Gram matrix.

    Notes
    -----
    Li and Huang (2023) write M for R and P for T.
    """

    Q_modes: FloatArray
    R_modes: FloatArray
    T: FloatArray
    sigma: FloatArray
    xi_out: FloatArray
    v: FloatArray
    v_teacher: FloatArray

    def __post_init__(self) -> None:
        for field, n_dimensions in zip(fields(self), (2, 2, 2, 1, 2, 1, 1), strict=True):
            array = as_array(field.name, getattr(self, field.name), n_dimensions)
            object.__setattr__(self, field.name, array)
        K, P, M = self.n_units, self.n_modes, self.n_teacher
        for name, size in (("v", K), ("sigma", P), ("v_teacher", M)):
            if size == 0:
                refuse(name, getattr(self, name).tolist(), "at least one entry (K, P and M are 1 or more)")
        check_shape("Q_modes", self.Q_modes, (P, P), "(P, P), P being the length of sigma")
        check_shape("R_modes", self.R_modes, (P, M), "(P, M), P and M being the lengths of sigma and v_teacher")
        check_shape("T", self.T, (M, M), "(M, M), M being the length of v_teacher")
        check_shape("xi_out", self.xi_out, (K, P), "(K, P), K and P being the lengths of v and sigma")
        _check_overlaps(self.Q_modes, self.R_modes, self.T)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderParameters):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays compare by value here, so there is nothing to hash

    def __repr__(self) -> str:
        return f"OrderParameters(K={self.n_units}, P={self.n_modes}, M={self.n_teacher}, {self._in_words})"

    def _repr_html_(self) -> str:
        """Return all arrays for a notebook, Q and R of the units first."""
        arrays = {"Q": self.Q, "R": self.R, **{f.name: getattr(self, f.name) for f in fields(self)}}
        rows = [(name, np.array2string(array, precision=4, threshold=60)) for name, array in arrays.items()]
        return html_table(f"{self!r}", rows)

    @property
    def _in_words(self) -> str:
        lengths, cosines = np.sqrt(np.clip(self.Q.diagonal(), 0.0, None)), np.abs(unit_cosines(self.Q, self.R, self.T))
        return f"lengths {lengths.min():.3g} to {lengths.max():.3g}, abs(cosines) up to {cosines.max():.3g}"

    @property
    def n_units(self) -> int:
        """K, the number of student units."""
        return len(self.v)

    @property
    def n_modes(self) -> int:
        """P, the number of modes."""
        return len(self.sigma)

    @property
    def n_teacher(self) -> int:
        """M, the number of teacher units."""
        return len(self.v_teacher)

    @property
    def B(self) -> FloatArray:
        """xi_out diag(sigma), (K, P): the student's weights are B xi_in."""
        return self.xi_out * self.sigma

    @property
    def Q(self) -> FloatArray:
        """Student-student overlaps B Q_modes B^T, (K, K)."""
        return self.B @ self.Q_modes @ self.B.T

    @property
    def R(self) -> FloatArray:
        """Student-teacher overlaps B R_modes, (K, M)."""
        return self.B @ self.R_modes

    def eps_g(self, activation: str = "erf", teacher_activation: str | None = None) -> float:
        """Return the generalisation error <(student - clean teacher)^2> / 2; by default both have the same `activation`.

        Raises `InvalidInput` for an unknown activation.
        """
        return float(generalisation_error(self.Q, self.R, self.T, self.v, self.v_teacher, activation, teacher_activation))


def plain_committee(
    Q: npt.ArrayLike, R: npt.ArrayLike, T: npt.ArrayLike, v: npt.ArrayLike, v_teacher: npt.ArrayLike
) -> OrderParameters:
    """Return the plain committee machine: P = K, xi_out the identity, sigma = 1, so Q_modes = Q and R_modes = R.

    Shapes: `Q` (K, K), `R` (K, M), `T` (M, M), `v` (K,), `v_teacher` (M,). Raises `InvalidInput` like `OrderParameters`.
    """
    v, v_teacher = as_array("v", v, 1), as_array("v_teacher", v_teacher, 1)
    Q, R = as_array("Q", Q, 2), as_array("R", R, 2)
    K, M = len(v), len(v_teacher)
    check_shape("Q", Q, (K, K), "(K, K), K being the length of v")
    check_shape("R", R, (K, M), "(K, M), K and M being the lengths of v and v_teacher")
    try:
        return OrderParameters(
            Q_modes=Q,
            R_modes=R,
            T=as_array("T", T, 2),
            sigma=np.ones(K),
            xi_out=np.eye(K),
            v=v,
            v_teacher=v_teacher,
        )
    except InvalidInput as error:
        raise InvalidInput(re.sub(r"\b([QR])_modes\b", r"\1", str(error))) from None  # the names that were given


def unit_overlaps(factors: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return Q (..., K, K) and R (..., K, M) of the named parts of states with any leading dimensions."""
    B = factors["xi_out"] * factors["sigma"][..., np.newaxis, :]
    return B @ factors["Q_modes"] @ np.swapaxes(B, -1, -2), B @ factors["R_modes"]


def unit_cosines(Q: FloatArray, R: FloatArray, T: FloatArray) -> FloatArray:
    """Return R_km / sqrt(Q_kk T_mm), (..., K, M), over the leading dimensions; zero where a norm is zero."""
    Q_diagonal = np.clip(np.diagonal(Q, axis1=-2, axis2=-1), 0.0, None)
    norms = np.sqrt(Q_diagonal[..., np.newaxis] * np.diagonal(T))
    return np.divide(R, norms, out=np.zeros_like(R), where=norms > 0)


def generalisation_error(
    Q: FloatArray,
    R: FloatArray,
    T: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    activation: str,
    teacher_activation: str | None = None,
) -> FloatArray:
    """Return eps_g = c^T L c / 2, c = (v, -v_teacher), over the leading dimensions of `Q`, `R`, `v` (docs/theory.rst: `error`).

    Shapes: `Q` (..., K, K), `R` (..., K, M), `T` (M, M), `v` (..., K), `v_teacher` (M,). Without closed form it has the error
    that `estimated_generalisation_error` returns.
    """
    return estimated_generalisation_error(Q, R, T, v, v_teacher, activation, teacher_activation)[0]


def estimated_generalisation_error(
    Q: FloatArray,
    R: FloatArray,
    T: FloatArray,
    v: FloatArray,
    v_teacher: FloatArray,
    activation: str,
    teacher_activation: str | None = None,
) -> tuple[FloatArray, FloatArray | None]:
    """Return eps_g and an estimate of its error, None in closed form; arguments as for `generalisation_error`.

    Of smooth activations it is a series, whose error is the difference from a coarser one; of others a mean over fixed
    quasi-random fields, with a standard error.
    """
    pair = get_activations(activation, teacher_activation)
    leading, K, M = Q.shape[:-2], Q.shape[-1], len(v_teacher)
    S = np.empty((*leading, K + M, K + M))
    S[..., :K, :K], S[..., :K, K:] = Q, R
    S[..., K:, :K], S[..., K:, K:] = np.swapaxes(R, -1, -2), T
    c = np.empty((*leading, K + M))
    c[..., :K], c[..., K:] = v, -v_teacher
    family = averages_of(*pair)
    if family is not None:
        out = np.empty(leading)
        rows = S.reshape(-1, K + M, K + M), c.reshape(-1, K + M)
        _half_quadratic_forms(family.activation_covariance, family.parameters, *rows, K, out.reshape(-1))
        return out, None
    if all(converges(each) for each in pair):
        return mehler_generalisation_error(*pair, S, c, K)
    from teacher_student.gaussian_averages.sampled import sampled_generalisation_error  # needs scipy.stats: slow

    return sampled_generalisation_error(*pair, Q, R, T, v, v_teacher)


@njit(cache=True)
def _half_quadratic_forms(
    activation_covariance: Any, parameters: FloatArray, S: FloatArray, c: FloatArray, K: int, out: FloatArray
) -> None:
    L = np.empty(S.shape[1:])
    for t in range(len(out)):
        activation_covariance(parameters, S[t], K, L)
        out[t] = 0.5 * np.dot(c[t], np.dot(L, c[t]))


def as_array(name: str, value: npt.ArrayLike, n_dimensions: int) -> FloatArray:
    """Return `value` as an immutable float array; raises `InvalidInput` naming `name` unless it is one of finite real numbers."""
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "fiu":
            raise ValueError
        with np.errstate(over="ignore"):
            array = np.array(raw, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        refuse(name, value, f"real numbers in an array of {n_dimensions} dimension(s)")
    if array.ndim != n_dimensions:
        refuse(name, f"{array.ndim} dimension(s)", f"an array of {n_dimensions} dimension(s)")
    if not np.isfinite(array).all():
        refuse(name, float(array[~np.isfinite(array)].flat[0]), "finite numbers only")
    if array.size and np.abs(array).max() > _LARGEST:
        refuse(name, float(np.abs(array).max()), f"numbers of at most {_LARGEST:g} in size")
    array.flags.writeable = False
    return array


def check_shape(name: str, array: FloatArray, shape: tuple[int, ...], meaning: str) -> None:
    """Raise `InvalidInput` naming `name` unless `array` has the `shape`, which is `meaning` in words."""
    if array.shape != shape:
        refuse(name, f"shape {array.shape}", f"shape {shape} = {meaning}")


def _check_overlaps(Q_modes: FloatArray, R_modes: FloatArray, T: FloatArray) -> None:
    check_gram("Q_modes", Q_modes)
    check_gram("T", T)
    joint = np.block([[Q_modes, R_modes], [R_modes.T, T]])
    check_gram("R_modes", joint, "[[Q_modes, R_modes], [R_modes^T, T]]")


def check_gram(name: str, matrix: FloatArray, meaning: str | None = None) -> None:
    """Raise `InvalidInput` naming `name` unless `matrix` (n, n), the matrix `meaning` of several overlaps, is a Gram matrix."""
    asymmetry = np.abs(matrix - matrix.T)
    scale = float(np.abs(matrix).max())
    if asymmetry.max() > _GRAM_TOLERANCE * scale:
        i, j = np.unravel_index(int(asymmetry.argmax()), matrix.shape)
        refuse(f"{name}[{i}, {j}]", matrix[i, j].item(), f"a symmetric matrix, here {matrix[j, i].item()}")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < -_GRAM_TOLERANCE * scale:
        where = "" if meaning is None else f" of {meaning}"
        why = "no negative eigenvalue" if meaning is None else "overlaps no larger than norms allow"
        refuse(name, f"smallest eigenvalue {smallest:.3g}{where}", f"a Gram matrix ({why})")
