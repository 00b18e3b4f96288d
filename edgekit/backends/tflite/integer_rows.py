"""Rows of an int8 model: int8 weights per channel, values of 8 or 16 bits, spikes as flags; no float anywhere.

What TFLite kernels do not have is put together from what they have:
- weights of more than 8 bits, by which a state feeds itself: two int8 matrices, the second one for what rounding the
  first left over;
- comparisons of int16 (TFLite-Micro has none): in int32, of stored integers on one scale, constants rounded so that
  the comparison is exact;
- sums over an axis, and the choice of few elements: products with ones, exact to their one rounding;
- relu of 8 bits: its zero is the lowest int8, where every kernel saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite import elementwise, movement
from edgekit.backends.tflite.contract import channels_first, convolution
from edgekit.backends.tflite.integers import Integers, fitting
from edgekit.backends.tflite.scales import Held
from edgekit.backends.tflite.schema import schema
from edgekit.backends.tflite.writer import Quant
from edgekit.ir import Op
from edgekit.ir.ops.spatial import window_indices

Array = npt.NDArray[Any]
FINEST = 2.0**-12
MOST_PICKED = 2**14  # zeros and ones that stand for a gather
Row = Callable[[Any, Op], None]


def _elementwise(context: Integers, op: Op, builtin: str, tensors: list[int], held: Held, **options: Any) -> None:
    shape = context.shape(op.outputs[0])
    context.set(op, context.elementwise(builtin, tensors, shape, dtype=held.dtype, quant=held.quant, **options))


# --- sums of products ---


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
    known = {"padding": schema().Padding.VALID, "strideH": 1, "strideW": 1, "version": 3} | options
    builtin = "CONV_2D" if axis == 0 else "DEPTHWISE_CONV_2D"
    own = _roomy(held, float(sums.max()))
    made = context.op(builtin, [x, weights, addend], shape, dtype=own.dtype, quant=own.quant, **known)
    return context.moved(made, held)


def _conv(context: Integers, op: Op) -> None:
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
    return _add(context, _product(context, x, weights, bias, held), fine, held)


def _add(context: Integers, x: int, y: int, held: Held, builtin: str = "ADD") -> int:
    shape = tuple(np.broadcast_shapes(context.shape_of(x), context.shape_of(y)))
    own = _roomy(held, max(context.held_by(v).scale for v in (x, y)))
    made = context.elementwise(builtin, [x, y], shape, dtype=own.dtype, quant=own.quant, potScaleInt16=False, version=2)
    return context.moved(made, held)


def _roomy(held: Held, coarse: float) -> Held:
    """How a result is held first: no finer than 2^-12 of what it is made of, where kernels stop the process."""
    return held if held.scale >= coarse * FINEST else Held(16, coarse * FINEST)


def _linear(context: Integers, op: Op) -> None:
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
    context.set(op, _add(context, y, context.wide(addend), held))


def _only_relu(context: Integers, op: Op) -> Held | None:
    """How the relu is held that alone reads a result, where it has 8 bits."""
    sums, name = context.scales.plan.sums, op.outputs[0]
    readers = sums.readers.get(name, [])
    if len(readers) != 1 or sums.uses[name] != 1 or readers[0].kind != "relu":
        return None
    held = context.scales.held(readers[0].outputs[0])
    return held if held.bits == 8 and held.zero == held.limits[0] else None


def _memory(context: Integers, op: Op) -> None:
    m, a, u, b = op.inputs
    held, scales = context.result(op), context.scales
    driven = _dot(context, context.wide(u), b, None, scales.part(_weights(context, b), scales.largest(u), "", None))
    kept = scales.part(_weights(context, a), scales.largest(m), "", None)
    context.set(op, _add(context, _dot(context, context.wide(m), a, None, kept), driven, held))


# --- elementwise ---


def _sum(builtin: str, context: Integers, op: Op) -> None:
    x, y = op.inputs
    context.set(op, _add(context, context.wide(x), context.wide(y), context.result(op), builtin))


def _mul(context: Integers, op: Op) -> None:
    _times(context, op, [context.wide(n) for n in op.inputs])


def _times(context: Integers, op: Op, tensors: list[int]) -> None:
    held, (a, b) = context.result(op), (context.held_by(t).scale for t in tensors)
    own = _roomy(held, a * b)
    made = context.elementwise(
        "MUL", tensors, context.shape(op.outputs[0]), dtype=own.dtype, quant=own.quant, version=2
    )
    context.set(op, context.moved(made, held))


def _div(context: Integers, op: Op) -> None:
    by = np.asarray(context.graph.tensors[op.inputs[1]].data, np.float64)
    factor = context.fixed(1 / by, fitting(1 / by), "factor")
    _times(context, op, [context.wide(op.inputs[0]), factor])


def _neg(context: Integers, op: Op) -> None:
    x = context.wide(op.inputs[0])
    zero = context.fixed(np.zeros(()), context.held_by(x), "zero")
    context.set(op, _add(context, zero, x, context.result(op), "SUB"))


def _abs(context: Integers, op: Op) -> None:
    held = context.result(op)
    x = context.at(op.inputs[0], held)
    zero = context.fixed(np.zeros(()), held, "zero")
    _elementwise(context, op, "MAXIMUM", [x, _add(context, zero, x, held, "SUB")], held)


def _same(context: Integers, op: Op) -> None:
    """Integers have no denormals to flush."""
    context.set(op, context.at(op.inputs[0], context.result(op)))


def _relu(context: Integers, op: Op) -> None:
    held, x = context.result(op), context.real(op.inputs[0])
    if held.zero == held.limits[0]:
        context.set(op, context.moved(x, held))
        return
    _elementwise(context, op, "RELU", [context.wide(op.inputs[0])], held, version=2)


def _bounded(builtin: str, context: Integers, op: Op) -> None:
    _elementwise(context, op, builtin, [context.wide(op.inputs[0])], context.result(op), version=3)


def _nearer(builtin: str, context: Integers, op: Op) -> None:
    held = context.result(op)
    _elementwise(context, op, builtin, [context.at(n, held) for n in op.inputs], held, version=2)


def _compare(builtin: str, context: Integers, op: Op) -> None:
    """Constants are rounded to the side on which the comparison of integers is that of reals."""
    x, y = op.inputs
    fixed = [context.graph.tensors[n].data is not None for n in op.inputs]
    if fixed[0]:
        x, y = y, x
        builtin = {
            "GREATER": "LESS",
            "LESS": "GREATER",
            "GREATER_EQUAL": "LESS_EQUAL",
            "LESS_EQUAL": "GREATER_EQUAL",
        }.get(builtin, builtin)
    left = context.real(x)
    held = context.held_by(left)
    if any(fixed):
        whole = np.asarray(context.graph.tensors[y].data, np.float64) / held.scale + held.zero
        near = np.rint(whole)
        whole = np.where(np.abs(whole - near) < 1e-6 * np.maximum(1, np.abs(near)), near, whole)
        side = {"GREATER": np.floor, "LESS_EQUAL": np.floor, "GREATER_EQUAL": np.ceil, "LESS": np.ceil}
        rounded = np.clip(side.get(builtin, np.rint)(whole), -(2**31), 2**31 - 1).astype(np.int32)
        right = context.const(rounded[None], "threshold")
    else:
        right = context.at(y, held)
    context.set_flag(op.outputs[0], context.compare(builtin, left, right))


def _where(context: Integers, op: Op) -> None:
    condition, x, y = op.inputs
    held = context.result(op)
    tensors = [context.flag(condition), context.at(x, held), context.at(y, held)]
    _elementwise(context, op, "SELECT_V2", tensors, held)


def _cast(context: Integers, op: Op) -> None:
    (x,), (y,) = op.inputs, op.outputs
    if op.attrs["to"] == "float32":
        context.set_real(y, context.real(x))
    else:
        context.set_flag(y, context.spike(context.real(x)))


# --- the rest ---


def _along(context: Integers, x: int, axis: int, matrix: Array, held: Held) -> int:
    """A matrix applied to one axis of a tensor."""
    shape = context.shape_of(x)
    y, at = context.around(x, axis)
    last = [*(a for a in range(len(context.shape_of(y))) if a != at), at]
    y = _product(context, context.transpose(y, last), matrix, None, held)
    y = context.transpose(y, [last.index(a) for a in range(len(last))])
    return context.reshape(y, (*shape[:axis], len(matrix), *shape[axis + 1 :]))


def _total(context: Integers, op: Op) -> None:
    """A product with ones: SUM of int16 wraps in LiteRT 2.3, and older runtimes refuse another scale for its result."""
    x, axis = context.wide(op.inputs[0]), op.attrs["axis"] + 1
    y = _along(context, x, axis, np.ones((1, context.shape_of(x)[axis])), context.result(op))
    context.set(op, context.reshape(y, context.shape(op.outputs[0])))


def _gather(context: Integers, op: Op) -> None:
    x, axis = context.real(op.inputs[0]), op.attrs["axis"] + 1
    context.set(op, _picked(context, x, axis, np.array(op.attrs["indices"], np.int32)))


def _picked(context: Integers, x: int, axis: int, indices: Array) -> int:
    """Elements along one axis; of few int16 by a product with zeros and ones: TFLite-Micro gathers no int16."""
    shape, held = context.shape_of(x), context.held_by(x)
    if held.bits == 16 and shape[axis] * indices.size <= MOST_PICKED:
        return _along(context, x, axis, np.eye(shape[axis])[indices], held)
    y, at = context.around(x, axis)
    inner = list(context.shape_of(y))
    inner[at] = indices.size
    y = context.op("GATHER", [y, context.ints(indices)], inner, **context.like(y), axis=at)
    return context.reshape(y, (*shape[:axis], indices.size, *shape[axis + 1 :]))


def _amax(context: Integers, op: Op) -> None:
    """Halves against each other: TFLite-Micro has no REDUCE_MAX of int16."""
    held = context.result(op)
    x, axis = context.around(context.at(op.inputs[0], held), op.attrs["axis"] + 1)
    while (length := context.shape_of(x)[axis]) > 1:
        half = length // 2
        parts = [context.slice(x, axis, at, at + half) for at in (0, half)]
        best = context.op("MAXIMUM", parts, context.shape_of(parts[0]), **context.like(x), version=2)
        rest = [context.slice(x, axis, length - 1, length)] if length % 2 else []
        x = context.concat([best, *rest], axis)
    context.set(op, context.reshape(x, context.shape(op.outputs[0])))


def _concat(context: Integers, op: Op) -> None:
    held = context.result(op)
    context.set(op, context.concat([context.at(n, held) for n in op.inputs], op.attrs["axis"] + 1))


def _pad(context: Integers, op: Op) -> None:
    held = context.result(op)
    movement.padded(
        context,
        op,
        context.at(op.inputs[0], held),
        lambda value, shape: context.fixed(np.full(shape[1:] or (), value), held, "pad"),
    )


def _windows(context: Integers, op: Op) -> None:
    x, shape = context.real(op.inputs[0]), context.shape(op.inputs[0])
    lead = len(shape) - len(op.attrs["size"])
    indices = window_indices(shape[lead:], op.attrs)
    flat = context.reshape(x, (*shape[:lead], int(np.prod(shape[lead:]))))
    found = _picked(context, flat, lead, indices.reshape(-1).astype(np.int32))
    context.set(op, context.reshape(found, context.shape(op.outputs[0])))


ROWS: Mapping[str, Row] = {
    **{kind: partial(_compare, builtin) for kind, builtin in elementwise.COMPARE.items()},
    **{kind: elementwise.ROWS[kind] for kind in elementwise.LOGIC},
    **{kind: movement.ROWS[kind] for kind in ("reshape", "transpose", "expand", "slice")},
    "add": partial(_sum, "ADD"),
    "sub": partial(_sum, "SUB"),
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "abs": _abs,
    "flush": _same,
    "relu": _relu,
    "tanh": partial(_bounded, "TANH"),
    "sigmoid": partial(_bounded, "LOGISTIC"),
    "minimum": partial(_nearer, "MINIMUM"),
    "maximum": partial(_nearer, "MAXIMUM"),
    "where": _where,
    "cast": _cast,
    "linear": _linear,
    "memory_update": _memory,
    "conv": _conv,
    "gather": _gather,
    "sum": _total,
    "amax": _amax,
    "concat": _concat,
    "pad": _pad,
    "windows": _windows,
}
