"""The places of a narrower width: those that its values have in the full step, so that both can share functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekit.ir.graph import Entry, Graph, Op
from edgekit.ir.plan import Buffer

Places = Mapping[str, Buffer]


def narrow_places(
    graph: Graph, narrow: Entry, places: Places, *, roots: Mapping[str, str], size_of: Callable[[str], int]
) -> dict[str, Buffer] | None:
    """Where the values that a width makes lie in the full step, which has places and the same ops in the same order.

    `roots` are what the values of the width are views of. None where its ops are not found there, or where a value
    would be written over before it was read for the last time.
    """
    pairs = _pairs(graph, narrow, graph.entries["step"])
    if pairs is None:
        return None
    found = {name: places[name] for name in graph.state_names}
    held: dict[str, tuple[str, int, int]] = {}  # by root: space, first byte, byte after the last
    for state in graph.state_names:
        held[state] = _span(found[state], size_of(state))
    for op, other in pairs:
        for name, there in zip(op.inputs, other.inputs, strict=True):
            root = roots[name]
            if graph.tensors[root].is_const or root in narrow.inputs:
                continue
            if root not in held or (found[root].space, found[root].offset) != _where(places[there]):
                return None
        for name, there in zip(op.outputs, other.outputs, strict=True):
            if roots[name] != name:
                continue
            place = places[there]
            found[name] = place if place.space == "state" else Buffer(place.space, place.offset, name)
            span = _span(found[name], size_of(name))
            held = {root: other_span for root, other_span in held.items() if not _overlap(span, other_span)}
            held[name] = span
    return found if _ends_well(graph, narrow, roots, held) else None


def _ends_well(graph: Graph, narrow: Entry, roots: Mapping[str, str], held: Mapping[str, object]) -> bool:
    """Whether all that the entry gives is there at its end, and each state that it does not set."""
    given = {roots[name] for name in (*narrow.outputs, *narrow.updates.values())}
    kept = graph.state_names - narrow.updates.keys()
    needed = {name for name in given | kept if not graph.tensors[name].is_const and name not in narrow.inputs}
    return needed <= held.keys()


def _pairs(graph: Graph, narrow: Entry, full: Entry) -> list[tuple[Op, Op]] | None:
    """Each op of the width beside that of the full step; None where one is not there."""
    made = {name: op for op in full.ops for name in op.outputs}
    same = dict(zip(narrow.inputs, full.inputs, strict=True))

    def stands_for(name: str, there: str, *, addend: bool) -> bool:
        if graph.tensors[name].is_const:
            alike = graph.tensors[there].is_const and graph.tensors[there].shape == graph.tensors[name].shape
            return name == there or (addend and alike)
        wanted = same.get(name, name)
        while there != wanted and there in made and made[there].kind == "linear" and len(made[there].inputs) == 3:
            there = made[there].inputs[2]  # a sum that goes on in the full step
        return there == wanted

    def alike(op: Op, other: Op) -> bool:
        if op.kind != other.kind or len(op.inputs) != len(other.inputs) or dict(op.attrs) != dict(other.attrs):
            return False
        numbered = enumerate(zip(op.inputs, other.inputs, strict=True))
        return all(stands_for(a, b, addend=op.kind == "linear" and at == 2) for at, (a, b) in numbered)

    pairs, rest = [], iter(full.ops)
    for op in narrow.ops:
        other = next((candidate for candidate in rest if alike(op, candidate)), None)
        if other is None:
            return None
        same.update(zip(op.outputs, other.outputs, strict=True))
        pairs.append((op, other))
    return pairs


def _where(place: Buffer) -> tuple[str, int]:
    return place.space, place.offset


def _span(place: Buffer, size: int) -> tuple[str, int, int]:
    return place.space, place.offset, place.offset + size


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
