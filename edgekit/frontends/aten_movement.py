"""The rows of the lowering table that move values: views, parts, indices, and writes into a part of a tensor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from edgekit.frontends.aten import axis_of, row
from edgekit.frontends.emitter import Array, Known, Live, Operand, Refuse
from edgekit.frontends.formulas import apply
from edgekit.frontends.lookup import from_front, looked_up, taken
from edgekit.frontends.lower import Call, Lowering
from edgekit.frontends.record import OVERWRITE
from edgekit.ir import SPIKE

# --- writes ----------------------------------------------------------------------------------------------------------


@row("copy", "fill", "zero")
def _overwrite(low: Lowering, call: Call) -> Operand:
    """What a tensor holds after it was written as a whole."""
    value = call["src"] if call.name == "aten::copy" else call.args.get("value", 0.0)
    value = low.spike(value) if call.dtype is torch.bool else low.real(value)
    return low.expand(value, call.shape)


@row(OVERWRITE)
def _merged(low: Lowering, call: Call) -> Live:
    """`base` where `index` is -1, else the element of `values` that it names."""
    return overwritten(low, call["base"], call["values"], np.asarray(call["index"]), call)


def overwritten(low: Lowering, base: Any, values: Any, index: Array, call: Call) -> Live:
    """One tensor with elements of another in some places: parts side by side where they lie so, else a gather."""
    cast = low.spike if call.dtype is torch.bool else low.real
    base, values = cast(base), cast(values)
    shape, table = call.shape, np.asarray(index.reshape(call.shape))
    if (table >= 0).all() and np.array_equal(index, np.arange(index.size)):
        return low.live(low.reshape(values, shape))
    for axis, size in enumerate(shape):
        rows = np.moveaxis(table, axis, 0).reshape(size, -1)
        inside = np.asarray((rows >= 0).all(axis=1))
        if not np.array_equal(inside, (rows >= 0).any(axis=1)):
            continue
        start, count = int(inside.argmax()), int(inside.sum())
        written = table.take(range(start, start + count), axis)
        if inside[start : start + count].all() and np.array_equal(written.reshape(-1), np.arange(written.size)):
            middle = low.reshape(values, written.shape)
            ends = [(0, start), (start + count, size)]
            parts = [low.emit("slice", low.live(base), axis=axis, start=a, stop=b) if b > a else None for a, b in ends]
            return low.emit("concat", *(p for p in (parts[0], middle, parts[1]) if p is not None), axis=axis)
    stock = low.emit("concat", low.reshape(base, (index.size,)), low.reshape(values, (_size(low, values),)), axis=0)
    chosen = np.where(index >= 0, index.size + index, np.arange(index.size))
    return low.live(low.reshape(low.emit("gather", stock, axis=0, indices=tuple(map(int, chosen))), shape))


def _size(low: Lowering, value: Any) -> int:
    return math.prod(low.shape(value))


# --- views and parts -------------------------------------------------------------------------------------------------


@row("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze")
def _view(low: Lowering, call: Call) -> Operand:
    """Any view: the same elements, row-major."""
    return low.reshape(call["self"], call.shape)


@row("permute", "transpose", "t")
def _permute(low: Lowering, call: Call) -> Operand:
    x = call["self"]
    order = list(range(len(low.shape(x))))
    if call.name == "aten::permute":
        order = [d % len(order) for d in call["dims"]]
    elif len(order) > 1:
        a, b = (0, 1) if call.name == "aten::t" else (call["dim0"], call["dim1"])
        order[a], order[b] = order[b], order[a]
    return low.transpose(x, order)


@row("expand")
def _expand(low: Lowering, call: Call) -> Operand:
    return low.expand(call["self"], call.shape)


@row("repeat")
def _repeat(low: Lowering, call: Call) -> Operand:
    x, repeats = call["self"], call["repeats"]
    x = low.reshape(x, (*(1,) * (len(repeats) - len(low.shape(x))), *low.shape(x)))
    for axis, times in enumerate(repeats):
        if times != 1:
            x = low.emit("concat", *[low.live(x)] * times, axis=axis)
    return x  # type: ignore[no-any-return]


@row("slice")
def _slice(low: Lowering, call: Call) -> Operand:
    x = call["self"]
    axis = axis_of(call["dim"], len(low.shape(x)))
    first, last, step = slice(call["start"], call["end"], call["step"]).indices(low.shape(x)[axis])
    if (first, last, step) == (0, low.shape(x)[axis], 1):
        return x  # type: ignore[no-any-return]
    return low.emit("slice", low.live(x), axis=axis, start=first, stop=max(first, last), step=step)


@row("select")
def _select(low: Lowering, call: Call) -> Operand:
    x = call["self"]
    axis = axis_of(call["dim"], len(low.shape(x)))
    at = call["index"] % low.shape(x)[axis]
    return low.reshape(low.emit("slice", low.live(x), axis=axis, start=at, stop=at + 1), call.shape)


@row("slice_scatter", "select_scatter")
def _scatter(low: Lowering, call: Call) -> Live:
    """A tensor with a slice of it replaced."""
    table = np.full(call.shape, -1, np.int64)
    axis = axis_of(call["dim"], call.rank)
    chosen: list[Any] = [slice(None)] * call.rank
    if call.name.endswith("select_scatter"):
        chosen[axis] = call["index"]
    else:
        chosen[axis] = slice(*slice(call["start"], call["end"], call["step"]).indices(call.shape[axis]))
    size = table[tuple(chosen)].shape
    table[tuple(chosen)] = np.arange(math.prod(size)).reshape(size)
    return overwritten(low, call["self"], call["src"], table.reshape(-1), call)


@row("split", "split_with_sizes", "unbind", "unsafe_split")
def _split(low: Lowering, call: Call) -> list[Operand]:
    x = low.live(call["self"])
    axis = axis_of(call["dim"], len(low.shape(x)))
    size = low.shape(x)[axis]
    sizes = 1 if call.name == "aten::unbind" else call.args.get("split_sizes", call.args.get("split_size"))
    if isinstance(sizes, int):
        sizes = [min(sizes, size - at) for at in range(0, size, sizes)]
    ends = np.cumsum(sizes).tolist()
    parts: list[Operand] = [
        low.emit("slice", x, axis=axis, start=end - length, stop=end) for end, length in zip(ends, sizes, strict=True)
    ]
    return [low.reshape(p, call.shape) for p in parts] if call.name == "aten::unbind" else parts


@row("cat", "stack")
def _concat(low: Lowering, call: Call) -> Live:
    axis = axis_of(call["dim"], call.rank)
    parts: list[Operand] = []
    for value in call["tensors"]:
        if not isinstance(value, Live) and not isinstance(value, Known):
            raise Refuse("joins something that is not a tensor")
        part = low.spike(value) if call.dtype is torch.bool else low.real(value)
        if call.name == "aten::stack":
            own = low.shape(part)
            part = low.reshape(part, (*own[:axis], 1, *own[axis:]))
        if 0 not in low.shape(part):  # an empty tensor joins anything
            parts.append(part)
    return low.emit("concat", *parts, axis=axis) if len(parts) > 1 else low.live(parts[0])


def _gather(low: Lowering, x: Any, axis: int, indices: Sequence[int]) -> Live:
    size = low.shape(x)[axis]
    return low.emit("gather", low.live(x), axis=axis, indices=tuple(int(i) % size for i in indices))


def _fixed_index(index: Any) -> Array:
    if not isinstance(index, Known):
        raise Refuse("picks by several indices that change at run time", "pick along one axis after another")
    return index.array


@row("embedding")
def _embedding(low: Lowering, call: Call) -> Live:
    return looked_up(low, call["weight"], 0, low.live(low.real(call["indices"])))


@row("index_select")
def _index_select(low: Lowering, call: Call) -> Operand:
    if isinstance(call["index"], Live):
        axis = axis_of(call["dim"], call.rank)
        return taken(low, call["self"], axis, from_front(low, call["index"], low.shape(call["self"])[axis]))
    return _gather(low, call["self"], axis_of(call["dim"], call.rank), _fixed_index(call["index"]).reshape(-1).tolist())


@row("gather")
def _torch_gather(low: Lowering, call: Call) -> Operand:
    """x[…, index[…, i, …], …]."""
    axis, shape = axis_of(call["dim"], call.rank), low.shape(call["self"])
    whole = all(a == b for at, (a, b) in enumerate(zip(call.shape, shape, strict=True)) if at != axis)
    if isinstance(call["index"], Live):
        if not whole:
            raise Refuse("picks from a part of a tensor by an index that changes", "slice the tensor first")
        return _compared(low, call["self"], axis, call["index"])
    index = _fixed_index(call["index"])
    table = np.moveaxis(index, axis, -1).reshape(-1, call.shape[axis])
    if whole and (table == table[0]).all():
        return _gather(low, call["self"], axis, table[0].tolist())
    places = np.arange(math.prod(shape)).reshape(shape)
    cut = places[tuple(slice(0, n) if at != axis else slice(None) for at, n in enumerate(index.shape))]
    return _elements(low, call["self"], np.take_along_axis(cut, index, axis), call.shape)


def _compared(low: Lowering, x: Any, axis: int, index: Live) -> Live:
    """Σ over an axis of x where its place equals the index, for each index on its own."""
    rank, n = len(low.shape(x)), low.shape(x)[axis]
    x_shape, index_shape = (list(low.shape(value)) for value in (x, index))
    spread = low.reshape(low.real(x), (*x_shape[:axis], 1, *x_shape[axis:]))
    wanted = low.reshape(index, (*index_shape[: axis + 1], 1, *index_shape[axis + 1 :]))
    places = Known(np.arange(n, dtype=np.float32).reshape(n, *(1,) * (rank - 1 - axis)), "const.places")
    hit = low.emit("where", low.emit("eq", low.live(wanted), places), spread, 0.0)
    return low.emit("sum", hit, axis=axis + 1, keepdims=False)


def _elements(low: Lowering, x: Any, places: Array, shape: Sequence[int]) -> Operand:
    """Single elements by their row-major place."""
    flat = low.reshape(x, (_size(low, x),))
    return low.reshape(_gather(low, flat, 0, places.reshape(-1).tolist()), shape)


@row("index")
def _index(low: Lowering, call: Call) -> Operand:
    """x[…, i, …] with constant indices or masks, or one index that changes."""
    x = call["self"]
    given = [(at, index) for at, index in enumerate(call["indices"]) if index is not None]
    if len(given) == 1 and isinstance(given[0][1], Live):
        if low.dtype(given[0][1]) is SPIKE:
            raise Refuse("picks as many elements as a mask has", "multiply by the mask, or use torch.where")
        axis, index = given[0]
        return taken(low, x, axis, from_front(low, index, low.shape(x)[axis]))
    if any(isinstance(index, Live) for _, index in given):
        return _pick_one(low, call, given)
    chosen = [(at, _fixed_index(index)) for at, index in enumerate(call["indices"]) if index is not None]
    if len(chosen) == 1 and chosen[0][1].ndim == 1:
        axis, index = chosen[0]
        indices = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return _gather(low, x, axis, indices.tolist())
    return _elements(low, x, _places(call["indices"], low.shape(x)), call.shape)


def _pick_one(low: Lowering, call: Call, given: Sequence[tuple[int, Any]]) -> Operand:
    """One place on each of several axes, some of them known only at run time."""
    x = call["self"]
    if any(math.prod(low.shape(index)) != 1 for _, index in given):
        raise Refuse("picks by several indices that change at run time", "pick along one axis after another")
    for axis, index in given:
        n = low.shape(x)[axis]
        if isinstance(index, Live):
            place = low.live(low.reshape(from_front(low, index, n), (1,)))
            rest = [a for a in range(len(low.shape(x))) if a != axis]
            x = low.transpose(
                looked_up(low, x, axis, place),
                [*(rest.index(a) + 1 for a in rest[:axis]), 0, *(rest.index(a) + 1 for a in rest[axis:])],
            )
        else:
            at = int(_fixed_index(index).reshape(())) % n
            x = low.emit("slice", low.live(x), axis=axis, start=at, stop=at + 1)
    return low.reshape(x, call.shape)


def _places(indices: Sequence[Any], shape: Sequence[int]) -> Array:
    """Row-major places of the elements that an index expression picks."""
    table = np.arange(math.prod(shape)).reshape(shape)
    return np.asarray(table[tuple(slice(None) if i is None else _fixed_index(i) for i in indices)])


@row("index_put")
def _index_put(low: Lowering, call: Call) -> Live:
    """x with the elements that indices pick replaced, or added to; an index that changes picks one place of an axis."""
    given = [(at, index) for at, index in enumerate(call["indices"]) if index is not None]
    live = [index for _, index in given if isinstance(index, Live)]
    if live and all(low.dtype(index) is not SPIKE for index in live):
        return _put_one(low, call, given)
    if len(given) == 1 and live and not call.args.get("accumulate"):
        return _put_masked(low, call, live[0])
    return _written(low, call, _places(call["indices"], call.shape))


def _written(low: Lowering, call: Call, places: Array) -> Live:
    """`self` with `values` at row-major places."""
    if np.unique(places).size != places.size:
        raise Refuse("writes an element twice", "let the indices differ")
    values = call["values"]
    values = low.spike(values) if call.dtype is torch.bool else low.real(values)
    if call.args.get("accumulate"):
        values = low.emit("add", low.live(_elements(low, call["self"], places, places.shape)), values)
    table = np.full(math.prod(call.shape), -1, np.int64)
    table[places.reshape(-1)] = np.arange(places.size)
    return overwritten(low, call["self"], low.expand(values, places.shape), table, call)


def _put_one(low: Lowering, call: Call, given: Sequence[tuple[int, Any]]) -> Live:
    """where(places = indices, values, x): one place on each of some axes."""
    axes = [axis for axis, _ in given]
    if any(math.prod(low.shape(index)) != 1 for _, index in given) or axes != list(range(axes[0], axes[-1] + 1)):
        raise Refuse("writes to several places that change at run time", "write one after another")
    hit: Operand = True
    for axis, index in given:
        n, behind = call.shape[axis], call.rank - 1 - axis
        places = np.arange(n, dtype=np.float32).reshape(n, *(1,) * behind)
        if isinstance(index, Live):
            place = low.reshape(from_front(low, index, n), (1,) * (behind + 1))
            here: Operand = low.emit("eq", low.live(place), Known(places, "const.places"))
        else:
            here = Known(places == int(_fixed_index(index).reshape(())) % n, "const.place")
        hit = here if hit is True else low.emit("logical_and", hit, here)
    x, values = low.real(call["self"]), low.real(call["values"])
    shape, behind = low.shape(values), call.rank - 1 - axes[-1]
    # the axes that the indices take the place of come back with one place each
    own = max(len(low.shape(index)) for _, index in given)
    ahead = shape[: max(len(shape) - behind - own, 0)]
    if shape:
        tail = shape[max(len(shape) - behind, 0) :] if behind else ()
        values = low.reshape(values, (*ahead, *(1,) * len(axes), *tail))
    if call.args.get("accumulate"):
        values = apply(low, "add", x, values)
    return low.emit("where", low.live(hit), low.live(low.expand(values, call.shape)), x)


def _put_masked(low: Lowering, call: Call, mask: Live) -> Live:
    """where(mask, values, x), for a single value."""
    if math.prod(low.shape(call["values"])) != 1:
        raise Refuse("writes as many elements as a mask has", "use torch.where")
    own = low.shape(mask)
    wide = low.live(low.reshape(mask, (*own, *(1,) * (call.rank - len(own)))))
    value = low.reshape(low.real(call["values"]), ())
    return low.emit("where", wide, value, low.real(call["self"]))


@row("scatter", "scatter_add")
def _torch_scatter(low: Lowering, call: Call) -> Live:
    """x with elements along an axis replaced or added to: at constant places, or at one that changes in each row."""
    axis, adds = axis_of(call["dim"], call.rank), call.name.endswith("add")
    source = call.args.get("src", call.args.get("value"))
    if isinstance(call["index"], Live):
        return _scattered(low, call, axis, source, adds=adds)
    index = _fixed_index(call["index"])
    places = np.arange(math.prod(call.shape)).reshape(call.shape)
    cut = places[tuple(slice(0, n) if at != axis else slice(None) for at, n in enumerate(index.shape))]
    table = np.take_along_axis(cut, index, axis)
    given = {"self": call["self"], "indices": (), "accumulate": adds}
    source = low.expand(source, index.shape)
    return _written(low, dataclasses.replace(call, args={**given, "values": source}), table)


def _scattered(low: Lowering, call: Call, axis: int, source: Any, *, adds: bool) -> Live:
    """where(place = index, source, x) with one index in each row along the axis."""
    shape = low.shape(call["index"])
    if shape[axis] != 1 or any(a != b for at, (a, b) in enumerate(zip(shape, call.shape, strict=True)) if at != axis):
        raise Refuse("writes to several places of a row that change at run time", "write one after another")
    behind = call.rank - 1 - axis
    places = Known(np.arange(call.shape[axis], dtype=np.float32).reshape(-1, *(1,) * behind), "const.places")
    hit = low.emit("eq", low.live(call["index"]), places)
    x, value = low.real(call["self"]), low.real(source)
    value = apply(low, "add", x, value) if adds else value
    return low.emit("where", hit, low.live(low.expand(value, call.shape)), x)


@row("diagonal")
def _diagonal(low: Lowering, call: Call) -> Operand:
    x = call["self"]
    table = np.arange(_size(low, x)).reshape(low.shape(x))
    places = np.diagonal(table, call["offset"], call["dim1"], call["dim2"])
    return _elements(low, x, np.ascontiguousarray(places), call.shape)


@row("tril", "triu")
def _triangle(low: Lowering, call: Call) -> Live:
    """A matrix with zeros above, or below, a diagonal."""
    mask = (np.tril if call.name.endswith("tril") else np.triu)(np.ones(call.shape[-2:], np.float32), call["diagonal"])
    return apply(low, "mul", call["self"], Known(mask, "const.triangle"))


@row("flip", "roll")
def _reorder(low: Lowering, call: Call) -> Operand:
    x, dims = call["self"], call["dims"]
    shifts = call.args.get("shifts", [0] * len(dims))
    if not dims:
        flat = np.roll(np.arange(_size(low, x)), shifts[0])
        return _elements(low, x, flat, call.shape)
    for dim, shift in zip(dims, shifts, strict=True):
        axis = axis_of(dim, call.rank)
        size = call.shape[axis]
        if call.name == "aten::roll" and shift % size > 0:
            ends = [(size - shift % size, size), (0, size - shift % size)]
            parts = [low.emit("slice", low.live(x), axis=axis, start=a, stop=b) for a, b in ends]
            x = low.emit("concat", *parts, axis=axis)
        elif call.name == "aten::flip":
            x = _gather(low, x, axis, range(size - 1, -1, -1))
    return x  # type: ignore[no-any-return]
