"""Constant folding: an op whose inputs are all constants is evaluated by the reference and becomes a constant."""

from __future__ import annotations

import numpy as np

from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.passes.rewrite import Rewriter, rewrite


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    tensors = [graph.tensor(n) for n in op.inputs]
    if not all(t.is_const for t in tensors):
        return None
    results = OPS[op.kind].evaluate([t.data[None] for t in tensors if t.data is not None], op.attrs, tensors)
    if not all(np.isfinite(value).all() for value in results):
        return None  # 1/0 and its like stay ops: a constant is always finite
    return tuple(
        graph.const(f"{name}.folded", value[0], graph.tensor(name).dtype)
        for name, value in zip(op.outputs, results, strict=True)
    )


def fold_constants(graph: Graph) -> Graph:
    """Evaluate ops over constants: decay factors, clamped betas, transposed weights."""
    return rewrite(graph, _rule)
