"""Which form a linear takes, dense, event-driven or sparse, from its weights and the activity that was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Entry, Graph, Op
from edgekit.ir.ops.contract import SPARSE_OUTPUTS
from edgekit.ir.verify import verify
from edgekit.passes.linear_cost import UNMEASURED, dense_cost, sparse_beats_rows, sparse_cost

# Both forms read one row of weights per presynaptic neuron and add it; the event-driven one reads only the rows that
# fired, but pays for finding them. On a Cortex-A72 a row of n targets costs about 0.37·n instructions either way and a
# found spike about 8, so that the dense form wins only when nearly all of a layer's neurons fire at every step.
DENSE_ABOVE = 0.9


def may_be_sparse(graph: Graph, op: Op) -> bool:
    """Whether an op is a linear whose constant weights are mostly zero."""
    if op.kind != "linear" or (w := graph.tensors[op.inputs[1]].data) is None:
        return False
    return w.shape[0] <= SPARSE_OUTPUTS and 2 * int(np.count_nonzero(w)) <= w.size


def choose_forms(graph: Graph, activity: Mapping[str, float]) -> Graph:
    """Set `form` of every linear over spikes, and of those over real values whose weights are mostly zero.

    Over spikes: dense where more than 90 % fire, else event-driven. Sparse wherever that costs less. `activity` is the
    measured share of elements that are not zero, by tensor name; spikes that were not measured are taken as rare.
    """
    entries: list[Entry] = []
    for entry in graph.entries.values():
        ops = []
        for op in entry.ops:
            form = _form(graph, op, activity)
            ops.append(dataclasses.replace(op, attrs={**op.attrs, "form": form}) if form else op)
        entries.append(dataclasses.replace(entry, ops=tuple(ops)))
    return verify(graph.with_entries(*entries))


def _form(graph: Graph, op: Op, activity: Mapping[str, float]) -> str:
    """The form of a linear where there is a choice, '' where there is none."""
    if op.kind != "linear":
        return ""
    x, weights = op.inputs[:2]
    w = graph.tensors[weights].data if may_be_sparse(graph, op) else None
    if graph.tensors[x].dtype is SPIKE:
        if w is not None and sparse_beats_rows(w):
            return "sparse"
        return "dense" if activity.get(x, 0.0) > DENSE_ABOVE else "event"
    return "sparse" if w is not None and sparse_cost(w, activity.get(x, UNMEASURED)) < dense_cost(w) else ""
