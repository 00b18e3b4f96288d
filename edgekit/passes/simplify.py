"""Local rewrites that keep every result: spikes stay spikes, views collapse, sums join the linear that feeds them."""

from __future__ import annotations

import numpy as np

from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, first_of, rewrite

Names = tuple[str, ...]


def _cast_source(graph: Rewriter, name: str) -> str | None:
    """The spike value behind `cast(spike → float32)`, if that is what `name` is."""
    op = graph.producer(name, "cast")
    return op.inputs[0] if op is not None and graph.tensor(name).dtype is FLOAT32 else None


def _identity(graph: Rewriter, op: Op) -> Names | None:
    """Views, casts and arithmetic that change nothing."""
    source = op.inputs[0]
    if op.kind in ("reshape", "expand", "transpose", "slice", "cast"):
        same = graph.tensor(op.outputs[0]).shape == graph.tensor(source).shape
        if op.kind == "transpose":
            same = same and op.attrs["perm"] == tuple(range(len(op.attrs["perm"])))
        if same and graph.tensor(op.outputs[0]).dtype is graph.tensor(source).dtype:
            return (source,)
    if op.kind == "pad" and not any((*op.attrs["before"], *op.attrs["after"])):
        return (source,)
    if op.kind == "concat" and len(op.inputs) == 1:
        return (source,)
    if op.kind in ("mul", "div"):
        scalar = graph.data(op.inputs[1])
        same = graph.tensor(op.outputs[0]).shape == graph.tensor(source).shape
        if scalar is not None and same and bool(np.all(scalar == 1)):
            return (source,)
    return None


def _zero_weights(graph: Rewriter, op: Op) -> Names | None:
    """A linear whose weights are all zero (a connection that was never trained) adds nothing."""
    if op.kind != "linear" or len(op.inputs) != 3 or (w := graph.data(op.inputs[1])) is None or w.any():
        return None
    addend = op.inputs[2]
    return (addend,) if graph.tensor(addend).shape == graph.tensor(op.outputs[0]).shape else None


def _collapse_views(graph: Rewriter, op: Op) -> Names | None:
    """reshape(reshape(x)) is one reshape."""
    if op.kind == "reshape" and (inner := graph.producer(op.inputs[0], "reshape")) is not None:
        return (graph.emit("reshape", inner.inputs[0], shape=op.attrs["shape"]),)
    return None


def _add_below_views(graph: Rewriter, op: Op) -> Names | None:
    """reshape(a) + reshape(b) is reshape(a + b), so that the sum meets the linears that made a and b."""
    views = [graph.producer(name, "reshape") for name in op.inputs] if op.kind == "add" else []
    inner = [view.inputs[0] for view in views if view is not None]
    result = graph.tensor(op.outputs[0])
    if len(inner) != 2 or graph.tensor(inner[0]).shape != graph.tensor(inner[1]).shape:
        return None
    if graph.tensor(inner[0]).size != result.size:  # a column and a row
        return None
    return (graph.emit("reshape", graph.emit("add", *inner), shape=result.shape),)


def _sum_of_one(graph: Rewriter, op: Op) -> Names | None:
    """A sum over an axis of length one is a view."""
    if op.kind == "sum" and graph.tensor(op.inputs[0]).shape[op.attrs["axis"]] == 1:
        return (graph.emit("reshape", op.inputs[0], shape=graph.tensor(op.outputs[0]).shape),)
    return None


def _sink_cast(graph: Rewriter, op: Op) -> Names | None:
    """A view of a spike that was cast is a cast of the view, so that the spike reaches the op that can use it."""
    silent = op.kind == "pad" and op.attrs.get("value", 0.0) == 0  # a border of spikes cannot be anything else
    if op.kind not in ("reshape", "transpose", "expand", "slice", "concat", "windows") and not silent:
        return None
    spikes = [_cast_source(graph, name) for name in op.inputs]
    if any(s is None for s in spikes):
        return None
    moved = graph.emit(op.kind, *(s for s in spikes if s is not None), **op.attrs)
    return (graph.emit("cast", moved, to="float32"),)


def _spike_arithmetic(graph: Rewriter, op: Op) -> Names | None:
    """cast(s) · x is a choice between x and 0; a comparison of cast(s) with a constant below 1 is s itself."""
    if op.kind == "mul":
        for a, b in (op.inputs, op.inputs[::-1]):
            spike = _cast_source(graph, a)
            if spike is not None and _cast_source(graph, b) is None:
                zero = graph.const(f"{spike}.zero", np.zeros((), np.float32))
                return (graph.emit("where", spike, b, zero),)
    if op.kind in ("gt", "ne") and (spike := _cast_source(graph, op.inputs[0])) is not None:
        level = graph.data(op.inputs[1])
        same = graph.tensor(op.outputs[0]).shape == graph.tensor(spike).shape
        if level is not None and same and bool(np.all(level == 0)):
            return (spike,)
    if op.kind == "cast" and op.attrs["to"] == "spike" and (spike := _cast_source(graph, op.inputs[0])) is not None:
        return (spike,)
    return None


def _linear_of_spikes(graph: Rewriter, op: Op) -> Names | None:
    """linear(cast(s)) is linear(s), and so for conv: only the columns that fired are added."""
    if op.kind not in ("linear", "conv") or (spike := _cast_source(graph, op.inputs[0])) is None:
        return None
    return (graph.emit(op.kind, spike, *op.inputs[1:], **op.attrs),)


def _conv_of_one_place(graph: Rewriter, op: Op) -> Names | None:
    """A convolution whose only window is the whole input is a linear."""
    if op.kind != "conv" or op.attrs.get("groups", 1) != 1:
        return None
    x, w = (graph.tensor(n) for n in op.inputs[:2])
    if w.data is None or w.shape[1:] != x.shape:
        return None
    weights = graph.const(f"{w.name}.rows", w.data.reshape(w.shape[0], -1), w.dtype, w.quant)
    y = graph.emit("linear", graph.emit("reshape", x.name, shape=(x.size,)), weights, *op.inputs[2:])
    return (graph.emit("reshape", y, shape=graph.tensor(op.outputs[0]).shape),)


def _outer_with_constant(graph: Rewriter, op: Op) -> Names | None:
    """x[…, 1] times a constant vector is a linear with one input."""
    shape = graph.tensor(op.outputs[0]).shape
    if op.kind not in ("mul", "where") or shape == ():
        return None
    if op.kind == "where":  # what _spike_arithmetic made of cast(s) · b
        x, b, zero = op.inputs
        if (z := graph.data(zero)) is None or z.any():
            return None
        pairs = [(x, b)]
    else:
        pairs = [(op.inputs[0], op.inputs[1]), (op.inputs[1], op.inputs[0])]
    for x, b in pairs:
        data, xs = graph.data(b), graph.tensor(x).shape
        if data is None or data.size != shape[-1] or data.size == 1 or data.shape[-1] != data.size:
            continue
        if xs == (*shape[:-1], 1) and graph.tensor(x).dtype in (FLOAT32, SPIKE):
            weights = graph.const(f"{b}.column", data.reshape(-1, 1))
            return (graph.emit("linear", x, weights),)
    return None


def _join_addend(graph: Rewriter, op: Op) -> Names | None:
    """linear(x) + c is linear with an addend, so that sums over several inputs need no op of their own."""
    if op.kind != "add":
        return None
    shape = graph.tensor(op.outputs[0]).shape
    for a, b in (op.inputs[::-1], op.inputs):  # the later linear takes the earlier one as its addend
        linear = graph.producer(a, "linear")
        if linear is None or len(linear.inputs) != 2 or not graph.single_use(a):
            continue
        addend = graph.tensor(b)
        if graph.tensor(a).shape == shape and addend.dtype is FLOAT32 and (addend.is_const or addend.shape == shape):
            return (graph.emit("linear", *linear.inputs, b, **linear.attrs),)
    return None


RULES = (
    _identity,
    _zero_weights,
    _collapse_views,
    _add_below_views,
    _sum_of_one,
    _sink_cast,
    _outer_with_constant,
    _spike_arithmetic,
    _linear_of_spikes,
    _conv_of_one_place,
    _join_addend,
)


def simplify(graph: Graph) -> Graph:
    """Apply the local rewrites until none applies."""
    while True:
        before = sum(len(e.ops) for e in graph.entries.values()), _kinds(graph)
        graph = rewrite(graph, first_of(RULES))
        if (sum(len(e.ops) for e in graph.entries.values()), _kinds(graph)) == before:
            return graph


def _kinds(graph: Graph) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((op.kind, tuple(graph.tensors[n].dtype.name for n in op.inputs)) for _, op in graph.ops())
