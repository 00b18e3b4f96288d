"""Weights as the kernels read them: dense rows, event rows side by side, nibbles, tables of a memory update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, Group, listed, weight_bits
from edgekit.backends.c.layout import roots
from edgekit.ir import INT16, Entry, Graph, Op, Tensor
from edgekit.ir.ops.contract import accumulator

CTYPES = {4: "uint8_t", 8: "int8_t", 16: "int16_t"}
EVENT_BLOCK = 16  # outputs of one block of the paired event kernel
TABLE_BITS = 8  # a memory update over this many spikes is a table of at most 256 rows


def nibbles(values: Array) -> Array:
    """int4 values two to a byte, the first in the lower half; of an even number."""
    pairs = values.reshape(-1, 2).astype(np.int64) & 15
    return np.asarray((pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8))


def stored(values: Array, bits: int) -> Array:
    """Whole rows of weights as a flat array of their C type."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return nibbles(flat) if bits == 4 else flat.astype(np.int8 if bits == 8 else np.int16)


def paired(values: Array) -> Array:
    """Bytes of each word in the order 0, 2, 1, 3, in which SXTB16 makes pairs of neighbours of them."""
    return np.asarray(values.reshape(*values.shape[:-1], -1, 4)[..., [0, 2, 1, 3]].reshape(values.shape))


def group_events(graph: Graph, entry: Entry) -> dict[str, Group]:
    """For each spike vector whose linears all add int8 weights in int16: their weights side by side in one row."""
    view, readers = roots(entry), dict[str, list[Op]]()
    for op in entry.ops:
        if (x := listed(graph, op)) is not None:
            readers.setdefault(view.get(x, x), []).append(op)
    groups = {}
    for value, ops in readers.items():
        names = list(dict.fromkeys(op.inputs[1] for op in ops))
        widths = [-(-graph.tensors[w].shape[0] // EVENT_BLOCK) * EVENT_BLOCK for w in names]
        starts = [0, *np.cumsum(widths).tolist()]
        fits = all(accumulator(op.attrs).bits == 16 and weight_bits(graph.tensors[op.inputs[1]]) == 8 for op in ops)
        if fits and graph.tensors[value].size * starts[-1] // 4 < 2**16:
            groups[value] = Group(tuple(names), dict(zip(names, starts, strict=False)), starts[-1])
    return groups


def event_rows(ctx: Context, w: str) -> tuple[str, int]:
    """Rows [in][out] of a matrix, and how many elements a row takes."""
    tensor = ctx.tensor(w)
    bits, columns = weight_bits(tensor), ctx.data(w).T
    stride = columns.shape[1] + (columns.shape[1] & 1 if bits == 4 else 0)
    rows = np.pad(columns, ((0, 0), (0, stride - columns.shape[1])))
    return ctx.consts.add((w, "event rows"), CTYPES[bits], lambda: stored(rows, bits)), stride


def grouped_rows(ctx: Context, group: Group) -> str:
    """Rows of all weights of a group, in the order of bytes that the paired kernel wants."""

    def make() -> Array:
        columns = [ctx.data(w).T for w in group.weights]
        padded = [np.pad(c, ((0, 0), (0, -c.shape[1] % EVENT_BLOCK))) for c in columns]
        return stored(paired(np.concatenate(padded, axis=1)), 8)

    return ctx.consts.add((*group.weights, "event rows, paired"), "int8_t", make)


def dense_rows(ctx: Context, w: str) -> tuple[str, int]:
    """Rows [out][in] of a matrix, each padded with zeros, and how many elements a row takes."""
    bits = weight_bits(ctx.tensor(w))
    multiple = max(ctx.flavour.row * 8 // bits, 2 if bits == 4 else 1)
    width = -(-ctx.tensor(w).shape[1] // multiple) * multiple
    rows = np.pad(ctx.data(w), ((0, 0), (0, width - ctx.tensor(w).shape[1])))
    return ctx.consts.add((w, "rows"), CTYPES[bits], lambda: stored(rows, bits)), width


def has_pairs(ctx: Context, x: Tensor, w: Tensor) -> bool:
    """Whether the paired dense kernels multiply these: rows of x must begin at whole words."""
    bits, rows = weight_bits(w), x.size // x.shape[-1]
    known = bits == 8 or (bits == 16 and x.dtype is INT16)
    return ctx.flavour.pairs and known and (rows == 1 or x.shape[-1] % 4 == 0)


def paired_rows(ctx: Context, w: str, x: Tensor) -> tuple[str, int]:
    """Blocks of four outputs, a word of each in turn, and the number of inputs with those of the padding."""
    bits, (n_out, n_in) = weight_bits(ctx.tensor(w)), ctx.tensor(w).shape
    per = 32 // bits
    width, swap = -(-n_in // per) * per, bits == 8 and x.dtype is INT16

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, -n_out % 4), (0, width - n_in)))
        words = (paired(rows) if swap else rows).reshape(-1, 4, width // per, per)
        return stored(words.swapaxes(1, 2), bits)

    return ctx.consts.add((w, f"blocks of four, for {x.dtype}"), CTYPES[bits], make), width


def memory_table(ctx: Context, names: Sequence[str], bits: int) -> Array:
    """Every result of A m + B u for one channel of spikes, [2^(d + k)][d]; a row's bits are m, then u."""
    a, b = (ctx.data(n).astype(np.int64) for n in names)
    order, inputs = b.shape
    index = np.arange(2 ** (order + inputs))[:, None]
    fired = (index >> np.arange(order + inputs)) & 1
    sums = fired @ np.concatenate([a, b], axis=1).T
    return np.asarray(sums.astype(np.int16 if bits == 16 else np.int32))
