"""Which states carry each other from step to step, and by which ops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgekit.passes.ranges.nodes import Node, Step

Operands = Callable[[Node], Iterable[str]]


@dataclass(frozen=True, eq=False)
class Group:
    """States that follow from each other through `nodes`, in the step's order; none if no state follows from itself."""

    states: tuple[str, ...]
    nodes: list[Node]

    @property
    def recurs(self) -> bool:
        return bool(self.nodes)


def ancestors(step: Step, value: str, operands: Operands) -> set[str]:
    """What a value follows from within the step, itself included."""
    found, todo = {value}, [value]
    while todo:
        node = step.made.get(todo.pop())
        for name in operands(node) if node is not None else ():
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def between(step: Step, starts: Iterable[str], ends: Iterable[str], operands: Operands) -> list[Node]:
    """The nodes on any way from starts to ends."""
    reached = set(starts)
    for node in step.nodes:
        if any(n in reached for n in operands(node)):
            reached.add(node.output)
    leading: set[str] = set()
    for end in ends:
        leading |= ancestors(step, end, operands)
    return [n for n in step.nodes if n.output in reached and n.output in leading]


def groups_of(step: Step) -> list[Group]:
    """The states by what they follow from: a group comes after the groups that it reads."""
    names = [s.tensor for s in step.graph.states]
    updates = step.entry.updates
    direct = {s: ancestors(step, updates.get(s, s), step.growing_operands) & set(names) for s in names}
    behind = {s: _closure(s, direct) for s in names}
    groups: list[Group] = []
    placed: set[str] = set()
    for state in sorted(names, key=lambda s: (len(behind[s]), names.index(s))):
        if state in placed:
            continue
        members = [s for s in names if s == state or (s in behind[state] and state in behind[s])]
        placed.update(members)
        starts = set(members)
        nodes = between(step, starts, [updates[s] for s in members if s in updates], step.growing_operands)
        direct_move = len(members) > 1 or (state in direct[state] and updates.get(state, state) != state)
        groups.append(Group(tuple(members), nodes if direct_move else []))
    return groups


def _closure(state: str, direct: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [state]
    while todo:
        new = direct[todo.pop()] - found
        found |= new
        todo.extend(new)
    return found


def elementwise_way(step: Step, state: str) -> list[Node] | None:
    """The elementwise nodes by which a state follows from itself; None if other ops, or other shapes, take part."""
    shape = step.tensors[state].shape
    nodes = between(step, [state], [step.entry.updates[state]], _any_elementwise)
    growing = between(step, [state], [step.entry.updates[state]], step.growing_operands)
    inside = {n.output for n in nodes}
    if any(n.output not in inside for n in growing):
        return None
    return nodes if all(step.tensors[n.output].shape == shape for n in nodes) else None


def _any_elementwise(node: Node) -> Iterable[str]:
    return node.inputs if node.is_elementwise or node.kind == "lookup" else ()
