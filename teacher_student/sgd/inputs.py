"""Random streams: one generator a replica, and Gaussian inputs written in place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]


def replica_generators(seed: int, replicas: int) -> list[np.random.Generator]:
    """Return one independent generator a replica, spawned from `seed`: replica r is the same however many there are."""
    return [np.random.Generator(np.random.SFC64(child)) for child in np.random.SeedSequence(seed).spawn(replicas)]


@njit(cache=True, nogil=True)
def draw_input(rng: np.random.Generator, x: FloatArray) -> None:
    """Write i.i.d. N(0, 1) components into `x`, (N,)."""
    for i in range(len(x)):
        x[i] = rng.standard_normal()
