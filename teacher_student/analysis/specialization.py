"""Specialisation: which teacher unit each student unit has learnt, how well and since when, and which modes carry the weights."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import xarray as xr

from teacher_student.arrays import FloatArray, IntArray
from teacher_student.errors import check_fraction
from teacher_student.trajectory import normalized_overlaps
from teacher_student.trajectory_form import NORMALIZED_OVERLAPS, as_trajectory

_LONG_NAMES = {
    NORMALIZED_OVERLAPS: "normalised overlaps R / sqrt(QT)",
    "assignment": "teacher unit a student unit stands for at the last time, -1 for none",
    "closest": "teacher unit of the largest absolute overlap at the last time",
    "degree": "largest minus second largest squared normalised overlap",
    "attainable": "degree of a unit that equals its closest teacher unit",
    "onset": "alpha after which degree / attainable stays above the threshold",
    "order": "place in the order of onsets, -1 for units that did not specialise",
    "tau": "importance of modes",
    "share": "tau / sum of tau",
    "participation": "participation ratio of the eigenvalues of W W^T / N",
    "effective_rank": "exp of the entropy of the eigenvalues of W W^T / N",
}


def specialization(trajectory: xr.Dataset, threshold: float = 0.5) -> xr.Dataset:
    """Return how student units specialise on teacher units, and how modes share the weights.

    Parameters
    ----------
    trajectory : xarray.Dataset
        Theory (alpha, ...) or simulation (replica, alpha, ...); every replica is treated by itself.
    threshold : float
        Part of the attainable degree, between 0 and 1, above which a unit counts as specialised.

    Returns
    -------
    xarray.Dataset
        With the trajectory's leading dimensions:
        ``normalized_overlaps`` (..., alpha, student, teacher), R_km / sqrt(Q_kk T_mm), zero where a norm is zero.
        ``assignment`` (..., student), the one-to-one assignment of student to teacher units with the largest sum of
        abs(normalized_overlaps) at the last time; -1 for the K - M student units that get none.
        ``closest`` (..., student), the teacher unit of the largest abs(overlap) at the last time, which several may share.
        ``degree`` (..., alpha, student), largest minus second largest squared overlap of a student unit: 0 where it is as close
        to two teacher units, 1 where it is one of them and orthogonal to the others.
        ``attainable`` (..., student), the degree of a unit that equals its closest teacher unit; 1 for orthogonal teacher units.
        ``onset`` (..., student), the alpha after which degree / attainable stays above `threshold`, interpolated; NaN if never.
        ``order`` (..., student), 0 for the first onset, 1 for the next; -1 without onset.
        ``tau``, ``share`` (..., alpha, mode), tau_a = abs(sigma_a) + gamma (n_in_a + n_out_a), and its part of the sum, with the
        norms n_in_a^2 = Q_modes_aa and n_out_a^2 = sum_k xi_out_ka^2, and gamma = mean abs(sigma) / mean (n_in + n_out) over
        modes. Li and Huang (2023) rank modes by such a sum.
        ``participation``, ``effective_rank`` (..., alpha), of the eigenvalues l of Q, which are the squared singular values of
        W / sqrt(N): (sum l)^2 / sum l^2, and exp of the entropy of l / sum l; 0 if W = 0.

    Raises
    ------
    InvalidInput
        If the threshold is not between 0 and 1, there is no trajectory, or it has entries that are not finite.
    """
    threshold = check_fraction("threshold", threshold)
    trajectory = as_trajectory(trajectory, variables=("Q_modes", "R_modes", "sigma", "xi_out", "Q", "R", "T"))
    overlap = normalized_overlaps(trajectory)
    units = ("replica", "student") if "replica" in trajectory.dims else ("student",)
    times = (*units[:-1], "alpha")
    degree = degree_of_specialization(overlap.values)
    last = np.abs(overlap.values[..., -1, :, :])
    closest = last.argmax(axis=-1)
    attainable = degree_of_specialization(cosines(trajectory["T"].values))[closest]
    relative = np.divide(
        degree, attainable[..., np.newaxis, :], out=np.zeros_like(degree), where=attainable[..., np.newaxis, :] > 0
    )
    onset = onsets(trajectory["alpha"].values, relative, threshold)
    tau = importance(trajectory["Q_modes"].values, trajectory["sigma"].values, trajectory["xi_out"].values)
    total = tau.sum(axis=-1, keepdims=True)
    eigenvalues = np.maximum(np.linalg.eigvalsh(trajectory["Q"].values), 0.0)
    data = {
        NORMALIZED_OVERLAPS: (overlap.dims, overlap.values),
        "assignment": (units, assignment(last)),
        "closest": (units, closest),
        "degree": ((*times, "student"), degree),
        "attainable": (units, attainable),
        "onset": (units, onset),
        "order": (units, np.where(np.isnan(onset), -1, onset.argsort(axis=-1).argsort(axis=-1))),
        "tau": ((*times, "mode"), tau),
        "share": ((*times, "mode"), np.divide(tau, total, out=np.zeros_like(tau), where=total > 0)),
        "participation": (times, participation_ratio(eigenvalues)),
        "effective_rank": (times, effective_rank(eigenvalues)),
    }
    result = xr.Dataset(data, coords={"alpha": trajectory["alpha"]}, attrs={"threshold": threshold})
    for name, text in _LONG_NAMES.items():
        result[name].attrs["long_name"] = text
    return result


def degree_of_specialization(overlap: FloatArray) -> FloatArray:
    """Return largest minus second largest squared normalised overlap, (..., student), of `overlap` (..., student, teacher)."""
    squares = np.sort(np.minimum(overlap**2, 1.0), axis=-1)
    return np.asarray(squares[..., -1] - (squares[..., -2] if squares.shape[-1] > 1 else 0.0))


def cosines(T: FloatArray) -> FloatArray:
    """Return T_mn / sqrt(T_mm T_nn), (M, M), zero where a norm is zero."""
    norms = np.sqrt(np.outer(np.diagonal(T), np.diagonal(T)))
    return np.asarray(np.divide(T, norms, out=np.zeros_like(T), where=norms > 0))


def assignment(closeness: FloatArray) -> IntArray:
    """Return the teacher unit of each student unit, (..., K), in the assignment of largest total `closeness` (..., K, M)."""
    leading = closeness.shape[:-2]
    result = np.full(closeness.shape[:-1], -1)
    for index in np.ndindex(*leading):
        students, teachers = scipy.optimize.linear_sum_assignment(closeness[index], maximize=True)
        result[(*index, students)] = teachers
    return result


def onsets(alpha: FloatArray, degree: FloatArray, threshold: float) -> FloatArray:
    """Return the time, (..., student), after which `degree` (..., alpha, student) stays above `threshold`.

    Between output times the degree is taken as linear in ln alpha, or in alpha after alpha = 0. NaN for units below at the end.
    """
    curves = np.moveaxis(degree, -2, -1)
    result = np.full(curves.shape[:-1], np.nan)
    for index in np.ndindex(*result.shape):
        curve = curves[index]
        below = np.flatnonzero(curve <= threshold)
        if len(below) == 0:
            result[index] = alpha[0]
        elif below[-1] < len(alpha) - 1:
            i = below[-1]
            part = (threshold - curve[i]) / (curve[i + 1] - curve[i])
            if alpha[i] > 0:
                result[index] = alpha[i] * (alpha[i + 1] / alpha[i]) ** part
            else:
                result[index] = part * alpha[i + 1]
    return result


def importance(Q_modes: FloatArray, sigma: FloatArray, xi_out: FloatArray) -> FloatArray:
    """Return tau (..., P) of `Q_modes` (..., P, P), `sigma` (..., P) and `xi_out` (..., K, P); see `specialization`."""
    norms = np.sqrt(np.diagonal(Q_modes, axis1=-2, axis2=-1)) + np.linalg.norm(xi_out, axis=-2)
    mean_norm = norms.mean(axis=-1, keepdims=True)
    strengths = np.abs(sigma)
    gamma = np.divide(strengths.mean(axis=-1, keepdims=True), mean_norm, out=np.zeros_like(mean_norm), where=mean_norm > 0)
    return np.asarray(strengths + gamma * norms)


def participation_ratio(eigenvalues: FloatArray) -> FloatArray:
    """Return (sum l)^2 / sum l^2 over the last axis; between 1 and the number of eigenvalues, 0 if all are 0."""
    total, squares = eigenvalues.sum(axis=-1), (eigenvalues**2).sum(axis=-1)
    return np.asarray(np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0))


def effective_rank(eigenvalues: FloatArray) -> FloatArray:
    """Return exp(-sum p ln p), p = l / sum l, over the last axis; between 1 and the number of eigenvalues, 0 if all are 0."""
    total = eigenvalues.sum(axis=-1, keepdims=True)
    p = np.divide(eigenvalues, total, out=np.zeros_like(eigenvalues), where=total > 0)
    entropy = -np.sum(p * np.log(p, out=np.zeros_like(p), where=p > 0), axis=-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), 0.0)
