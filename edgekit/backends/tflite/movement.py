"""Rows for ops that move values without computing. A spike is moved as a float32 of 0 or 1: all kernels take that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.backends.tflite.context import MOST_AXES, Context
from edgekit.ir import Op

Row = Callable[[Context, Op], None]


def _reshape(context: Context, op: Op) -> None:
    context.set_real(op.outputs[0], context.reshape(context.real(op.inputs[0]), context.shape(op.outputs[0])))


def _transpose(context: Context, op: Op) -> None:
    perm = (0, *(p + 1 for p in op.attrs["perm"]))
    context.set_real(op.outputs[0], context.transpose(context.real(op.inputs[0]), perm))


def _expand(context: Context, op: Op) -> None:
    x, shape = context.real(op.inputs[0]), context.shape(op.outputs[0])
    inner = context.graph.tensors[op.inputs[0]].shape
    aligned = context.reshape(x, (1, *(1,) * (len(shape) - 1 - len(inner)), *inner))
    context.set_real(op.outputs[0], context.expand(aligned, shape))


def _slice(context: Context, op: Op) -> None:
    span = (op.attrs["start"], op.attrs["stop"], op.attrs.get("step", 1))
    context.set_real(op.outputs[0], context.slice(context.real(op.inputs[0]), op.attrs["axis"] + 1, *span))


def _concat(context: Context, op: Op) -> None:
    context.set_real(op.outputs[0], context.concat([context.real(n) for n in op.inputs], op.attrs["axis"] + 1))


def _gather(context: Context, op: Op) -> None:
    axis, indices = op.attrs["axis"] + 1, context.ints(op.attrs["indices"])
    x, shape = context.real(op.inputs[0]), context.shape(op.outputs[0])
    y, at = context.around(x, axis)
    inner = list(context.shape_of(y))
    inner[at] = len(op.attrs["indices"])
    context.set_real(
        op.outputs[0], context.reshape(context.op("GATHER", [y, indices], inner, **context.like(y), axis=at), shape)
    )


def padded(context: Context, op: Op, x: int, fill: Callable[[float, tuple[int, ...]], int]) -> None:
    """A border of a constant around `x`; `fill` makes a constant of a shape, (1,) where one number will do."""
    shape = context.shape(op.outputs[0])
    widths = [(0, 0), *zip(op.attrs["before"], op.attrs["after"], strict=True)]
    value = float(op.attrs.get("value", 0.0))
    if len(shape) <= MOST_AXES:
        table = context.ints(np.array(widths))
        operands = [x, table] if value == 0 else [x, table, fill(value, (1,))]
        made = context.op("PAD" if value == 0 else "PADV2", operands, shape, **context.like(x))
        context.set_real(op.outputs[0], made)
        return
    for axis, pair in enumerate(widths):
        have = context.shape_of(x)
        before, after = ([fill(value, (*have[:axis], n, *have[axis + 1 :]))] if n else [] for n in pair)
        x = context.concat([*before, x, *after], axis)
    context.set_real(op.outputs[0], x)


def _pad(context: Context, op: Op) -> None:
    padded(
        context,
        op,
        context.real(op.inputs[0]),
        lambda value, shape: context.const(np.full(shape, value, np.float32), "pad"),
    )


ROWS: Mapping[str, Row] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "expand": _expand,
    "slice": _slice,
    "concat": _concat,
    "gather": _gather,
    "pad": _pad,
}
