"""What TensorRT 8.5 (JetPack 5) documents of ONNX, as data, and whether a file keeps to it; none of it ran on a device.

Source of the table: docs/operators.md of github.com/onnx/onnx-tensorrt, branch release/8.5-GA ("TensorRT 8.5 supports
operators up to Opset 17"). Source of the rules on quantisation and names: QuantDequantLinearHelper and the importer of
Scan in builtin_op_importers.cpp of the same parser, which registers the values of a body beside those of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edgekit.backends.onnx.packages import require
from edgekit.errors import ArtifactError

SOURCE = "onnx-tensorrt release/8.5-GA, docs/operators.md"
OPSET = 17
_BY_TYPES = {
    "FP32": "ConstantOfShape",
    "INT8": "DequantizeLinear",
    "BOOL": "And Not Or Xor",
    "FP32 FP16": """
        Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh CumSum Dropout Einsum Erf
        Exp Floor GRU GridSample ImageScaler InstanceNormalization LRN LSTM Log LogSoftmax LpNormalization MatMul
        MeanVarianceNormalization NonMaxSuppression NonZero Pow QuantizeLinear RNN RandomNormal RandomNormalLike
        RandomUniform RandomUniformLike Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
        ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence RoiAlign Scan Sin Sinh Softmax Sqrt Tan
        TopK Upsample
    """,
    "FP32 FP16 INT32": """
        Abs Add DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean Min Mod Mul Neg Range
        Shrink SpaceToDepth Sub Sum
    """,
    "FP32 FP16 INT8": """
        Clip Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool HardSigmoid HardSwish LeakyRelu
        LpPool MaxPool PRelu ParametricSoftplus Relu Round ScaledTanh Selu Sigmoid Softplus Softsign Tanh
        ThresholdedRelu
    """,
    "FP32 FP16 INT8 INT32": "AveragePool Pad Scatter ScatterElements ScatterND Sign",
    "FP32 FP16 INT32 BOOL": "Expand EyeLike Flatten If Loop OneHot Split Tile Where",
    "FP32 FP16 INT32 INT8 BOOL": """
        Cast Concat Constant Gather GatherElements GatherND Identity Reshape Shape Size Slice Squeeze Transpose Trilu
        Unsqueeze
    """,
}
OPERATORS: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: frozenset(types.split()) for types, names in _BY_TYPES.items() for name in names.split()}
)
"""Operator -> types that it takes. INT64 is cast down to INT32 by the parser."""

# ONNX numbers of element types, as the table calls them
_TYPES = {1: "FP32", 10: "FP16", 3: "INT8", 6: "INT32", 7: "INT32", 9: "BOOL"}
_GIVES = {"Shape": "INT32", "QuantizeLinear": "INT8", "DequantizeLinear": "FP32"}
_GIVES |= dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not"), "BOOL")
_INITIALISERS = {"CumSum": (1,), "Slice": (3,), "Squeeze": (1,), "Unsqueeze": (1,)}  # inputs that have to be constants


@dataclass
class _Known:
    """Types of values, constants, and every name, over the graph and the bodies within."""

    types: dict[str, str]
    constants: dict[str, Any]
    names: set[str]


def tensorrt_faults(data: bytes) -> tuple[str, ...]:
    """Everything in an ONNX file that TensorRT 8.5 does not document as supported; empty where all of it is.

    ArtifactError when the bytes are no ONNX file.
    """
    onnx = require("onnx")
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf raises its own DecodeError, whose home has moved between versions
        raise ArtifactError("ONNX file", "cannot be read", "is it whole?") from error
    faults = [
        f"opset {o.version} of {o.domain or 'ai.onnx'}" for o in model.opset_import if o.domain or o.version > OPSET
    ]
    return (*faults, *_graph_faults(onnx, model.graph, _Known({}, {}, set())))


def _graph_faults(onnx: Any, graph: Any, known: _Known) -> Iterator[str]:
    for constant in graph.initializer:
        known.constants[constant.name] = onnx.numpy_helper.to_array(constant)
        known.types[constant.name] = _TYPES.get(constant.data_type, f"type {constant.data_type}")
    for port in graph.input:
        known.types[port.name] = _TYPES.get(port.type.tensor_type.elem_type, "an unknown type")
    for name in [*(c.name for c in graph.initializer), *(p.name for p in graph.input)]:
        yield from _named(name, known)
    for node in graph.node:
        yield from _node_faults(onnx, node, known)


def _named(name: str, known: _Known) -> Iterator[str]:
    if name in known.names:
        yield f"the name {name!r} stands for two values"
    known.names.add(name)


def _node_faults(onnx: Any, node: Any, known: _Known) -> Iterator[str]:
    if node.domain or node.op_type not in OPERATORS:
        yield f"{node.op_type} ({node.name}) is not among the operators of TensorRT 8.5"
        return
    data = node.input if node.op_type == "Scan" else [node.input[1 if node.op_type == "Where" else 0]]
    types = [known.types.get(name, "an unknown type") for name in data]
    for wrong in sorted(set(types) - OPERATORS[node.op_type]):
        yield f"{node.op_type} ({node.name}) of {wrong}: takes {', '.join(sorted(OPERATORS[node.op_type]))}"
    for at in _INITIALISERS.get(node.op_type, ()):
        if len(node.input) > at and node.input[at] not in known.constants:
            yield f"{node.op_type} ({node.name}): input {at} has to be an initialiser"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield from _scale_faults(node, known)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _graph_faults(onnx, attribute.g, known)
    for output in node.output:
        yield from _named(output, known)
        cast = next((_TYPES.get(a.i, "an unknown type") for a in node.attribute if a.name == "to"), None)
        known.types[output] = cast or _GIVES.get(node.op_type, types[0])


def _scale_faults(node: Any, known: _Known) -> Iterator[str]:
    """Scales and zero points are constants, zero points zero; values that are computed have one scale."""
    where = f"{node.op_type} ({node.name})"
    if len(node.input) != 3:
        yield f"{where} has no zero point"
        return
    scale, zero = (known.constants.get(name) for name in node.input[1:])
    if scale is None or zero is None:
        yield f"{where}: scale and zero point have to be initialisers"
        return
    if zero.any() or zero.dtype.name != "int8":
        yield f"{where}: its zero point is not an int8 of zero"
    if not (scale > 0).all() or scale.size != zero.size:
        yield f"{where}: scales have to be positive and as many as zero points"
    if scale.size > 1 and node.input[0] not in known.constants:
        yield f"{where}: only constants have a scale for each channel"
