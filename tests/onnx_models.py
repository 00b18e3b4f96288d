"""Small ONNX models for tests, written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node = helper.make_node


def port(name: str, *shape: int | str | None, elem: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, elem, list(shape))


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    stored: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
) -> Any:
    """A ModelProto; `stored` are initializers by name: float64 arrays are stored as float32."""
    arrays = {n: np.asarray(a) for n, a in (stored or {}).items()}
    tensors = [
        numpy_helper.from_array(a.astype(np.float32) if a.dtype == np.float64 else a, n) for n, a in arrays.items()
    ]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def leaky(**names: str) -> Any:
    """A leaky neuron over a linear layer: x [N, 4] and a membrane, the spikes and the membrane after them."""
    given = {"x": "x", "state": "mem", "spikes": "spk", "next": "mem_out"} | names
    rng = np.random.default_rng(3)
    nodes = [
        node("Gemm", [given["x"], "w", "b"], ["current"], transB=1),
        node("Mul", [given["state"], "beta"], ["decayed"]),
        node("Add", ["decayed", "current"], ["risen"]),
        node("Greater", ["risen", "one"], ["fired"]),
        node("Cast", ["fired"], [given["spikes"]], to=FLOAT),
        node("Sub", ["risen", given["spikes"]], [given["next"]]),
    ]
    stored = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=3), "beta": np.float32(0.9), "one": np.float32(1)}
    return model(
        nodes,
        [port(given["x"], "N", 4), port(given["state"], "N", 3)],
        [port(given["spikes"], "N", 3), port(given["next"], "N", 3)],
        stored,
    )
