"""What an op makes of intervals: exact endpoints for integers, double precision rounded outward for reals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.ir import INT8, INT32, OPS, DType, Tensor
from edgekit.ir.ops.movement import MOVEMENT
from edgekit.passes.ranges import reals
from edgekit.passes.ranges.nodes import Node
from edgekit.passes.ranges.reals import matrix_bounds, sum_of
from edgekit.passes.ranges.tables import lookup_bounds
from edgekit.passes.ranges.values import Array, Interval, limits

COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")


@dataclass(frozen=True, eq=False)
class Result:
    """The interval of a value, and of its exact result where that may lie outside the dtype."""

    value: Interval
    exact: Interval | None = None
    saturates: bool = False


def bounds_of(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor], out: Tensor) -> Result:
    """The interval of a node's result; `tensors` are the operands'."""
    if node.kind in MOVEMENT:
        return Result(_moved(node, args, tensors))
    if node.kind in COMPARES or out.dtype.numpy.kind == "b":
        return Result(_spikes(node, args).broadcast(out.shape))
    if node.kind == "where":
        return Result(_where(args).broadcast(out.shape))
    if out.dtype.is_float:
        return Result(reals.bounds_of(node, args, tensors).broadcast(out.shape))
    if node.kind == "lookup":
        return Result(lookup_bounds(args[0], _data(tensors[1]), tensors[0].dtype is INT8))
    if node.kind == "rescale":
        return _fit(_rescaled(args, node.attrs["shift"]), out.dtype, True, out.shape)
    if node.kind not in _EXACT:
        raise UnsupportedError(f"op {node.kind!r}", "has no interval form")
    saturates = node.kind == "cast" or bool(node.attrs.get("saturate", False))
    return _fit(_EXACT[node.kind](node, args, tensors), out.dtype, saturates, out.shape)


def _fit(exact: Interval, dtype: DType, saturates: bool, shape: tuple[int, ...]) -> Result:
    low, high = limits(dtype)
    exact = exact.broadcast(shape)
    outside = (exact.lo < low) | (exact.hi > high)
    if not outside.any():
        return Result(exact)
    if saturates:
        return Result(Interval(np.clip(exact.lo, low, high), np.clip(exact.hi, low, high)), exact, True)
    wrapped = Interval(np.where(outside, low, exact.lo), np.where(outside, high, exact.hi))
    return Result(wrapped, exact)


def _data(tensor: Tensor) -> Array:
    if tensor.data is None:
        raise UnsupportedError(f"tensor {tensor.name!r}", "must be constant to be bounded")
    return tensor.data


# --- ops on any numbers ---


def _moved(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    evaluate = OPS[node.kind].evaluate
    lo, hi = (evaluate([side[None] for side in sides], node.attrs, tensors)[0][0] for sides in zip(*_ends(args)))
    return Interval(lo, hi)


def _ends(args: Sequence[Interval]) -> list[tuple[Array, Array]]:
    return [(a.lo, a.hi) for a in args]


def _spikes(node: Node, args: Sequence[Interval]) -> Interval:
    if node.kind == "cast":
        x = args[0]
        return _spike((x.lo > 0) | (x.hi < 0), (x.lo != 0) | (x.hi != 0))
    if node.kind == "where":
        return _where(args)
    if node.kind == "logical_not":
        return Interval(1 - args[0].hi, 1 - args[0].lo)
    x, y = args
    match node.kind:
        case "gt":
            return _spike(x.lo > y.hi, x.hi > y.lo)
        case "ge":
            return _spike(x.lo >= y.hi, x.hi >= y.lo)
        case "lt":
            return _spike(x.hi < y.lo, x.lo < y.hi)
        case "le":
            return _spike(x.hi <= y.lo, x.lo <= y.hi)
        case "logical_and":
            return Interval(np.minimum(x.lo, y.lo), np.minimum(x.hi, y.hi))
        case "logical_or":
            return Interval(np.maximum(x.lo, y.lo), np.maximum(x.hi, y.hi))
    meet = (x.lo <= y.hi) & (y.lo <= x.hi)
    same = (x.lo == x.hi) & (y.lo == y.hi) & (x.lo == y.lo)
    return _spike(same, meet) if node.kind == "eq" else _spike(~meet, ~same)


def _spike(surely: Array, perhaps: Array) -> Interval:
    return Interval(np.asarray(surely, np.float64), np.asarray(perhaps, np.float64))


def _where(args: Sequence[Interval]) -> Interval:
    fired, x, y = args
    both = x.hull(y)
    lo = np.where(fired.lo > 0, x.lo, np.where(fired.hi < 1, y.lo, both.lo))
    hi = np.where(fired.lo > 0, x.hi, np.where(fired.hi < 1, y.hi, both.hi))
    return Interval(lo, hi)


# --- integers: the exact result, before it is made to fit ---

Exact = Callable[[Node, Sequence[Interval], Sequence[Tensor]], Interval]


def _rescaled(args: Sequence[Interval], shift: int) -> Interval:
    ends = [(a.lo.astype(np.int64), a.hi.astype(np.int64)) for a in args]
    products = [x * y for x in ends[0] for y in ends[1]]
    half = (1 << shift) >> 1
    lo, hi = np.minimum.reduce(products), np.maximum.reduce(products)
    return Interval(((lo + half) >> shift).astype(np.float64), ((hi + half) >> shift).astype(np.float64))


def _linear(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    y = matrix_bounds(args[0], _data(tensors[1]).astype(np.float64))
    return sum_of(y, args[2]) if len(args) == 3 else y


def _memory(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    a, b = (_data(tensors[i]).astype(np.float64) for i in (1, 3))
    return sum_of(matrix_bounds(args[0], a), matrix_bounds(args[2], b))


def _reduced(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    function = np.sum if node.kind == "sum" else np.max
    axis, kept = node.attrs["axis"], node.attrs.get("keepdims", False)
    return Interval(*(function(side, axis=axis, keepdims=kept) for side in _ends(args)[0]))


def _running(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    tensor = Tensor(tensors[0].name, tensors[0].shape, INT32)
    lo, hi = (OPS["cumsum"].evaluate([side[None]], node.attrs, [tensor])[0][0] for side in _ends(args)[0])
    return Interval(lo, hi)


def _absolute(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    x = args[0]
    return Interval(np.maximum(np.maximum(x.lo, -x.hi), 0), x.largest())


_EXACT: dict[str, Exact] = {
    "add": lambda n, a, t: sum_of(a[0], a[1]),
    "sub": lambda n, a, t: Interval(a[0].lo - a[1].hi, a[0].hi - a[1].lo),
    "neg": lambda n, a, t: Interval(-a[0].hi, -a[0].lo),
    "abs": _absolute,
    "relu": lambda n, a, t: Interval(np.maximum(a[0].lo, 0), np.maximum(a[0].hi, 0)),
    "minimum": lambda n, a, t: Interval(np.minimum(a[0].lo, a[1].lo), np.minimum(a[0].hi, a[1].hi)),
    "maximum": lambda n, a, t: Interval(np.maximum(a[0].lo, a[1].lo), np.maximum(a[0].hi, a[1].hi)),
    "cast": lambda n, a, t: a[0],
    "linear": _linear,
    "memory_update": _memory,
    "sum": _reduced,
    "amax": _reduced,
    "cumsum": _running,
}
