"""The units of a step in another order: what nested widths begin with comes first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgekit.compress.gone import closure
from edgekit.compress.shrink import Units, slab
from edgekit.compress.stored import Array
from edgekit.ir import Graph, verify


def by_saliency(graph: Graph, scores: Mapping[Units, Array]) -> Graph:
    """The graph with the units of each group in falling order of their scores; those that are alike stay in order."""
    for group, found in scores.items():
        graph = reordered(graph, group, np.argsort(-np.asarray(found), kind="stable"))
    return graph


def reordered(graph: Graph, group: Units, order: Array) -> Graph:
    """The same step with unit `order[i]` of a group in place of unit i: rows, columns and first values move together.

    Only weights and states that have an index for each unit move; values follow.
    """
    shape = graph.tensors[group.value].shape
    each = [closure(graph, {group.value: slab(shape, group.axis, [at])}) for at in range(group.size)]
    tensors = dict(graph.tensors)
    states = {state.tensor: state for state in graph.states}
    for name, axis in group.joint:
        tensor = tensors[name]
        state = states.get(name)
        if tensor.data is None and state is None:
            continue
        others = tuple(other for other in range(len(tensor.shape)) if other != axis)
        places = [np.flatnonzero(gone[name].all(others)) for gone in each]  # of each unit along the axis
        source = np.arange(tensor.shape[axis])
        for at, unit in enumerate(order):
            source[places[at]] = places[int(unit)]
        if tensor.data is not None:
            tensors[name] = dataclasses.replace(tensor, data=np.take(np.asarray(tensor.data), source, axis))
        if state is not None:
            states[name] = dataclasses.replace(state, init=np.take(np.asarray(state.init), source, axis))
    return verify(graph.replace(tensors=tensors, states=tuple(states[s.tensor] for s in graph.states)))
