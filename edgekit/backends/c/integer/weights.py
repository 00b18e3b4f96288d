"""Weights as the kernels read them: dense rows, event rows, nibbles, tables of a memory update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits

CTYPES = {4: "uint8_t", 8: "int8_t", 16: "int16_t"}


def nibbles(values: Array) -> Array:
    """int4 values two to a byte, the first in the lower half; of an even number."""
    pairs = values.reshape(-1, 2).astype(np.int64) & 15
    return np.asarray((pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8))


def stored(values: Array, bits: int) -> Array:
    """Whole rows of weights as a flat array of their C type."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return nibbles(flat) if bits == 4 else flat.astype(np.int8 if bits == 8 else np.int16)


def neighbours(values: Array) -> Array:
    """Bytes of each word in the order 0, 2, 1, 3, in which SXTB16 makes pairs of neighbours of them."""
    return np.asarray(values.reshape(*values.shape[:-1], -1, 4)[..., [0, 2, 1, 3]].reshape(values.shape))


def event_rows(ctx: Context, w: str) -> tuple[str, int]:
    """Rows [in][out] of a matrix, and how many elements a row takes."""
    tensor = ctx.tensor(w)
    bits, columns = weight_bits(tensor), ctx.data(w).T
    stride = columns.shape[1] + (columns.shape[1] & 1 if bits == 4 else 0)
    rows = np.pad(columns, ((0, 0), (0, stride - columns.shape[1])))
    return ctx.consts.add((w, "event rows"), CTYPES[bits], lambda: stored(rows, bits)), stride


def dense_rows(ctx: Context, w: str) -> tuple[str, int]:
    """Rows [out][in] of a matrix, each padded with zeros, and how many elements a row takes."""
    bits = weight_bits(ctx.tensor(w))
    multiple = max(ctx.flavour.row * 8 // bits, 2 if bits == 4 else 1)
    width = -(-ctx.tensor(w).shape[1] // multiple) * multiple
    rows = np.pad(ctx.data(w), ((0, 0), (0, width - ctx.tensor(w).shape[1])))
    return ctx.consts.add((w, "rows"), CTYPES[bits], lambda: stored(rows, bits)), width


def memory_table(ctx: Context, names: Sequence[str], bits: int) -> Array:
    """Every result of A m + B u for one channel of spikes, [2^(d + k)][d]; a row's bits are m, then u."""
    a, b = (ctx.data(n).astype(np.int64) for n in names)
    order, inputs = b.shape
    index = np.arange(2 ** (order + inputs))[:, None]
    fired = (index >> np.arange(order + inputs)) & 1
    sums = fired @ np.concatenate([a, b], axis=1).T
    return np.asarray(sums.astype(np.int16 if bits == 16 else np.int32))
