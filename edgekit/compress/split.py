"""Matrices in several parts, as ops of the graph: two factors of low rank, or slices with scales of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.compress.lowrank import check_rank, factors
from edgekit.compress.matrices import Moments, matrices, power_of
from edgekit.compress.stored import Array
from edgekit.compress.terms import Sums
from edgekit.ir import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite

Parts = dict[str, tuple[str, ...]]  # of each matrix that was split, the names of what it became


def factored(graph: Graph, ranks: Mapping[str, int], moments: Moments) -> tuple[Graph, Parts]:
    """linear(x, W) as linear(linear(x, V), U) for each matrix W [out, in] with a rank; U and V are `W.U` and `W.V`.

    What goes through U is added to the moments. UsageError for a rank that saves nothing.
    """
    sums, parts, operands = Sums(graph), Parts(), matrices(graph)

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if op.kind != "linear" or op.inputs[1] not in ranks:
            return None
        x, name, out = op.inputs[0], op.inputs[1], op.outputs[0]
        if name not in parts:
            data = np.asarray(rewriter.tensor(name).data)
            check_rank(name, data.shape, ranks[name])
            outer, inner = factors(data, ranks[name], power_of(operands[name], moments))
            parts[name] = (rewriter.const(f"{name}.V", inner), rewriter.const(f"{name}.U", outer))
        first, second = parts[name]
        low = rewriter.emit("linear", x, first, out=rewriter.fresh(f"{out}.low"))
        if (seen := moments.get(sums.uncast(x))) is not None:
            inner = np.asarray(rewriter.tensor(first).data, np.float64)
            moments[low] = inner @ seen @ inner.T
        rewriter.emit("linear", low, second, *op.inputs[2:], out=out)
        return op.outputs

    return rewrite(graph, rule), parts


def sliced(graph: Graph, groups: Mapping[str, int], moments: Moments) -> tuple[Graph, Parts]:
    """linear(x, W, c) as linear(x₁, W₁, linear(x₂, W₂, … c)) over slices of so many inputs; W₁ is `W.0`, and so on."""
    sums, parts = Sums(graph), Parts()
    taken: dict[tuple[str, int, int], str] = {}

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if op.kind != "linear" or op.inputs[1] not in groups:
            return None
        x, name, out = op.inputs[0], op.inputs[1], op.outputs[0]
        data: Array = np.asarray(rewriter.tensor(name).data)
        size, width = groups[name], data.shape[1]
        starts = range(0, width, size)
        if len(starts) == 1:
            return None
        if name not in parts:
            parts[name] = tuple(rewriter.const(f"{name}.{k}", data[:, at : at + size]) for k, at in enumerate(starts))
        addend = op.inputs[2:]
        for k, at in enumerate(starts):
            stop = min(at + size, width)
            if (x, at, stop) not in taken:
                axis = len(rewriter.tensor(x).shape) - 1
                part = rewriter.fresh(f"{x}.{at}to{stop}")
                taken[x, at, stop] = rewriter.emit("slice", x, out=part, axis=axis, start=at, stop=stop)
                if (seen := moments.get(sums.uncast(x))) is not None:
                    moments[part] = seen[at:stop, at:stop]
            last = out if k == len(starts) - 1 else rewriter.fresh(f"{out}.part")
            addend = (rewriter.emit("linear", taken[x, at, stop], parts[name][k], *addend, out=last),)
        return op.outputs

    return rewrite(graph, rule), parts
