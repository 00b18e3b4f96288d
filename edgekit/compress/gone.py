"""What goes with a unit: the elements of values, states and weights that nobody needs once it is taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from edgekit.errors import UsageError
from edgekit.ir import Graph, Op
from edgekit.ir.ops import OPS

Mask = npt.NDArray[np.bool_]
Marks = Iterator[tuple[str, Mask]]  # a value, and which of its elements go too
Shapes = Mapping[str, tuple[int, ...]]
Masks = Mapping[str, Mask]


def closure(graph: Graph, first: Masks) -> dict[str, Mask]:
    """All that goes when elements of the values `first` (masks of their shapes) are taken out of a step.

    Elements of values that are computed together go together; a row or column of weights goes with the output or
    input it belongs to; a state with the value that becomes it. UsageError where an input or output of the step would
    lose elements, where an op does not allow it, or where all of a value would go.
    """
    step = graph.entries["step"]
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    gone = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    readers: dict[str, list[Op]] = {}
    for op in step.ops:
        for name in dict.fromkeys((*op.inputs, *op.outputs)):
            readers.setdefault(name, []).append(op)
    twins: dict[str, list[str]] = {}
    for state, value in step.updates.items():
        twins.setdefault(state, []).append(value)
        twins.setdefault(value, []).append(state)
    waiting: list[str] = []

    def mark(name: str, mask: Mask) -> None:
        if (mask & ~gone[name]).any():
            gone[name] = gone[name] | mask
            if name in (*step.inputs, *step.outputs) or gone[name].all():
                what = "is an input or output of the step" if not gone[name].all() else "would have nothing left"
                raise UsageError(f"units of {name}", f"cannot be taken out: it {what}", "take others, or fewer of them")
            waiting.append(name)

    for name, mask in first.items():
        mark(name, np.asarray(mask, bool))
    while waiting:
        name = waiting.pop()
        for twin in twins.get(name, ()):
            mark(twin, gone[name])
        for op in readers.get(name, ()):
            for other, mask in _rule(op.kind)(op, gone, shapes):
                mark(other, mask)
    return gone


def _rule(kind: str) -> Callable[[Op, Masks, Shapes], Marks]:
    if kind in RULES:
        return RULES[kind]
    return _elementwise if OPS[kind].group == "elementwise" else _fixed


def _along(mask: Mask, axis: int) -> Mask:
    """Which indices of an axis of a mask [n, k] are gone whole."""
    return np.asarray(mask.all(1 - axis))


def _spread(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask as it reaches a result that its value is broadcast to."""
    return np.broadcast_to(mask, shape)


def _gathered(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """The elements of a value of which every copy in a broadcast result is gone."""
    full = (1,) * (mask.ndim - len(shape)) + shape
    axes = tuple(axis for axis, n in enumerate(full) if n != mask.shape[axis])
    return np.asarray(mask.all(axes, keepdims=True)).reshape(shape)


def _elementwise(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (out,) = op.outputs
    for name in op.inputs:
        yield out, _spread(gone[name], shapes[out])
        yield name, _gathered(gone[out], shapes[name])


def _linear(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (x, w, *addend), (out,) = op.inputs, op.outputs
    rows, columns = (_along(gone[name].reshape(-1, shapes[name][-1]), 1) for name in (out, x))
    yield w, rows[:, None] | columns[None, :]
    yield out, _spread(_along(gone[w], 0), shapes[out])
    for name in addend:
        yield out, _spread(gone[name], shapes[out])
        yield name, _gathered(gone[out], shapes[name])
    if len(shapes[x]) > 1:  # rows of x and of y are the same ones
        before = tuple(np.asarray(gone[name].all(-1, keepdims=True)) for name in (x, out))
        yield out, _spread(before[0], shapes[out])
        yield x, _spread(before[1], shapes[x])


def _lookup(op: Op, gone: Masks, _shapes: Shapes) -> Marks:
    """Element by element, by a table that stays whole."""
    (x, _table), (out,) = op.inputs, op.outputs
    yield out, gone[x]
    yield x, gone[out]


def _memory_update(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (m, a, u, b), (out,) = op.inputs, op.outputs
    yield m, gone[out]
    yield out, gone[m]
    channels, orders = (_along(gone[out], axis) for axis in (0, 1))
    yield u, np.broadcast_to(channels[:, None], shapes[u])
    yield out, np.broadcast_to(_along(gone[u], 0)[:, None], shapes[out])
    yield a, orders[:, None] | orders[None, :]
    yield b, orders[:, None] | _along(gone[u], 1)[None, :]


def _reshape(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (x,), (out,) = op.inputs, op.outputs
    yield out, gone[x].reshape(shapes[out])
    yield x, gone[out].reshape(shapes[x])


def _transpose(op: Op, gone: Masks, _shapes: Shapes) -> Marks:
    (x,), (out,), perm = op.inputs, op.outputs, op.attrs["perm"]
    yield out, gone[x].transpose(perm)
    yield x, gone[out].transpose(np.argsort(perm))


def _slice(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (x,), (out,) = op.inputs, op.outputs
    where = (*[slice(None)] * op.attrs["axis"], slice(op.attrs["start"], op.attrs["stop"], op.attrs.get("step", 1)))
    yield out, gone[x][where]
    taken = np.zeros(shapes[x], bool)
    taken[where] = gone[out]
    yield x, taken


def _concat(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    (out,), axis = op.outputs, op.attrs["axis"]
    yield out, np.concatenate([gone[name] for name in op.inputs], axis)
    ends = np.cumsum([shapes[name][axis] for name in op.inputs])[:-1]
    yield from zip(op.inputs, np.split(gone[out], ends, axis), strict=True)


def _gather(op: Op, gone: Masks, _shapes: Shapes) -> Marks:
    """Only what it takes goes: that nobody takes an element here does not mean that nobody needs it."""
    (x,), (out,) = op.inputs, op.outputs
    yield out, np.take(gone[x], op.attrs["indices"], op.attrs["axis"])


def _reduce(op: Op, gone: Masks, shapes: Shapes) -> Marks:
    """A sum or maximum over fewer elements: the others along its axis stay."""
    (x,), (out,), axis = op.inputs, op.outputs, op.attrs["axis"]
    yield out, np.asarray(gone[x].all(axis)).reshape(shapes[out])
    kept = gone[out].reshape(*shapes[x][:axis], 1, *shapes[x][axis + 1 :])
    yield x, _spread(kept, shapes[x])


def _fixed(op: Op, gone: Masks, _shapes: Shapes) -> Marks:
    """Ops whose operands are taken as they are."""
    if any(gone[name].any() for name in (*op.inputs, *op.outputs)):
        raise UsageError(
            f"units before {op.outputs[0]}", f"cannot be taken out: {op.kind} needs all of them", "take others"
        )
    yield from ()


RULES: Mapping[str, Callable[[Op, Masks, Shapes], Marks]] = {
    "linear": _linear,
    "lookup": _lookup,
    "memory_update": _memory_update,
    "reshape": _reshape,
    "transpose": _transpose,
    "expand": _elementwise,
    "slice": _slice,
    "concat": _concat,
    "gather": _gather,
    "sum": _reduce,
    "amax": _reduce,
}
