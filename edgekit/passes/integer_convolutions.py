"""Convolutions of integer programs: linears over windows, whose rows are of a length that their kernels like."""

from __future__ import annotations

from math import prod

import numpy as np

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.passes.legalize import legalize
from edgekit.passes.rewrite import Rewriter, rewrite

EIGHTS, FOURS = 8, 4  # what the inputs and outputs of a matrix over several rows are best a multiple of
MOST_LONGER = 1.7  # times as many inputs, the others with weights of zero: as much as a kernel for such rows saves


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind != "conv":
        return None
    x, w = (graph.tensor(n) for n in op.inputs[:2])
    real = x.dtype is FLOAT32 and w.dtype is FLOAT32
    if w.data is None or not real or op.attrs.get("groups", 1) != 1 or op.attrs["dilation"][-1] != 1:
        return None
    channels, above = x.shape[0], prod(w.shape[2:-1])
    own = w.shape[-1] * channels  # of a window, side by side in x with channels last
    longer = next(n for n in range(own, own + EIGHTS) if above * n % EIGHTS == 0)
    if w.shape[0] % FOURS or longer == own or longer > MOST_LONGER * own:
        return None
    return (_lengthened(graph, op, longer),)


def _lengthened(graph: Rewriter, op: Op, length: int) -> str:
    """The last axis of x and its channels joined, and `length` of those in a window; the last ones weigh nothing."""
    x, w, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.outputs[0]).shape
    kernel = np.zeros(0) if w.data is None else np.moveaxis(w.data, 1, -1)
    rank, channels, step = len(x.shape) - 1, x.shape[0], op.attrs["stride"][-1] * x.shape[0]
    last = graph.emit("transpose", x.name, perm=(*range(1, rank + 1), 0))
    joined = graph.emit("reshape", last, shape=(*x.shape[1:-1], x.shape[-1] * channels))
    missing = (out[-1] - 1) * step + length - x.shape[-1] * channels
    if missing > 0:
        none = (0,) * (rank - 1)
        joined = graph.emit("pad", joined, before=(*none, 0), after=(*none, missing))
    strides, dilations = (*op.attrs["stride"][:-1], step), (*op.attrs["dilation"][:-1], 1)
    seen = graph.emit("windows", joined, size=(*w.shape[2:-1], length), stride=strides, dilation=dilations)
    rows = graph.emit("reshape", seen, shape=(prod(out[1:]), graph.tensor(seen).shape[-1]))
    own = kernel.reshape(w.shape[0], -1, w.shape[-1] * channels)
    longer = np.pad(own, ((0, 0), (0, 0), (0, length - own.shape[-1]))).reshape(w.shape[0], -1)
    y = graph.emit("linear", rows, graph.const(f"{w.name}.rows", longer), *op.inputs[2:])
    y = graph.emit("reshape", y, shape=(*out[1:], w.shape[0]))
    return graph.emit("transpose", y, perm=(rank, *range(rank)))


def convolutions_as_linears(graph: Graph) -> Graph:
    """Write every convolution as linears over sliding windows, with channels last."""
    return legalize(rewrite(graph, _rule), OPS.keys() - {"conv"}, "integer")
