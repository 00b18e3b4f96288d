"""Legalisation: rewrite what a backend has no kernel for, or refuse with the whole list."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgekit.errors import UnsupportedError
from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.passes.rewrite import Rewriter, rewrite


def legalize(graph: Graph, supported: Collection[str], backend: str) -> Graph:
    """Decompose ops outside `supported`; UnsupportedError lists every op that is left, with its origin."""

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        spec = OPS[op.kind]
        if op.kind in supported or spec.decompose is None:
            return None
        made: list[str] = []

        def emit(kind: str, *inputs: str, **attrs: Any) -> str:
            attrs.pop("out", None)  # the rewriter names results itself
            made.append(rewriter.emit(kind, *inputs, **attrs))
            return made[-1]

        spec.decompose(op, rewriter.tensor, emit)
        return (made[-1],)

    legal = rewrite(graph, rule)
    left = [(e, op) for e, op in legal.ops() if op.kind not in supported]
    if left:
        items = [f"{op.kind} in entry {e.name} (from {op.source or 'the graph'})" for e, op in left]
        raise UnsupportedError(
            f"graph {graph.name!r}", f"the {backend} backend has no kernel for {len(left)} ops", items=items
        )
    return legal
