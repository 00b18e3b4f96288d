"""float16 and bfloat16 models as float32 ones: the same weights, computed in float32 as a program does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.frontends.onnx.reading import all_graphs, all_nodes, onnx_module, stored_array


def narrow_types(model: Any) -> list[str]:
    """The element types narrower than float32 that a model holds or computes with."""
    kinds = onnx_module().TensorProto
    names = {kinds.FLOAT16: "float16", kinds.BFLOAT16: "bfloat16"}
    return sorted({names[elem] for elem in _elements(model, tuple(names))})


def widened(model: Any) -> Any:
    """The same model with float32 in place of float16 and bfloat16, in its weights, ports and casts."""
    onnx = onnx_module()
    kinds = onnx.TensorProto
    narrow = (kinds.FLOAT16, kinds.BFLOAT16)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for graph in all_graphs(wide):
        for tensor in graph.initializer:
            _widen(tensor, narrow)
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in narrow:
                value.type.tensor_type.elem_type = kinds.FLOAT
    for node in all_nodes(wide.graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t, narrow)
            if attribute.name in ("to", "dtype") and attribute.i in narrow:
                attribute.i = kinds.FLOAT
    return wide


def _widen(tensor: Any, narrow: tuple[int, ...]) -> None:
    if tensor.data_type in narrow:
        wide = stored_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx_module().numpy_helper.from_array(wide, tensor.name))


def _elements(model: Any, narrow: tuple[int, ...]) -> Iterator[int]:
    for graph in all_graphs(model):
        yield from (t.data_type for t in graph.initializer if t.data_type in narrow)
        values = (*graph.input, *graph.output)
        yield from (e for v in values if (e := v.type.tensor_type.elem_type) in narrow)
    for node in all_nodes(model.graph):
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type in narrow:
                yield attribute.t.data_type
            if attribute.name == "to" and attribute.i in narrow:
                yield attribute.i
