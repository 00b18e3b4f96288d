"""Concatenations that only feed linears: each part meets its own columns of the weights, and nothing is copied."""

from __future__ import annotations

from itertools import accumulate

from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite

MAX_PARTS = 8  # every further linear loads and stores all outputs once more


def _splittable(graph: Graph) -> set[str]:
    """Results of concatenations along the last axis that linears with constant real weights read, and nothing else.

    A linear that makes an output is a read-out, and stays one linear W z + b: learning rules look for it.
    """
    found: set[str] = set()
    for entry in graph.entries.values():
        for op in entry.ops:
            last = op.kind == "concat" and op.attrs["axis"] == len(graph.tensors[op.outputs[0]].shape) - 1
            if last and len(op.inputs) <= MAX_PARTS:
                found.add(op.outputs[0])
        for op in entry.ops:
            weights = graph.tensors[op.inputs[1]] if op.kind == "linear" else None
            fed = weights is not None and weights.is_const and weights.quant is None
            fed = fed and op.outputs[0] not in entry.outputs
            found.difference_update(op.inputs[1:] if fed else op.inputs)
        found.difference_update(entry.outputs, entry.updates.values())
    return found


def split_concat(graph: Graph) -> Graph:
    """Replace linear([a; b], W, c) by linear(b, W_b, linear(a, W_a, c)), W = [W_a, W_b]."""
    splittable = _splittable(graph)
    columns: dict[tuple[str, int, int], str] = {}  # those of a layer that is used twice are stored once

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if op.kind != "linear" or op.inputs[0] not in splittable:
            return None
        joined, weights = rewriter.producer(op.inputs[0], "concat"), rewriter.data(op.inputs[1])
        if joined is None or weights is None:
            return None
        ends = list(accumulate(rewriter.tensor(part).shape[-1] for part in joined.inputs))
        parts = zip(joined.inputs, [0, *ends], ends, strict=False)
        total = op.inputs[2:]
        for part, start, end in sorted(parts, key=lambda p: not rewriter.tensor(p[0]).is_const):  # those fold away
            key = op.inputs[1], start, end
            if key not in columns:
                columns[key] = rewriter.const(f"{op.inputs[1]}.from{start}", weights[:, start:end])
            total = (rewriter.emit("linear", part, columns[key], *total, **op.attrs),)
        return total

    return rewrite(graph, rule)
