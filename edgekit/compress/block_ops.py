"""How each op is written over blocks of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.compress.blocks import Blocks, refused
from edgekit.compress.shrink import picked
from edgekit.ir import INT32, OPS, Op


def write_op(to: Blocks, op: Op) -> None:
    """The op over the blocks of the width that is written; UsageError where its operands cannot be split."""
    WRITERS.get(op.kind, _elementwise if OPS[op.kind].group == "elementwise" else _whole)(to, op)


def _whole(to: Blocks, op: Op) -> None:
    """Operands that are in all widths."""
    for name in (*op.inputs, *op.outputs):
        if any(joins is not None for joins in to.axes[name]):
            raise refused(name, f"{op.kind} needs all of them")
    to.emit(op, [to.block(n, None) for n in op.inputs], None)


def _elementwise(to: Blocks, op: Op) -> None:
    for at in to.present(op.outputs[0]):
        to.emit(op, [_beside(to, n, op.outputs[0], at) for n in op.inputs], at)


def _lookup(to: Blocks, op: Op) -> None:
    for at in to.present(op.outputs[0]):
        to.emit(op, [to.block(op.inputs[0], at), to.block(op.inputs[1], None)], at)


def _beside(to: Blocks, name: str, out: str, at: int | None) -> str:
    """The block of an operand that is broadcast to the block of a result."""
    axis = to.axis(out)
    if axis is not None:
        axis -= len(to.axes[out]) - len(to.axes[name])
    split = axis is not None and axis >= 0 and to.axes[name][axis] is not None
    return to.block(name, at if split else None)


def _linear(to: Blocks, op: Op) -> None:
    """y_i = Σ_j W_ij x_j + c_i over the blocks there are, in one accumulator."""
    (x, w, *addend), (y,) = op.inputs, op.outputs
    if to.axis(x) not in (None, len(to.axes[x]) - 1):  # rows of x and of y are split
        for at in to.present(y):
            to.emit(op, [to.block(x, at), to.block(w, None), *(_beside(to, c, y, at) for c in addend)], at)
        return
    for at in to.present(y):
        total = _addend(to, op, at)
        columns = to.present(x)
        for column in columns:
            weights = to.const(w, (at if to.axes[w][0] is not None else None, column))
            part = "" if column == columns[-1] else f"/of{to.percents[column or 0]}"
            total = [to.emit(op, [to.block(x, column), weights, *total], at, part=part)]


def _addend(to: Blocks, op: Op, at: int | None) -> list[str]:
    """The block of the addend, with what the units that the width lacks add to the sums.

    A constant of one row of numbers takes it up; else it is a constant of its own, added to what is computed.
    """
    (_, w, *addend), (y,) = op.inputs, op.outputs
    rows = at if to.axes[w][0] is not None else None
    extra = to.left_out(op, rows)
    if extra is None:
        return [_beside(to, c, y, at) for c in addend]
    if not addend:
        return [to.number(y, at, "left-out", extra)]
    tensor = to.graph.tensors[addend[0]]
    if tensor.dtype is not INT32:
        raise refused(y, "its sums begin with a value that zero points cannot be taken from")
    if not tensor.is_const:
        inputs = [_beside(to, addend[0], y, at), to.number(y, at, "left-out", extra)]
        return [to.emit(op, inputs, at, part="/begun", kind="add")]
    split = to.axes[addend[0]][-1] is not None
    place = (*(None,) * (len(tensor.shape) - 1), at if split else None)
    return [to.const(addend[0], place, extra)]


def _memory_update(to: Blocks, op: Op) -> None:
    m, a, u, b = op.inputs
    if to.axis(m) == 1 or any(joins is not None for joins in (*to.axes[a], *to.axes[b])):
        raise refused(m, "orders of a memory feed each other")
    for at in to.present(m):
        to.emit(op, [to.block(m, at), to.block(a, None), to.block(u, at), to.block(b, None)], at)


def _shaped(to: Blocks, op: Op) -> None:
    """reshape, expand: elements of a block are in the order in which they are in the whole."""
    out = op.outputs[0]
    for at in to.present(out):
        shape = list(to.graph.tensors[out].shape)
        axis = to.axis(out)
        if axis is not None:
            shape[axis] = len(to.indices(out, axis, at))
        x = _beside(to, op.inputs[0], out, at) if op.kind == "expand" else to.block(op.inputs[0], at)
        to.emit(op, [x], at, shape=tuple(shape))


def _transpose(to: Blocks, op: Op) -> None:
    for at in to.present(op.outputs[0]):
        to.emit(op, [to.block(op.inputs[0], at)], at)


def _taken(to: Blocks, op: Op) -> None:
    """slice, gather: along the axis that is split, what a block takes of the block of x, or of all of it."""
    (x,), (out,), axis = op.inputs, op.outputs, op.attrs["axis"]
    if axis not in (to.axis(x), to.axis(out)):
        for at in to.present(out):
            to.emit(op, [to.block(x, at)], at)
        return
    span = range(op.attrs.get("start", 0), op.attrs.get("stop", 0), op.attrs.get("step", 1))
    taken = np.asarray(op.attrs["indices"] if op.kind == "gather" else span)
    for at in to.present(out):
        source = None if to.axis(x) is None else at or 0
        place = {int(index): i for i, index in enumerate(to.indices(x, axis, source))}
        wanted = [int(taken[i]) for i in to.indices(out, axis, at)]
        if any(index not in place for index in wanted):
            raise refused(out, f"{op.kind} takes units of another width")
        way = picked(axis, [place[index] for index in wanted])
        to.emit(op, [to.block(x, source)], at, kind=way["kind"], **way["attrs"])


def _concat(to: Blocks, op: Op) -> None:
    (out,), axis = op.outputs, op.attrs["axis"]
    for at in to.present(out):
        along = to.axis(out) == axis
        blocks = []
        for name in op.inputs:
            if to.axis(name) is not None and at in to.present(name):
                blocks.append(to.block(name, at))
            elif to.axis(name) is None and (not along or at == 0):  # what is in all widths joins with the first
                blocks.append(to.block(name, None))
        to.emit(op, blocks, at)


def _reduce(to: Blocks, op: Op) -> None:
    (x,), (out,) = op.inputs, op.outputs
    if to.axis(x) == op.attrs["axis"]:
        raise refused(x, f"{op.kind} goes over all of them")
    for at in to.present(out):
        to.emit(op, [to.block(x, at)], at)


WRITERS: Mapping[str, Callable[[Blocks, Op], None]] = {
    "linear": _linear,
    "lookup": _lookup,
    "memory_update": _memory_update,
    "reshape": _shaped,
    "expand": _shaped,
    "transpose": _transpose,
    "slice": _taken,
    "gather": _taken,
    "concat": _concat,
    "sum": _reduce,
    "amax": _reduce,
}
