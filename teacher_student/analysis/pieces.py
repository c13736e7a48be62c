"""Plateaus, falls and rises of ln eps_g against ln alpha: the curve is cut at a slope, small pieces are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from teacher_student.analysis.smoothing import jackknife_error
from teacher_student.arrays import FloatArray, IntArray

_SIGNIFICANCE = 2.0


@dataclass(frozen=True)
class Criteria:
    """The settings that define a stage."""

    slope: float
    shortest: float
    window: float


@dataclass(frozen=True, eq=False)
class Curve:
    """ln eps_g and its slope on a uniform fine grid of x = ln alpha, and ln eps_g of the jackknife samples, (sample, x).

    `s_error` is the standard error of the slope, `times` are ln alpha of the output times, `secants` the slopes from each to the
    next.
    """

    x: FloatArray
    y: FloatArray
    s: FloatArray
    s_error: FloatArray
    samples: FloatArray
    times: FloatArray
    secants: FloatArray


@dataclass
class Piece:
    """A stretch of one kind, from `start` to `end` on the axis of ln alpha; its `sign` is that of the slope, 0 on a plateau."""

    sign: int
    start: float
    end: float


def pieces_of(curve: Curve, criteria: Criteria) -> list[Piece]:
    """Return the stages of one curve: the least of those that do not count is joined with its neighbours until all count."""
    pieces = _stretches(curve, criteria.slope)
    while len(pieces) > 1:
        sizes = np.array([_size(piece, curve, criteria) for piece in pieces])
        if sizes.min() >= 1.0:
            break
        pieces[int(sizes.argmin())].sign = _sign_of_neighbours(pieces, int(sizes.argmin()), curve)
        pieces = _joined(pieces)
    return pieces


def _stretches(curve: Curve, slope: float) -> list[Piece]:
    """Cut the curve where its slope crosses +-`slope`, by linear interpolation."""
    x, s = curve.x, curve.s
    signs = _signs(s, slope)
    pieces = [Piece(int(signs[0]), float(x[0]), float(x[-1]))]
    for i in np.flatnonzero(np.diff(signs)):
        # If a fall is followed by a rise within one step of the grid, the edge is where the slope is 0.
        level = slope * (signs[i] or signs[i + 1]) if 0 in signs[i : i + 2] else 0.0
        edge = float(x[i] + (level - s[i]) / (s[i + 1] - s[i]) * (x[i + 1] - x[i]))
        pieces[-1].end = edge
        pieces.append(Piece(int(signs[i + 1]), edge, float(x[-1])))
    return pieces


def _signs(s: FloatArray, slope: float) -> IntArray:
    """Return -1 for slopes of a fall, 0 for those of a plateau, 1 for those of a rise."""
    return np.asarray(np.sign(s).astype(int) * (np.abs(s) >= slope))


def _size(piece: Piece, curve: Curve, criteria: Criteria) -> float:
    """Return how much a piece counts: the lesser of its size and its significance, each in units of the least that is required.

    0 if no two neighbouring output times have a slope of its kind.
    """
    neighbours = (curve.times[1:] > piece.start) & (curve.times[:-1] < piece.end)
    if not (_signs(curve.secants[neighbours], criteria.slope) == piece.sign).any():
        return 0.0
    length = piece.end - piece.start
    ends = np.array([piece.start, piece.end])
    change = float(np.diff(np.interp(ends, curve.x, curve.y))[0])
    extent = length if piece.sign == 0 else abs(change) / criteria.slope
    size = extent / (criteria.shortest * math.log(10))
    if len(curve.samples) > 1 and length > 0:
        error = jackknife_error(np.array([np.diff(np.interp(ends, curve.x, y))[0] for y in curve.samples])) / length
        distance = abs(abs(change / length) - criteria.slope)
        if error > 0:
            size = min(size, distance / (_SIGNIFICANCE * float(error)))
    return size


def _sign_of_neighbours(pieces: list[Piece], i: int, curve: Curve) -> int:
    """Return the kind of the neighbours of piece `i`; where they differ, of the one with the closer exponent."""

    def exponent(piece: Piece) -> float:
        y_start, y_end = np.interp([piece.start, piece.end], curve.x, curve.y)
        return float((y_end - y_start) / (piece.end - piece.start))

    neighbours = [pieces[j] for j in (i - 1, i + 1) if 0 <= j < len(pieces)]
    return min(neighbours, key=lambda piece: abs(exponent(piece) - exponent(pieces[i]))).sign


def _joined(pieces: list[Piece]) -> list[Piece]:
    joined = [pieces[0]]
    for piece in pieces[1:]:
        if piece.sign == joined[-1].sign:
            joined[-1].end = piece.end
        else:
            joined.append(piece)
    return joined
