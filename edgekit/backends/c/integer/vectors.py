"""Forms of the flavour with eight int16 in a vector: MVE of Cortex-M55 and M85."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Product
from edgekit.backends.c.integer.vectors_events import MOST_OFFSET, by_list, events, fired, groups, lists, nibble_pairs
from edgekit.backends.c.integer.vectors_fused import fused
from edgekit.backends.c.integer.weights import CTYPES, memory_table, stored
from edgekit.backends.c.integer.wide_layout import SPAN, spans
from edgekit.ir import INT8, INT16, SPIKE, Entry, Op
from edgekit.ir.ops.contract import accumulator

LANES = 8  # int16 of a vector
ROWS_AT_ONCE = (8, 4, 1)  # outputs of a block of dense weights
NIBBLE_ROWS = 4  # outputs of a block of int4 weights
NEARLY = 7  # outputs that take as long as a whole block: the last one is for the padding
SPAN_COST, DENSE_COST = 4, 2.1  # instructions per vector of weights
SPAN_FIXED, DENSE_FIXED = 6, 2  # instructions per output beside those
TABLE_ORDER = 4  # spikes of a channel in a memory update by table
TABLE_ROWS = 88  # rows of it, up to the last one that is used
FEW = 12  # values of a channel of a memory update that are multiplied one by one


def dense(ctx: Context, product: Product) -> Code | None:
    """Eight outputs at a time, or each from the few neighbouring inputs that it reads."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = weight_bits(w), w.shape
    per = 16 if x.dtype is INT8 and bits == 8 else LANES
    vectors, rows = -(-n_in // per), x.size // n_in
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    if bits == 4:
        return _nibbles(ctx, p) if rows == 1 else None
    even = p.bits == 32 or n_out % 2 == 0  # rows of sums begin at whole words
    if rows > 1 and (n_in % per or not even):
        return None
    form = f"x{x.dtype.bits}_w{bits}_a{p.bits}"
    if parts := span_parts(ctx, p):
        c, lines = p.c, list[str]()
        for number, part in enumerate(parts):
            lines.append(f"ek_spans_{form}({to}, {c}, {_span_rows(ctx, p.w, number, part, per)}, {from_}, {n_out}u);")
            c = to
        return Code(f"spans_{form}", lines)
    more = int(rows == 1 and n_out % ROWS_AT_ONCE[0] == NEARLY)
    weights = _blocks(ctx, p.w, per, more)
    sizes = f"{rows}u, {n_in}u, {vectors}u, {n_out + more}u"
    return Code(f"eights_{form}", [f"ek_eights_{form}({to}, {p.c}, {p.step}u, {weights}, {from_}, {sizes});"])


def in_spans(ctx: Context, product: Product) -> bool:
    """Whether each output reads so few neighbouring inputs that it is summed by itself."""
    return bool(span_parts(ctx, product))


def _nibbles(ctx: Context, product: Product) -> Code:
    """int4 weights, four outputs at a time."""
    p, x = product, ctx.tensor(product.x)
    per, form = 16 if x.dtype is INT8 else LANES, f"x{x.dtype.bits}_a{product.bits}"
    n_out, n_in = ctx.tensor(p.w).shape
    vectors = -(-n_in // per)

    def make() -> Array:
        rows = np.pad(ctx.data(p.w), ((0, -n_out % NIBBLE_ROWS), (0, vectors * per - n_in)))
        pairs = nibble_pairs(rows[0::2], rows[1::2])
        return pairs.reshape(-1, NIBBLE_ROWS // 2, vectors, per).swapaxes(1, 2).reshape(-1)

    weights = ctx.consts.add((p.w, f"pairs of nibbles, vectors of {per}"), "int8_t", make)
    to, from_, outputs = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x), -(-n_out // NIBBLE_ROWS) * NIBBLE_ROWS
    return Code(f"nibbles_{form}", [f"ek_nibbles_{form}({to}, {p.c}, {weights}, {from_}, {vectors}u, {outputs}u);"])


def memory(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u: of four spikes and one, eight rows of a table at once; of a few values, eight sums at once."""
    m, a, u, b = op.inputs
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    kinds, total = (ctx.tensor(m).dtype, ctx.tensor(u).dtype), accumulator(op.attrs).bits
    values = f"{ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}, {channels}u"
    to = ctx.pointer(entry, op.outputs[0])
    if kinds == (SPIKE, SPIKE) and (order, inputs, total) == (TABLE_ORDER, 1, 16):
        return Code("memory4_a16", [f"ek_memory4_a16({to}, (const ek_i16 *){_table(ctx, a, b)}, {values});"])
    widths = {weight_bits(ctx.tensor(w)) for w in (a, b)}
    few = channels > 1 and order + inputs <= FEW and total == 32
    if kinds[0] is SPIKE or kinds[0] is not kinds[1] or not few or widths not in ({8}, {16}):
        return None
    bits = widths.pop()

    def make() -> Array:
        columns = np.concatenate([ctx.data(a), ctx.data(b)], axis=1).T
        return stored(np.pad(columns, ((0, 0), (0, -order % LANES))), bits)

    columns = ctx.consts.add((a, b, "columns"), CTYPES[bits], make)
    kernel = f"memory_x{kinds[0].bits}_w{bits}"
    return Code(f"{kernel}_a32", [f"ek_{kernel}({to}, {columns}, {values}, {order}u, {inputs}u);"])


def _table(ctx: Context, a: str, b: str) -> str:
    """Sums by the bits of a channel as they lie in a word: those of m in bits 0, 2, 4 and 6, that of u in bit 1."""

    def make() -> Array:
        rows = np.arange(2 ** (TABLE_ORDER + 1))
        spread = sum((rows >> bit & 1) << 2 * bit for bit in range(TABLE_ORDER)) | rows >> TABLE_ORDER << 1
        table = np.zeros((TABLE_ROWS, TABLE_ORDER), np.int16)
        table[spread] = memory_table(ctx, (a, b), 16)
        return table.reshape(-1)

    return ctx.consts.add((a, b, "table by spread bits"), "int16_t", make)


def lookup(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Eight values at a time by gathering, where no segment of the table is too steep for int16."""
    x, table = ctx.tensor(op.inputs[0]), ctx.data(op.inputs[1])
    low, high = INT16.limits
    rise = np.diff(table.astype(np.int64))
    if x.dtype is not INT16 or bool((rise < low).any() or (rise > high).any()):
        return None
    to, from_ = ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0])
    fraction = 16 - (table.size - 1).bit_length() + 1
    whole = ctx.whole(entry, op.inputs[1], table.shape)
    return Code("lookup_eights", [f"ek_eight_lookup({to}, {from_}, {whole}, {x.size}u, {fraction}u);"])


def _blocks(ctx: Context, w: str, per: int, more: int) -> str:
    """Weights in blocks of eight outputs, four and one, a vector of inputs of each in turn, `more` outputs of zeros."""
    bits = weight_bits(ctx.tensor(w))

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, more), (0, -ctx.data(w).shape[1] % per)))
        parts, at = [], 0
        for n in ROWS_AT_ONCE:
            while at + n <= len(rows):
                parts.append(rows[at : at + n].reshape(n, -1, per).swapaxes(0, 1).reshape(-1))
                at += n
        return stored(np.concatenate(parts), bits)

    return ctx.consts.add((w, f"blocks of eight, vectors of {per}"), CTYPES[bits], make)


def span_parts(ctx: Context, product: Product) -> list[Array]:
    """The matrix as one or two of which each output has a short span of inputs; none where that costs too much."""
    x, w = ctx.tensor(product.x), ctx.tensor(product.w)
    per = 16 if x.dtype is INT8 and weight_bits(w) == 8 else LANES
    if weight_bits(w) == 4 or x.size > w.shape[1] or w.shape[1] > MOST_OFFSET:
        return []
    return _parts(ctx.data(product.w), per, DENSE_COST * -(-w.shape[1] // per) + DENSE_FIXED)


def _parts(weights: Array, per: int, most: float) -> list[Array]:
    """One part or two that cost less than so many instructions."""
    for parts in ([weights], _halves(weights)):
        vectors = [_span(part, per)[1] for part in parts]
        if sum(SPAN_COST * n + SPAN_FIXED for n in vectors) < most:
            return parts
    return []


def _halves(weights: Array) -> list[Array]:
    """The weights before the widest gap of each output, and those after it."""
    before, after = np.zeros_like(weights), weights.copy()
    for row, other, whole in zip(before, after, weights, strict=True):
        taken = np.flatnonzero(whole)
        if taken.size > 1:
            end = taken[np.diff(taken).argmax()] + 1
            row[:end], other[:end] = whole[:end], 0
    return [before, after]


def _span(part: Array, per: int) -> tuple[Array, int]:
    """Where the span of each output begins, and how many vectors of inputs it takes."""
    first, steps = spans(part, -(-part.shape[1] // SPAN) * SPAN)
    return first, steps * SPAN // per


def _span_rows(ctx: Context, w: str, number: int, part: Array, per: int) -> str:
    """The arguments of the kernel of spans: weights, where they begin, and how many vectors there are."""
    bits, (first, vectors) = weight_bits(ctx.tensor(w)), _span(part, per)

    def make() -> Array:
        rows = np.pad(part, ((0, 0), (0, vectors * per)))
        return stored(np.stack([row[at : at + vectors * per] for row, at in zip(rows, first, strict=True)]), bits)

    weights = ctx.consts.add((w, f"spans {number}"), CTYPES[bits], make)
    begins = ctx.consts.add((w, f"where spans {number} begin"), "uint16_t", lambda: first.astype(np.uint16))
    return f"{weights}, {begins}, {vectors}u"


VECTORS = Forms(fired, groups, dense, events, memory, fused, lookup, lists=lists, in_spans=in_spans, by_list=by_list)
