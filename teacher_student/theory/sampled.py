"""The right-hand side with averages over quasi-random fields, as a function pointer like that of `closed`."""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import cfunc
from teacher_student.layout import state_at
from teacher_student.theory.drift import add_decay, keep_lengths, move
from teacher_student.theory.model import RIGHT_HAND_SIDE, Model, forces_at
from teacher_student.theory.sampled_forces import sampled_forces


def _sampled(model: Model, alpha: float, full: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha of the flat state `full` at the time `alpha` into `out`."""
    eta = eta_at(model.rule.schedules, alpha)
    state, change = state_at(full, model.sizes), state_at(out, model.sizes)
    forces, _ = forces_at(model.work, model.sizes)
    sampled_forces(model, eta, state, forces)
    add_decay(model, eta, state, forces)
    move(model, forces, state, change)
    if model.rule.spherical:
        keep_lengths(state, change)


pointer = cfunc(RIGHT_HAND_SIDE, cache=True, error_model="numpy")(_sampled)
