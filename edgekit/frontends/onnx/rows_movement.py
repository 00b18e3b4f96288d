"""Rows of operators that move values: shapes, slices, gathers with constant indices, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from edgekit.frontends import formulas as f
from edgekit.frontends import spatial
from edgekit.frontends.emitter import Array, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.lookup import fired, from_front, taken
from edgekit.frontends.onnx.lowering import CONSTANT_REMEDY, Lowering, Node, Row, within


def take(e: Emitter, value: Operand, axis: int, indices: Sequence[int]) -> Operand:
    """Elements at indices along an axis: a slice where they are evenly spaced upwards, else a gather."""
    indices = [int(i) for i in indices]
    if not indices:  # a value without elements is known
        shape = e.shape(value)
        return Known(np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), np.float32), "const.empty")
    if indices == list(range(e.shape(value)[axis])):
        return value
    steps = {b - a for a, b in pairwise(indices)} or {1}
    step = min(steps)
    if len(steps) == 1 and step >= 1:
        return e.emit("slice", e.live(value), axis=axis, start=indices[0], stop=indices[-1] + 1, step=step)
    return e.emit("gather", e.live(value), axis=axis, indices=tuple(indices))


def _same(lowering: Lowering, node: Node) -> Operand:
    return lowering.operand(node, 0)


def _shape(lowering: Lowering, node: Node) -> Operand:
    shape = lowering.shape(lowering.operand(node, 0))
    start, end = int(node.attr("start", 0)), node.attr("end")
    return Known(np.array(shape[start : None if end is None else int(end)], np.int64), node.outputs[0])


def _size(lowering: Lowering, node: Node) -> Operand:
    return Known(np.array(math.prod(lowering.shape(lowering.operand(node, 0))), np.int64), node.outputs[0])


def _reshape(lowering: Lowering, node: Node) -> Operand:
    x, wanted = lowering.operand(node, 0), lowering.ints(node, 1, "shape") or ()
    shape = lowering.shape(x)
    new = [
        shape[at] if n == 0 and not node.attr("allowzero", 0) else n for at, n in enumerate(wanted)
    ]  # a zero copies the length
    if -1 in new:
        rest = math.prod(n for n in new if n != -1)
        new[new.index(-1)] = math.prod(shape) // rest if rest else 0
    return lowering.e.reshape(x, new)


def _flatten(lowering: Lowering, node: Node) -> Operand:
    x = lowering.operand(node, 0)
    shape, axis = lowering.shape(x), int(node.attr("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return lowering.e.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(lowering: Lowering, node: Node) -> Operand:
    x, axes = lowering.operand(node, 0), lowering.ints(node, 1, "axes")
    shape = lowering.shape(x)
    drop = {within(a, len(shape)) for a in axes} if axes is not None else {a for a, n in enumerate(shape) if n == 1}
    return lowering.e.reshape(x, [n for axis, n in enumerate(shape) if axis not in drop])


def _unsqueeze(lowering: Lowering, node: Node) -> Operand:
    x, axes = lowering.operand(node, 0), lowering.ints(node, 1, "axes") or ()
    rank = len(lowering.shape(x)) + len(axes)
    new, rest = {within(a, rank) for a in axes}, iter(lowering.shape(x))
    return lowering.e.reshape(x, [1 if axis in new else next(rest) for axis in range(rank)])


def _transpose(lowering: Lowering, node: Node) -> Operand:
    x = lowering.operand(node, 0)
    rank = len(lowering.shape(x))
    return lowering.e.transpose(x, node.attr("perm") or range(rank - 1, -1, -1))


def _expand(lowering: Lowering, node: Node) -> Operand:
    x, wanted = lowering.operand(node, 0), lowering.ints(node, 1, "shape") or ()
    return lowering.e.expand(x, np.broadcast_shapes(lowering.shape(x), wanted))


def _tile(lowering: Lowering, node: Node) -> Operand:
    x, repeats = lowering.operand(node, 0), lowering.ints(node, 1, "repeats") or ()
    e, shape = lowering.e, lowering.shape(x)
    for axis, count in enumerate(repeats):
        if count != 1:
            ahead, behind = math.prod(shape[:axis]), math.prod(shape[axis:])
            wide = e.expand(e.reshape(x, (ahead, 1, behind)), (ahead, count, behind))
            shape = (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])
            x = e.reshape(wide, shape)
    return x


def _alike(lowering: Lowering, values: Sequence[Operand]) -> list[Operand]:
    """Operands of one dtype: truth values beside numbers count as 0 and 1."""
    bools = [lowering.is_bool(v) for v in values]
    return list(values) if all(bools) or not any(bools) else [lowering.e.real(v) for v in values]


def _concat(lowering: Lowering, node: Node) -> Operand:
    values = [v for v in _alike(lowering, lowering.operands(node)) if math.prod(lowering.shape(v))]
    axis = lowering.axis(node, 0)
    return values[0] if len(values) == 1 else lowering.e.emit("concat", *values, axis=axis)


def _slice(lowering: Lowering, node: Node) -> Operand:
    x = lowering.operand(node, 0)
    starts, ends = (lowering.ints(node, at, what) or () for at, what in ((1, "starts"), (2, "ends")))
    axes, steps = lowering.ints(node, 3, "axes"), lowering.ints(node, 4, "steps")
    rank = len(lowering.shape(x))
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = within(axes[at], rank) if axes else at, steps[at] if steps else 1
        n = lowering.shape(x)[axis]
        # an end below -n is a far way to say "to the front": slice() would count it from the back
        stop: int | None = None if step < 0 and end < -n else end
        x = take(lowering.e, x, axis, range(n)[slice(start, stop, step)])
    return x


def _split(lowering: Lowering, node: Node) -> list[Operand]:
    x, axis = lowering.operand(node, 0), lowering.axis(node, 0)
    n, sizes = lowering.shape(x)[axis], lowering.ints(node, 1, "split")
    if sizes is None:
        parts = int(node.attr("num_outputs", len(node.outputs)))
        each = -(-n // parts)
        sizes = tuple(min(each, n - at * each) for at in range(parts))
    ends = np.cumsum(sizes)
    return [take(lowering.e, x, axis, range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def _indices(lowering: Lowering, node: Node) -> Array:
    """The constant indices of a gather or scatter."""
    indices = lowering.array(node, 1, "indices")
    if indices is None:
        raise Refuse("has no indices", CONSTANT_REMEDY)
    return indices


def _gather(lowering: Lowering, node: Node) -> Operand:
    axis, x, index = lowering.axis(node, 0), lowering.operand(node, 0), lowering.operand(node, 1)
    if isinstance(index, Live) and node.inputs[1] in lowering.tokens:
        return taken(lowering.e, x, axis, index)
    indices, shape = _indices(lowering, node), lowering.shape(x)
    flat = [within(int(i), shape[axis]) for i in indices.reshape(-1)]
    y = take(lowering.e, x, axis, flat)
    return lowering.e.reshape(y, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


def _one_hot(lowering: Lowering, node: Node) -> Operand:
    e, index, values = lowering.e, lowering.operand(node, 0), lowering.array(node, 2, "values")
    depths = lowering.ints(node, 1, "depth")
    if values is None or not depths:
        raise Refuse("has no depth or no values", CONSTANT_REMEDY)
    rank = len(lowering.shape(index)) + 1
    index = e.live(e.real(index))
    if lowering.type_of(node.inputs[0]) not in lowering.integers:  # numbers are cut to whole ones, towards zero
        index = f.truncated(e, index)
    places = index if node.inputs[0] in lowering.tokens else from_front(e, index, depths[0])
    codes = fired(e, places, depths[0])
    off, on = (float(v) for v in values.reshape(-1))
    order = list(range(rank - 1))
    order.insert(within(int(node.attr("axis", -1)), rank), rank - 1)
    return e.transpose(e.emit("where", codes, on, off), order)


def _flat_gather(lowering: Lowering, x: Operand, places: Array) -> Operand:
    """Elements at flat places, in the shape of the places."""
    flat = lowering.e.reshape(x, (math.prod(lowering.shape(x)),))
    return lowering.e.reshape(take(lowering.e, flat, 0, places.reshape(-1).tolist()), places.shape)


def _numbers(lowering: Lowering, x: Operand) -> Array:
    """The flat place of every element."""
    shape = lowering.shape(x)
    return np.arange(math.prod(shape)).reshape(shape)


def _gather_elements(lowering: Lowering, node: Node) -> Operand:
    x, axis, indices = lowering.operand(node, 0), lowering.axis(node, 0), _indices(lowering, node)
    n = lowering.shape(x)[axis]
    return _flat_gather(lowering, x, np.take_along_axis(_numbers(lowering, x), indices % n, axis))


def _gather_nd(lowering: Lowering, node: Node) -> Operand:
    x, indices = lowering.operand(node, 0), _indices(lowering, node)
    lead = indices.shape[: int(node.attr("batch_dims", 0))]
    numbers = _numbers(lowering, x)
    places = np.stack([numbers[at][tuple(np.moveaxis(indices[at], -1, 0))] for at in np.ndindex(*lead)])
    return _flat_gather(lowering, x, places.reshape(*lead, *places.shape[1:]))


def _written(lowering: Lowering, node: Node, x: Operand, targets: Array, updates: Operand) -> Operand:
    """x with elements at flat places replaced by those of `updates`; of two for one place the later one stays."""
    if node.attr("reduction", "none") != "none":
        raise Refuse(
            f"combines what it writes by {node.attr('reduction')}", "write each element once, reduction='none'"
        )
    e, size = lowering.e, math.prod(lowering.shape(x))
    x, updates = _alike(lowering, [x, updates])
    both = [e.reshape(v, (math.prod(lowering.shape(v)),)) for v in (x, updates)]
    places = np.arange(size)
    places[targets.reshape(-1)] = size + np.arange(targets.size)
    return e.reshape(take(e, e.emit("concat", *both, axis=0), 0, places.tolist()), lowering.shape(x))


def _scatter_nd(lowering: Lowering, node: Node) -> Operand:
    x, indices, updates = lowering.operand(node, 0), _indices(lowering, node), lowering.operand(node, 2)
    return _written(lowering, node, x, _numbers(lowering, x)[tuple(np.moveaxis(indices, -1, 0))], updates)


def _scatter_elements(lowering: Lowering, node: Node) -> Operand:
    x, axis, indices = lowering.operand(node, 0), lowering.axis(node, 0), _indices(lowering, node)
    places = np.indices(indices.shape)
    places[axis] = indices % lowering.shape(x)[axis]
    return _written(lowering, node, x, _numbers(lowering, x)[tuple(places)], lowering.operand(node, 2))


def _pad(lowering: Lowering, node: Node) -> Operand:
    e, x, pads = lowering.e, lowering.operand(node, 0), lowering.ints(node, 1, "pads") or ()
    shape, mode = lowering.shape(x), node.attr("mode", "constant")
    axes = [within(a, len(shape)) for a in lowering.ints(node, 3, "axes") or range(len(shape))]
    before, after = [0] * len(shape), [0] * len(shape)
    for at, axis in enumerate(axes):
        before[axis], after[axis] = pads[at], pads[at + len(axes)]
    if mode == "constant":
        value = lowering.array(node, 2, "value")
        fill = 0.0 if value is None else float(value.reshape(()))
        padded = spatial.padded(e, x, before, after, fill)
        return e.spike(padded) if lowering.is_bool(x) else padded
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        n = lowering.shape(x)[axis]
        places = np.pad(np.arange(n)[max(-low, 0) : n + min(high, 0)], (max(low, 0), max(high, 0)), mode=mode)
        x = take(e, x, axis, places.tolist())
    return x


def _depth_to_space(lowering: Lowering, node: Node) -> Operand:
    e, x, block = lowering.e, lowering.operand(node, 0), int(node.attr("blocksize"))
    n, c, h, w = lowering.shape(x)
    inner = c // block**2
    if node.attr("mode", "DCR") == "DCR":
        y = e.transpose(e.reshape(x, (n, block, block, inner, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = e.transpose(e.reshape(x, (n, inner, block, block, h, w)), (0, 1, 4, 2, 5, 3))
    return e.reshape(y, (n, inner, h * block, w * block))


def _space_to_depth(lowering: Lowering, node: Node) -> Operand:
    e, x, block = lowering.e, lowering.operand(node, 0), int(node.attr("blocksize"))
    n, c, h, w = lowering.shape(x)
    y = e.transpose(e.reshape(x, (n, c, h // block, block, w // block, block)), (0, 3, 5, 1, 2, 4))
    return e.reshape(y, (n, c * block**2, h // block, w // block))


def _trilu(lowering: Lowering, node: Node) -> Operand:
    e, x, offset = lowering.e, lowering.operand(node, 0), lowering.array(node, 1, "diagonal")
    k = 0 if offset is None else int(offset.reshape(()))
    rows, columns = lowering.shape(x)[-2:]
    mask = (np.triu if node.attr("upper", 1) else np.tril)(np.ones((rows, columns), np.bool_), k)
    kept = Known(mask, "const.triangle")
    if lowering.is_bool(x):
        return e.emit("logical_and", e.live(x), kept)
    return e.emit("where", kept, e.real(x), 0.0)


def _compress(lowering: Lowering, node: Node) -> Operand:
    x, chosen = lowering.operand(node, 0), lowering.array(node, 1, "condition")
    if chosen is None:
        raise Refuse("has no condition", CONSTANT_REMEDY)
    places = np.flatnonzero(chosen).tolist()
    if node.attr("axis") is None:
        return take(lowering.e, lowering.e.reshape(x, (math.prod(lowering.shape(x)),)), 0, places)
    return take(lowering.e, x, lowering.axis(node, 0), places)


def _reverse_sequence(lowering: Lowering, node: Node) -> Operand:
    x, lengths = lowering.operand(node, 0), lowering.ints(node, 1, "sequence_lens") or ()
    time, batch = int(node.attr("time_axis", 0)), int(node.attr("batch_axis", 1))
    places = np.moveaxis(_numbers(lowering, x), (time, batch), (0, 1)).copy()
    for at, length in enumerate(lengths):
        places[:length, at] = places[:length, at][::-1].copy()
    return _flat_gather(lowering, x, np.moveaxis(places, (0, 1), (time, batch)))


ROWS: dict[str, Row] = {
    "Compress": _compress,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": _same,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
