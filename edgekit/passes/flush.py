"""Denormals: every computed float state is flushed, so that a silent network does not slow down by a factor of 100."""

from __future__ import annotations

from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.verify import verify


def flush_states(graph: Graph) -> Graph:
    """Put `flush` before the update of each float32 state that an op computes, right behind that op."""
    tensors = dict(graph.tensors)
    entries: list[Entry] = []
    for entry in graph.entries.values():
        computed = {name for op in entry.ops if op.kind != "flush" for name in op.outputs}
        flushed: dict[str, str] = {}
        for state, value in entry.updates.items():
            if value in computed and tensors[value].dtype is FLOAT32 and value not in flushed:
                name = flushed[value] = f"{entry.name}.{state}.next"
                tensors[name] = Tensor(name, tensors[value].shape, FLOAT32)
        ops: list[Op] = []
        for op in entry.ops:
            ops.append(op)
            ops += [Op("flush", (v,), (flushed[v],), source=op.source) for v in op.outputs if v in flushed]
        updates = {state: flushed.get(value, value) for state, value in entry.updates.items()}
        entries.append(Entry(entry.name, entry.inputs, entry.outputs, tuple(ops), updates))
    return verify(graph.replace(tensors=tensors).with_entries(*entries))
