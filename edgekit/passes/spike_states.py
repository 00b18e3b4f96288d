"""States that only ever hold spikes become spike states: one bit each, and what reads them can skip zeros."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Entry, Graph, Op, State, Tensor
from edgekit.passes.rewrite import sweep


def _spike_behind(entry: Entry, value: str, graph: Graph) -> str | None:
    for op in entry.ops:
        if value in op.outputs and op.kind == "cast" and graph.tensors[op.inputs[0]].dtype is SPIKE:
            return op.inputs[0]
    return None


def narrow_spike_states(graph: Graph) -> Graph:
    """Give dtype spike to every float state whose first value is 0 or 1 and whose every update is a cast spike."""
    narrow: dict[str, dict[str, str]] = {}
    for state in graph.states:
        if graph.tensors[state.tensor].dtype is not FLOAT32 or not np.isin(state.init, (0.0, 1.0)).all():
            continue
        updated = [e for e in graph.entries.values() if state.tensor in e.updates]
        sources = {e.name: _spike_behind(e, e.updates[state.tensor], graph) for e in updated}
        if updated and all(sources.values()):
            narrow[state.tensor] = {entry: spike for entry, spike in sources.items() if spike}
    if not narrow:
        return graph
    tensors = dict(graph.tensors)
    states: list[State] = []
    for state in graph.states:
        if state.tensor in narrow:
            tensors[state.tensor] = dataclasses.replace(tensors[state.tensor], dtype=SPIKE)
            state = dataclasses.replace(state, init=state.init != 0)  # noqa: PLW2901
        states.append(state)
    entries: list[Entry] = []
    for entry in graph.entries.values():
        # readers still want a float: they get a cast, which the simplifier then sinks towards the ops
        alias = {s: f"{entry.name}.{s}.float" for s in narrow}
        casts = []
        for state_name, name in alias.items():
            tensors[name] = Tensor(name, tensors[state_name].shape, FLOAT32)
            casts.append(Op("cast", (state_name,), (name,), {"to": "float32"}))
        ops = [dataclasses.replace(op, inputs=tuple(alias.get(n, n) for n in op.inputs)) for op in entry.ops]
        updates = {s: narrow[s][entry.name] if s in narrow else alias.get(v, v) for s, v in entry.updates.items()}
        # a state that leaves does so as spikes, under its own name: a port writes them as 0.0 and 1.0
        entries.append(Entry(entry.name, entry.inputs, entry.outputs, (*casts, *ops), updates))
    return sweep(graph.replace(tensors=tensors, states=tuple(states)).with_entries(*entries))
