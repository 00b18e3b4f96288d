"""Structured pruning: a step without some of its units, in smaller matrices and states."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from edgekit.compress.gone import Mask, Masks, closure
from edgekit.errors import UsageError
from edgekit.ir import Graph, Op, Tensor, verify

Kept = Sequence[Mask]  # of each axis of a value, which indices stay


@dataclasses.dataclass(frozen=True)
class Units:
    """Units of a step that can be taken out one by one: indices along an axis of a value.

    `name` is what rules call them, `weights` how many constants one of them takes along, `joint` the values and axes
    that lose an index with it.
    """

    name: str
    value: str
    axis: int
    size: int
    weights: int
    joint: frozenset[tuple[str, int]]


def units(graph: Graph) -> tuple[Units, ...]:
    """Every group of units of the step that can be taken out.

    It goes by the name of its first state, or else of the module that makes its first value (of that value where that
    is not known, or taken); where that has several axes, `[1]` and so on says which.
    """
    step = graph.entries["step"]
    modules = {name: op.source for op in step.ops for name in op.outputs if re.fullmatch(r"[\w.]+", op.source)}
    found: dict[frozenset[tuple[str, int]], Units] = {}
    for name in (*(s.tensor for s in graph.states), *(n for op in step.ops for n in op.outputs)):
        for axis, size in enumerate(graph.tensors[name].shape):
            if size < 2:
                continue
            try:
                gone = closure(graph, {name: slab(graph.tensors[name].shape, axis, [0])})
                kept = {n: kept_of(n, mask) for n, mask in gone.items() if mask.any()}
            except UsageError:
                continue
            joint = frozenset((n, at) for n, axes in kept.items() for at, keep in enumerate(axes) if not keep.all())
            weights = sum(int(gone[n].sum()) for n in kept if graph.tensors[n].is_const)
            if joint not in found:
                several = f"[{axis}]" * (len(graph.tensors[name].shape) > 1)
                called = f"{modules.get(name, name)}{several}"
                taken = any(other.name == called for other in found.values())
                found[joint] = Units(f"{name}{several}" if taken else called, name, axis, size, weights, joint)
    return tuple(found.values())


def without(graph: Graph, out: Mapping[Units, Sequence[int]]) -> Graph:
    """The graph without the given indices of units; UsageError where they cannot be taken out together."""
    first: dict[str, Mask] = {}
    for group, indices in out.items():
        shape = graph.tensors[group.value].shape
        first[group.value] = first.get(group.value, np.zeros(shape, bool)) | slab(shape, group.axis, indices)
    return cut(graph, closure(graph, first))


def cut(graph: Graph, gone: Masks) -> Graph:
    """The graph without the elements that are gone, which are whole indices along axes."""
    kept = {name: kept_of(name, mask) for name, mask in gone.items()}
    tensors = {}
    for name, tensor in graph.tensors.items():
        data = None if tensor.data is None else np.asarray(tensor.data)[np.ix_(*kept[name])]
        shape = tuple(int(keep.sum()) for keep in kept[name])
        tensors[name] = Tensor(name, shape, tensor.dtype, tensor.quant, data)
    step = graph.entries["step"]
    ops = tuple(_cut_op(op, kept, tensors) for op in step.ops)
    states = tuple(dataclasses.replace(s, init=np.asarray(s.init)[np.ix_(*kept[s.tensor])]) for s in graph.states)
    smaller = graph.replace(tensors=tensors, states=states).with_entries(dataclasses.replace(step, ops=ops))
    return verify(smaller)


def slab(shape: tuple[int, ...], axis: int, indices: Sequence[int]) -> Mask:
    """The mask of some indices of an axis of a value."""
    mask = np.zeros(shape, bool)
    np.moveaxis(mask, axis, 0)[list(indices)] = True
    return mask


def kept_of(name: str, mask: Mask) -> Kept:
    """Which indices of each axis stay; UsageError where what is gone is not whole indices."""
    axes = range(mask.ndim)
    keep = [~np.asarray(mask.all(tuple(other for other in axes if other != axis))) for axis in axes]
    if mask.ndim and mask.any() and not np.array_equal(~mask, reduce(np.logical_and.outer, keep)):
        raise UsageError(f"units of {name}", "cannot be taken out: only whole rows and columns can", "take others")
    return keep


def _cut_op(op: Op, kept: Mapping[str, Kept], tensors: Mapping[str, Tensor]) -> Op:
    """The op with the attributes that its smaller operands need."""
    attrs: dict[str, Any] = dict(op.attrs)
    x, out = op.inputs[0], op.outputs[0]
    if op.kind in ("reshape", "expand"):
        attrs["shape"] = tensors[out].shape
    elif op.kind in ("slice", "gather"):
        axis = attrs["axis"]
        taken = attrs["indices"] if op.kind == "gather" else range(attrs["start"], attrs["stop"], attrs.get("step", 1))
        places = np.cumsum(kept[x][axis]) - 1  # where an index that stays is now
        stays = zip(taken, kept[out][axis], strict=True)
        return dataclasses.replace(op, **picked(axis, [int(places[at]) for at, keep in stays if keep]))
    return dataclasses.replace(op, attrs=attrs)


def picked(axis: int, indices: Sequence[int]) -> dict[str, Any]:
    """Kind and attributes of the op that takes these indices: a slice where they follow each other."""
    start, stop = indices[0], indices[-1] + 1
    if list(indices) == list(range(start, stop)):
        return {"kind": "slice", "attrs": {"axis": axis, "start": start, "stop": stop, "step": 1}}
    return {"kind": "gather", "attrs": {"axis": axis, "indices": tuple(indices)}}
