"""A model at batch one: the shapes of a step, functions written out, the types of all values inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.errors import ModelError
from edgekit.frontends.onnx.lowering import needed
from edgekit.frontends.onnx.ports import Port
from edgekit.frontends.onnx.reading import STANDARD, all_nodes, onnx_module, opset_of
from edgekit.frontends.onnx.table import ROWS


def at_one(model: Any, ports: Mapping[str, Port], thing: str) -> Any:
    """The model with the shapes of `ports`, without functions of its own and without composites, types inferred."""
    onnx = onnx_module()
    step = onnx.ModelProto()
    step.CopyFrom(model)
    for value in step.graph.input:
        if value.name in ports:
            _set_shape(value, ports[value.name].shape)
    for value in step.graph.output:
        value.type.tensor_type.ClearField("shape")
    del step.graph.value_info[:]
    try:
        step = onnx.inliner.inline_local_functions(step)
        if composites := _composites(onnx, step):
            step = onnx.inliner.inline_selected_functions(step, composites, inline_schema_functions=True)
        return onnx.shape_inference.infer_shapes(step, data_prop=True)
    except Exception as error:  # the C++ part of onnx raises RuntimeError, ValidationError and its own classes
        raise ModelError(thing, f"cannot be typed ({str(error).strip()[:200]})", "export it again") from error


def _composites(onnx: Any, model: Any) -> list[tuple[str, str]]:
    """Operators without a row that onnx defines by simpler ones."""
    found, opset = set(), opset_of(model)
    for node in all_nodes(model.graph):
        if node.domain in STANDARD and node.op_type not in ROWS and onnx.defs.has(node.op_type, opset, ""):
            schema = onnx.defs.get_schema(node.op_type, opset, "")
            if schema.has_function or schema.has_context_dependent_function:
                found.add(("", node.op_type))
    return sorted(found)


def element_types(model: Any) -> dict[str, int]:
    """The element type of every value that inference has typed, by name."""
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    return {v.name: int(v.type.tensor_type.elem_type) for v in values if v.type.HasField("tensor_type")}


def read_names(model: Any) -> set[str]:
    """The names of all values on which an output depends."""
    graph = model.graph
    found = {o.name for o in graph.output}
    for node in needed(list(graph.node), found):
        found |= set(node.input)
        for inner in (a.g for a in node.attribute if a.HasField("g")):
            found |= {n for inside in all_nodes(inner) for n in inside.input} | {o.name for o in inner.output}
    return found


def _set_shape(value: Any, shape: Sequence[int]) -> None:
    dim = value.type.tensor_type.shape.dim
    while len(dim) < len(shape):
        dim.add()
    for at, length in enumerate(shape):
        dim[at].Clear()
        dim[at].dim_value = length
