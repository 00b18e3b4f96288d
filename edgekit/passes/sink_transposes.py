"""Transposes go down: behind elementwise ops and pads, until they meet another one and cancel out."""

from __future__ import annotations

import numpy as np

from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import SCALAR_OPS
from edgekit.passes.rewrite import Rewriter, first_of, rewrite
from edgekit.passes.simplify import simplify

Names = tuple[str, ...]


def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(perm))


def _two_in_a_row(graph: Rewriter, op: Op) -> Names | None:
    inner = graph.producer(op.inputs[0], "transpose") if op.kind == "transpose" else None
    if inner is None:
        return None
    perm = tuple(inner.attrs["perm"][p] for p in op.attrs["perm"])
    return (graph.emit("transpose", inner.inputs[0], perm=perm),)


def _behind_elementwise(graph: Rewriter, op: Op) -> Names | None:
    """f(transpose(x), constant) is transpose(f(x, constant transposed back)), where nothing else reads transpose(x)."""
    if op.kind not in SCALAR_OPS:
        return None
    moved = [None if graph.tensor(n).is_const else graph.producer(n, "transpose") for n in op.inputs]
    live = [t for n, t in zip(op.inputs, moved, strict=True) if not graph.tensor(n).is_const]
    perms = {t.attrs["perm"] if t is not None and graph.single_use(t.outputs[0]) else None for t in live}
    (perm,) = perms if len(perms) == 1 else (None,)
    shape = graph.tensor(op.outputs[0]).shape
    if perm is None or any(graph.tensor(t.outputs[0]).shape != shape for t in live if t is not None):
        return None
    operands = [
        t.inputs[0] if t is not None else _turned(graph, n, perm) for n, t in zip(op.inputs, moved, strict=True)
    ]
    return (graph.emit("transpose", graph.emit(op.kind, *operands, **op.attrs), perm=perm),)


def _turned(graph: Rewriter, name: str, perm: tuple[int, ...]) -> str:
    """A constant that broadcasts to what the transpose gave, as one that broadcasts to what it took."""
    tensor = graph.tensor(name)
    if tensor.data is None or tensor.size == 1:
        return name
    full = tensor.data.reshape(*(1,) * (len(perm) - len(tensor.shape)), *tensor.shape)
    return graph.const(f"{name}.turned", full.transpose(_inverse(perm)), tensor.dtype, tensor.quant)


def _behind_pad(graph: Rewriter, op: Op) -> Names | None:
    inner = graph.producer(op.inputs[0], "transpose") if op.kind == "pad" else None
    if inner is None or not graph.single_use(op.inputs[0]):
        return None
    perm, back = inner.attrs["perm"], _inverse(inner.attrs["perm"])
    widths = {side: tuple(op.attrs[side][b] for b in back) for side in ("before", "after")}
    padded = graph.emit("pad", inner.inputs[0], **{**op.attrs, **widths})
    return (graph.emit("transpose", padded, perm=perm),)


RULES = (_two_in_a_row, _behind_elementwise, _behind_pad)


def sink_transposes(graph: Graph) -> Graph:
    """Move transposes behind what works on each element alone, and join those that meet."""
    before = [(op.kind, op.inputs) for _, op in graph.ops()]
    while True:
        graph = simplify(rewrite(graph, first_of(RULES)))
        after = [(op.kind, op.inputs) for _, op in graph.ops()]
        if after == before:
            return graph
        before = after
