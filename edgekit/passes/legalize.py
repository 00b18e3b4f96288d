"""Legalisation: rewrite what a backend has no kernel for, or refuse with the whole list."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edgekit.errors import UnsupportedError
from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.passes.rename import with_output_names
from edgekit.passes.rewrite import Rewriter, rewrite


class _Simpler:
    """A Decomposer over a rewriter; `last` is the result of the op that was added last."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.tensor, self.const, self._rewriter = rewriter.tensor, rewriter.const, rewriter
        self.last = ""

    def emit(self, kind: str, *inputs: str, **attrs: Any) -> str:
        self.last = self._rewriter.emit(kind, *inputs, **attrs)
        return self.last


def legalize(graph: Graph, supported: Collection[str], backend: str) -> Graph:
    """Decompose ops outside `supported`; outputs keep their names.

    UnsupportedError lists every op that is left, with its origin.
    """

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        decompose = OPS[op.kind].decompose
        if op.kind in supported or decompose is None:
            return None
        simpler = _Simpler(rewriter)
        decompose(op, simpler)
        return (simpler.last,)

    legal = rewrite(graph, rule)
    while any(op.kind not in supported and OPS[op.kind].decompose for _, op in legal.ops()):
        legal = rewrite(legal, rule)  # into simpler ops each time
    left = [(e, op) for e, op in legal.ops() if op.kind not in supported]
    if left:
        items = [f"{op.kind} in entry {e.name} (from {op.source or 'the graph'})" for e, op in left]
        raise UnsupportedError(
            f"graph {graph.name!r}", f"the {backend} backend has no kernel for {len(left)} ops", items=items
        )
    return with_output_names(legal, graph)
