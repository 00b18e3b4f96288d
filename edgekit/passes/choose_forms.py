"""Which form a linear over spikes takes: event-driven or dense, from the activity that was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Entry, Graph
from edgekit.ir.verify import verify

# Both forms read one row of weights per presynaptic neuron and add it; the event-driven one reads only the rows that
# fired, but pays for finding them. On a Cortex-A72 a row of n targets costs about 0.37·n instructions either way and a
# found spike about 8, so that the dense form wins only when nearly all of a layer's neurons fire at every step.
DENSE_ABOVE = 0.9


def choose_forms(graph: Graph, activity: Mapping[str, float]) -> Graph:
    """Set `form` of every linear over spikes: dense where more than 90 % fire, else event-driven.

    `activity` is the measured share of neurons that fire, by tensor name; what was not measured is taken as sparse.
    """
    entries: list[Entry] = []
    for entry in graph.entries.values():
        ops = []
        for op in entry.ops:
            if op.kind == "linear" and graph.tensors[op.inputs[0]].dtype is SPIKE:
                rate = activity.get(op.inputs[0], 0.0)
                attrs = {**op.attrs, "form": "dense" if rate > DENSE_ABOVE else "event"}
                op = dataclasses.replace(op, attrs=attrs)  # noqa: PLW2901
            ops.append(op)
        entries.append(dataclasses.replace(entry, ops=tuple(ops)))
    return verify(graph.with_entries(*entries))
