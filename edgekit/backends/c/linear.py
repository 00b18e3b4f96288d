"""Calls of the linear kernels: dense, event-driven, masked, plastic, and the memory update made of two of them."""

from __future__ import annotations

from edgekit.backends.c.context import Context
from edgekit.backends.c.data import Array, memory_table
from edgekit.backends.c.select import kernel_of, linear_kernel
from edgekit.ir import Entry, Op


def linear_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = W x (+ c)."""
    x, w, *addend = op.inputs
    rows, n_out = ctx.tensor(x).shape[:-1], ctx.tensor(w).shape[0]
    c = _addend(ctx, entry, addend[0], rows, n_out) if addend else ("0", 0)
    return _call(ctx, entry, at, kernel_of(ctx.graph, op), (x, w, op.outputs[0]), c=c)


def memory_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = A m + B u per channel: a table over the spikes, or y = B u followed by y = A m + y."""
    m, a, u, b = op.inputs
    y = op.outputs[0]
    to, (channels, order), inputs = ctx.pointer(entry, y), ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    if kernel_of(ctx.graph, op) == "memory_table_f32":
        table = ctx.consts.add((a, b, "table"), "float", lambda: memory_table(_real(ctx, a), _real(ctx, b)))
        spikes = f"{ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
        return [f"ek_memory_table_f32({to}, {table}, {spikes}, {channels}u, {order}u, {inputs}u);"]
    driven = _call(ctx, entry, at, linear_kernel(ctx.graph, u, b), (u, b, y), c=("0", 0))
    return driven + _call(ctx, entry, at, linear_kernel(ctx.graph, m, a), (m, a, y), c=(to, order))


def _call(
    ctx: Context, entry: Entry, at: int, kernel: str, operands: tuple[str, str, str], *, c: tuple[str, int]
) -> list[str]:
    """The lines of y = W x + c for operands (x, w, y); `c` is the addend's C expression and its step per row."""
    x, w, y = operands
    xt, (n_out, n_in) = ctx.tensor(x), ctx.tensor(w).shape
    family, form, element = kernel.split("_")
    to, from_ = ctx.pointer(entry, y), ctx.pointer(entry, x)
    if family == "plastic" or len(xt.shape) > 1:
        weights = ctx.pointer(entry, w) if family == "plastic" else ctx.packed(w)
        lists = "m->row, " if form == "event" else ""
        name = f"ek_{kernel}" if family == "plastic" else f"ek_rows_{form}_{element}"
        sizes = f"{lists}{xt.size // n_in}u, {n_in}u, {n_out}u"
        return [f"{name}({to}, {c[0]}, {c[1]}u, {weights}, {from_}, {sizes});"]
    head = f"ek_{kernel}({to}, {c[0]}, {ctx.packed(w)}"
    if form != "event":
        return [f"{head}, {from_}, 0u, {n_in}u, {n_in}u, {n_out}u, 0);"]
    events = ctx.layout.lists[entry.name][ctx.root(entry, x)]
    fired, count = f"m->list{events.slot}", f"m->count[{events.slot}]"
    find = [f"{count} = ek_events({fired}, {from_}, 0u, {n_in}u);"] if events.made == at else []
    return [*find, f"{head}, {fired}, 0u, {count}, {n_in}u, {n_out}u, 0);"]


def _addend(ctx: Context, entry: Entry, c: str, rows: tuple[int, ...], n_out: int) -> tuple[str, int]:
    shape = ctx.tensor(c).shape
    if ctx.const(entry, c) is None:
        return ctx.pointer(entry, c), n_out
    if all(n == 1 for n in shape[:-1]):
        return ctx.whole(entry, c, (n_out,)), 0
    return ctx.whole(entry, c, (*rows, n_out)), n_out


def _real(ctx: Context, w: str) -> Array:
    quant, data = ctx.tensor(w).quant, ctx.data(w)
    return data if quant is None else quant.dequantize(data)
