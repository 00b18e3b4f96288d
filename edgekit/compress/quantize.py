"""Weight quantisation. Precision `w8`: int8 weights per output channel, arithmetic in float32."""

from __future__ import annotations

import numpy as np

from edgekit.ir.dtypes import FLOAT32, INT8
from edgekit.ir.graph import Entry, Graph, Op
from edgekit.ir.quant import QuantParams
from edgekit.passes.rewrite import Rewriter, rewrite

# Weights below this many elements stay float32: their scales would cost as much as they save.
SMALLEST_WEIGHTS = 64


def channel_scales(weights: np.ndarray) -> np.ndarray:
    """One symmetric scale per output channel of weights [out, …]: max|w| / 127 (1 for a row of zeros)."""
    largest = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def _feedback(entry: Entry) -> set[str]:
    """Results of the linears of s' = W s + …: what leads from a state to its own new value by views and sums alone."""
    made = {name: op for op in entry.ops for name in op.outputs}

    def origin(name: str) -> str:
        while name in made and made[name].kind == "reshape":
            name = made[name].inputs[0]
        return name

    found: set[str] = set()
    for state, value in entry.updates.items():
        terms = [value]
        for term in terms:  # grows while it is walked
            op = made.get(origin(term))
            if op is not None and op.kind in ("add", "sub"):
                terms += op.inputs
            elif op is not None and op.kind == "linear":
                terms += op.inputs[2:]
                found.update(op.outputs if origin(op.inputs[0]) == state else ())
    return found


def quantize_weights_int8(graph: Graph) -> Graph:
    """Store the constant weights of every `linear` and `conv` as int8 with one scale per output channel.

    w ≈ scale[o] · q[o, …], q = clip(floor(w / scale + 1/2), -127, 127).
    Weights by which a state feeds itself, s' = W s + …, stay float32, and so do the shared A and B of a memory_update:
    every later step would feel their error.
    """
    done: dict[str, str] = {}
    feedback = {name for entry in graph.entries.values() for name in _feedback(entry)}

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if op.kind not in ("linear", "conv") or op.outputs[0] in feedback:
            return None
        tensor = rewriter.tensor(op.inputs[1])
        if tensor.data is None or tensor.dtype is not FLOAT32 or tensor.size < SMALLEST_WEIGHTS:
            return None
        if tensor.name not in done:
            scale = channel_scales(tensor.data)
            quant = QuantParams(scale, np.zeros(scale.size, np.int32), 0, -127, 127)
            done[tensor.name] = rewriter.const(f"{tensor.name}.int8", quant.quantize(tensor.data), INT8, quant)
        rewriter.emit(op.kind, op.inputs[0], done[tensor.name], *op.inputs[2:], out=op.outputs[0], **op.attrs)
        return op.outputs

    return rewrite(graph, rule)
