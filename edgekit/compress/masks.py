"""Pruning of single weights: the share of a matrix that stays, alone or in blocks, as a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.compress.stored import Array

Mask = npt.NDArray[np.bool_]


def mask_of(weights: Array, density: float, block: tuple[int, int] = (1, 1), power: Array | None = None) -> Mask:
    """Which weights [out, in] stay: the share `density` of all blocks of outputs × inputs, those of the largest
    Σ w² p, where p is the power E[x²] of each input, or 1.

    Blocks at the lower and right border are smaller; at least one block stays. Equal blocks stay in row order.
    """
    rows, columns = weights.shape
    tall, wide = block
    energy = np.asarray(weights, np.float64) ** 2 * (1.0 if power is None else power)
    down, along = -(-rows // tall), -(-columns // wide)
    padded = np.zeros((down * tall, along * wide))
    padded[:rows, :columns] = energy
    blocks = padded.reshape(down, tall, along, wide).sum(axis=(1, 3))
    count = max(1, int(np.floor(density * blocks.size + 0.5)))
    stays = np.zeros(blocks.size, bool)
    stays[np.argsort(-blocks.reshape(-1), kind="stable")[:count]] = True
    whole = np.repeat(np.repeat(stays.reshape(down, along), tall, axis=0), wide, axis=1)
    return whole[:rows, :columns]
