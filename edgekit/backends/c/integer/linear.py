"""Calls of the integer linear kernels: dense, event-driven, and the memory update by table or by two linears."""

from __future__ import annotations

from edgekit.backends.c.integer.context import Context, listed, weight_bits
from edgekit.backends.c.integer.weights import (
    EVENT_BLOCK,
    TABLE_BITS,
    dense_rows,
    event_rows,
    grouped_rows,
    has_pairs,
    memory_table,
    paired_rows,
)
from edgekit.ir import SPIKE, DType, Entry, Op
from edgekit.ir.ops.contract import accumulator


def linear_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = W x (+ c)."""
    x, w, *addend = op.inputs
    c = _addend(ctx, entry, addend[0], op) if addend else ("0", 0)
    return _call(ctx, (entry, at), op, (x, w, op.outputs[0]), c)


def memory_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = A m + B u per channel: a table over the spikes, or y = B u followed by y = A m + y."""
    m, a, u, b = op.inputs
    y, total = op.outputs[0], accumulator(op.attrs)
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    to = ctx.pointer(entry, y)
    if is_table(ctx, op):
        table = ctx.array((a, b, f"table {total.bits}"), total, memory_table(ctx, (a, b), total.bits))
        values = f"{ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
        return [f"ek_memory_table_a{total.bits}({to}, {table}, {values}, {channels}u, {order}u, {inputs}u);"]
    driven = _call(ctx, (entry, at), op, (u, b, y), ("0", 0))
    return driven + _call(ctx, (entry, at), op, (m, a, y), (to, order))


def is_table(ctx: Context, op: Op) -> bool:
    """Whether a memory update is looked up by the bits of one channel."""
    m, _, u, _ = op.inputs
    both = ctx.tensor(m).dtype is SPIKE and ctx.tensor(u).dtype is SPIKE
    return both and ctx.tensor(m).shape[1] + ctx.tensor(u).shape[1] <= TABLE_BITS


def kernel_name(ctx: Context, op: Op) -> str:
    """What the kernel of a linear or memory update is called in tables."""
    total = accumulator(op.attrs).bits
    if op.kind == "memory_update" and is_table(ctx, op):
        return f"memory_table_a{total}"
    x, w = op.inputs[:2]
    return f"{'memory' if op.kind == 'memory_update' else 'linear'}_{_form(ctx, x, w, total)}"


def _form(ctx: Context, x: str, w: str, total: int) -> str:
    bits = weight_bits(ctx.tensor(w))
    if ctx.tensor(x).dtype is SPIKE:
        return f"event_w{bits}_a{total}"
    form = "pairs" if has_pairs(ctx, ctx.tensor(x), ctx.tensor(w)) else "dense"
    return f"{form}_x{ctx.tensor(x).dtype.bits}_w{bits}_a{total}"


def _call(
    ctx: Context, place: tuple[Entry, int], op: Op, operands: tuple[str, str, str], c: tuple[str, int]
) -> list[str]:
    """The lines of y = W x + c for operands (x, w, y) of the op at a `place`; `c`: the addend and its step per row."""
    (entry, at), (x, w, y) = place, operands
    xt, (n_out, n_in) = ctx.tensor(x), ctx.tensor(w).shape
    total: DType = accumulator(op.attrs)
    to, from_, rows = ctx.pointer(entry, y), ctx.pointer(entry, x), xt.size // n_in
    kernel = f"ek_{_form(ctx, x, w, total.bits)}"
    if xt.dtype is not SPIKE:
        paired = has_pairs(ctx, xt, ctx.tensor(w))
        weights, width = paired_rows(ctx, w, xt) if paired else dense_rows(ctx, w)
        return [f"{kernel}({to}, {c[0]}, {c[1]}u, {weights}, {from_}, {rows}u, {n_in}u, {width}u, {n_out}u);"]
    if listed(ctx.graph, op) != x:
        weights, stride = event_rows(ctx, w)
        row = f"{c[0]} + r * {c[1]}u" if c[1] else c[0]
        return [
            "{",
            "    uint32_t r;",
            f"    for (r = 0; r < {rows}u; ++r) {{",
            f"        const uint32_t count = ek_fired(m->row, {from_}, r * {n_in}u, {n_in}u, 1u);",
            f"        {kernel}({to} + r * {n_out}u, {row}, {weights}, m->row, count, {stride}u, {n_out}u);",
            "    }",
            "}",
        ]
    root = ctx.root(entry, x)
    events, group = ctx.layout.lists[entry.name][root], ctx.groups[entry.name].get(root)
    fired, count = f"m->list{events.slot}", f"m->count[{events.slot}]"
    step = group.stride // 4 if group else 1
    find = [f"{count} = ek_fired({fired}, {from_}, 0u, {n_in}u, {step}u);"] if events.made == at else []
    if group:
        weights = f"{grouped_rows(ctx, group)} + {group.columns[w]}"
        return [*find, f"ek_event_pairs({to}, {c[0]}, {weights}, {fired}, {count}, {-(-n_out // EVENT_BLOCK)}u);"]
    weights, stride = event_rows(ctx, w)
    return [*find, f"{kernel}({to}, {c[0]}, {weights}, {fired}, {count}, {stride}u, {n_out}u);"]


def _addend(ctx: Context, entry: Entry, c: str, op: Op) -> tuple[str, int]:
    tensor, y = ctx.tensor(c), ctx.tensor(op.outputs[0])
    n_out = y.shape[-1]
    if ctx.const(entry, c) is None:
        return ctx.pointer(entry, c), n_out
    if all(n == 1 for n in tensor.shape[:-1]):
        return ctx.whole(entry, c, (n_out,)), 0
    return ctx.whole(entry, c, y.shape), n_out
