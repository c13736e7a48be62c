"""The right-hand side with Gaussian averages in closed form, as a function pointer that the import compiles or finds compiled."""

from __future__ import annotations

from teacher_student.arrays import FloatArray
from teacher_student.bundles import eta_at
from teacher_student.kernels import cfunc
from teacher_student.layout import state_at
from teacher_student.theory.closed_forces import closed_forces
from teacher_student.theory.drift import add_decay, keep_lengths, move
from teacher_student.theory.model import RIGHT_HAND_SIDE, Model, forces_at


def _closed(model: Model, alpha: float, full: FloatArray, out: FloatArray) -> None:
    """Write dy/dalpha of the flat state `full` at the time `alpha` into `out`."""
    eta = eta_at(model.rule.schedules, alpha)
    state, change = state_at(full, model.sizes), state_at(out, model.sizes)
    forces, begin = forces_at(model.work, model.sizes)
    closed_forces(model, eta, state, forces, begin)
    add_decay(model, eta, state, forces)
    move(model, forces, state, change)
    if model.rule.spherical:
        keep_lengths(state, change)


pointer = cfunc(RIGHT_HAND_SIDE, cache=True, error_model="numpy")(_closed)
