"""Tensors under other names, and outputs under the names that they had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from edgekit.errors import GraphError
from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.verify import verify


def renamed(graph: Graph, new: Callable[[str], str]) -> Graph:
    """The same graph with every tensor under its new name; two that get the same one have to be the same value."""

    def each(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(new, names))

    entries = [
        Entry(
            e.name,
            each(e.inputs),
            each(e.outputs),
            tuple(dataclasses.replace(o, inputs=each(o.inputs), outputs=each(o.outputs)) for o in e.ops),
            {new(state): new(value) for state, value in e.updates.items()},
        )
        for e in graph.entries.values()
    ]
    tensors = {new(n): dataclasses.replace(t, name=new(n)) for n, t in graph.tensors.items()}
    states = tuple(dataclasses.replace(s, tensor=new(s.tensor)) for s in graph.states)
    return graph.replace(tensors=tensors, states=states).with_entries(*entries)


def with_output_names(graph: Graph, like: Graph) -> Graph:
    """The graph with outputs called as in `like`: who made one takes over its name; what passes through gets an op.

    GraphError where another value has the name of an output.
    """
    names: dict[str, str] = {}
    entries = dict(graph.entries)
    tensors = dict(graph.tensors)
    for entry in graph.entries.values():
        made = {n for op in entry.ops for n in op.outputs}
        wanted = like.entries[entry.name].outputs if entry.name in like.entries else entry.outputs
        leaving, ops = dict(zip(wanted, entry.outputs, strict=True)), list(entry.ops)
        for want, have in leaving.items():
            if have == want:
                continue
            if want in graph.tensors:
                raise GraphError(f"output {want!r}", f"became {have!r} in a pass, and its name is another value's now")
            if have in made and have not in names and have not in wanted:
                names[have] = want
                continue
            tensor = graph.tensors[have]
            tensors[want] = Tensor(want, tensor.shape, tensor.dtype, tensor.quant)
            ops.append(Op("reshape", (have,), (want,), {"shape": tensor.shape}))
            leaving[want] = want
        outputs = tuple(leaving[want] for want in wanted)
        entries[entry.name] = dataclasses.replace(entry, outputs=outputs, ops=tuple(ops))
    if entries == dict(graph.entries) and not names:
        return graph
    changed = graph.replace(tensors=tensors).with_entries(*entries.values())
    return verify(renamed(changed, lambda name: names.get(name, name)))
