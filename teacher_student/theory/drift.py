"""From the mean forces to the motion of the state: one form for every memory that is linear (docs/theory.rst: `odes`, `inertia`).

The rows X of all modes, each mode and with friction its velocity, obey dX = A X dalpha + b h x with the forces of
`teacher_student.theory.model.Forces`, b being 1 for the last row of a mode and 0 for the others. Their overlaps in the block d of
input directions, with eigenvalue lambda_d on a fraction p_d of them, then obey

    dG_d = A G_d + G_d A^T + b <h X_d> + transpose + p_d lambda_d b b^T <h h>,    dR_d = A R_d + b <h rho_d>,

and the slow factors ds = A s + b <step>.
"""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import njit
from teacher_student.layout import Eta, State, ends_of_slow, state_at
from teacher_student.theory.model import Forces, Model, forces_at


@njit(cache=True, inline="always")
def add_decay(model: Model, eta: Eta, state: State, forces: Forces) -> None:
    """Add weight decay, -eta kappa times the factor itself, to the forces."""
    kappa, P = model.rule.weight_decay, model.sizes.P
    if kappa == 0.0:
        return
    for d in range(len(state.gram)):
        for a in range(P):
            for i in range(state.gram.shape[1]):
                forces.with_rows[d, a, i] -= eta.xi_in * kappa * state.gram[d, a, i]
            for m in range(state.with_teacher.shape[2]):
                forces.with_teacher[d, a, m] -= eta.xi_in * kappa * state.with_teacher[d, a, m]
    begin, ends, slow = 0, ends_of_slow(model.sizes), forces.slow.slow
    for factor in range(len(ends)):
        for i in range(begin, ends[factor]):
            slow[i] -= eta[factor + 1] * kappa * state.slow[0, i]
        begin = ends[factor]


@njit(cache=True, inline="always")
def move(model: Model, forces: Forces, state: State, out: State) -> None:
    """Write dy/dalpha into `out`, from the forces with decay and the memory of the model."""
    A = model.memory
    n_memory, P, M = len(A), len(state.sigma), state.with_teacher.shape[2]
    last = n_memory - 1
    for d in range(len(state.gram)):
        G, R, dG, dR = state.gram[d], state.with_teacher[d], out.gram[d], out.with_teacher[d]
        with_rows, with_teacher = forces.with_rows[d], forces.with_teacher[d]
        spread = model.inputs.fractions[d] * model.inputs.eigenvalues[d]
        for r in range(n_memory):
            for a in range(P):
                i = r * P + a
                for s in range(n_memory):
                    for b in range(P):
                        j = s * P + b
                        total = 0.0
                        if r == last:
                            total += with_rows[a, j]
                        if s == last:
                            total += with_rows[b, i]
                        if r == last and s == last:
                            total += spread * forces.hh[a, b]
                        for t in range(n_memory):
                            total += A[r, t] * G[t * P + a, j] + A[s, t] * G[i, t * P + b]
                        dG[i, j] = total
                for m in range(M):
                    total = with_teacher[a, m] if r == last else 0.0
                    for t in range(n_memory):
                        total += A[r, t] * R[t * P + a, m]
                    dR[i, m] = total
    for r in range(n_memory):
        for i in range(len(forces.slow.slow)):
            total = forces.slow.slow[i] if r == last else 0.0
            for t in range(n_memory):
                total += A[r, t] * state.slow[t, i]
            out.slow[r, i] = total


@njit(cache=True, nogil=True)
def linear_drift(model: Model, alpha: float, full: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha without gradients into `out`, (n_full,): weight decay and what velocities do."""
    forces, end = forces_at(model.work, model.sizes)
    model.work[:end] = 0.0
    state = state_at(full, model.sizes)
    add_decay(model, eta_at(model.rule.schedules, alpha), state, forces)
    move(model, forces, state, state_at(out, model.sizes))


@njit(cache=True)
def keep_lengths(state: State, out: State) -> None:
    """Make dy/dalpha in `out` that of steps after each of which every mode is rescaled to its length before (docs/theory.rst:
    `rescaling`, `spherical`).

    A step that changes Q_aa by f_aa / N is followed by the factor 1 - f_aa / (2 N Q_aa) for mode a.
    """
    P, M = state.with_teacher.shape[1:]
    for a in range(P):
        length, change = 0.0, 0.0
        for d in range(len(state.gram)):
            length += state.gram[d, a, a]
            change += out.gram[d, a, a]
        shrinking = change / (2.0 * length)
        for d in range(len(state.gram)):
            for b in range(P):
                out.gram[d, a, b] -= shrinking * state.gram[d, a, b]
                out.gram[d, b, a] -= shrinking * state.gram[d, b, a]
            for m in range(M):
                out.with_teacher[d, a, m] -= shrinking * state.with_teacher[d, a, m]
