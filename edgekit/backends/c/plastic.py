"""Calls of the kernels over weights that are values of the program: products with Wᵀ, distances, and updates."""

from __future__ import annotations

from edgekit.backends.c.context import Context
from edgekit.ir import Entry, Graph, Op

PLASTIC = frozenset({"matvec_t", "distance", "outer_add"})


def plastic_sizes(graph: Graph, op: Op) -> str:
    """Rows of vectors, and height and width of the weights, as C arguments."""
    at = 0 if op.kind == "outer_add" else 1
    height, width = graph.tensors[op.inputs[at]].shape
    x = graph.tensors[op.inputs[1 - at]]
    return f"{x.size // x.shape[-1]}u, {height}u, {width}u"


def plastic_lines(ctx: Context, entry: Entry, op: Op) -> list[str]:
    """y = Wᵀ x, Σ |x - w|, or W + Σ a bᵀ."""
    values = ", ".join(ctx.pointer(entry, n) for n in (op.outputs[0], *op.inputs))
    return [f"ek_{ctx.kernel(op)}({values}, {plastic_sizes(ctx.graph, op)});"]
