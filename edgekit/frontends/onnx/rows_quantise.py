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
    }


def _along(lowering: Lowering, node: Node, at: int) -> Operand | None:
    """A scale or zero point, laid along the axis of a rank-n value when it is a vector."""
    value = lowering.optional(node, at)
    if value is None:
        return None
    e, shape, rank = lowering.e, lowering.shape(value), lowering.rank(node)
    if len(shape) > 1:
        raise Refuse("has a scale for each block", "quantise per tensor or per axis")
    if shape in ((), (1,)):
        return e.reshape(value, ())
    axis = within(int(node.attr("axis", 1)), rank)
    return e.reshape(value, [shape[0] if a == axis else 1 for a in range(rank)])


def _is_zero(value: Operand) -> bool:
    return isinstance(value, Known) and not value.array.any()


def _quantize(lowering: Lowering, node: Node) -> Operand:
    """saturate(round(x / scale) + zero_point), halves to even."""
    e, kinds = lowering.e, onnx_module().TensorProto
    scale, zero = _along(lowering, node, 1), _along(lowering, node, 2)
    told = node.inputs[2] if len(node.inputs) > 2 else ""
    kind = (lowering.type_of(told) if told else 0) or kinds.UINT8
    limits = _ranges().get(kind)
    if limits is None:
        raise Refuse(f"quantises to {kinds.DataType.Name(kind).lower()}", "use int8 or uint8")
    lowering.types[node.outputs[0]] = kind
    if scale is None:
        raise Refuse("has no scale", "export it again")
    whole = e.emit("round", f.apply(e, "div", lowering.operand(node, 0), scale))
    if zero is not None and not _is_zero(zero):
        whole = f.apply(e, "add", whole, zero)
    return f.clip(e, whole, *limits)


def _dequantize(lowering: Lowering, node: Node) -> Operand:
    """(x - zero_point) · scale."""
    e = lowering.e
    scale, zero = _along(lowering, node, 1), _along(lowering, node, 2)
    if scale is None:
        raise Refuse("has no scale", "export it again")
    x: Operand = e.real(lowering.operand(node, 0))
    if zero is not None and not _is_zero(zero):
        x = f.apply(e, "sub", x, zero)
    return f.apply(e, "mul", x, scale)


def _centred(lowering: Lowering, node: Node, at: int, zero: int) -> Operand:
    """An integer operand without its zero point; one of rank 1 belongs to the rows of a left and columns of a right."""
    e, value, offset = lowering.e, lowering.operand(node, at), lowering.optional(node, zero)
    known = e.known(value)
    x: Operand = e.real(value) if known is None else Known(known.array.astype(np.float32), known.hint)
    if offset is None or _is_zero(offset):
        return x
    shape = lowering.shape(offset)
    if at == 0 and len(shape) == 1 and shape != (1,):
        offset = e.reshape(offset, (*shape, 1))
    fixed = e.known(offset)
    if isinstance(x, Known) and fixed is not None:
        return Known(x.array - fixed.array.astype(np.float32), x.hint)
    return f.apply(e, "sub", x, e.real(offset))


def _matmul_integer(lowering: Lowering, node: Node) -> Operand:
    """The product of integers in float32: exact while no sum reaches 2^24."""
    return f.matmul(lowering.e, _centred(lowering, node, 0, 2), _centred(lowering, node, 1, 3))


def _dynamic(lowering: Lowering, node: Node) -> list[Operand]:
    """uint8 over the range of x itself, zero included; a scale of 1 where all is zero, as ONNX Runtime has it."""
    e, x = lowering.e, lowering.e.live(lowering.e.real(lowering.operand(node, 0)))
    axes = range(len(lowering.shape(x)))
    most = e.emit("maximum", f.reduce(e, "amax", x, axes, keepdims=False), 0.0)
    least = e.emit("minimum", e.emit("neg", f.reduce(e, "amax", e.emit("neg", x), axes, keepdims=False)), 0.0)
    span = e.emit("sub", most, least)
    scale = e.emit("where", e.emit("eq", span, 0.0), 1.0, e.emit("div", span, 255.0))
    zero = e.emit("round", f.clip(e, e.emit("neg", e.emit("div", least, scale)), 0.0, 255.0))
    whole = e.emit("add", e.emit("round", e.emit("div", x, scale)), zero)
    return [f.clip(e, whole, 0.0, 255.0), scale, zero]


ROWS: dict[str, Row] = {
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _matmul_integer,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
