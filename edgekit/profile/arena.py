"""Where everything lies in a program's struct over the calls of a step, and what its constants take in flash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, takewhile
from typing import Any

from edgekit.artifact import Artifact
from edgekit.backends.c import Program
from edgekit.backends.c.layout import Field
from edgekit.errors import UsageError
from edgekit.ir import Graph, Plan
from edgekit.ir.plan import buffer_bytes
from edgekit.passes.plan_memory import value_lives
from edgekit.profile.grades import DERIVED
from edgekit.profile.ops import step_calls
from edgekit.runtime.build import emitted_for
from edgekit.target import Target, load_target

STATE, VALUE, IN_PLACE, INPUT = "state", "value", "new state", "input"
LIST, SCRATCH, COUNT, DECODED = "list of spikes", "scratch", "counters", "decoded weights"
_SCRATCH = ("row", "seen", "wide")
_COUNTS = ("count", "nonfinite", "empty")


@dataclass(frozen=True)
class Place:
    """`bytes` of the struct at `offset` that something takes from the call numbered `first` to the one numbered `last`.

    `member` is the array of the struct that it lies in. `dtype` and `shape` are those of a tensor, '' and () of what is
    none. A `new state` is a value that is written over the state it updates.
    """

    name: str
    kind: str
    member: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    offset: int
    first: int
    last: int


@dataclass(frozen=True)
class Stored:
    """A constant array in flash: the tensors it was made of, and in which forms; equal ones are stored once."""

    tensors: tuple[str, ...]
    forms: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Places:
    """The struct over a step, whose `calls` are named as in a breakdown: take, the ops, give.

    `live` is how many bytes of the struct hold something that is still needed at each call, states always; what is
    more in `struct_bytes` is free then, or for other entries. Sizes are those that the manifest states.
    """

    calls: tuple[str, ...]
    places: tuple[Place, ...]
    live: tuple[int, ...]
    constants: tuple[Stored, ...]
    struct_bytes: int
    state_bytes: int
    arena_bytes: int
    constant_bytes: int
    grade: str = DERIVED

    @property
    def peak(self) -> int:
        """The most bytes that are needed at one call."""
        return max(self.live)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "peak": self.peak}


def artifact_places(artifact: Artifact) -> Places:
    """The places of an artifact's program.

    They are those of the C that its graph becomes now. UsageError when the sizes are not those of its manifest: another
    version of edgekit has placed it.
    """
    manifest = artifact.manifest
    target = load_target(str(manifest["target"]))
    coded = "coded_bytes" in manifest["sizes"]
    found = graph_places(artifact.graph, replace(target, simd=str(manifest["program"]["simd"])), coded=coded)
    sizes = {
        "ram_bytes": found.struct_bytes,
        "state_bytes": found.state_bytes,
        "arena_bytes": found.arena_bytes,
        "weights_bytes": found.constant_bytes,
    }
    stated: Mapping[str, Any] = manifest["sizes"]
    if wrong := [f"{n}: {stated.get(n)} then, {now} now" for n, now in sizes.items() if stated.get(n) != now]:
        cause = f"was laid out by edgekit {manifest['edgekit']} in another way than it would be now"
        raise UsageError(f"artifact {artifact.name!r}", cause, "convert the model again", wrong)
    return found


def graph_places(graph: Graph, target: Target, *, coded: bool = False) -> Places:
    """The places of a lowered graph's program for a target, whose constants may be entropy-coded in flash."""
    program, plan = emitted_for(graph, target, coded=coded)
    calls = step_calls(graph, program.ticked)
    step = _Step(graph, program, plan, calls)
    places = tuple(step.places())
    return Places(
        calls=tuple(call.removeprefix(f"ek_{graph.name}_step_") for call in calls),
        places=places,
        live=tuple(_covered([p for p in places if p.first <= at <= p.last]) for at in range(len(calls))),
        constants=tuple(_stored(graph, program)),
        struct_bytes=program.struct_bytes,
        state_bytes=plan.state_bytes,
        arena_bytes=plan.arena_bytes,
        constant_bytes=program.const_bytes,
    )


def _covered(places: Sequence[Place]) -> int:
    """Bytes that lie in any of the places: a value may be written over one that dies, and both count once."""
    covered, end = 0, 0
    for place in sorted(places, key=lambda p: p.offset):
        stop = place.offset + place.bytes
        covered += max(stop - max(place.offset, end), 0)
        end = max(end, stop)
    return covered


def _stored(graph: Graph, program: Program) -> Iterator[Stored]:
    """The constant arrays, the largest first."""
    for constant in sorted(program.constants, key=lambda c: -c.nbytes):
        names = [tuple(takewhile(graph.tensors.__contains__, use)) for use in constant.uses]
        forms = [" ".join(use[len(name) :]) for name, use in zip(names, constant.uses, strict=True)]
        tensors = dict.fromkeys(name for group in names for name in group)
        yield Stored(tuple(tensors), tuple(dict.fromkeys(forms)), constant.nbytes)


class _Step:
    """What lies where in the struct while the step runs."""

    def __init__(self, graph: Graph, program: Program, plan: Plan, calls: Sequence[str]) -> None:
        self._graph, self._plan, self._layout = graph, plan, program.layout
        self._entry = graph.entries["step"]
        self._end = len(calls) - 1
        self._calls = self._numbered(calls)
        self._touched = _touched(program, calls)
        self._members: dict[str, tuple[int, Field]] = {}
        at = 0
        for member in program.layout.fields:
            self._members[member.name] = at, member
            at += member.nbytes

    def _numbered(self, calls: Sequence[str]) -> list[int]:
        """The call of each op, of a view the call before it, and at last that which gives the outputs."""
        ops = {int(found[1]): at for at, call in enumerate(calls) if (found := re.search(r"_step_op(\d+)_", call))}
        numbers = [0]
        for at in range(len(self._entry.ops)):
            numbers.append(ops.get(at, numbers[-1]))
        return [*numbers[1:], self._end]

    def places(self) -> Iterator[Place]:
        """In the order of the struct, values as they are made."""
        for state in self._graph.states:
            yield self._place(state.tensor, STATE, self._layout.states[state.tensor].name, (0, self._end))
        yield from self._inputs()
        yield from self._values()
        yield from self._lists()
        for name, (offset, member) in self._members.items():
            always = COUNT if name in _COUNTS else DECODED if name.startswith("decoded") else ""
            touched = [0, self._end] if always else self._touched.get(name, []) if name in _SCRATCH else []
            if touched:
                kind = always or SCRATCH
                yield Place(member.note, kind, name, "", (), member.nbytes, offset, touched[0], touched[-1])

    def _place(self, name: str, kind: str, member: str, life: tuple[int, int], *, offset: int = 0) -> Place:
        tensor, align = self._graph.tensors[name], self._plan.align
        size = -(-buffer_bytes(tensor, self._plan.lanes) // align) * align
        start = self._members[member][0] + offset
        return Place(name, kind, member, str(tensor.dtype), tensor.shape, size, start, *life)

    def _inputs(self) -> Iterator[Place]:
        """Copies of the inputs, from when they are made to when they are last read."""
        buffers, last = self._plan.buffers["step"], dict[str, int]()
        for at, op in enumerate(self._entry.ops):
            last.update({buffers[n].root: self._calls[at] for n in op.inputs if buffers[n].space == "input"})
        kept = (*self._entry.outputs, *self._entry.updates.values())
        last.update({buffers[n].root: self._end for n in kept if buffers[n].space == "input"})
        for name, offset in self._layout.inputs["step"].items():
            yield self._place(name, INPUT, "input", (0, last.get(name, 0)), offset=offset)

    def _values(self) -> Iterator[Place]:
        for name, life in value_lives(self._graph, self._entry).items():
            where, taken = self._plan.buffers["step"][name], (self._calls[life.made], self._calls[life.last])
            if where.space == "state":
                yield self._place(name, IN_PLACE, self._layout.states[where.root].name, taken)
            else:
                yield self._place(name, VALUE, "arena", taken, offset=where.offset)

    def _lists(self) -> Iterator[Place]:
        """Lists of the neurons that fired: of one spike vector after the other in the same slot."""
        lists, views = self._layout.lists["step"], self._layout.views["step"]
        news = {views.get(value, value): state for state, value in self._entry.updates.items()}
        for slot in sorted({held.slot for held in lists.values()}):
            name = f"list{slot}"
            offset, member = self._members[name]
            held = sorted((v for v in lists if lists[v].slot == slot), key=lambda v: lists[v].made)
            starts = [self._calls[lists[v].made] if lists[v].made >= 0 else 0 for v in held]
            for value, (first, until) in zip(held, pairwise([*starts, self._end + 1]), strict=True):
                reads = [at for at in self._touched.get(name, []) if first <= at < until]
                old = news.get(value)
                carried = old in held and lists[old].made < 0  # the next step begins with it
                last = self._end if carried else max(reads, default=first)
                yield Place(value, LIST, name, "", (), member.nbytes, offset, first, last)


def _touched(program: Program, calls: Sequence[str]) -> dict[str, list[int]]:
    """The calls whose C names a member of the struct, by member."""
    touched: dict[str, list[int]] = {}
    bodies = re.findall(
        r"^(?:static|EK_INLINE) [^(\n]*?(\w+)\([^\n]*\{\n(.*?)^\}", program.files[program.main], re.M | re.S
    )
    for at, call in enumerate(calls):
        own = "".join(body for name, body in bodies if name == call or name.startswith(f"{call}_"))
        for member in dict.fromkeys(re.findall(r"\bm->(\w+)", own)):
            touched.setdefault(member, []).append(at)
    return touched
