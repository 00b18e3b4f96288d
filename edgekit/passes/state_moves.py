"""States that become other states (delay lines, swaps): the old value is copied first, so that no order can lose it."""

from __future__ import annotations

import dataclasses

from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.verify import verify


def copy_moved_states(graph: Graph) -> Graph:
    """Where a state's new value is another state (or a view of one), copy that state at the start of the entry."""
    tensors = dict(graph.tensors)
    entries: list[Entry] = []
    for entry in graph.entries.values():
        source = {name: name for name in graph.state_names}
        for op in entry.ops:
            if op.kind == "reshape" and op.inputs[0] in source:
                source[op.outputs[0]] = source[op.inputs[0]]
        copies: list[Op] = []
        updates = dict(entry.updates)
        for state, value in entry.updates.items():
            if value not in source or source[value] == state:
                continue
            copied, moved = f"{entry.name}.{state}.moved", tensors[source[value]]
            tensors[copied] = Tensor(copied, moved.shape, moved.dtype)
            copies.append(Op("expand", (moved.name,), (copied,), {"shape": moved.shape}))
            if tensors[value].shape != moved.shape:
                viewed = f"{copied}.view"
                tensors[viewed] = Tensor(viewed, tensors[value].shape, moved.dtype)
                copies.append(Op("reshape", (copied,), (viewed,), {"shape": tensors[value].shape}))
                copied = viewed
            updates[state] = copied
        entries.append(dataclasses.replace(entry, ops=(*copies, *entry.ops), updates=updates))
    return verify(graph.replace(tensors=tensors).with_entries(*entries))
