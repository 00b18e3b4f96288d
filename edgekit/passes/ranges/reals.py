"""Ops on reals: bounds of the exact result in double precision, each rounded outward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.ir import FLOAT32, OPS, Tensor
from edgekit.ir.ops.elementwise import UNARY
from edgekit.passes.ranges.nodes import Node
from edgekit.passes.ranges.values import Array, Interval

EPS = float(np.finfo(np.float64).eps)
ULPS = 4.0  # what a function of the standard library may err by
RISING = ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "sign", "flush")
EXACT = ("relu", "sign", "flush", "neg", "abs", "minimum", "maximum", "amax", "cast")
RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


def outward(bounds: Interval, slack: Array | float = EPS) -> Interval:
    """A little more than bounds computed with rounding: a share of their magnitude, or more where `slack` says so."""
    lo, hi = bounds.lo - np.abs(bounds.lo) * slack, bounds.hi + np.abs(bounds.hi) * slack
    return Interval.of(np.nextafter(lo, -np.inf), np.nextafter(hi, np.inf))


def bounds_of(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    """The interval of a node that yields reals."""
    with np.errstate(all="ignore"):
        if node.kind in ("linear", "memory_update"):
            return _contracted(node, args, tensors)
        if node.kind not in _OPS:
            raise UnsupportedError(f"op {node.kind!r}", "has no interval form")
        exact = _OPS[node.kind](node, args)
        bounds = Interval.of(exact.lo, exact.hi)
        if node.kind in ("sum", "cumsum"):
            n = args[0].shape[node.attrs["axis"]]
            return outward(bounds, n * EPS) if n < 2 else _widened(bounds, _magnitude(node, args[0]) * (n * EPS))
        if node.kind not in EXACT:
            bounds = outward(bounds, ULPS * EPS if node.kind in UNARY else EPS)
        if node.kind in RANGES:
            bounds = Interval(*(np.clip(side, *RANGES[node.kind]) for side in (bounds.lo, bounds.hi)))
        return bounds


def _widened(bounds: Interval, by: Array) -> Interval:
    return Interval.of(bounds.lo - by, bounds.hi + by)


def _magnitude(node: Node, x: Interval) -> Array:
    total = x.largest().sum(axis=node.attrs["axis"], keepdims=True)
    kept = node.kind == "cumsum" or node.attrs.get("keepdims", False)
    return total if kept else total.squeeze(node.attrs["axis"])


def weights_of(tensor: Tensor) -> Array:
    """Constant weights as reals, scaled where they are stored as integers."""
    if tensor.data is None:
        raise UnsupportedError(f"tensor {tensor.name!r}", "must be constant to be bounded")
    data = tensor.data.astype(np.float64)
    return data * tensor.quant.scale.reshape(-1, 1).astype(np.float64) if tensor.quant is not None else data


def matrix_bounds(x: Interval, weights: Array) -> Interval:
    """The bounds of W x over the last axis."""
    plus, minus = np.maximum(weights, 0.0).T, np.minimum(weights, 0.0).T
    if x.is_finite:
        return Interval(x.lo @ plus + x.hi @ minus, x.hi @ plus + x.lo @ minus)
    # a zero weight keeps infinity out
    lo, hi = np.where(np.isfinite(x.lo), x.lo, 0), np.where(np.isfinite(x.hi), x.hi, 0)
    no_lo, no_hi = (~np.isfinite(side) * 1.0 for side in (x.lo, x.hi))
    low, high = lo @ plus + hi @ minus, hi @ plus + lo @ minus
    low_gone, high_gone = (no_lo @ plus - no_hi @ minus) > 0, (no_hi @ plus - no_lo @ minus) > 0
    return Interval(np.where(low_gone, -np.inf, low), np.where(high_gone, np.inf, high))


def sum_of(a: Interval, b: Interval) -> Interval:
    """The bounds of a sum."""
    return Interval(a.lo + b.lo, a.hi + b.hi)


def _contracted(node: Node, args: Sequence[Interval], tensors: Sequence[Tensor]) -> Interval:
    pairs = [(0, 1), (2, 3)] if node.kind == "memory_update" else [(0, 1)]
    if any(tensors[w].data is None for _, w in pairs):
        return _unknown_weights(args)
    parts = []
    for at, w in pairs:
        weights = weights_of(tensors[w])
        total = matrix_bounds(args[at], weights)
        # sums of n terms in any order err by less than n half-ulps of the sum of magnitudes
        finite = np.where(np.isfinite(args[at].largest()), args[at].largest(), 0)
        parts.append(_widened(total, finite @ np.abs(weights).T * ((weights.shape[1] + 2) * EPS)))
    if node.kind == "linear" and len(args) == 3:
        parts.append(args[2])
    result = parts[0]
    for part in parts[1:]:
        result = outward(sum_of(result, part))
    return result


def _unknown_weights(args: Sequence[Interval]) -> Interval:
    x, w = args[0], args[1]
    reach = x.largest().sum(axis=-1, keepdims=True) * w.largest().max()
    total = np.broadcast_to(np.where(np.isnan(reach), np.inf, reach), (*x.shape[:-1], w.shape[0])) * (1 + 1e-9)
    y = Interval.of(-total, total)
    return Interval.of(y.lo + args[2].lo, y.hi + args[2].hi) if len(args) == 3 else y


def _product(x: Interval, y: Interval) -> Interval:
    corners = [np.where(np.isnan(p), 0.0, p) for p in (x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi)]
    return Interval(np.minimum.reduce(corners), np.maximum.reduce(corners))


def _reciprocal(y: Interval) -> Interval:
    crosses = (y.lo <= 0) & (y.hi >= 0)
    return Interval(np.where(crosses, -np.inf, 1 / y.hi), np.where(crosses, np.inf, 1 / y.lo))


def _rising(node: Node, args: Sequence[Interval]) -> Interval:
    function = UNARY[node.kind][0]
    return Interval(*(np.asarray(function(side)) for side in (args[0].lo, args[0].hi)))


def _absolute(node: Node, args: Sequence[Interval]) -> Interval:
    x = args[0]
    return Interval(np.maximum(np.maximum(x.lo, -x.hi), 0), x.largest())


def _reduced(node: Node, args: Sequence[Interval]) -> Interval:
    function = np.sum if node.kind == "sum" else np.max
    axis, kept = node.attrs["axis"], node.attrs.get("keepdims", False)
    return Interval(*(function(side, axis=axis, keepdims=kept) for side in (args[0].lo, args[0].hi)))


def _running(node: Node, args: Sequence[Interval]) -> Interval:
    x = args[0]
    tensor = Tensor("x", x.shape, FLOAT32)
    lo, hi = (OPS["cumsum"].evaluate([side[None]], node.attrs, [tensor])[0][0] for side in (x.lo, x.hi))
    return Interval(lo, hi)


def _sub(node: Node, args: Sequence[Interval]) -> Interval:
    return Interval(args[0].lo - args[1].hi, args[0].hi - args[1].lo)


_OPS: dict[str, Callable[[Node, Sequence[Interval]], Interval]] = {
    **dict.fromkeys(RISING, _rising),
    "neg": lambda n, a: Interval(-a[0].hi, -a[0].lo),
    "abs": _absolute,
    "reciprocal": lambda n, a: _reciprocal(a[0]),
    "add": lambda n, a: Interval(a[0].lo + a[1].lo, a[0].hi + a[1].hi),
    "sub": _sub,
    "mul": lambda n, a: _product(a[0], a[1]),
    "div": lambda n, a: _product(a[0], _reciprocal(a[1])),
    "minimum": lambda n, a: Interval(np.minimum(a[0].lo, a[1].lo), np.minimum(a[0].hi, a[1].hi)),
    "maximum": lambda n, a: Interval(np.maximum(a[0].lo, a[1].lo), np.maximum(a[0].hi, a[1].hi)),
    "cast": lambda n, a: a[0],
    "sum": _reduced,
    "amax": _reduced,
    "cumsum": _running,
}
