"""Sums of products in an int8 model: matrices and convolutions with int8 weights, a scale for each output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite.contract import channels_first, convolution
from edgekit.backends.tflite.integers import Integers
from edgekit.backends.tflite.scales import Held
from edgekit.backends.tflite.schema import schema
from edgekit.backends.tflite.writer import Quant
from edgekit.ir import Op

Array = npt.NDArray[Any]
FINEST = 2.0**-12


def _product(context: Integers, x: int, weights: Array, bias: Array | None, held: Held) -> int:
    """x Wᵀ + bias over the last axis, rounded once to `held`; x has 8 bits or 16.

    As a convolution of size 1, which every runtime has with a scale per output: older ones lack that for
    FULLY_CONNECTED.
    """
    shape = context.shape_of(x)
    rows = int(np.prod(shape[:-1]))
    image = context.reshape(x, (1, 1, rows, shape[-1]))
    y = _convolve(context, image, weights[:, None, None, :], bias, shape=(1, 1, rows, len(weights)), held=held)
    return context.reshape(y, (*shape[:-1], len(weights)))


def _convolve(
    context: Integers,
    x: int,
    kernel: Array,
    bias: Array | None,
    *,
    shape: tuple[int, ...],
    held: Held,
    axis: int = 0,
    **options: Any,
) -> int:
    """A convolution with its outputs along `axis` of the weights: a scale for each of them, 0 for CONV_2D."""
    source, outputs = context.held_by(x), kernel.shape[axis]
    others = tuple(a for a in range(kernel.ndim) if a != axis)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    stored = np.clip(np.rint(kernel / scale.astype(np.float64)), -127, 127).astype(np.int8)
    zeros, each = (0,) * outputs, scale.reshape(-1)
    weights = context.const(np.ascontiguousarray(stored), "weights", Quant(tuple(map(float, each)), zeros, axis))
    sums = each.astype(np.float64) * source.scale
    wide = np.int64 if source.bits == 16 else np.int32
    added = np.rint((np.zeros(outputs) if bias is None else bias) / sums).astype(wide)
    addend = context.const(added, "bias", Quant(tuple(map(float, sums.astype(np.float32))), zeros))
    known = {"padding": schema().Padding.VALID, "strideH": 1, "strideW": 1} | options
    builtin = "CONV_2D" if axis == 0 else "DEPTHWISE_CONV_2D"
    own = roomy(held, float(sums.max()))
    made = context.op(builtin, [x, weights, addend], shape, dtype=own.dtype, quant=own.quant, **known)
    return context.moved(made, held)


def conv(context: Integers, op: Op) -> None:
    """A convolution: groups apart, or depthwise where each has one channel."""
    found, held = convolution(context, op, context.wide(op.inputs[0])), context.result(op)
    kernel: Array = _weights(context, op.inputs[1]).reshape(found.kernel.shape)
    bias = np.asarray(found.bias, np.float64)
    if found.depthwise:
        options = found.options | {"depthMultiplier": len(kernel) // found.groups}
        flat = kernel[:, 0].transpose(1, 2, 0)[None]
        y = _convolve(context, found.x, flat, bias, shape=found.shape, held=held, axis=3, **options)
    else:
        parts, rows, fan_in = [], len(kernel) // found.groups, kernel.shape[1]
        for at in range(found.groups):
            mine = slice(at * rows, (at + 1) * rows)
            part = context.slice(found.x, 3, at * fan_in, (at + 1) * fan_in)
            own = kernel[mine].transpose(0, 2, 3, 1)
            shape = (*found.shape[:3], rows)
            parts.append(_convolve(context, part, own, bias[mine], shape=shape, held=held, **found.options))
        y = context.concat(parts, 3)
    context.set(op, channels_first(context, op, y))


def _weights(context: Integers, name: str) -> Array:
    tensor = context.graph.tensors[name]
    data = np.asarray(tensor.data)
    return np.asarray(data if tensor.quant is None else tensor.quant.dequantize(data), np.float64)


def _dot(context: Integers, x: int, name: str, bias: Array | None, held: Held) -> int:
    """A matrix by its name, in two parts where 8 bits are too few."""
    weights = _weights(context, name)
    if name not in context.feedback:
        return _product(context, x, weights, bias, held)
    scale = np.abs(weights).max(axis=1, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32).astype(np.float64)
    rest = weights - np.rint(weights / scale) * scale
    reach = max(float(np.abs(rest).sum(axis=1).max()) * context.held_by(x).scale * 32767, 1e-30)
    fine = _product(context, x, rest, None, Held(16, reach / 32767))
    return added(context, _product(context, x, weights, bias, held), fine, held)


def added(context: Integers, x: int, y: int, held: Held, builtin: str = "ADD") -> int:
    """The sum of two tensors of 16 bits, or what another builtin makes of them."""
    shape = tuple(np.broadcast_shapes(context.shape_of(x), context.shape_of(y)))
    own = roomy(held, max(context.held_by(v).scale for v in (x, y)))
    made = context.elementwise(builtin, [x, y], shape, dtype=own.dtype, quant=own.quant, potScaleInt16=False)
    return context.moved(made, held)


def roomy(held: Held, coarse: float) -> Held:
    """How a result is held first: no finer than 2^-12 of what it is made of, where kernels stop the process."""
    return held if held.scale >= coarse * FINEST else Held(16, coarse * FINEST)


def linear(context: Integers, op: Op) -> None:
    """A matrix of constant weights, with what is added to it."""
    x, w = op.inputs[0], op.inputs[1]
    addend = op.inputs[2] if len(op.inputs) == 3 else None
    data = None if addend is None else context.graph.tensors[addend].data
    bias = None if data is None or data.ndim > 1 else np.broadcast_to(data, (len(_weights(context, w)),))
    relu = _only_relu(context, op)
    if relu is not None and (addend is None or bias is not None) and context.held_by(context.real(x)).bits == 8:
        y = _dot(context, context.real(x), w, bias, relu)  # what is below its zero saturates
        context.set(op, y)
        return
    held = context.result(op)
    if addend is None or bias is not None:
        context.set(op, _dot(context, context.wide(x), w, bias, held))
        return
    part = context.scales.part(_weights(context, w), context.scales.largest(x), op.outputs[0], addend)
    y = _dot(context, context.wide(x), w, None, part)
    context.set(op, added(context, y, context.wide(addend), held))


def _only_relu(context: Integers, op: Op) -> Held | None:
    """How the relu is held that alone reads a result, where it has 8 bits."""
    sums, name = context.scales.plan.sums, op.outputs[0]
    readers = sums.readers.get(name, [])
    if len(readers) != 1 or sums.uses[name] != 1 or readers[0].kind != "relu":
        return None
    held = context.scales.held(readers[0].outputs[0])
    return held if held.bits == 8 and held.zero == held.limits[0] else None


def memory(context: Integers, op: Op) -> None:
    """A m + B u for every channel."""
    m, a, u, b = op.inputs
    held, scales = context.result(op), context.scales
    driven = _dot(context, context.wide(u), b, None, scales.part(_weights(context, b), scales.largest(u), "", None))
    kept = scales.part(_weights(context, a), scales.largest(m), "", None)
    context.set(op, added(context, _dot(context, context.wide(m), a, None, kept), driven, held))


def along(context: Integers, x: int, axis: int, matrix: Array, held: Held) -> int:
    """A matrix applied to one axis of a tensor."""
    shape = context.shape_of(x)
    y, at = context.around(x, axis)
    last = [*(a for a in range(len(context.shape_of(y))) if a != at), at]
    y = _product(context, context.transpose(y, last), matrix, None, held)
    y = context.transpose(y, [last.index(a) for a in range(len(last))])
    return context.reshape(y, (*shape[:axis], len(matrix), *shape[axis + 1 :]))
