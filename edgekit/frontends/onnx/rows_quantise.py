"""Rows of QuantizeLinear and DequantizeLinear: the rounding and saturation of an integer, kept in float32."""

from __future__ import annotations

import numpy as np

from edgekit.frontends import formulas as f
from edgekit.frontends.emitter import Known, Operand, Refuse
from edgekit.frontends.onnx.lowering import Lowering, Node, Row, within
from edgekit.frontends.onnx.reading import onnx_module


def _ranges() -> dict[int, tuple[float, float]]:
    kinds = onnx_module().TensorProto
    return {
        kinds.INT8: (-128.0, 127.0),
        kinds.UINT8: (0.0, 255.0),
        kinds.INT16: (-32768.0, 32767.0),
        kinds.UINT16: (0.0, 65535.0),
        kinds.INT4: (-8.0, 7.0),
        kinds.UINT4: (0.0, 15.0),
    }


def _along(lowering: Lowering, node: Node, at: int, what: str) -> Known | None:
    """A constant scale or zero point, laid along the axis of a rank-n value when it is a vector."""
    array = lowering.array(node, at, what)
    if array is None:
        return None
    rank = len(lowering.shape(lowering.operand(node, 0)))
    array = np.asarray(array, np.float32)
    if array.size == 1:
        return Known(array.reshape(()), node.inputs[at])
    if array.ndim != 1:
        raise Refuse("has a scale for each block", "quantise per tensor or per axis")
    axis = within(int(node.attr("axis", 1)), rank)
    return Known(array.reshape([-1 if a == axis else 1 for a in range(rank)]), node.inputs[at])


def _quantize(lowering: Lowering, node: Node) -> Operand:
    """saturate(round(x / scale) + zero_point), halves to even."""
    e, kinds = lowering.e, onnx_module().TensorProto
    scale, zero = _along(lowering, node, 1, "scale"), _along(lowering, node, 2, "zero point")
    kind = int(node.attr("output_dtype", 0)) or lowering.type_of(node.outputs[0])
    if len(node.inputs) > 2 and node.inputs[2]:
        kind = lowering.type_of(node.inputs[2]) or kind
    limits = _ranges().get(kind or kinds.UINT8)
    if limits is None:
        raise Refuse(f"quantises to {kinds.DataType.Name(kind).lower()}", "use int8, uint8, int16 or uint16")
    lowering.types[node.outputs[0]] = kind or kinds.UINT8
    if scale is None:
        raise Refuse("has no scale", "export it again")
    whole = e.emit("round", f.apply(e, "div", lowering.operand(node, 0), scale))
    if zero is not None and zero.array.any():
        whole = e.emit("add", whole, zero)
    return f.clip(e, whole, *limits)


def _dequantize(lowering: Lowering, node: Node) -> Operand:
    """(x - zero_point) · scale."""
    e = lowering.e
    scale, zero = _along(lowering, node, 1, "scale"), _along(lowering, node, 2, "zero point")
    if scale is None:
        raise Refuse("has no scale", "export it again")
    x: Operand = e.real(lowering.operand(node, 0))
    if zero is not None and zero.array.any():
        x = e.emit("sub", x, zero)
    return f.apply(e, "mul", x, scale)


ROWS: dict[str, Row] = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize}
