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
from edgekit.backends.tflite.integer_products import added, along, conv, linear, memory, roomy
from edgekit.backends.tflite.integers import Integers, fitting
from edgekit.backends.tflite.scales import Held
from edgekit.ir import Op
from edgekit.ir.ops.spatial import window_indices

Array = npt.NDArray[Any]
MOST_PICKED = 2**14  # zeros and ones that stand for a gather
Row = Callable[[Any, Op], None]


def _elementwise(context: Integers, op: Op, builtin: str, tensors: list[int], held: Held, **options: Any) -> None:
    shape = context.shape(op.outputs[0])
    context.set(op, context.elementwise(builtin, tensors, shape, dtype=held.dtype, quant=held.quant, **options))


def _sum(builtin: str, context: Integers, op: Op) -> None:
    x, y = op.inputs
    context.set(op, added(context, context.wide(x), context.wide(y), context.result(op), builtin))


def _mul(context: Integers, op: Op) -> None:
    _times(context, op, [context.wide(n) for n in op.inputs])


def _times(context: Integers, op: Op, tensors: list[int]) -> None:
    held, (a, b) = context.result(op), (context.held_by(t).scale for t in tensors)
    own = roomy(held, a * b)
    made = context.elementwise("MUL", tensors, context.shape(op.outputs[0]), dtype=own.dtype, quant=own.quant)
    context.set(op, context.moved(made, held))


def _div(context: Integers, op: Op) -> None:
    by = np.asarray(context.graph.tensors[op.inputs[1]].data, np.float64)
    factor = context.fixed(1 / by, fitting(1 / by), "factor")
    _times(context, op, [context.wide(op.inputs[0]), factor])


def _neg(context: Integers, op: Op) -> None:
    x = context.wide(op.inputs[0])
    zero = context.fixed(np.zeros(()), context.held_by(x), "zero")
    context.set(op, added(context, zero, x, context.result(op), "SUB"))


def _abs(context: Integers, op: Op) -> None:
    held = context.result(op)
    x = context.at(op.inputs[0], held)
    zero = context.fixed(np.zeros(()), held, "zero")
    _elementwise(context, op, "MAXIMUM", [x, added(context, zero, x, held, "SUB")], held)


def _same(context: Integers, op: Op) -> None:
    """Integers have no denormals to flush."""
    context.set(op, context.at(op.inputs[0], context.result(op)))


def _relu(context: Integers, op: Op) -> None:
    held, x = context.result(op), context.real(op.inputs[0])
    if held.zero == held.limits[0]:
        context.set(op, context.moved(x, held))
        return
    _elementwise(context, op, "RELU", [context.wide(op.inputs[0])], held)


def _bounded(builtin: str, context: Integers, op: Op) -> None:
    _elementwise(context, op, builtin, [context.wide(op.inputs[0])], context.result(op))


def _nearer(builtin: str, context: Integers, op: Op) -> None:
    held = context.result(op)
    _elementwise(context, op, builtin, [context.at(n, held) for n in op.inputs], held)


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


def _total(context: Integers, op: Op) -> None:
    """A product with ones: SUM of int16 wraps in LiteRT 2.3, and older runtimes refuse another scale for its result."""
    x, axis = context.wide(op.inputs[0]), op.attrs["axis"] + 1
    y = along(context, x, axis, np.ones((1, context.shape_of(x)[axis])), context.result(op))
    context.set(op, context.reshape(y, context.shape(op.outputs[0])))


def _gather(context: Integers, op: Op) -> None:
    x, axis = context.real(op.inputs[0]), op.attrs["axis"] + 1
    context.set(op, _picked(context, x, axis, np.array(op.attrs["indices"], np.int32)))


def _picked(context: Integers, x: int, axis: int, indices: Array) -> int:
    """Elements along one axis; of few int16 by a product with zeros and ones: TFLite-Micro gathers no int16."""
    shape, held = context.shape_of(x), context.held_by(x)
    if held.bits == 16 and shape[axis] * indices.size <= MOST_PICKED:
        return along(context, x, axis, np.eye(shape[axis])[indices], held)
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
        best = context.op("MAXIMUM", parts, context.shape_of(parts[0]), **context.like(x))
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
    "linear": linear,
    "memory_update": memory,
    "conv": conv,
    "gather": _gather,
    "sum": _total,
    "amax": _amax,
    "concat": _concat,
    "pad": _pad,
    "windows": _windows,
}
