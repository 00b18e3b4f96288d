"""A file before a runtime sees it: only what `export_onnx` writes, nothing outside the file, nothing enormous."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from edgekit.artifact.exported import KEY, StepDocument, read_step_document
from edgekit.backends.onnx.packages import require
from edgekit.backends.onnx.proto import LARGEST, OPSET
from edgekit.backends.onnx.rows import WRITTEN
from edgekit.errors import ArtifactError

FORMS = ("step", "sequence")
FORM_KEY = "edgekit.form"
MAX_NODES = 200_000
MAX_ELEMENTS = 2**27  # of one value of one stream and step
_THING = "ONNX file"


def read_file(data: bytes) -> tuple[StepDocument, str]:
    """The document and the form of a file; ArtifactError that lists what an edgekit file would not have."""
    onnx = require("onnx")
    if len(data) > LARGEST:
        raise ArtifactError(_THING, f"has {len(data):,} bytes, at most {LARGEST:,} are read")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf raises its own DecodeError, whose home has moved between versions
        raise ArtifactError(_THING, "cannot be read", "is it whole?") from error
    properties = {p.key: p.value for p in model.metadata_props}
    if KEY not in properties or properties.get(FORM_KEY) not in FORMS:
        raise ArtifactError(_THING, "has no edgekit properties", "write it with edgekit convert --format onnx")
    document = read_step_document(properties[KEY], f"{_THING}, property {KEY}")
    faults = [*_model_faults(model), *_graph_faults(onnx, model.graph)]
    if not faults:
        faults = [*_large_values(onnx, model), *_port_faults(model.graph, document)]
    if faults:
        raise ArtifactError(_THING, faults[0], items=faults[1:12])
    return document, properties[FORM_KEY]


def _model_faults(model: Any) -> Iterator[str]:
    if [(o.domain, o.version) for o in model.opset_import] != [("", OPSET)]:
        yield f"is not of opset {OPSET} alone"
    if model.functions:
        yield "has functions of its own"
    nodes = sum(1 for _ in _nodes(model.graph))
    if nodes > MAX_NODES:
        yield f"has {nodes:,} nodes, at most {MAX_NODES:,}"


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _graph_faults(onnx: Any, graph: Any) -> Iterator[str]:
    """Operators, constants and attributes that this backend never writes."""
    for node in graph.node:
        if node.domain or node.op_type not in WRITTEN:
            yield f"has an operator {node.op_type!r} that edgekit does not write"
        for attribute in node.attribute:
            if attribute.HasField("t") or attribute.tensors or attribute.graphs or attribute.sparse_tensors:
                yield f"has an attribute {attribute.name!r} of {node.op_type} that edgekit does not write"
            if attribute.HasField("g"):
                yield from _graph_faults(onnx, attribute.g)
    if graph.sparse_initializer:
        yield "has sparse constants"
    for constant in graph.initializer:
        if constant.data_location == onnx.TensorProto.EXTERNAL or constant.external_data:
            yield f"keeps constant {constant.name!r} in another file"
        elif prod(constant.dims) > MAX_ELEMENTS or any(n < 0 for n in constant.dims):
            yield f"has a constant {constant.name!r} of shape {list(constant.dims)}"


def _large_values(onnx: Any, model: Any) -> Iterator[str]:
    """Values that would not fit into memory, by the shapes that follow from those of the inputs."""
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # a ValidationError or InferenceError, neither of which onnx exports under one name
        yield f"is refused by onnx.checker: {str(error).strip().splitlines()[0]}"
        return
    yield from _large(inferred.graph)


def _large(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim if axis.HasField("dim_value")]
        if prod(sizes) > MAX_ELEMENTS or any(n < 1 for n in sizes):
            yield f"has a value {value.name!r} of {sizes} elements a stream"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _large(attribute.g)


def _port_faults(graph: Any, document: StepDocument) -> Iterator[str]:
    """Ports that are not those of the document."""
    inputs = [p.name for p in document.inputs] + [s.input for s in document.states]
    outputs = [p.name for p in document.outputs] + [s.output for s in document.states]
    shapes = {p.name: p.shape for p in (*document.inputs, *document.outputs)}
    shapes |= {end: s.shape for s in document.states for end in (s.input, s.output)}
    for side, found, said in (("inputs", graph.input, inputs), ("outputs", graph.output, outputs)):
        if [port.name for port in found] != said:
            yield f"has {side} {[port.name for port in found]}, its document says {said}"
            continue
        for port in found:
            shape = shapes[port.name]
            axes = [axis.dim_value for axis in port.type.tensor_type.shape.dim]
            if tuple(axes[len(axes) - len(shape) :]) != shape:
                yield f"has a port {port.name!r} of shape {axes}, its document says {list(shape)}"
