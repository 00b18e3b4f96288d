"""Sums of weighted, gathered elements: each is a row of a constant matrix, mostly zeros, that multiplies the source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Graph, Op
from edgekit.ir.ops import OPS
from edgekit.passes.linear_cost import UNMEASURED, dense_cost, sparse_cost
from edgekit.passes.rewrite import Rewriter, rewrite

MAX_WEIGHTS = 2**22  # a larger matrix would not be written out to be found sparse
FACTORS = ("mul", "div", "neg")
GATHERED, MULTIPLIED, SUMMED = 4.0, 1.5, 3.5  # instructions for one element, counted on an emulated Cortex-A72
LARGEST = np.finfo(np.float32).max
MOVES = ("gather", "slice", "reshape", "transpose", "expand")


@dataclass(frozen=True, eq=False)
class _Picked:
    """Every element is factor · source[index], the source flat; `work` estimates the instructions behind an element."""

    source: str
    index: npt.NDArray[np.int64]
    factor: npt.NDArray[np.float64]
    work: float = 0.0


def _picked(graph: Rewriter, name: str) -> _Picked:
    """What a value picks from the last value behind it that is not such a choice itself."""
    op, shape = graph.producer(name), graph.tensor(name).shape
    if op is not None and op.kind in MOVES:
        inner, tensor = _picked(graph, op.inputs[0]), graph.tensor(op.inputs[0])
        index, factor = (
            OPS[op.kind].evaluate([part[None]], op.attrs, [tensor])[0][0] for part in (inner.index, inner.factor)
        )
        return _Picked(inner.source, index, factor, inner.work + (GATHERED if op.kind == "gather" else 0.0))
    if op is not None and op.kind in FACTORS and (factor := _factor(graph, op)) is not None:
        at = 1 if op.kind == "mul" and graph.tensor(op.inputs[0]).is_const else 0
        inner = _picked(graph, op.inputs[at])
        index = np.broadcast_to(inner.index, shape)
        every = np.broadcast_to(factor * inner.factor, shape)
        return _Picked(inner.source, index, every, inner.work + MULTIPLIED)
    size = graph.tensor(name).size
    return _Picked(name, np.arange(size).reshape(shape), np.ones(shape))


def _factor(graph: Rewriter, op: Op) -> npt.NDArray[np.float64] | None:
    """The constant by which an op multiplies its other input, None if it does not."""
    if op.kind == "neg":
        return np.array(-1.0)
    left, right = (graph.data(name) for name in op.inputs)
    if op.kind == "div":
        return None if right is None or not right.all() else 1 / right.astype(np.float64)
    constant = right if left is None else left
    return None if constant is None else constant.astype(np.float64)


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind != "sum":
        return None
    picked = _picked(graph, op.inputs[0])
    source, result = graph.tensor(picked.source), graph.tensor(op.outputs[0])
    if not picked.work or source.dtype is not FLOAT32 or result.size * source.size > MAX_WEIGHTS:
        return None
    terms = result.size, graph.tensor(op.inputs[0]).shape[op.attrs["axis"]]
    index, factor = (np.moveaxis(part, op.attrs["axis"], -1).reshape(terms) for part in (picked.index, picked.factor))
    exact = np.zeros((result.size, source.size))
    np.add.at(exact, (np.arange(result.size)[:, None], index), factor)
    if np.abs(exact).max() > LARGEST:
        return None
    weights = exact.astype(np.float32)
    if min(dense_cost(weights), sparse_cost(weights, UNMEASURED)) > (picked.work + SUMMED) * index.size:
        return None
    flat = picked.source
    if len(source.shape) != 1:
        flat = graph.emit("reshape", flat, shape=(source.size,))
    total = graph.emit("linear", flat, graph.const(f"{op.outputs[0]}.weights", weights))
    return (total if len(result.shape) == 1 else graph.emit("reshape", total, shape=result.shape),)


def sums_as_linear(graph: Graph) -> Graph:
    """Replace a sum over an axis of w ⊙ x[indices] by linear(x, W), W[o, i] the sum of the w that meet x_i in row o.

    An element that is gathered twice has its weights added; one whose weight is zero leaves no trace.
    """
    return rewrite(graph, _rule)
