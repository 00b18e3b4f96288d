"""Parts of a tensor at indices that change at run time, whole numbers in float32."""

from __future__ import annotations

import math

import numpy as np

from edgekit.frontends.emitter import Emitter, Known, Live, Operand


def fired(e: Emitter, index: Live, size: int) -> Live:
    """One neuron in `size` fires for each index, on a new last axis; none for an index outside of 0 … size - 1.

    |index - place| < 1/2 and not equality: in integers of another scale an index is only near its place.
    """
    places = Known(np.arange(size, dtype=np.float32), "const.places")
    away = e.emit("sub", e.live(e.reshape(index, (*e.shape(index), 1))), places)
    return e.emit("lt", e.emit("abs", away), 0.5)


def looked_up(e: Emitter, table: Operand, axis: int, index: Live) -> Live:
    """Slices of a table along an axis at indices, in front the axes of the index.

    By comparison: one neuron in n fires for each index, and a linear adds the columns of those that do.
    """
    rank, n, picked = len(e.shape(table)), e.shape(table)[axis], e.shape(index)
    last = e.transpose(table, [*(a for a in range(rank) if a != axis), axis])
    rest = e.shape(last)[:-1]
    matrix = e.reshape(last, (math.prod(rest), n))
    y = e.emit("linear", fired(e, index, n), e.real(matrix))
    return e.live(e.reshape(y, (*picked, *rest)))


def from_front(e: Emitter, index: Live, size: int) -> Live:
    """An index from 0 on: negative ones count from the end."""
    return e.emit("where", e.emit("ge", index, 0.0), index, e.emit("add", index, float(size)))


def taken(e: Emitter, x: Operand, axis: int, index: Live) -> Operand:
    """x[…, index, …]: the axes of the index take the place of one axis; indices count from 0 on."""
    found = looked_up(e, x, axis, index)
    count, rank = len(e.shape(index)), len(e.shape(found))
    rest = list(range(count, rank))
    return e.transpose(found, [*rest[:axis], *range(count), *rest[axis:]])
