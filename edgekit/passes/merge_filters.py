"""Filters that are only ever summed become one filter of the sum: a branch instead of each of its synapses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Entry, Graph, Op, Shape, State, Tensor
from edgekit.passes.rewrite import Rewriter, sweep


@dataclass(frozen=True, eq=False)
class _Filter:
    """s' = κ ⊙ s + v in `shape`, read as `summed` by a sum along an axis on which κ is constant; κ in its shape."""

    state: State
    drive: str
    shape: Shape
    summed: Shape
    decay: npt.NDArray[np.float32]


class _Readers:
    """Who reads the values of one entry, looking through reshapes; its end (outputs, updates) is a reader too."""

    def __init__(self, entry: Entry, state: str) -> None:
        self._ops: dict[str, list[Op]] = {}
        for op in entry.ops:
            for name in op.inputs:
                self._ops.setdefault(name, []).append(op)
        self._leaving = {*entry.outputs, *(value for s, value in entry.updates.items() if s != state)}

    def views(self, name: str) -> list[str]:
        """The value and every reshape of it."""
        found = [name]
        for view in found:  # grows while it is walked
            found += [op.outputs[0] for op in self._ops.get(view, []) if op.kind == "reshape"]
        return found

    def only(self, name: str, kind: str) -> Op | None:
        """The one op that reads a value or a view of it, once, and is of that kind."""
        views = self.views(name)
        ops = [op for view in views for op in self._ops.get(view, []) if op.kind != "reshape"]
        single = len(ops) == 1 and ops[0].kind == kind and self._leaving.isdisjoint(views)
        return ops[0] if single else None


def _filter_of(graph: Graph, entry: Entry, state: State) -> tuple[str, _Filter] | None:
    """What is known of a state if it is such a filter, and the result of its sum."""
    readers = _Readers(entry, state.tensor)
    decayed = readers.only(state.tensor, "mul")
    added = readers.only(decayed.outputs[0], "add") if decayed else None
    total = readers.only(added.outputs[0], "sum") if added else None
    if decayed is None or added is None or total is None:
        return None
    held, after = readers.views(state.tensor), readers.views(added.outputs[0])
    value, factor = decayed.inputs if decayed.inputs[0] in held else decayed.inputs[::-1]
    kappa, shape = graph.tensors[factor].data, graph.tensors[added.outputs[0]].shape
    shapes = {graph.tensors[n].shape for n in (value, decayed.outputs[0])}
    if kappa is None or shapes != {shape} or entry.updates[state.tensor] not in after:
        return None
    faded = readers.views(decayed.outputs[0])
    (drive,) = (name for name in added.inputs if name not in faded)
    axis, summed = total.attrs["axis"], graph.tensors[total.inputs[0]].shape
    every = np.broadcast_to(kappa, shape).reshape(summed)
    decay = every.take([0], axis)
    if summed[axis] == 1 or not (every == decay).all():
        return None
    result = total.outputs[0]
    return result, _Filter(state, drive, shape, summed, decay.reshape(graph.tensors[result].shape))


def _filters(graph: Graph) -> dict[str, _Filter]:
    """Every such filter, by the result of its sum; a state that several entries use is none."""
    found: dict[str, _Filter] = {}
    for entry in graph.entries.values():
        elsewhere = {name for other in graph.entries.values() if other is not entry for name in _mentioned(other)}
        for state in graph.states:
            alone = state.tensor in entry.updates and state.tensor not in elsewhere
            if alone and graph.tensors[state.tensor].dtype is FLOAT32:
                found.update([known] if (known := _filter_of(graph, entry, state)) else [])
    return found


def _mentioned(entry: Entry) -> set[str]:
    return {*entry.outputs, *entry.updates, *entry.updates.values(), *(n for op in entry.ops for n in op.inputs)}


def merge_filters(graph: Graph) -> Graph:
    """Replace s' = κ ⊙ s + v, b = Σ s' along an axis on which κ is constant, by b' = κ ⊙ b + Σ v.

    The new state starts at the sum of the first values. A state that is read in any other way stays as it is.
    """
    found = _filters(graph)
    merged: dict[str, State] = {}

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        known = found.get(op.outputs[0])
        if known is None:
            return None
        result, drive = op.outputs[0], rewriter.resolve(known.drive)
        shape, name = rewriter.tensor(result).shape, rewriter.fresh(f"{known.state.tensor}.sum")
        init = known.state.init.reshape(known.summed).sum(op.attrs["axis"], dtype=np.float64).reshape(shape)
        merged[result] = State(name, init.astype(np.float32), known.state.reset)
        rewriter.tensors[name] = Tensor(name, shape, FLOAT32)
        if rewriter.tensor(drive).shape != known.shape:
            drive = rewriter.emit("expand", drive, shape=known.shape)
        if known.shape != known.summed:
            drive = rewriter.emit("reshape", drive, shape=known.summed)
        decayed = rewriter.emit("mul", name, rewriter.const(f"{name}.decay", known.decay))
        rewriter.emit("add", decayed, rewriter.emit("sum", drive, **op.attrs), out=result)
        return op.outputs

    rewriter = Rewriter(graph)
    entries = [rewriter.entry(entry, rule) for entry in graph.entries.values()]
    gone = {known.state.tensor for known in found.values()}
    states = (*(s for s in graph.states if s.tensor not in gone), *merged.values())
    for at, entry in enumerate(entries):
        kept = {s: value for s, value in entry.updates.items() if s not in gone}
        made = {merged[n].tensor: n for op in entry.ops for n in op.outputs if n in merged}
        entries[at] = dataclasses.replace(entry, updates={**kept, **made})
    return sweep(graph.replace(tensors=rewriter.tensors, states=states).with_entries(*entries))
