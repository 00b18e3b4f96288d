"""Batch-norm folding: a constant scale or shift after a linear or a conv moves into its weights and bias."""

from __future__ import annotations

import numpy as np

from edgekit.ir.graph import Graph, Op
from edgekit.passes.rewrite import Rewriter, rewrite

LARGEST = np.finfo(np.float32).max


def _channel_constant(graph: Rewriter, name: str, out: int, after: int) -> np.ndarray | None:
    """A constant that is one number, or one for each of the `out` channels of an axis with `after` axes behind it."""
    data = graph.data(name)
    if data is None or data.size not in (1, out):
        return None
    if data.size == out and (data.ndim <= after or data.shape[data.ndim - 1 - after] != out):
        return None
    return np.broadcast_to(data.reshape(-1), (out,))


def _rule(graph: Rewriter, op: Op) -> tuple[str, ...] | None:
    if op.kind not in ("mul", "sub", "add", "div"):
        return None
    value, constant = op.inputs
    if op.kind in ("mul", "add") and graph.tensor(value).is_const:
        value, constant = constant, value
    linear = graph.producer(value, "linear") or graph.producer(value, "conv")
    if linear is None or not graph.single_use(value):
        return None
    x, weights = linear.inputs[:2]
    w = graph.data(weights)
    if w is None or graph.tensor(weights).quant is not None:
        return None
    if graph.tensor(op.outputs[0]).shape != graph.tensor(value).shape:
        return None
    k = _channel_constant(graph, constant, w.shape[0], w.ndim - 2)
    bias = graph.data(linear.inputs[2]) if len(linear.inputs) == 3 else np.float32(0)
    if k is None or bias is None or (op.kind == "div" and not k.all()):
        return None
    b = np.broadcast_to(np.asarray(bias, np.float64), np.broadcast_shapes(np.shape(bias), (w.shape[0],)))
    scaled = w.astype(np.float64)
    if op.kind in ("mul", "div"):
        factor = k.astype(np.float64) if op.kind == "mul" else 1 / k.astype(np.float64)
        scaled, b = scaled * factor.reshape(-1, *(1,) * (w.ndim - 1)), b * factor
    else:
        b = b + k if op.kind == "add" else b - k
    if not all(np.abs(a).max() <= LARGEST for a in (scaled, b)):
        return None
    new_weights = weights if op.kind in ("add", "sub") else graph.const(f"{weights}.folded", scaled)
    return (graph.emit(linear.kind, x, new_weights, graph.const(f"{weights}.bias", b), **linear.attrs),)


def fold_affine(graph: Graph) -> Graph:
    """Fold constant per-channel scales and shifts that follow a linear or a conv into it, in float64."""
    return rewrite(graph, _rule)
