"""The velocities of heavy-ball momentum with friction, the second part of the state (docs/theory.rst: `velocity-overlaps`)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from teacher_student.arrays import BoolArray, FloatArray
from teacher_student.layout import VELOCITIES, Sizes
from teacher_student.order_parameters import OrderParameters, as_array, check_gram, check_shape


@dataclass(frozen=True, eq=False)
class Velocities:
    """Velocities p of the input modes, by their overlaps, and those of the other factors; all per unit of alpha, immutable.

    Parameters
    ----------
    Q_velocities : (P, P) array
        p p^T / N.
    R_velocities : (P, M) array
        p W*^T / N.
    sigma_velocity : (P,) array
    xi_out_velocity : (K, P) array
    v_velocity : (K,) array
    C_velocities : (P, P) array
        xi_in p^T / N; not symmetric.

    Raises
    ------
    InvalidInput
        If a number is not finite or an array has the wrong number of dimensions.
    """

    Q_velocities: FloatArray
    R_velocities: FloatArray
    sigma_velocity: FloatArray
    xi_out_velocity: FloatArray
    v_velocity: FloatArray
    C_velocities: FloatArray

    def __post_init__(self) -> None:
        for name, part in VELOCITIES.items():
            object.__setattr__(self, name, as_array(name, getattr(self, name), len(part.dimensions)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Velocities):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays compare by value here, so there is nothing to hash

    @property
    def of_slow_factors(self) -> FloatArray:
        """The velocities of sigma, xi_out and v as one new vector, (P + K P + K,)."""
        return np.concatenate([self.sigma_velocity, self.xi_out_velocity.ravel(), self.v_velocity])

    @property
    def of_factors(self) -> BoolArray:
        """Which of xi_in, sigma, xi_out and v have a velocity, (4,)."""
        return np.array(
            [array.any() for array in (self.Q_velocities, self.sigma_velocity, self.xi_out_velocity, self.v_velocity)]
        )


def velocity_shapes(state: OrderParameters) -> dict[str, tuple[int, ...]]:
    """Return the shape of each velocity of a student and teacher like those of `state`, in the order of state vectors."""
    sizes = Sizes(K=state.n_units, P=state.n_modes, M=state.n_teacher)
    return {name: sizes.shape_of(part) for name, part in VELOCITIES.items()}


def at_rest(state: OrderParameters) -> Velocities:
    """Return velocities of zero."""
    return Velocities(**{name: np.zeros(shape) for name, shape in velocity_shapes(state).items()})


def joint_gram(state: OrderParameters, velocity: Velocities) -> FloatArray:
    """Return the Gram matrix, (M + 2 P, M + 2 P), of the rows (W*, xi_in, p) / sqrt(N)."""
    return np.block(
        [
            [state.T, state.R_modes.T, velocity.R_velocities.T],
            [state.R_modes, state.Q_modes, velocity.C_velocities],
            [velocity.R_velocities, velocity.C_velocities.T, velocity.Q_velocities],
        ]
    )


def check_velocities(state: OrderParameters, velocity: Velocities) -> None:
    """Raise `InvalidInput` unless networks in `state` can have `velocity`."""
    for name, shape in velocity_shapes(state).items():
        check_shape(f"velocity.{name}", getattr(velocity, name), shape, "that of " + ", ".join(VELOCITIES[name].dimensions))
    check_gram("velocity.Q_velocities", velocity.Q_velocities)
    joint = joint_gram(state, velocity)
    check_gram("velocity.C_velocities", joint, "[[Q_modes, C], [C^T, Q_velocities]] with the overlaps with the teacher")
