"""Broadcasts made visible: an elementwise op reads values of its own shape, or constants."""

from __future__ import annotations

from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import SCALAR_OPS
from edgekit.passes.rewrite import Rewriter, rewrite


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind not in SCALAR_OPS:
        return None
    shape = graph.tensor(op.outputs[0]).shape
    short = [n for n in op.inputs if not graph.tensor(n).is_const and graph.tensor(n).shape != shape]
    if not short:
        return None
    wide = {n: graph.emit("expand", n, shape=shape) for n in dict.fromkeys(short)}
    return (graph.emit(op.kind, *(wide.get(n, n) for n in op.inputs), **op.attrs),)


def materialise_broadcasts(graph: Graph) -> Graph:
    """Insert `expand` where an elementwise op repeats a value that is only known at run time."""
    return rewrite(graph, _rule)
