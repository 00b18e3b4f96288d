"""The non-zero weights of a sparse linear as arrays: by input (columns) or by output (runs of neighbouring inputs)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array

BLOCK = 4  # neighbouring outputs that one vector adds
ENTRY_BYTES, BLOCK_BYTES = 6, 2 + 4 * BLOCK  # a row number and its float32 weights
MAX_INDEX = 2**16
RUN_STEP = 16  # weights of a run are read so many at a time
RUN_OVERHEAD = 16  # a run of inputs costs about as much as this many weights more
SCAN_FACTOR = 2


@dataclass(frozen=True)
class Columns:
    """Entries start[i] … start[i+1]-1 of input i: weights of the `per` outputs from row[e] on, flat in `weights`."""

    start: Array
    row: Array
    weights: Array
    per: int


@dataclass(frozen=True)
class Runs:
    """`count` runs of each output; run [n, 2] = first input, number of weights; weights flat, some of them 0."""

    count: Array
    run: Array
    weights: Array


def columns_of(w: Array) -> Columns:
    """The entries of W[out, in]: single weights, or blocks of four outputs where those take no more room (float32)."""
    if w.dtype == np.float32 and w.shape[0] >= BLOCK:
        input_, row = _blocks(w)
        if row.size * BLOCK_BYTES <= np.count_nonzero(w) * ENTRY_BYTES:
            return _columns(w, input_, row, _block_weights(w, input_, row), BLOCK)
    input_, row = np.nonzero(w.T)
    return _columns(w, input_, row, w[row, input_], 1)


def _columns(w: Array, input_: Array, row: Array, weights: Array, per: int) -> Columns:
    start = np.searchsorted(input_, np.arange(w.shape[1] + 1))
    wide = row.size >= MAX_INDEX
    return Columns(start.astype(np.uint32 if wide else np.uint16), row.astype(np.uint16), weights.reshape(-1), per)


def _blocks(w: Array) -> tuple[Array, Array]:
    """Inputs and first outputs of blocks that cover every non-zero weight and end within the outputs."""
    inputs: list[int] = []
    rows: list[int] = []
    for i, column in enumerate(w.T):
        free = 0
        for row in np.flatnonzero(column).tolist():
            if row >= free:
                inputs.append(i)
                rows.append(min(row, w.shape[0] - BLOCK))
                free = rows[-1] + BLOCK
    return np.array(inputs, np.int64), np.array(rows, np.int64)


def _block_weights(w: Array, input_: Array, row: Array) -> Array:
    """The weights of each block [n, 4]; a weight that two blocks hold is left to the first."""
    weights = w[row[:, None] + np.arange(BLOCK), input_[:, None]]
    again = (input_[1:] == input_[:-1]) & (row[1:] < row[:-1] + BLOCK)
    overlap = np.where(again, row[:-1] + BLOCK - row[1:], 0)
    weights[1:][np.arange(BLOCK) < overlap[:, None]] = 0
    return weights


def runs_of(w: Array) -> Runs | None:
    """The runs of W[out, in]; None where they would cost much more than looking for the inputs that are not zero.

    Whole runs cost about one instruction a weight, whatever the inputs; looking at an input costs about one too.
    """
    outputs, inputs = w.shape
    if not RUN_STEP <= inputs < MAX_INDEX:
        return None
    count = np.zeros(outputs, np.int64)
    runs: list[tuple[int, int]] = []
    weights: list[Array] = []
    budget = SCAN_FACTOR * inputs
    for o, row in enumerate(w):
        at = np.flatnonzero(row)
        free = 0
        # a new run starts where more than a step of zeros would have to be stored
        for part in np.split(at, np.flatnonzero(np.diff(at) > RUN_STEP) + 1) if at.size else ():
            first = int(part[0])
            length = -(-(int(part[-1]) + 1 - first) // RUN_STEP) * RUN_STEP
            if length > inputs:
                return None
            first = min(first, inputs - length)
            values = row[first : first + length].copy()
            values[: max(0, free - first)] = 0  # the run before it holds them
            free = first + length
            runs.append((first, length))
            weights.append(values)
            count[o] += 1
            budget -= length + RUN_OVERHEAD
            if budget < 0:
                return None
    if not runs:
        return None
    return Runs(count.astype(np.uint16), np.array(runs, np.uint16).reshape(-1), np.concatenate(weights))
