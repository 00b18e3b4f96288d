"""Forms that are right on every core: rows of dense weights, rows of events, the memory update by table."""

from __future__ import annotations

from edgekit.backends.c.integer.context import Context, listed, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.weights import dense_rows, event_rows, memory_table
from edgekit.ir import SPIKE, Entry, Op
from edgekit.ir.ops.contract import accumulator

FEW = (2, 3)  # orders of memories with one input whose bits come as a stream
TABLE_BITS = 8  # a memory update over this many spikes is a table of at most 256 rows


def dense(ctx: Context, product: Product) -> Code:
    """Row by row."""
    p, x = product, ctx.tensor(product.x)
    weights, width = dense_rows(ctx, p.w)
    n_out, n_in = ctx.tensor(p.w).shape
    kernel = f"dense_x{x.dtype.bits}_w{weight_bits(ctx.tensor(p.w))}_a{p.bits}"
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    sizes = f"{x.size // n_in}u, {n_in}u, {width}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {from_}, {sizes});"])


def events(ctx: Context, product: Product) -> Code:
    """The rows of the neurons that fired, from the list of the entry or one made for each row of x."""
    p = product
    weights, stride = event_rows(ctx, p.w)
    kernel = f"event_w{weight_bits(ctx.tensor(p.w))}_a{p.bits}"
    n_out, n_in = ctx.tensor(p.w).shape
    to, from_, rows = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x), ctx.tensor(p.x).size // n_in
    if is_listed(ctx, p):
        fired, count, find = fired_list(ctx, p)
        return Code(kernel, [*find, f"ek_{kernel}({to}, {p.c}, {weights}, {fired}, {count}, {stride}u, {n_out}u);"])
    c = f"{p.c} + r * {p.step}u" if p.step else p.c
    lines = [
        "{",
        "    uint32_t r;",
        f"    for (r = 0; r < {rows}u; ++r) {{",
        f"        const uint32_t count = ek_fired(m->row, {from_}, r * {n_in}u, {n_in}u, 1u);",
        f"        ek_{kernel}({to} + r * {n_out}u, {c}, {weights}, m->row, count, {stride}u, {n_out}u);",
        "    }",
        "}",
    ]
    return Code(kernel, lines)


def is_listed(ctx: Context, product: Product) -> bool:
    """Whether the neurons that fired in x are in a list for the whole entry."""
    return listed(ctx.graph, product.op) == product.x


def fired_list(ctx: Context, product: Product) -> tuple[str, str, list[str]]:
    """The list of a listed x, its count, and the line that fills it where this product is the first reader."""
    p = product
    made = ctx.layout.lists[p.entry.name][ctx.root(p.entry, p.x)]
    fired, count = f"m->list{made.slot}", f"m->count[{made.slot}]"
    n_in = ctx.tensor(p.w).shape[1]
    line = f"{count} = ek_fired({fired}, {ctx.pointer(p.entry, p.x)}, 0u, {n_in}u, 1u);"
    return fired, count, [line] if made.made == p.at else []


def memory(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u of spikes: a row of a table by the bits of one channel."""
    m, a, u, b = op.inputs
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    both = ctx.tensor(m).dtype is SPIKE and ctx.tensor(u).dtype is SPIKE
    if not both or order + inputs > TABLE_BITS:
        return None
    total, few = accumulator(op.attrs), inputs == 1 and order in FEW
    table = ctx.array((a, b, f"table {total.bits}"), total, memory_table(ctx, (a, b), total.bits))
    values = f"{ctx.pointer(entry, op.outputs[0])}, {table}, {ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
    if few and total.bits == 16:
        return Code(f"memory_{order}_a16", [f"ek_memory_{order}_a16({values}, {channels}u);"])
    kernel = f"memory_table_a{total.bits}"
    return Code(kernel, [f"ek_{kernel}({values}, {channels}u, {order}u, {inputs}u);"])
