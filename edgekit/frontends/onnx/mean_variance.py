"""MeanVarianceNormalization written out: runtimes differ where an input is constant, the written form does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgekit.frontends.onnx.reading import all_graphs, all_nodes, onnx_module, opset_of
from edgekit.frontends.onnx.typed import element_types

OP = "MeanVarianceNormalization"
NOTE = f"{OP} is written out with its 1e-9 in the divisor, here and in the replay: ONNX Runtime divides 0 by 0"


def normalises(model: Any) -> bool:
    """Whether a model holds the operator."""
    return any(node.op_type == OP for node in all_nodes(model.graph))


def written_out(model: Any) -> Any:
    """The same model with d / (√(mean d²) + 1e-9), d = x - mean x, in place of each of the operators."""
    onnx = onnx_module()
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    types = element_types(onnx.shape_inference.infer_shapes(plain))
    for graph in list(all_graphs(plain)):
        nodes = list(graph.node)
        if any(node.op_type == OP for node in nodes):
            graph.ClearField("node")
            for node in nodes:
                graph.node.extend(_parts(node, opset_of(model), types) if node.op_type == OP else [node])
    return plain


def _parts(node: Any, opset: int, types: Mapping[str, int]) -> Iterator[Any]:
    helper, kinds = onnx_module().helper, onnx_module().TensorProto
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [0, 2, 3])
    x, y = node.input[0], node.output[0]
    names = {part: f"{y}.{part}" for part in ("axes", "tiny", "mean", "centred", "square", "variance", "root", "scale")}

    def constant(name: str, value: Any) -> Any:
        return helper.make_node("Constant", [], [names[name]], value=onnx_module().numpy_helper.from_array(value))

    def mean(source: str, result: str) -> Any:
        if opset < 18:
            return helper.make_node("ReduceMean", [source], [names[result]], axes=axes)
        return helper.make_node("ReduceMean", [source, names["axes"]], [names[result]])

    if opset >= 18:
        yield constant("axes", np.array(axes, np.int64))
    yield constant("tiny", np.array(1e-9, np.float64 if types.get(x) == kinds.DOUBLE else np.float32))
    yield mean(x, "mean")
    yield helper.make_node("Sub", [x, names["mean"]], [names["centred"]])
    yield helper.make_node("Mul", [names["centred"], names["centred"]], [names["square"]])
    yield mean(names["square"], "variance")
    yield helper.make_node("Sqrt", [names["variance"]], [names["root"]])
    yield helper.make_node("Add", [names["root"], names["tiny"]], [names["scale"]])
    yield helper.make_node("Div", [names["centred"], names["scale"]], [y], name=node.name)
