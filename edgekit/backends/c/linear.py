"""Calls of the linear kernels: dense, compensated, event-driven, masked, sparse, plastic, and the memory update."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.context import Context
from edgekit.backends.c.data import Array, memory_columns, memory_table
from edgekit.backends.c.select import kernel_of, linear_kernel
from edgekit.backends.c.sparse import columns_of, runs_of
from edgekit.ir import FLOAT32, SPIKE, Entry, Op


def linear_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = W x (+ c)."""
    x, w, *addend = op.inputs
    rows, n_out = ctx.tensor(x).shape[:-1], ctx.tensor(w).shape[0]
    c = _addend(ctx, entry, addend[0], rows, n_out) if addend else ("0", 0)
    return _call(ctx, entry, at, ctx.kernel(op), (x, w, op.outputs[0]), c=c)


def memory_lines(ctx: Context, entry: Entry, at: int, op: Op) -> list[str]:
    """y = A m + B u per channel: a table over the spikes, columns of [A B], or y = B u followed by y = A m + y."""
    m, a, u, b = op.inputs
    y = op.outputs[0]
    to, (channels, order), inputs = ctx.pointer(entry, y), ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    kernel = kernel_of(ctx.graph, op)
    if kernel in ("memory_table_f32", "memory_small_f32"):
        make, what = (memory_table, "table") if kernel == "memory_table_f32" else (memory_columns, "columns")
        data = ctx.consts.add((a, b, what), "float", lambda: make(_real(ctx, a), _real(ctx, b)))
        values = f"{ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
        return [f"ek_{kernel}({to}, {data}, {values}, {channels}u, {order}u, {inputs}u);"]
    driven = _call(ctx, entry, at, linear_kernel(ctx.graph, u, b), (u, b, y), c=("0", 0))
    return driven + _call(ctx, entry, at, kernel.replace("memory", "linear"), (m, a, y), c=(to, order))


def _call(
    ctx: Context, entry: Entry, at: int, kernel: str, operands: tuple[str, str, str], *, c: tuple[str, int]
) -> list[str]:
    """The lines of y = W x + c for operands (x, w, y); `c` is the addend's C expression and its step per row."""
    x, w, y = operands
    xt, (n_out, n_in) = ctx.tensor(x), ctx.tensor(w).shape
    family, form, element = kernel.split("_")
    if form in ("sparse", "runs"):
        return [_sparse_call(ctx, entry, kernel, operands, c)]
    to, from_ = ctx.pointer(entry, y), ctx.pointer(entry, x)
    if family == "plastic" or len(xt.shape) > 1:
        weights = ctx.pointer(entry, w) if family == "plastic" else _packed(ctx, w, form)
        lists = "m->row, " if form == "event" else ""
        name = f"ek_{kernel}" if family == "plastic" else f"ek_rows_{form}_{element}"
        sizes = f"{lists}{xt.size // n_in}u, {n_in}u, {n_out}u"
        return [f"{name}({to}, {c[0]}, {c[1]}u, {weights}, {from_}, {sizes});"]
    head = f"ek_{kernel}({to}, {c[0]}, {_packed(ctx, w, form)}"
    if form == "dot":
        return [f"{head}, {from_}, 0u, {n_in}u, {n_out}u, 0);"]
    if form != "event":
        return [f"{head}, {from_}, 0u, {n_in}u, {n_in}u, {n_out}u, 0);"]
    events = ctx.layout.lists[entry.name][ctx.root(entry, x)]
    fired, count = f"m->list{events.slot}", f"m->count[{events.slot}]"
    find = [f"{count} = ek_events({fired}, {from_}, 0u, {n_in}u);"] if events.made == at else []
    return [*find, f"{head}, {fired}, 0u, {count}, {n_in}u, {n_out}u, 0);"]


def _packed(ctx: Context, w: str, form: str) -> str:
    return ctx.packed_for_dot(w) if form == "dot" else ctx.packed(w)


def _sparse_call(ctx: Context, entry: Entry, kernel: str, operands: tuple[str, str, str], c: tuple[str, int]) -> str:
    """The call for weights of which only those that are not zero are stored."""
    x, w, y = operands
    xt, wt, data = ctx.tensor(x), ctx.tensor(w), ctx.data(w)
    to, from_ = f"{ctx.pointer(entry, y)}, {c[0]}", ctx.pointer(entry, x)
    n_out, n_in = wt.shape
    element, value = ("f32", "float") if wt.dtype is FLOAT32 else ("i8", "int8_t")
    scale, rows = "0" if wt.dtype is FLOAT32 else ctx.scales(w), xt.size // n_in

    def array(what: str, ctype: str, values: Array) -> str:
        return ctx.consts.add((w, what), ctype, lambda: values if values.size else np.zeros(1, values.dtype))

    if kernel.startswith("linear_runs") and (runs := runs_of(data)) is not None:
        names = [array("run counts", "uint16_t", runs.count), array("runs", "uint16_t", runs.run)]
        names.append(array("run weights", value, runs.weights))
        return f"ek_runs_{element}({to}, {c[1]}u, {', '.join(names)}, {scale}, {from_}, {rows}u, {n_in}u, {n_out}u);"
    columns = columns_of(data)
    names = [
        array("column starts", f"uint{8 * columns.start.itemsize}_t", columns.start),
        array("column rows", "uint16_t", columns.row),
        array("column weights", value, columns.weights),
    ]
    layout = f"{int(columns.start.itemsize == 4)}u, {columns.per}u"
    head, sizes = f"{'spike' if xt.dtype is SPIKE else 'real'}_{element}", f"{n_in}u, {n_out}u, {layout}"
    args = f"{', '.join(names)}, {scale}, {from_}"
    if len(xt.shape) > 1:
        return f"ek_rows_columns_{head}({to}, {c[1]}u, {args}, {rows}u, {sizes});"
    return f"ek_columns_{head}({to}, {args}, 0u, {sizes}, 0);"


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
