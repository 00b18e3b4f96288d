"""The few distinct values of a matrix: what its weights can be stored as numbers of, and whether that pays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.ir import INT4, INT8, SPIKE, Graph, Tensor
from edgekit.ir.ops.contract import accumulator

FIRST = 256  # weights that tell most matrices apart from those of few values
MOST = 16  # distinct values of a matrix that is stored as numbers of them
NEIGHBOURS = 4  # distinct values that two bits tell apart, and that need no table where they follow one another
STEP = 16  # of int8 of which half a byte is enough
SUMS = 16  # bits of what such weights are added to
SAVES, PART = 256, 8  # what has to be saved: about the code of a kernel, and one in so many bytes


@dataclass(frozen=True)
class Levels:
    """The distinct values of a matrix in ascending order."""

    values: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Bits of one weight: 2, 3 or 4."""
        return max(2, (len(self.values) - 1).bit_length())

    @property
    def low(self) -> int | None:
        """The first of four neighbouring numbers with 0 among them that are all levels; None where they are others."""
        first, last = min(self.values[0], 0), max(self.values[-1], 0)
        return first if last - first < NEIGHBOURS else None

    def numbers(self, weights: Array) -> Array:
        """Which level each weight is; of one that is none (0 as padding) any."""
        return np.minimum(np.searchsorted(np.array(self.values), weights), len(self.values) - 1)


def levels_of(w: Tensor) -> Levels | None:
    """The levels of a constant matrix of int8 or int4; None where it is computed, wider, or has too many."""
    if w.data is None or len(w.shape) != 2 or w.dtype not in (INT4, INT8):
        return None
    if np.unique(w.data.reshape(-1)[:FIRST]).size > MOST:  # most matrices, without a look at all of them
        return None
    values = np.unique(w.data)
    return Levels(tuple(int(v) for v in values)) if values.size <= MOST else None


def shortened(graph: Graph, name: str) -> tuple[Tensor, int]:
    """A matrix as rows for spikes hold it, and the step that its weights there stand for.

    Where all that it is added to are int16 sums, int8 multiples of 16 are held as int4, unless they are so few that
    they have numbers of fewer bits; any other matrix as it is, in steps of 1.
    """
    w = graph.tensors[name]
    if w.data is None or w.dtype is not INT8 or len(w.shape) != 2 or (w.data[0] % STEP).any():
        return w, 1
    ops = [op for _, op in graph.ops() if op.kind == "linear" and op.inputs[1] == name]
    if any(graph.tensors[op.inputs[0]].dtype is not SPIKE or accumulator(op.attrs).bits != SUMS for op in ops):
        return w, 1
    if (w.data % STEP).any() or ((few := levels_of(w)) is not None and few.bits < INT4.bits):
        return w, 1
    return replace(w, dtype=INT4, data=w.data // STEP, quant=None), STEP


def pays(before: int, after: int, least: int = SAVES) -> bool:
    """Whether so many bytes in place of so many are worth a kernel: at least `least` fewer, and an eighth."""
    return before - after >= max(least, before // PART)
