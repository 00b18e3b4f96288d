"""Rows for ops that sum over an axis: linear, convolution, reductions and running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite.context import Context
from edgekit.backends.tflite.schema import ABSENT, schema
from edgekit.backends.tflite.writer import Quant
from edgekit.ir import Op, Tensor

Array = npt.NDArray[Any]
Row = Callable[[Context, Op], None]


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights as a float32 tensor; those stored as int8 still have to be multiplied by `scale`, one per output."""

    tensor: int
    scale: Array | None = None


def _weights(context: Context, tensor: Tensor, data: Array) -> Weights:
    """Constant weights in the layout of `data`.

    int8 ones are dequantised by 1, so that one kernel does for every runtime (TFLite-Micro has none per channel), and
    scaled behind the sum, as the reference does.
    """
    if tensor.quant is None:
        return Weights(context.const(np.ascontiguousarray(data, np.float32), tensor.name))
    stored = context.const(np.ascontiguousarray(data), tensor.name, Quant((1.0,), (0,)))
    return Weights(context.op("DEQUANTIZE", [stored], data.shape), tensor.quant.scale)


def _scaled(context: Context, y: int, scale: Array | None) -> int:
    return y if scale is None else context.elementwise("MUL", [y, context.const(scale, "scale")], context.shape_of(y))


def _linear(context: Context, op: Op) -> None:
    x, w = context.real(op.inputs[0]), context.graph.tensors[op.inputs[1]]
    shape = context.shape(op.outputs[0])
    weights = (
        Weights(context.reshape(context.real(w.name), w.shape)) if w.data is None else _weights(context, w, w.data)
    )
    addend = context.graph.tensors[op.inputs[2]] if len(op.inputs) == 3 else None
    bias = ABSENT
    if addend is not None and addend.data is not None and len(addend.shape) <= 1 and weights.scale is None:
        bias = context.const(np.broadcast_to(addend.data, w.shape[:1]).astype(np.float32), addend.name)
        addend = None
    y = context.op("FULLY_CONNECTED", [x, weights.tensor, bias], shape, keepNumDims=True)
    y = _scaled(context, y, weights.scale)
    if addend is not None:
        y = context.elementwise("ADD", [y, context.real(addend.name)], shape)
    context.set_real(op.outputs[0], y)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution as TFLite has it: channels last, one spatial axis as two with height 1.

    `x` is its input, `kernel` [out, in/groups, height, width] in the numbers that are stored, `shape` that of its
    result; `depthwise` where each group has one channel.
    """

    x: int
    kernel: Array
    bias: Array
    shape: tuple[int, ...]
    groups: int
    depthwise: bool
    options: dict[str, Any]


def convolution(context: Context, op: Op, x: int) -> Convolution:
    """The parts of a convolution of the tensor `x`."""
    w, groups = context.graph.tensors[op.inputs[1]], op.attrs.get("groups", 1)
    ones = (1,) if len(w.shape) == 3 else ()
    stride, dilation = (*ones, *op.attrs["stride"]), (*ones, *op.attrs["dilation"])
    channels, *places = context.shape(op.inputs[0])[1:]
    x = context.transpose(context.reshape(x, (1, channels, *ones, *places)), (0, 2, 3, 1))
    kernel = np.asarray(w.data).reshape(*w.shape[:2], *ones, *w.shape[2:])
    options = {
        "padding": schema().Padding.VALID,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
    }
    shape = (1, *ones, *context.shape(op.outputs[0])[2:], w.shape[0])
    depthwise = groups == channels and kernel.shape[1] == 1
    return Convolution(x, kernel, _bias(context, op), shape, groups, depthwise, options)


def channels_first(context: Context, op: Op, y: int) -> int:
    """The result of a convolution as the graph has it."""
    return context.reshape(context.transpose(y, (0, 3, 1, 2)), context.shape(op.outputs[0]))


def _conv(context: Context, op: Op) -> None:
    """Groups apart, or depthwise where each has one channel."""
    w, found = context.graph.tensors[op.inputs[1]], convolution(context, op, context.real(op.inputs[0]))
    joined = np.zeros_like(found.bias) if w.quant is not None else found.bias
    if found.depthwise:
        weights = _weights(context, w, found.kernel[:, 0].transpose(1, 2, 0)[None])
        operands = [found.x, weights.tensor, context.const(joined, "bias")]
        options = found.options | {"depthMultiplier": w.shape[0] // found.groups}
        y = context.op("DEPTHWISE_CONV_2D", operands, found.shape, **options)
    else:
        parts, fan_in, rows = [], found.kernel.shape[1], w.shape[0] // found.groups
        for at in range(found.groups):
            mine = slice(at * rows, (at + 1) * rows)
            part = context.slice(found.x, 3, at * fan_in, (at + 1) * fan_in)
            weights = _weights(context, w, found.kernel[mine].transpose(0, 2, 3, 1))
            operands = [part, weights.tensor, context.const(joined[mine], "bias")]
            parts.append(context.op("CONV_2D", operands, (*found.shape[:3], rows), **found.options))
        y = context.concat(parts, 3)
    if w.quant is not None:
        y = _scaled(context, y, w.quant.scale)
        if found.bias.any():
            y = context.elementwise("ADD", [y, context.const(found.bias, "bias")], found.shape)
    context.set_real(op.outputs[0], channels_first(context, op, y))


def _bias(context: Context, op: Op) -> Array:
    """The bias of a convolution, zeros where it has none."""
    given = context.graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else None
    outputs = context.graph.tensors[op.outputs[0]].shape[0]
    return np.zeros(outputs, np.float32) if given is None else given.astype(np.float32)


def _reduce(builtin: str, context: Context, op: Op) -> None:
    x, axis = context.around(context.real(op.inputs[0]), op.attrs["axis"] + 1)
    kept = list(context.shape_of(x))
    kept[axis] = 1
    y = context.op(builtin, [x, context.ints([axis])], kept, keepDims=True)
    context.set_real(op.outputs[0], context.reshape(y, context.shape(op.outputs[0])))


def _cumsum(context: Context, op: Op) -> None:
    x, axis = context.around(context.real(op.inputs[0]), op.attrs["axis"] + 1)
    options = {"exclusive": op.attrs.get("exclusive", False), "reverse": op.attrs.get("reverse", False)}
    y = context.op("CUMSUM", [x, context.const(np.array(axis, np.int32), "axis")], context.shape_of(x), **options)
    context.set_real(op.outputs[0], context.reshape(y, context.shape(op.outputs[0])))


ROWS: Mapping[str, Row] = {
    "linear": _linear,
    "conv": _conv,
    "sum": partial(_reduce, "SUM"),
    "amax": partial(_reduce, "REDUCE_MAX"),
    "cumsum": _cumsum,
}
