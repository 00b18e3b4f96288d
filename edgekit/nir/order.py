"""The order of the nodes within a step, and which edges carry the value of the step before.

A value goes through all nodes within one step, except where that is impossible: around a cycle. There an edge is
recurrent: its reader gets what the source gave in the previous step. A Delay of at least one step breaks a cycle by
itself. Before the first step all neurons are silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgekit.nir.flatten import Flat
from edgekit.nir.nodes import STATEFUL


@dataclass(frozen=True)
class Order:
    """Nodes in the order of a step, and the recurrent edges. `late` are Delay nodes that give before they take."""

    nodes: tuple[str, ...]
    recurrent: frozenset[tuple[str, str]]
    late: frozenset[str]


def step_order(flat: Flat, late: Collection[str], faults: list[str]) -> Order:
    """The order of a step. A cycle of nodes without state is added to `faults`: it has no value.

    A node follows when all it reads is there. When none can follow, a cycle that waits for nothing but itself is
    entered: at the node that already gets something from outside it, of several the one nearest to the inputs, then the
    one that only waits for neurons, then the first by name. The edges that node still waits for are recurrent.
    """
    _refuse_algebraic(flat, late, faults)
    if faults:
        return Order((), frozenset(), frozenset(late))
    needs = {n: set() if n in late else set(flat.sources[n]) for n in flat.nodes}
    depth = _depths(flat)
    order: list[str] = []
    waiting = dict.fromkeys(flat.nodes)
    recurrent: set[tuple[str, str]] = set()
    ready = deque(n for n in flat.nodes if not needs[n])
    while waiting:
        if not ready:
            entry = min(_cycle(waiting, needs), key=lambda n: _entry_rank(n, needs[n], flat, depth))
            recurrent.update((source, entry) for source in needs[entry])
            needs[entry].clear()
            ready.append(entry)
        name = ready.popleft()
        order.append(name)
        del waiting[name]
        for reader in flat.readers[name]:
            if reader in waiting and name in needs[reader]:
                needs[reader].discard(name)
                if not needs[reader]:
                    ready.append(reader)
    return Order(tuple(order), frozenset(recurrent), frozenset(late))


def _cycle(waiting: Mapping[str, None], needs: Mapping[str, set[str]]) -> set[str]:
    """Nodes that wait for each other and for no others: the first component that Tarjan's algorithm closes."""
    start = next(iter(waiting))
    number, low = {start: 0}, {start: 0}
    open_, path = [start], [(start, iter(needs[start]))]
    while True:
        name, rest = path[-1]
        source = next(rest, None)
        if source is None:
            if low[name] == number[name]:
                return set(open_[open_.index(name) :])
            path.pop()
            low[path[-1][0]] = min(low[path[-1][0]], low[name])
        elif source not in number:
            number[source] = low[source] = len(number)
            open_.append(source)
            path.append((source, iter(needs[source])))
        else:  # nothing is closed yet, so every numbered node is open
            low[name] = min(low[name], number[source])


def _entry_rank(name: str, needs: set[str], flat: Flat, depth: Mapping[str, int]) -> tuple[bool, int, bool, str]:
    fed = any(source not in needs for source in flat.sources[name])
    only_neurons = all(flat.nodes[source].kind in STATEFUL for source in needs)
    return (not fed, depth[name], not only_neurons, name)


def _depths(flat: Flat) -> dict[str, int]:
    """Edges from the nearest input; nodes that no input reaches come last."""
    depth = {n: 0 for n, node in flat.nodes.items() if node.kind == "Input"}
    queue = deque(depth)
    while queue:
        name = queue.popleft()
        for reader in flat.readers[name]:
            if reader not in depth:
                depth[reader] = depth[name] + 1
                queue.append(reader)
    return {n: depth.get(n, len(flat.nodes)) for n in flat.nodes}


def _refuse_algebraic(flat: Flat, late: Collection[str], faults: list[str]) -> None:
    """Report cycles in which every node gives what it takes within the step."""
    left = {n for n, node in flat.nodes.items() if node.kind not in STATEFUL and n not in late}
    needs = {n: {a for a in flat.sources[n] if a in left} for n in left}
    waits = {n: len(needs[n]) for n in left}
    free = [n for n in left if not waits[n]]
    while free:
        name = free.pop()
        left.discard(name)
        for reader in flat.readers[name]:
            if reader in left:
                waits[reader] -= 1
                if not waits[reader]:
                    free.append(reader)
    for name in sorted(_on_cycles(left, needs)):
        how = "is on a cycle without a neuron or a Delay of a step, which has no value; put one into it"
        faults.append(f"{flat.nodes[name]}: {how}")


def _on_cycles(left: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    """Of nodes that wait for each other, those on cycles: they are also read by others that wait."""
    reads = dict.fromkeys(left, 0)
    for name in left:
        for source in needs[name] & left:
            reads[source] += 1
    left, unread = set(left), [n for n, count in reads.items() if not count]
    while unread:
        name = unread.pop()
        left.discard(name)
        for source in needs[name] & left:
            reads[source] -= 1
            if not reads[source]:
                unread.append(source)
    return left
