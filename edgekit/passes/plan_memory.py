"""The memory plan: an offset for every state and every value, states updated in place wherever that is safe."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.ir.graph import Entry, Graph
from edgekit.ir.plan import ALIGN, LANES, Buffer, Plan, buffer_bytes


def _roots(graph: Graph, entry: Entry) -> dict[str, str]:
    """The value whose storage each value shares: a reshape is a view of its input."""
    root = {name: name for name in (*graph.state_names, *graph.consts, *entry.inputs)}
    for op in entry.ops:
        for name in op.outputs:
            root[name] = root[op.inputs[0]] if op.kind == "reshape" else name
    return root


@dataclass(frozen=True)
class _Life:
    """When a stored value is made and last read, as op numbers; `len(ops)` is the end of the entry."""

    made: int
    last: int


def _lives(entry: Entry, root: dict[str, str]) -> dict[str, _Life]:
    end = len(entry.ops)
    made = {name: at for at, op in enumerate(entry.ops) for name in op.outputs if root[name] == name}
    last: dict[str, int] = {}
    for at, op in enumerate(entry.ops):
        for name in op.inputs:
            last[root[name]] = at
    for name in (*entry.outputs, *entry.updates.values()):
        last[root[name]] = end
    return {name: _Life(at, last.get(name, at)) for name, at in made.items()}


def _elementwise_at(entry: Entry, at: int, name: str) -> bool:
    """Whether op `at` reads `name` element by element, so that its result may take the same place."""
    op = entry.ops[at]
    if op.kind == "outer_add":
        return name == op.inputs[0] not in op.inputs[1:]
    return op.kind in ("fused", "lookup") or (
        op.kind == "linear" and len(op.inputs) == 3 and name == op.inputs[2] != op.inputs[0]
    )


def _in_place(graph: Graph, entry: Entry, root: dict[str, str]) -> dict[str, str]:
    """States whose new value may be written straight over the old one: state by root of the new value.

    Safe when the new value is made in this entry by one op, no op after that one reads the old value, that op reads the
    old value element by element if at all, and no output, other update or other state needs the old or shares the new.
    """
    made = {name: at for at, op in enumerate(entry.ops) for name in op.outputs if root[name] == name}
    needed_at_end = [root[n] for n in (*entry.outputs, *entry.updates.values())]
    chosen: dict[str, str] = {}
    for state, value in entry.updates.items():
        new = root[value]
        if new not in made or new in chosen or state in needed_at_end:
            continue
        if sum(root[v] == new for v in entry.updates.values()) > 1:
            continue
        at = made[new]
        reads = [i for i, op in enumerate(entry.ops) if state in (root[n] for n in op.inputs)]
        if any(i > at for i in reads):
            continue
        if at in reads:
            if not all(_elementwise_at(entry, at, n) for n in entry.ops[at].inputs if root[n] == state):
                continue
            if graph.tensors[new].dtype is not graph.tensors[state].dtype:
                continue
        chosen[new] = state
    return chosen


def _first_fit(placed: list[tuple[int, int, _Life]], size: int, life: _Life) -> int:
    """The lowest offset where `size` bytes are free for the whole life of the value."""
    busy = sorted((o, o + s) for o, s, other in placed if not (other.last < life.made or life.last < other.made))
    offset = 0
    for start, stop in busy:
        if offset + size <= start:
            break
        offset = max(offset, stop)
    return offset


def plan_memory(graph: Graph, *, align: int = ALIGN, lanes: int = LANES) -> Plan:
    """Place states in one block and each entry's values in one arena, shared between entries.

    Every place is a multiple of `align` bytes; buffers are padded to `lanes` elements, so that kernels may work on
    whole vectors.

    A value lives from the op that makes it to the last op that reads it; a place is free again after that op. A linear
    may write over its addend, an outer_add over its weights, and a fused op over an input of the same dtype, when that
    input dies there.
    """

    def size_of(name: str) -> int:
        return -(-buffer_bytes(graph.tensors[name], lanes) // align) * align

    states: dict[str, Buffer] = {}
    state_bytes = 0
    for s in graph.states:
        states[s.tensor] = Buffer("state", state_bytes, s.tensor)
        state_bytes += size_of(s.tensor)
    arena_bytes = 0
    buffers: dict[str, dict[str, Buffer]] = {}
    commits: dict[str, tuple[tuple[str, str], ...]] = {}
    for entry in graph.entries.values():
        root = _roots(graph, entry)
        lives = _lives(entry, root)
        in_place = _in_place(graph, entry, root)
        places: dict[str, Buffer] = dict(states)
        places.update({n: Buffer("const", 0, n) for n in graph.consts})
        places.update({n: Buffer("input", 0, n) for n in entry.inputs})
        for name, state in in_place.items():
            places[name] = states[state]
        placed: list[tuple[int, int, _Life]] = []
        for name, life in sorted(lives.items(), key=lambda item: item[1].made):
            if name in in_place:
                continue
            size = size_of(name)
            # an op with several results may write only one of them over each of its inputs
            siblings = [places[o] for o in entry.ops[life.made].outputs if o in places]
            taken = {b.offset for b in siblings if b.space == "arena"}
            offset = None
            for other in entry.ops[life.made].inputs:
                r = root[other]
                if (
                    r in lives
                    and places[r].space == "arena"
                    and lives[r].last == life.made
                    and _elementwise_at(entry, life.made, other)
                    and graph.tensors[r].dtype is graph.tensors[name].dtype
                    and graph.tensors[r].size == graph.tensors[name].size
                    and places[r].offset not in taken
                ):
                    offset = places[r].offset
                    break
            if offset is None:
                offset = _first_fit(placed, size, life)
            placed.append((offset, size, life))
            places[name] = Buffer("arena", offset, name)
            arena_bytes = max(arena_bytes, offset + size)
        for name, r in root.items():
            places[name] = places[r]
        buffers[entry.name] = places
        commits[entry.name] = tuple((s, v) for s, v in entry.updates.items() if in_place.get(root[v]) != s)
    return Plan(states, buffers, commits, state_bytes, arena_bytes, align, lanes)
