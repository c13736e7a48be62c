"""Random streams: one generator a replica."""

from __future__ import annotations

import numpy as np


def replica_generators(seed: int, replicas: int) -> list[np.random.Generator]:
    """Return one independent generator a replica, spawned from `seed`: replica r is the same however many there are."""
    return [np.random.Generator(np.random.SFC64(child)) for child in np.random.SeedSequence(seed).spawn(replicas)]
