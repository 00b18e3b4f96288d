"""What constant weights cost in each form of a linear: instructions on a Cortex-A72, counted in the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNMEASURED = 0.5  # share of real inputs that are taken not to be zero where nobody said what the inputs are

# per weight (float32, int8) of a dense product, of an added row, and of a sparse column
_DENSE, _DENSE_INT8, _ROW = 0.47, 1.13, 0.37
_ENTRY, _ENTRY_INT8 = 7.0, 10.0
# per input: looking at it, and finding that it is not zero
_LOOK, _FOUND = 1.0, 8.0
_RUN = 16  # to begin a run of neighbouring weights; each of them then costs about one
_READ = 1 / 16  # per byte of weights, as long as they do not fit the first cache


def dense_cost(w: Array) -> float:
    """All of W[out, in] times real inputs."""
    each = _DENSE_INT8 if w.dtype == np.int8 else _DENSE
    return w.size * (each + _READ * w.itemsize)


def sparse_cost(w: Array, rate: float) -> float:
    """The non-zero weights of W[out, in] times real inputs, of which a share `rate` is not zero."""
    outputs, inputs = (int(n) for n in w.shape)
    taken = w != 0
    stored = int(np.count_nonzero(taken))
    reads = _READ * stored * (w.itemsize + 2)
    # weights in blocks, such as branches of neighbouring inputs, are met output by output, whatever the inputs
    spans = np.where(taken.any(1), inputs - taken.argmax(1) - taken[:, ::-1].argmax(1), 0)
    blocks = int(spans.sum()) + _RUN * outputs
    if blocks <= 2 * inputs:
        return blocks + reads
    entry = _ENTRY_INT8 if w.dtype == np.int8 else _ENTRY
    return _LOOK * inputs + rate * (_FOUND * inputs + entry * stored) + reads


def sparse_beats_rows(w: Array) -> bool:
    """Whether a spike that fired adds its non-zero weights of W[out, in] for less than its whole row."""
    entry = _ENTRY_INT8 if w.dtype == np.int8 else _ENTRY
    return bool(entry * np.count_nonzero(w) < _ROW * w.size)
