"""Which form a linear takes, dense, event-driven or sparse: the cheapest for its weights and the measured activity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgekit.ir.dtypes import INT8, SPIKE
from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.ops.contract import SPARSE_OUTPUTS
from edgekit.ir.verify import verify

# Both forms read one row of weights per presynaptic neuron and add it; the event-driven one reads only the rows that
# fired, but pays for finding them. On a Cortex-A72 a row of n targets costs about 0.37·n instructions either way and a
# found spike about 8, so that the dense form wins only when nearly all of a layer's neurons fire at every step.
DENSE_ABOVE = 0.9

# Instructions on a Cortex-A72, counted in the emulator: a dense weight (float32, int8), an added row of one, an entry
# of a sparse column (float32, int8), an input that is looked at, one that is not zero; and a 16-byte read of weights.
DENSE, DENSE_INT8, ROW = 0.44, 1.1, 0.37
ENTRY, ENTRY_INT8, LOOK, FOUND = 7.0, 10.0, 1.5, 8.0
READ = 1 / 16
UNMEASURED = 0.5  # share of real inputs that are taken not to be zero where nobody said what the inputs are


def may_be_sparse(graph: Graph, op: Op) -> bool:
    """Whether an op is a linear whose constant weights are mostly zero."""
    if op.kind != "linear" or (data := graph.tensors[op.inputs[1]].data) is None:
        return False
    return data.shape[0] <= SPARSE_OUTPUTS and 2 * np.count_nonzero(data) <= data.size


def _sparse_is_cheaper(weights: Tensor, *, spikes: bool, rate: float) -> bool:
    """Whether the non-zero weights alone cost less than all of them; `rate` is the share of inputs that are not zero."""
    n_out, n_in = weights.shape
    data = np.asarray(weights.data)
    stored = np.count_nonzero(data)
    entry, dense = (ENTRY_INT8, DENSE_INT8) if weights.dtype is INT8 else (ENTRY, DENSE)
    if spikes:
        return bool(entry * stored < ROW * data.size)
    columns = LOOK * n_in + rate * (FOUND * n_in + entry * stored)
    # weights in blocks, such as a branch of neighbouring inputs, are stored as runs and cost about one each
    taken = data != 0
    spans = np.where(taken.any(1), n_in - taken.argmax(1) - taken[:, ::-1].argmax(1), 0)
    blocks = float((spans + 16).sum())
    sparse = blocks if blocks <= 2 * n_in else columns
    bytes_each = weights.dtype.bits / 8
    return bool(sparse + READ * stored * (bytes_each + 2) < data.size * (dense + READ * bytes_each))


def choose_forms(graph: Graph, activity: Mapping[str, float]) -> Graph:
    """Set `form` of every linear over spikes, and of those over real values whose weights are mostly zero.

    Over spikes: dense where more than 90 % fire, else event-driven. Sparse wherever that costs less. `activity` is the
    measured share of elements that are not zero, by tensor name; spikes that were not measured are taken as rare.
    """
    entries: list[Entry] = []
    for entry in graph.entries.values():
        ops = []
        for op in entry.ops:
            if op.kind == "linear":
                op = dataclasses.replace(op, attrs={**op.attrs, **_form(graph, op, activity)})  # noqa: PLW2901
            ops.append(op)
        entries.append(dataclasses.replace(entry, ops=tuple(ops)))
    return verify(graph.with_entries(*entries))


def _form(graph: Graph, op: Op, activity: Mapping[str, float]) -> dict[str, str]:
    x, weights = op.inputs[:2]
    spikes = graph.tensors[x].dtype is SPIKE
    rate = activity.get(x, 0.0 if spikes else UNMEASURED)
    if may_be_sparse(graph, op) and _sparse_is_cheaper(graph.tensors[weights], spikes=spikes, rate=rate):
        return {"form": "sparse"}
    if spikes:
        return {"form": "dense" if rate > DENSE_ABOVE else "event"}
    return {}
