"""State clean-up: states that do not matter, never change, or are another state under a second name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgekit.ir.graph import Entry, Graph, State
from edgekit.passes.rewrite import sweep


def clean_states(graph: Graph) -> Graph:
    """Drop states that no output depends on, make constants of those that never change, merge those that are equal.

    Repeated until nothing changes: a state may be read only by another one that goes.
    """
    while True:
        before = len(graph.states)
        graph = merge_equal_states(fold_constant_states(drop_unread_states(graph)))
        if len(graph.states) == before:
            return graph


def drop_unread_states(graph: Graph) -> Graph:
    """Drop every state from which no output of any entry can be reached, and the ops that only served it."""
    needed: set[str] = set()
    while True:
        reached = set(needed)
        for entry in graph.entries.values():
            live = {*entry.outputs, *(value for state, value in entry.updates.items() if state in needed)}
            for op in reversed(entry.ops):
                if live.intersection(op.outputs):
                    live.update(op.inputs)
            reached |= live & graph.state_names
        if reached == needed:
            break
        needed = reached
    return _without(graph, graph.state_names - needed)


def fold_constant_states(graph: Graph) -> Graph:
    """Make a constant of every state that no entry changes: each update is itself, or equals its first value."""
    constant = [
        state
        for state in graph.states
        if all(
            _unchanged(graph, state, entry.updates.get(state.tensor, state.tensor)) for entry in graph.entries.values()
        )
    ]
    tensors = dict(graph.tensors)
    for state in constant:
        tensors[state.tensor] = dataclasses.replace(tensors[state.tensor], data=state.init)
    return _without(graph.replace(tensors=tensors), {state.tensor for state in constant})


def merge_equal_states(graph: Graph) -> Graph:
    """Keep one of the states that start alike, reset alike, and get the same value in every entry."""
    kept: list[State] = []
    alias: dict[str, str] = {}
    for state in graph.states:
        for other in kept:
            if _alike(graph, state, other):
                alias[state.tensor] = other.tensor
                break
        else:
            kept.append(state)
    return _without(graph, set(alias), alias)


def _unchanged(graph: Graph, state: State, value: str) -> bool:
    data = graph.tensors[value].data
    return value == state.tensor or (data is not None and np.array_equal(data, state.init))


def _alike(graph: Graph, a: State, b: State) -> bool:
    same_start = a.reset == b.reset and a.init.dtype == b.init.dtype and np.array_equal(a.init, b.init)
    updates = [(e.updates.get(a.tensor), e.updates.get(b.tensor)) for e in graph.entries.values()]
    return same_start and all(x == y and x is not None for x, y in updates)


def _without(graph: Graph, states: set[str] | frozenset[str], alias: Mapping[str, str] | None = None) -> Graph:
    """The graph without some states; their readers read the alias where there is one."""
    if not states:
        return graph
    names = alias or {}
    entries = [
        Entry(
            entry.name,
            entry.inputs,
            tuple(names.get(n, n) for n in entry.outputs),
            tuple(dataclasses.replace(op, inputs=tuple(names.get(n, n) for n in op.inputs)) for op in entry.ops),
            {s: names.get(v, v) for s, v in entry.updates.items() if s not in states},
        )
        for entry in graph.entries.values()
    ]
    return sweep(graph.replace(states=tuple(s for s in graph.states if s.tensor not in states)).with_entries(*entries))
