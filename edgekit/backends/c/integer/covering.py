"""Which blocks of a matrix are not all zero: as few neighbouring weights at a time as cover all others than zeros."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from edgekit.backends.c.data import Array


@dataclass(frozen=True)
class Cover:
    """Blocks in the order of their rows: `row` and `start` of each, and its `values` [blocks][per].

    What lies before `first` an earlier block of the row holds.
    """

    row: Array
    start: Array
    first: Array
    values: Array

    def counts(self, rows: int) -> Array:
        """How many blocks each row has."""
        return np.bincount(self.row, minlength=rows)


def cover(weights: Array, per: int, step: int = 1) -> Cover:
    """Blocks of `per` weights that begin at multiples of `step` and hold all of W[rows, width] that is not zero.

    Each begins at the first weight that those before it do not hold, or as near as `step` and the end of the row allow;
    no smaller number of blocks would do. What an earlier block holds is zero in a later one.
    """
    return _cover(weights.tobytes(), weights.dtype.str, weights.shape, per, step)


def tiles(weights: Array, per: int, outputs: int) -> Cover:
    """The same of `outputs` rows at a time: `row` counts tiles of them, `values` are [blocks][outputs][per]."""
    rows = np.pad(weights, ((0, -len(weights) % outputs), (0, 0))).reshape(-1, outputs, weights.shape[1])
    found = cover((rows != 0).any(axis=1), per)
    columns = (found.start[:, None] + np.arange(per))[:, None, :]
    values = rows[found.row[:, None, None], np.arange(outputs)[None, :, None], columns]
    return replace(found, values=np.where(columns >= found.first[:, None, None], values, 0))


@lru_cache(maxsize=32)
def _cover(data: bytes, dtype: str, shape: tuple[int, int], per: int, step: int) -> Cover:
    weights = np.frombuffer(data, dtype).reshape(shape)
    rows, width = shape
    place = np.where(weights != 0, np.arange(width), width)
    following = np.minimum.accumulate(np.pad(place, ((0, 0), (0, 1)), constant_values=width)[:, ::-1], axis=1)[:, ::-1]
    at, found = np.zeros(rows, np.int64), []
    while True:
        first = following[np.arange(rows), at]
        live = np.flatnonzero(first < width)
        if not live.size:
            break
        start = np.minimum(first[live] // step * step, width - per)
        found.append((live, start, first[live]))
        at[live] = start + per
        at = np.where(first < width, at, width)
    row, start, first = (np.concatenate(part) for part in zip(*found, strict=True)) if found else [np.zeros(0, int)] * 3
    order = np.argsort(row, kind="stable")
    row, start, first = row[order], start[order], first[order]
    columns = start[:, None] + np.arange(per)
    values = np.where(columns >= first[:, None], weights[row[:, None], columns], 0)
    return Cover(row, start, first, values.astype(weights.dtype))
