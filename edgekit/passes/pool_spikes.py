"""Max pooling of spikes stays in bits: the largest of spikes that were cast is whether any of them fired."""

from __future__ import annotations

from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite
from edgekit.passes.simplify import simplify


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    cast = graph.producer(op.inputs[0], "cast") if op.kind == "amax" else None
    if cast is None or graph.tensor(op.inputs[0]).dtype is not FLOAT32:
        return None
    if graph.tensor(cast.inputs[0]).dtype is not SPIKE:
        return None
    return (graph.emit("cast", graph.emit("amax", cast.inputs[0], **op.attrs), to="float32"),)


def _pools(graph: Graph) -> int:
    return sum(op.kind == "amax" and graph.tensors[op.outputs[0]].dtype is SPIKE for _, op in graph.ops())


def pool_spikes(graph: Graph) -> Graph:
    """Replace amax(cast(s)) by cast(amax(s)), and let what reads it read the spikes."""
    while True:
        pooled = rewrite(graph, _rule)
        if _pools(pooled) == _pools(graph):
            return graph
        graph = simplify(pooled)  # the cast goes down to the next pool
