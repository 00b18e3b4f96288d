"""For files whose ports have names: every output of the step is a value of its own, under a name of its own."""

from __future__ import annotations

from dataclasses import replace

from edgekit.artifact.exported import state_output
from edgekit.ir.graph import Graph, Op, Tensor
from edgekit.ir.verify import verify


def own_outputs(graph: Graph) -> Graph:
    """Copy each output of the step that is an input, a state, a constant, an output already, or a next state by name.

    The copy of `name` is called `name.out`, or `name.out1`, … where that is taken.
    """
    step, tensors = graph.entries["step"], dict(graph.tensors)
    used = {*step.inputs, *graph.state_names, *graph.consts, *map(state_output, graph.state_names)}
    outputs, copies = [], []
    for name in step.outputs:
        own = name
        if name in used:
            taken = tensors.keys() | used
            own = next(n for n in (f"{name}.out{at or ''}" for at in range(len(taken) + 1)) if n not in taken)
            tensors[own] = Tensor(own, tensors[name].shape, tensors[name].dtype)
            copies.append(Op("expand", (name,), (own,), {"shape": tensors[name].shape}))
        used.add(own)
        outputs.append(own)
    if not copies:
        return graph
    changed = replace(step, ops=(*step.ops, *copies), outputs=tuple(outputs))
    return verify(graph.replace(tensors=tensors).with_entries(changed))
