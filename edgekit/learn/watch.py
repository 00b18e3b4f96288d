"""Layers that a rule listens to and leaves as they are: a step leaves what they were given, and what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgekit.errors import UnsupportedError
from edgekit.ir.graph import Graph
from edgekit.learn.draft import Draft
from edgekit.learn.plastic import Layer, Plastic, chosen_layers


def watched(graph: Graph, names: Sequence[str]) -> Plastic:
    """A step that leaves what layers were given, by name or `readout`, and its output, in states of their own.

    Raises UsageError that lists unknown names and what there is.
    """
    step = graph.entries["step"]
    if len(step.outputs) != 1:
        raise UnsupportedError("learning", f"the model gives {len(step.outputs)} outputs", "one is needed")
    draft, updates = Draft(graph), dict(step.updates)
    given: dict[str, str] = {}
    layers = []
    for op in chosen_layers(graph, names):
        x, w = op.inputs[:2]
        if x not in given:
            given[x] = draft.left(f"given.{x}", x)
            updates[given[x]] = x
        rows, columns = graph.tensors[w].shape
        layers.append(Layer(w.partition(".weight")[0], w, given[x], (rows, columns)))
    (output,) = step.outputs
    last = draft.left("given.output", output)
    updates[last] = output
    draft.step(dataclasses.replace(step, updates=updates))
    return Plastic(draft.build(), tuple(layers), last)
