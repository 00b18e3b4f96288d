"""What an op makes of intervals: endpoints of its exact result, all of them whole numbers below 2^53."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.ir import INT8, INT16, INT32, OPS, DType, Tensor
from edgekit.passes.ranges.nodes import Node, moves
from edgekit.passes.ranges.tables import lookup_bounds
from edgekit.passes.ranges.values import Array, Interval, limits, outside

COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")
SATURATING = ("rescale", "cast", "matvec", "matvec_t", "outer_add")  # whatever their attributes say


@dataclass(frozen=True, eq=False)
class Result:
    """The interval of a value, and of its exact result where that may lie outside the dtype."""

    value: Interval
    exact: Interval | None = None
    saturates: bool = False


def bounds_of(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor], out: Tensor) -> Result:
    """The interval of a node's result; `tensors` are the operands'."""
    if moves(node.kind):
        return Result(_moved(node, args, tensors))
    if node.kind == "amax" and out.dtype.numpy.kind == "b":
        return Result(_along(node, args[0], np.max))
    if node.kind in COMPARES or out.dtype.numpy.kind == "b":
        return Result(_spikes(node, args).broadcast(out.shape))
    if node.kind == "where":
        return Result(_where(args).broadcast(out.shape))
    if node.kind == "lookup":
        return Result(lookup_bounds(args[0], _data(tensors[1]), tensors[0].dtype is INT8))
    saturates = node.kind in SATURATING or bool(node.attrs.get("saturate", False))
    return _fit(_exact(node, args, tensors), out.dtype, saturates, out.shape)


def _fit(exact: Interval, dtype: DType, saturates: bool, shape: tuple[int, ...]) -> Result:
    low, high = limits(dtype)
    exact = exact.broadcast(shape)
    gone = outside(exact, dtype)
    if not gone.any():
        return Result(exact)
    if saturates:
        return Result(Interval(np.clip(exact.lo, low, high), np.clip(exact.hi, low, high)), exact, True)
    return Result(Interval(np.where(gone, low, exact.lo), np.where(gone, high, exact.hi)), exact)


def _data(tensor: Tensor) -> Array:
    if tensor.data is None:
        raise UnsupportedError(f"tensor {tensor.name!r}", "must be constant to be bounded")
    return tensor.data


# --- ops on any numbers ---


def _moved(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    evaluate, sides = OPS[node.kind].evaluate, ([a.lo[None] for a in args], [a.hi[None] for a in args])
    return Interval(*(evaluate(side, node.attrs, tensors)[0][0] for side in sides))


def _spikes(node: Node, args: Sequence[Interval]) -> Interval:
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


# --- arithmetic: the exact result, before it is made to fit ---


def matrix_bounds(x: Interval, weights: Array) -> Interval:
    """The bounds of W x over the last axis."""
    plus, minus = np.maximum(weights, 0.0).T, np.minimum(weights, 0.0).T
    return Interval(x.lo @ plus + x.hi @ minus, x.hi @ plus + x.lo @ minus)


def _rescaled(args: Sequence[Interval], shift: int) -> Interval:
    ends = [(a.lo.astype(np.int64), a.hi.astype(np.int64)) for a in args]
    products = [x * y for x in ends[0] for y in ends[1]]
    half = (1 << shift) >> 1
    lo, hi = np.minimum.reduce(products), np.maximum.reduce(products)
    return Interval(((lo + half) >> shift).astype(np.float64), ((hi + half) >> shift).astype(np.float64))


def _linear(args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    y = matrix_bounds(args[0], _data(tensors[1]).astype(np.float64))
    return _sum(y, args[2]) if len(args) == 3 else y


def _halved(x: Interval, shift: int) -> Interval:
    """floor(x / 2^shift + 1/2)."""
    return Interval(*(np.floor((side + (1 << shift >> 1)) / 2.0**shift) for side in (x.lo, x.hi)))


def _product(reach: Array, shift: int, addend: Sequence[Interval] = ()) -> Interval:
    """Bounds of sums of at most `reach` (+ c), narrowed: of weights that learning may have made anything."""
    sums = Interval(-reach, reach)
    for c in addend:
        sums = _sum(sums, c)
    return _halved(sums, shift)


def _updated(args: Sequence[Interval], shift: int) -> Interval:
    """Bounds of W + Σ a bᵀ, the sum narrowed to int16 first; with what is carried it is rounded either way."""
    w, a, b = (args[0], *(x.largest().reshape(-1, x.shape[-1]) for x in args[1:]))
    most, (low, high) = np.ceil((a.T @ b) * 2.0**-shift), limits(INT16)
    return _sum(w, Interval(np.maximum(-most, low), np.minimum(most, high)))


def _memory(args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    a, b = (_data(tensors[i]).astype(np.float64) for i in (1, 3))
    return _sum(matrix_bounds(args[0], a), matrix_bounds(args[2], b))


def _sum(x: Interval, y: Interval) -> Interval:
    return Interval(x.lo + y.lo, x.hi + y.hi)


def _along(node: Node, x: Interval, function: Callable[..., Array]) -> Interval:
    axis, kept = node.attrs["axis"], node.attrs.get("keepdims", False)
    return Interval(*(function(side, axis=axis, keepdims=kept) for side in (x.lo, x.hi)))


def _running(node: Node, x: Interval) -> Interval:
    tensor = Tensor("x", x.shape, INT32)
    lo, hi = (OPS["cumsum"].evaluate([side[None]], node.attrs, [tensor])[0][0] for side in (x.lo, x.hi))
    return Interval(lo, hi)


def _apart(x: Interval, w: Interval) -> Interval:
    """Σ |x - w| lies between none and as far as the ends of both are apart."""
    highest = np.zeros((*x.shape[:-1], w.shape[0]), np.int64)
    for k in range(w.shape[1]):
        highest += np.maximum(x.hi[..., k, None] - w.lo[:, k], w.hi[:, k] - x.lo[..., k, None]).astype(np.int64)
    return Interval(np.zeros_like(highest), highest)


def _exact(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    x = args[0]
    match node.kind:
        case "rescale":
            return _rescaled(args, node.attrs["shift"])
        case "linear":
            return _linear(args, tensors)
        case "matvec":
            return _product(x.largest() @ args[1].largest().T, node.attrs.get("shift", 0), args[2:])
        case "matvec_t":
            return _product(x.largest() @ args[1].largest(), node.attrs.get("shift", 0))
        case "distance":
            return _apart(x, args[1])
        case "outer_add":
            return _updated(args, node.attrs.get("shift", 0))
        case "memory_update":
            return _memory(args, tensors)
        case "add":
            return _sum(x, args[1])
        case "sub":
            return Interval(x.lo - args[1].hi, x.hi - args[1].lo)
        case "neg":
            return Interval(-x.hi, -x.lo)
        case "abs":
            return Interval(np.maximum(np.maximum(x.lo, -x.hi), 0), x.largest())
        case "relu":
            return Interval(np.maximum(x.lo, 0), np.maximum(x.hi, 0))
        case "minimum":
            return Interval(np.minimum(x.lo, args[1].lo), np.minimum(x.hi, args[1].hi))
        case "maximum":
            return Interval(np.maximum(x.lo, args[1].lo), np.maximum(x.hi, args[1].hi))
        case "cast":
            return x
        case "sum":
            return _along(node, x, np.sum)
        case "amax":
            return _along(node, x, np.max)
        case "cumsum":
            return _running(node, x)
    raise UnsupportedError(f"op {node.kind!r}", "has no interval form")
