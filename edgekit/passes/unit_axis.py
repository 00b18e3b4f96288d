"""The batch axis of length one, with which front ends lower, taken out of every op where that changes nothing.

A value that is another one with an axis of length one put in has that other one as its twin. An op on such values is
emitted on the twins where its kind has a rule, and the wide result is a reshape of the narrow one, which goes when
nothing reads it. An op without a rule keeps its wide operands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import prod
from typing import Any

from edgekit.ir.graph import Graph, Op, Shape
from edgekit.ir.ops import SCALAR_OPS
from edgekit.ir.verify import verify
from edgekit.passes.rename import renamed
from edgekit.passes.rewrite import Rewriter, rewrite, sweep


@dataclass(frozen=True)
class _Twin:
    """A value without the axis of length one, and where that axis is in the wide value."""

    name: str
    axis: int


def strip_unit_axis(graph: Graph) -> Graph:
    """The same graph with the batch axis of length one taken out of its ops; every value that leaves is unchanged."""
    strip = _Strip({name for entry in graph.entries.values() for name in entry.outputs})
    narrowed = drop_empty_reshapes(rewrite(graph, strip.rule))
    names = {**strip.names, **{new: old for (old, _), new in strip.consts.items()}}
    free = {new: old for new, old in names.items() if new in narrowed.tensors and old not in narrowed.tensors}
    return verify(renamed(narrowed, lambda name: free.get(name, name)))


class _Strip:
    def __init__(self, leaving: Collection[str]) -> None:
        self._leaving = leaving  # names that stay, whatever computes them
        self._twins: dict[str, _Twin] = {}
        self.consts: dict[tuple[str, int], str] = {}
        self.names: dict[str, str] = {}  # of narrow values: the names that they take over when the wide ones are gone

    def rule(self, rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        if len(op.outputs) != 1:
            return None
        found = [self._twins.get(n) for n in op.inputs]
        out = op.outputs[0]
        shape = rewriter.tensor(out).shape
        if op.kind == "reshape" and found[0] is None:
            axis = _inserted(rewriter.tensor(op.inputs[0]).shape, shape)
            if axis is not None:
                self._twins[out] = _Twin(op.inputs[0], axis)
            return None
        if not any(found):
            return None
        site, count = _Site(rewriter, op, found, shape, self.consts), len(rewriter.tensors)
        make = _elementwise if op.kind in SCALAR_OPS else RULES.get(op.kind)
        narrow = make(site) if make is not None else None
        if narrow is None:
            return None
        if len(rewriter.tensors) > count and next(reversed(rewriter.tensors)) == narrow.name:
            self.names[narrow.name] = out
        if narrow.axis == WHOLE and out not in self._leaving:
            return (narrow.name,)
        if narrow.axis != WHOLE:
            self._twins[out] = narrow
        rewriter.append(Op("reshape", (narrow.name,), (out,), {"shape": shape}, op.source))
        return (out,)


WHOLE = -1
"""The axis of a twin that stands for the result itself."""


@dataclass(frozen=True)
class _Site:
    """An op to be narrowed: its operands' twins (None for those without) and the shape of its wide result."""

    rewriter: Rewriter
    op: Op
    twins: list[_Twin | None]
    shape: Shape
    consts: dict[tuple[str, int], str]  # constants that have lost an axis already

    def emit(self, *inputs: str, **attrs: Any) -> str:
        return self.rewriter.emit(self.op.kind, *inputs, **attrs)

    @property
    def first(self) -> _Twin | None:
        return self.twins[0]

    def without(self, at: int, axis: int) -> str:
        """Operand `at` without an axis of length one."""
        twin, name = self.twins[at], self.op.inputs[at]
        if twin is not None and twin.axis == axis:
            return twin.name
        tensor = self.rewriter.tensor(name)
        shape = _dropped(tensor.shape, axis)
        if tensor.data is not None:
            if (name, axis) not in self.consts:
                narrow = self.rewriter.const(name, tensor.data.reshape(shape), tensor.dtype, tensor.quant)
                self.consts[name, axis] = narrow
            return self.consts[name, axis]
        return self.rewriter.emit("reshape", name, shape=shape)


def _dropped(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _inserted(narrow: Shape, wide: Shape) -> int | None:
    """Where an axis of length one was put into a shape; None where that is not the difference."""
    if len(wide) != len(narrow) + 1:
        return None
    return next((a for a, n in enumerate(wide) if n == 1 and _dropped(wide, a) == narrow), None)


def _elementwise(site: _Site) -> _Twin | None:
    """All operands lose the axis that is so far from the right; what does not reach so far broadcasts as before."""
    tensors = [site.rewriter.tensor(n) for n in site.op.inputs]
    reach = {len(t.shape) - w.axis for t, w in zip(tensors, site.twins, strict=True) if w is not None}
    if len(reach) != 1:
        return None
    (back,) = reach
    axis = len(site.shape) - back
    if site.shape[axis] != 1:
        return None
    narrow = [site.without(at, len(t.shape) - back) if len(t.shape) >= back else t.name for at, t in enumerate(tensors)]
    return _Twin(site.emit(*narrow, **site.op.attrs), axis)


def _linear(site: _Site) -> _Twin | None:
    twin, (x, w, *addend) = site.first, site.op.inputs
    if twin is None or twin.axis == len(site.rewriter.tensor(x).shape) - 1:
        return None
    if addend and len(site.rewriter.tensor(addend[0]).shape) == len(site.shape):
        addend = [site.without(2, twin.axis)]
    return _Twin(site.emit(twin.name, w, *addend, **site.op.attrs), twin.axis)


def _reduction(site: _Site) -> _Twin | None:
    twin, attrs = site.first, dict(site.op.attrs)
    if twin is None:
        return None
    axis, kept = attrs.pop("axis"), attrs.get("keepdims", False) or site.op.kind == "cumsum"
    if axis == twin.axis:  # over one element; only an exclusive running sum changes that
        return None if attrs.get("exclusive") else twin if kept else _Twin(twin.name, WHOLE)
    name = site.emit(twin.name, axis=axis - (axis > twin.axis), **attrs)
    return _Twin(name, twin.axis if kept else twin.axis - (twin.axis > axis))


def _reshape(site: _Site) -> _Twin | None:
    twin, shape = site.first, site.shape
    if twin is None:
        return None
    narrow, before = site.rewriter.tensor(twin.name).shape, site.rewriter.tensor(site.op.inputs[0]).shape
    if shape == narrow:
        return _Twin(twin.name, WHOLE)
    ahead = prod(before[: twin.axis])
    places = [a for a, n in enumerate(shape) if n == 1]
    axis = next((a for a in places if prod(shape[:a]) == ahead), places[0] if places else None)
    if axis is None:
        return _Twin(site.emit(twin.name, shape=shape), WHOLE)
    target = _dropped(shape, axis)
    return _Twin(twin.name if target == narrow else site.emit(twin.name, shape=target), axis)


def _transpose(site: _Site) -> _Twin | None:
    twin, perm = site.first, site.op.attrs["perm"]
    if twin is None:
        return None
    order = tuple(p - (p > twin.axis) for p in perm if p != twin.axis)
    same = order == tuple(range(len(order)))
    return _Twin(twin.name if same else site.emit(twin.name, perm=order), perm.index(twin.axis))


def _expand(site: _Site) -> _Twin | None:
    twin = site.first
    if twin is None:
        return None
    axis = twin.axis + len(site.shape) - len(site.rewriter.tensor(site.op.inputs[0]).shape)
    if site.shape[axis] != 1:
        return None
    return _Twin(site.emit(twin.name, shape=_dropped(site.shape, axis)), axis)


def _along(site: _Site) -> _Twin | None:
    """slice and gather: of the axis of length one there is only one element to take."""
    twin, attrs = site.first, dict(site.op.attrs)
    if twin is None:
        return None
    axis = attrs.pop("axis")
    if axis == twin.axis:
        return twin if site.shape[axis] == 1 else None
    return _Twin(site.emit(twin.name, axis=axis - (axis > twin.axis), **attrs), twin.axis)


def _concat(site: _Site) -> _Twin | None:
    axis, places = site.op.attrs["axis"], {t.axis for t in site.twins if t is not None}
    if len(places) != 1 or axis in places:
        return None
    (place,) = places
    parts = [site.without(at, place) for at in range(len(site.op.inputs))]
    return _Twin(site.emit(*parts, axis=axis - (axis > place)), place)


def _pad(site: _Site) -> _Twin | None:
    twin, attrs = site.first, dict(site.op.attrs)
    if twin is None or attrs["before"][twin.axis] or attrs["after"][twin.axis]:
        return None
    attrs |= {side: _dropped(attrs[side], twin.axis) for side in ("before", "after")}
    return _Twin(site.emit(twin.name, **attrs), twin.axis)


def _windows(site: _Site) -> _Twin | None:
    twin = site.first
    rank = len(site.rewriter.tensor(site.op.inputs[0]).shape)
    if twin is None or twin.axis >= rank - len(site.op.attrs["size"]):
        return None
    return _Twin(site.emit(twin.name, **site.op.attrs), twin.axis)


RULES: dict[str, Callable[[_Site], _Twin | None]] = {
    "linear": _linear,
    "sum": _reduction,
    "amax": _reduction,
    "cumsum": _reduction,
    "reshape": _reshape,
    "transpose": _transpose,
    "expand": _expand,
    "slice": _along,
    "gather": _along,
    "concat": _concat,
    "pad": _pad,
    "windows": _windows,
}


def drop_empty_reshapes(graph: Graph) -> Graph:
    """Drop reshapes to the shape that a value has; where the result leaves the graph, its maker takes over its name."""
    fixed = {n for e in graph.entries.values() for n in (*e.inputs, *e.outputs)} | graph.state_names
    names: dict[str, str] = {}

    def resolve(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    entries = []
    for entry in graph.entries.values():
        made: set[str] = set()
        kept: list[Op] = []
        for op in entry.ops:
            if op.kind == "reshape":
                source, out = resolve(op.inputs[0]), op.outputs[0]
                if graph.tensors[source].shape == graph.tensors[out].shape:
                    if out not in fixed:
                        names[out] = source
                        continue
                    if source in made and source not in fixed:
                        names[source] = out
                        made.add(out)
                        continue
            kept.append(op)
            made.update(op.outputs)
        entries.append(dataclasses.replace(entry, ops=tuple(kept)))
    return sweep(renamed(graph.with_entries(*entries), resolve))
