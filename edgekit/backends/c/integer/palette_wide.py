"""Weights of few distinct values in whole registers: looked up into scratch, sixteen at a time, and summed there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, listed
from edgekit.backends.c.integer.event_groups import list_of
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.levels import Levels, levels_of, pays
from edgekit.backends.c.integer.wide_layout import BLOCK, LIFT, MOST_INPUTS, UNIT, blocks, is_spanned, lifts
from edgekit.ir import INT4, SPIKE, Graph, Op
from edgekit.ir.plan import ALIGN

TABLE = 16  # bytes of one register
GROUP = {2: 64, 3: 128, 4: 32}  # weights that are looked up together, by the bits of their numbers
ROWS = 8  # of events that are in scratch at a time
INPUTS = 4  # of a group of a block
LEAST = 2**16  # bytes to save: flash is a file there, memory is in pages up to this size, and bytes are summed faster


def numbered(levels: Levels, weights: Array) -> Array:
    """Weights in the order of their layout as numbers in whole groups."""
    bits, group = levels.bits, GROUP[levels.bits]
    numbers = np.pad(levels.numbers(weights), (0, -weights.size % group)).reshape(-1, group // TABLE, TABLE)
    if bits != 3:
        return np.asarray((numbers << bits * np.arange(8 // bits)[:, None]).sum(axis=1).astype(np.uint8).reshape(-1))
    lower = (numbers.reshape(-1, 2, 4, TABLE) & 3) << 2 * np.arange(4)[:, None]
    third = (numbers >> 2) << np.arange(8)[:, None]
    whole = np.concatenate([lower.sum(axis=2), third.sum(axis=1, keepdims=True)], axis=1)
    return np.asarray(whole.astype(np.uint8).reshape(-1))


def _table(ctx: Context, w: str, levels: Levels) -> str:
    values = np.array(levels.values, np.int8).view(np.uint8)
    return ctx.consts.add((w, "levels"), "uint8_t", lambda: np.pad(values, (0, TABLE - values.size)))


def _levels(graph: Graph, w: str) -> Levels | None:
    """The levels of a matrix; those of int4 only where three bits are enough: it has bytes because these are faster."""
    levels = levels_of(graph.tensors[w])
    return None if levels is None or (graph.tensors[w].dtype is INT4 and levels.bits == 4) else levels


def _dense_levels(graph: Graph, op: Op, x: str, w: str) -> Levels | None:
    (n_out, n_in), levels = graph.tensors[w].shape, _levels(graph, w)
    if levels is None or graph.tensors[x].size > n_in or n_in > MOST_INPUTS or is_spanned(graph, op, x, w):
        return None
    before, group = -(-n_out // UNIT) * UNIT * -(-n_in // INPUTS) * INPUTS, GROUP[levels.bits]
    after = sum(-(-part // group) * group * levels.bits // 8 for part in _parts(n_out, n_in)) + TABLE
    return levels if pays(before, after, LEAST) else None


def _parts(n_out: int, n_in: int) -> list[int]:
    """Weights of each block of outputs."""
    width = -(-n_in // INPUTS) * INPUTS
    return [-(-min(BLOCK, n_out - at) // UNIT) * UNIT * width for at in range(0, n_out, BLOCK)]


def dense(ctx: Context, product: Product) -> Code | None:
    """A block of outputs after the other; None where the matrix stays as it is."""
    p, levels = product, _dense_levels(ctx.graph, product.op, product.x, product.w)
    if levels is None:
        return None
    x, (n_out, n_in), data = ctx.tensor(p.x), ctx.tensor(p.w).shape, ctx.data(p.w)

    def make() -> Array:
        ends = np.cumsum(_parts(n_out, n_in))[:-1]
        return np.concatenate([numbered(levels, part) for part in np.split(blocks(data, 8), ends)])

    weights = ctx.consts.add((p.w, f"numbers of {levels.bits} bits in blocks"), "uint8_t", make)
    there = np.array(levels.values)[levels.numbers(np.pad(data, ((0, 0), (0, -n_in % INPUTS))))]  # in padding too
    lift = ctx.consts.add((p.w, "lift"), "int32_t", lambda: lifts(there))
    kernel = f"wide_x{x.dtype.bits}_n{levels.bits}_a{p.bits}"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {weights}, {_table(ctx, p.w, levels)}, {lift}"
    mild, rare = int(levels.values[0] > -LIFT), int(p.op.attrs.get("form") == "sparse")
    sizes = f"{ctx.pointer(p.entry, p.x)}, m->wide, {n_in}u, {n_out}u, {mild}, {rare}, {int(_is_copied(levels, n_in))}"
    return Code(kernel, [f"ek_{kernel}({values}, {sizes});"])


def _is_copied(levels: Levels, n_in: int) -> bool:
    """Whether zeros have to follow the inputs, because the weights past the end are none."""
    return n_in % INPUTS > 0 and 0 not in levels.values


def _event_levels(graph: Graph, w: str) -> Levels | None:
    (n_out, n_in), levels = graph.tensors[w].shape, _levels(graph, w)
    if levels is None:
        return None
    after = n_in * _stride(n_out, levels) * levels.bits // 8 + TABLE
    return levels if pays(n_in * -(-n_out // TABLE) * TABLE, after, LEAST) else None


def _stride(n_out: int, levels: Levels) -> int:
    return -(-n_out // GROUP[levels.bits]) * GROUP[levels.bits]


def events(ctx: Context, product: Product) -> Code | None:
    """Eight rows after the other, of spikes that are listed for the whole entry; the list is filled by who calls."""
    p, levels = product, _event_levels(ctx.graph, product.w)
    if levels is None:
        return None
    n_out = ctx.tensor(p.w).shape[0]
    stride = _stride(n_out, levels)

    def make() -> Array:
        rows = np.pad(ctx.data(p.w).T, ((0, 0), (0, stride - n_out)))
        return numbered(levels, rows.reshape(-1))

    rows = ctx.consts.add((p.w, f"event rows of numbers of {levels.bits} bits"), "uint8_t", make)
    (fired, count), kernel = list_of(ctx, p.entry, p.x), f"wide_event_n{levels.bits}_a{p.bits}"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {rows}, {_table(ctx, p.w, levels)}, {fired}, {count}"
    sizes = f"m->wide, {stride * levels.bits // 8}u, {stride}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({values}, {sizes});"])


def scratch(graph: Graph) -> int:
    """Bytes of the largest block, or of eight rows, that weights are made in."""
    return max((size for _, op in graph.ops() for size in _sizes(graph, op)), default=0)


def _sizes(graph: Graph, op: Op) -> Iterator[int]:
    if op.kind not in ("linear", "memory_update"):
        return
    for x, w in zip(op.inputs[::2], op.inputs[1::2], strict=False):  # an addend has no weights beside it
        if graph.tensors[x].dtype is SPIKE:
            if listed(graph, op) is not None and (levels := _event_levels(graph, w)) is not None:
                yield ROWS * _stride(graph.tensors[w].shape[0], levels)
        elif (levels := _dense_levels(graph, op, x, w)) is not None:
            largest, group = max(_parts(*graph.tensors[w].shape)), GROUP[levels.bits]
            copied = graph.tensors[x].dtype.bits // 8 * graph.tensors[x].size
            yield -(-largest // group) * group + _is_copied(levels, graph.tensors[x].size) * -(-copied // ALIGN) * ALIGN
