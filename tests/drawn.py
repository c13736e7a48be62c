"""The inputs that a run on weights draws, for tests that take its steps another way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from teacher_student.sgd.blocks import BLOCK, TILE, draw_inputs
from teacher_student.sgd.normals import WordArray


def drawn_inputs(stream: WordArray, n_inputs: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the inputs of a run in the order of its steps: whole batches in a block, or a batch in blocks of its own."""
    tiles = -(-n_inputs // TILE)
    block = np.zeros((tiles, BLOCK, TILE))
    count = BLOCK - BLOCK % batch_size if batch_size <= BLOCK else BLOCK
    while True:
        for begin in range(0, max(batch_size, count), BLOCK):
            for tile in range(tiles):
                draw_inputs(stream, n_inputs, block, tile)
            inputs = block.transpose(1, 0, 2).reshape(BLOCK, -1)[:, :n_inputs]
            yield from inputs[: min(count, max(batch_size, count) - begin)].copy()
