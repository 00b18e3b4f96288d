"""The bounds of a function given by table: at the ends of an interval and at the entries between."""

from __future__ import annotations

import numpy as np

from edgekit.ir import INT8, INT16, OPS, Tensor
from edgekit.passes.ranges.values import Array, Interval


def lookup_bounds(x: Interval, table: Array, over_int8: bool) -> Interval:
    """The bounds of `lookup`: linear between entries, so that its extremes are entries or ends of the interval."""
    dtype = INT8 if over_int8 else INT16
    low = -dtype.limits[0]
    step = 1 if over_int8 else 2**16 // (table.size - 1)
    first = -((-(x.lo + low)) // step)  # the first entry at or after the lower end
    last = (x.hi + low) // step
    low_tree, high_tree = _tree(table.astype(np.int64), np.minimum), _tree(table.astype(np.int64), np.maximum)
    entries = Tensor("table", table.shape, INT8 if table.dtype.itemsize == 1 else INT16)
    ends = []
    for side in (x.lo, x.hi):
        stored = side.astype(dtype.numpy)[None]
        ends.append(OPS["lookup"].evaluate([stored, table[None]], {}, [Tensor("x", x.shape, dtype), entries])[0][0])
    lo, hi = np.minimum(*ends).astype(np.float64), np.maximum(*ends).astype(np.float64)
    inside = first <= last
    a, b = np.where(inside, first, 0).astype(np.int64), np.where(inside, last, 0).astype(np.int64)
    lo = np.where(inside, np.minimum(lo, _query(low_tree, a, b, np.minimum)), lo)
    hi = np.where(inside, np.maximum(hi, _query(high_tree, a, b, np.maximum)), hi)
    return Interval(lo, hi)


def _tree(table: Array, best: np.ufunc) -> list[Array]:
    """Level k holds the best of each 2^k entries in a row."""
    levels, width = [table], 1
    while 2 * width <= table.size:
        level = levels[-1]
        levels.append(best(level[:-width], level[width:]))
        width *= 2
    return levels


def _query(levels: list[Array], first: Array, last: Array, best: np.ufunc) -> Array:
    size = last - first + 1
    level = np.frexp(size.astype(np.float64))[1] - 1  # floor(log2)
    found = np.zeros(first.shape, np.int64)
    for k, entries in enumerate(levels):
        here = level == k
        a = np.where(here, first, 0)
        b = np.where(here, last - (1 << k) + 1, 0)
        found = np.where(here, best(entries[a], entries[b]), found)
    return found
