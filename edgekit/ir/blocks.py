"""Blocks of weights that are zero together: the shapes that kernels of an instruction set skip fastest.

A sparse kernel reads weights in blocks; what is pruned outside of whole blocks it still multiplies. Pruning and the
backends share this table, so that what is taken out is what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A block of W[out, in]: so many neighbouring outputs by so many neighbouring inputs."""

    outputs: int
    inputs: int


ALONG_4, ACROSS_4 = Block(1, 4), Block(4, 1)
ALONG_16, ACROSS_16 = Block(1, 16), Block(16, 1)
TILE = Block(8, 4)  # a register of eight sums takes four inputs of each at a time

# instruction set -> block of a matrix over numbers, and of one over spikes, whose rows of outputs are added one by one
BLOCKS: Mapping[str, tuple[Block, Block]] = {
    "portable": (ALONG_4, ACROSS_4),
    "dsp": (ALONG_4, ACROSS_4),
    "mve": (ALONG_16, ACROSS_16),
    "neon": (TILE, ACROSS_16),
    "neon32": (TILE, ACROSS_16),
    "avx2": (TILE, ACROSS_16),
    "avx512": (TILE, ACROSS_16),
    "vnni": (TILE, ACROSS_16),
}


def block_for(simd: str, *, spikes: bool) -> Block:
    """The block that an instruction set skips fastest, in a matrix over spikes or over numbers."""
    return BLOCKS.get(simd, BLOCKS["portable"])[int(spikes)]
