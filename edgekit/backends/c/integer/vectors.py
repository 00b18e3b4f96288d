"""Forms of the flavour with eight int16 in a vector: MVE of Cortex-M55 and M85."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Product
from edgekit.backends.c.integer.vectors_events import MOST_OFFSET, events, groups, lists
from edgekit.backends.c.integer.vectors_fused import fused
from edgekit.backends.c.integer.weights import CTYPES, memory_table, stored
from edgekit.backends.c.integer.wide import SPAN, spans
from edgekit.ir import INT8, INT16, SPIKE, Entry, Op
from edgekit.ir.ops.contract import accumulator

LANES = 8  # int16 of a vector
ROWS_AT_ONCE = (8, 4, 1)  # outputs of a block of dense weights
NEARLY = 7  # outputs that take as long as a whole block: the last one is for the padding
SPAN_COST, DENSE_COST = 3, 2.1  # instructions per vector of weights
SPAN_FIXED, DENSE_FIXED = 4, 2  # instructions per output beside those
TABLE_ORDER = 4  # spikes of a channel in a memory update by table
TABLE_ROWS = 88  # rows of it, up to the last one that is used
FEW = 12  # values of a channel of a memory update that are multiplied one by one


def dense(ctx: Context, product: Product) -> Code | None:
    """Eight outputs at a time, or each from the few neighbouring inputs that it reads."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = weight_bits(w), w.shape
    per = 16 if x.dtype is INT8 and bits == 8 else LANES
    vectors, rows = -(-n_in // per), x.size // n_in
    even = p.bits == 32 or n_out % 2 == 0  # rows of sums begin at whole words
    if bits == 4 or (rows > 1 and (n_in % per or not even)):
        return None
    form = f"x{x.dtype.bits}_w{bits}_a{p.bits}"
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    first, steps = spans(ctx.data(p.w), -(-n_in // SPAN) * SPAN)
    span = steps * SPAN // per
    if rows == 1 and n_in <= MOST_OFFSET and SPAN_COST * span + SPAN_FIXED < DENSE_COST * vectors + DENSE_FIXED:
        weights = _span_rows(ctx, p.w, first, steps * SPAN)
        begins = ctx.consts.add((p.w, "where spans begin"), "uint16_t", lambda: first.astype(np.uint16))
        call = f"ek_spans_{form}({to}, {p.c}, {weights}, {begins}, {from_}, {span}u, {n_out}u);"
        return Code(f"spans_{form}", [call])
    more = int(rows == 1 and n_out % ROWS_AT_ONCE[0] == NEARLY)
    weights = _blocks(ctx, p.w, per, more)
    sizes = f"{rows}u, {n_in}u, {vectors}u, {n_out + more}u"
    return Code(f"eights_{form}", [f"ek_eights_{form}({to}, {p.c}, {p.step}u, {weights}, {from_}, {sizes});"])


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


def _span_rows(ctx: Context, w: str, first: Array, width: int) -> str:
    bits = weight_bits(ctx.tensor(w))

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, 0), (0, width)))
        return stored(np.stack([row[at : at + width] for row, at in zip(rows, first, strict=True)]), bits)

    return ctx.consts.add((w, f"spans of {width}"), CTYPES[bits], make)


VECTORS = Forms(groups, dense, events, memory, fused, lookup, lists=lists)
