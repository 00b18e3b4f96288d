"""The shared per-channel memory update: A m[i] + B u[i] for all channels i becomes one op."""

from __future__ import annotations

from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind != "linear" or len(op.inputs) != 3:
        return None
    inner = graph.producer(op.inputs[2], "linear")
    if inner is None or len(inner.inputs) != 2 or not graph.single_use(op.inputs[2]):
        return None
    # the sum may have been written in either order: the memory is the side whose weights are square
    for (m, a), (u, b) in ((op.inputs[:2], inner.inputs), (inner.inputs, op.inputs[:2])):
        shapes = [graph.tensor(name).shape for name in (m, a, u, b)]
        constant = graph.tensor(a).is_const and graph.tensor(b).is_const
        if not constant or len(shapes[0]) != 2 or len(shapes[2]) != 2:
            continue
        (channels, order), (rows, inputs) = shapes[0], shapes[2]
        if channels == rows and shapes[1] == (order, order) and shapes[3] == (order, inputs):
            return (graph.emit("memory_update", m, a, u, b),)
    return None


def share_memory_update(graph: Graph) -> Graph:
    """Join linear(m[M, d], A) + linear(u[M, k], B) into memory_update(m, A, u, B), d the memory order."""
    return rewrite(graph, _rule)
