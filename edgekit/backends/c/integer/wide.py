"""Forms for A-class cores and x86: sums in whole registers, over weights in blocks and in rows of whole registers."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer import palette_wide
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.event_groups import carried_lists, filled, joint_groups, list_of
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Code, Forms, Group, Product
from edgekit.backends.c.integer.portable import is_listed
from edgekit.backends.c.integer.weights import CTYPES, stored
from edgekit.backends.c.integer.wide_fused import fused
from edgekit.backends.c.integer.wide_layout import (
    EVENT_UNIT,
    GROUP_BYTES,
    LIFT,
    MOST_INPUTS,
    SPAN,
    blocks,
    is_spanned,
    lifts,
    spans,
    stored_bits,
)
from edgekit.ir import INT16, SPIKE, Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator
from edgekit.ir.plan import LANES

MEMORY_LANES = 8  # outputs of one row of a table


def dense(ctx: Context, product: Product) -> Code | None:
    """Blocks of outputs, or each from the few neighbouring inputs that it reads; rows of x have to be whole groups."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = stored_bits(w), w.shape
    rows, data = x.size // n_in, ctx.data(p.w)
    if n_in > MOST_INPUTS or (rows > 1 and n_in % (8 * GROUP_BYTES // bits)):
        return None
    form = f"x{x.dtype.bits}_w{bits}_a{p.bits}"
    mild = int(bits == 8 and int(data.min(initial=0)) > -LIFT)
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    rare = p.op.attrs.get("form") == "sparse"
    if is_spanned(ctx.graph, p.op, p.x, p.w):
        first, steps = spans(data, -(-n_in // LANES) * LANES)
        taken = first[:, None] + np.arange(SPAN * steps)
        rows_of = np.take_along_axis(np.pad(data, ((0, 0), (0, SPAN * steps))), taken, axis=1)
        weights = ctx.consts.add((p.w, "spans"), CTYPES[bits], lambda: stored(rows_of, bits))
        begins = "0"
        if first.any():
            begins = ctx.consts.add((p.w, "where spans begin"), "uint16_t", lambda: first.astype(np.uint16))
        sizes = f"{steps}u, {n_out}u, {mild}"
        call = f"ek_wide_spans_{form}({to}, {p.c}, {weights}, {begins}, {from_}, {sizes});"
        return Code(f"wide_spans_{form}", [call])
    weights = ctx.consts.add((p.w, "blocks of outputs"), CTYPES[bits], lambda: stored(blocks(data, bits), bits))
    lift = ctx.consts.add((p.w, "lift"), "int32_t", lambda: lifts(data)) if bits == 8 else "0"
    sizes = f"{rows}u, {n_in}u, {n_out}u, {mild}, {int(rare)}"
    return Code(f"wide_{form}", [f"ek_wide_{form}({to}, {p.c}, {p.step}u, {weights}, {lift}, {from_}, {sizes});"])


def in_spans(ctx: Context, product: Product) -> bool:
    """Whether each output reads so few neighbouring inputs that it is summed by itself."""
    return is_spanned(ctx.graph, product.op, product.x, product.w)


def fired(ctx: Context, product: Product) -> tuple[str, str, list[str]]:
    """The list of a listed x, its count, and the line that fills it in the op that reads it first."""
    return *list_of(ctx, product.entry, product.x), filled(ctx, product, _fill)


def groups(graph: Graph, entry: Entry, _: Flavour) -> dict[str, Group]:
    """One group for each listed spike vector, so that lists last from step to step; its matrices have rows apart."""
    return joint_groups(graph, entry, lambda _, ops: Group(tuple(op.inputs[1] for op in ops), {}, 0))


def events(ctx: Context, product: Product) -> Code | None:
    """Rows of whole registers, for spikes that are listed for the whole entry."""
    p, w = product, ctx.tensor(product.w)
    if not is_listed(ctx, p):
        return None
    bits, n_out = stored_bits(w), w.shape[0]
    stride = -(-n_out // EVENT_UNIT) * EVENT_UNIT
    fired, count = list_of(ctx, p.entry, p.x)
    if (coded := palette_wide.events(ctx, p)) is not None:
        return Code(coded.kernel, [*filled(ctx, p, _fill), *coded.lines])

    def make() -> Array:
        return stored(np.pad(ctx.data(p.w).T, ((0, 0), (0, stride - n_out))), bits)

    rows = ctx.consts.add((p.w, "event rows of registers"), CTYPES[bits], make)
    kernel = f"wide_event_w{bits}_a{p.bits}"
    call = f"ek_{kernel}({ctx.pointer(p.entry, p.y)}, {p.c}, {rows}, {fired}, {count}, {stride}u, {n_out}u);"
    return Code(kernel, [*filled(ctx, p, _fill), call])


def lists(ctx: Context) -> list[str]:
    """Fills the lists that a step takes over from the one before it."""
    return carried_lists(ctx, _fill)


def _fill(ctx: Context, entry: Entry, value: str, where: str, n: int) -> str:
    fired, count = list_of(ctx, entry, value)
    return f"{count} = ek_fired({fired}, {where}, 0u, {n}u, 1u);"


def memory(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u of spikes: rows of eight outputs by the bits of all their channels."""
    m, a, u, b = op.inputs
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    both = ctx.tensor(m).dtype is SPIKE and ctx.tensor(u).dtype is SPIKE
    bits = MEMORY_LANES // order * inputs if MEMORY_LANES % order == 0 else 0
    if not both or bits not in (1, 2, 4, 8):
        return None
    total = accumulator(op.attrs)

    def table(w: str) -> str:
        """Sums of W over every set of spikes of the channels in eight lanes."""

        def make() -> Array:
            whole = np.kron(np.eye(MEMORY_LANES // order, dtype=np.int64), ctx.data(w))
            fired = np.arange(2 ** whole.shape[1])[:, None] >> np.arange(whole.shape[1]) & 1
            return np.asarray((fired @ whole.T).astype(total.numpy)).reshape(-1)

        return ctx.consts.add((w, f"sums of eights in {total}"), f"{total}_t", make)

    kernel = f"wide_memory_a{total.bits}"
    values = f"{ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}, {-(-channels * order // MEMORY_LANES)}u, {bits}u"
    return Code(kernel, [f"ek_{kernel}({ctx.pointer(entry, op.outputs[0])}, {table(a)}, {table(b)}, {values});"])


def lookup(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A table over int16, eight values at a time."""
    x, table = (ctx.tensor(n) for n in op.inputs)
    if x.dtype is not INT16:
        return None
    where = ctx.whole(entry, op.inputs[1], table.shape)
    fraction = 16 - (table.size - 1).bit_length() + 1
    to, from_ = ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0])
    return Code("wide_lookup", [f"ek_wide_lookup({to}, {from_}, {where}, {x.size}u, {fraction}u);"])


WIDE = Forms(
    fired,
    groups,
    dense,
    events,
    memory,
    fused,
    lookup,
    scratch=palette_wide.scratch,
    lists=lists,
    in_spans=in_spans,
)
