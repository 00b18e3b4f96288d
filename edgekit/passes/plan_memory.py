"""The memory plan: an offset for every state and every value, states updated in place wherever that is safe."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from edgekit.ir.graph import Entry, Graph
from edgekit.ir.plan import ALIGN, LANES, Buffer, Plan, buffer_bytes
from edgekit.ir.widths import is_width
from edgekit.passes.plan_widths import narrow_places


def _roots(graph: Graph, entry: Entry) -> dict[str, str]:
    """The value whose storage each value shares: a reshape is a view of its input."""
    root = {name: name for name in (*graph.state_names, *graph.consts, *entry.inputs)}
    for op in entry.ops:
        for name in op.outputs:
            root[name] = root[op.inputs[0]] if op.kind == "reshape" else name
    return root


@dataclass(frozen=True)
class Life:
    """When a stored value is made and last read, as op numbers; `len(ops)` is the end of the entry."""

    made: int
    last: int


def value_lives(graph: Graph, entry: Entry) -> dict[str, Life]:
    """The life of each value that an entry makes and stores: a view lives in what it is a view of."""
    return _lives(entry, _roots(graph, entry))


def _lives(entry: Entry, root: dict[str, str]) -> dict[str, Life]:
    end = len(entry.ops)
    made = {name: at for at, op in enumerate(entry.ops) for name in op.outputs if root[name] == name}
    last: dict[str, int] = {}
    for at, op in enumerate(entry.ops):
        for name in op.inputs:
            last[root[name]] = at
    for name in (*entry.outputs, *entry.updates.values()):
        last[root[name]] = end
    return {name: Life(at, last.get(name, at)) for name, at in made.items()}


def _elementwise_at(entry: Entry, at: int, name: str) -> bool:
    """Whether op `at` reads `name` element by element, so that its result may take the same place."""
    op = entry.ops[at]
    if op.kind == "outer_add":
        return name == op.inputs[0] not in op.inputs[1:]
    return op.kind in ("fused", "lookup") or (
        op.kind == "linear" and len(op.inputs) == 3 and name == op.inputs[2] != op.inputs[0]
    )


class _Overwriting:
    """What may be written over what in an entry; values that share a place are told by their root."""

    def __init__(self, graph: Graph, entry: Entry, root: dict[str, str], lives: dict[str, Life]) -> None:
        self._graph, self._entry, self._root, self._lives = graph, entry, root, lives
        self.dying = {name: self._dying(name) for name in lives}
        """For each value, those that its maker reads as the last op, and may write it over."""

    def _fits(self, old: str, new: str) -> bool:
        """Whether the op that makes `new` may write it over `old`, if no other op needs `old` any more."""
        at, tensors = self._lives[new].made, self._graph.tensors
        if tensors[old].dtype is not tensors[new].dtype or tensors[old].size != tensors[new].size:
            return False
        read = (n for n in self._entry.ops[at].inputs if self._root[n] == old)
        return all(_elementwise_at(self._entry, at, name) for name in read)

    def _dying(self, new: str) -> list[str]:
        at = self._lives[new].made
        read = dict.fromkeys(self._root[n] for n in self._entry.ops[at].inputs)
        return [r for r in read if r in self._lives and self._lives[r].last == at and self._fits(r, new)]

    def in_place(self) -> dict[str, str]:
        """Values that may be written straight over the old value of a state: state by root of the value.

        The new value may when one op of this entry makes it, no op after that one reads the old value, that op reads
        the old value element by element if at all, and no output, other update or other state needs the old or shares
        the new. Then so may the value before it which its maker is the last to read, and reads element by element, and
        so on: of H1 = H + a bT, H2 = H1 + c dT both are written over H.
        """
        updates = [self._root[v] for v in self._entry.updates.values()]
        ends = {*updates, *(self._root[n] for n in self._entry.outputs)}
        chosen: dict[str, str] = {}
        for state, value in self._entry.updates.items():
            new = self._root[value]
            if new in self._lives and state not in ends and updates.count(new) == 1:
                chosen.update(dict.fromkeys(self._chain(state, new, chosen), state))
        return chosen

    def _chain(self, state: str, new: str, taken: Container[str]) -> list[str]:
        """The row of values, each written over the one before it, that ends in a state's new value and begins first."""
        reads = (at for at, op in enumerate(self._entry.ops) if state in (self._root[n] for n in op.inputs))
        last = max(reads, default=-1)
        before: dict[str, str] = {}
        begins: dict[str, int] = {}
        for name, life in self._lives.items():  # as they are made, so that what is before a value is known
            if name in taken or life.made < last or (life.made == last and not self._fits(state, name)):
                continue
            begins[name] = life.made
            if known := [n for n in self.dying[name] if n in begins]:
                before[name] = min(known, key=begins.__getitem__)
                begins[name] = begins[before[name]]
        chain = [new] if new in begins else []
        while chain and chain[-1] in before:
            chain.append(before[chain[-1]])
        return chain


def _first_fit(placed: list[tuple[int, int, Life]], size: int, life: Life) -> int:
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
    input dies there. So may a chain of such ops that starts at a state's old value and ends in its new one: all of it
    is in the place of the state. The values of a nested width have the places that they have in the full step.
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
        shared = None
        if is_width(entry.name):
            shared = narrow_places(graph, entry, buffers["step"], roots=root, size_of=size_of)
        overwriting = _Overwriting(graph, entry, root, lives)
        in_place = overwriting.in_place() if shared is None else {}
        places: dict[str, Buffer] = dict(states)
        places.update({n: Buffer("const", 0, n) for n in graph.consts})
        places.update({n: Buffer("input", 0, n) for n in entry.inputs})
        for name, state in in_place.items():
            places[name] = states[state]
        places.update(shared or {})
        placed: list[tuple[int, int, Life]] = []
        for name, life in sorted(lives.items(), key=lambda item: item[1].made):
            if name in places:
                continue
            size = size_of(name)
            # an op with several results may write only one of them over each of its inputs
            siblings = [places[o] for o in entry.ops[life.made].outputs if o in places]
            taken = {b.offset for b in siblings if b.space == "arena"}
            offset = None
            for other in overwriting.dying[name]:
                if places[other].space == "arena" and places[other].offset not in taken:
                    offset = places[other].offset
                    break
            if offset is None:
                offset = _first_fit(placed, size, life)
            placed.append((offset, size, life))
            places[name] = Buffer("arena", offset, name)
            arena_bytes = max(arena_bytes, offset + size)
        for name, r in root.items():
            places[name] = places[r]
        buffers[entry.name] = places
        in_place |= {name: place.root for name, place in (shared or {}).items() if place.space == "state"}
        commits[entry.name] = tuple((s, v) for s, v in entry.updates.items() if in_place.get(root[v]) != s)
    return Plan(states, buffers, commits, state_bytes, arena_bytes, align, lanes)
