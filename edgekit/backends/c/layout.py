"""The caller-owned struct: where states, the arena, inputs and event lists lie."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from edgekit.backends.c.select import event_inputs, windows_listed
from edgekit.ir import SPIKE, Entry, Graph, Plan, Tensor
from edgekit.ir.plan import ALIGN, buffer_bytes
from edgekit.ir.widths import narrow_widths

MAX_FIELD_NAME = 48
CTYPE_BYTES = {"float": 4, "uint32_t": 4, "uint16_t": 2, "int32_t": 4, "int16_t": 2, "int8_t": 1}


@dataclass(frozen=True)
class Field:
    """A member of the struct: an array of `length` elements that fills whole cache lines."""

    ctype: str
    name: str
    length: int
    note: str

    @property
    def nbytes(self) -> int:
        return CTYPE_BYTES[self.ctype] * self.length


def field_of(ctype: str, name: str, nbytes: int, note: str, align: int = ALIGN) -> Field:
    """A field of at least so many bytes."""
    return Field(ctype, name, -(-nbytes // align) * align // CTYPE_BYTES[ctype], note)


def width_fields(graph: Graph, align: int = ALIGN) -> tuple[Field, ...]:
    """The field that holds the width of a program with nested widths; none for any other."""
    note = "the width in per cent of the units, 0 for all of them"
    return (field_of("uint32_t", "width", 4, note, align),) if narrow_widths(graph) else ()


def state_field(at: int, name: str) -> str:
    """The C name of the field of the state numbered `at`."""
    return f"s{at}_{re.sub(r'[^A-Za-z0-9]', '_', name)[:MAX_FIELD_NAME]}"


def value_ctype(tensor: Tensor) -> str:
    """The C element type of a value's buffer."""
    return "uint32_t" if tensor.dtype is SPIKE else "float"


@dataclass(frozen=True)
class EventList:
    """A slot for the indices of the neurons that fired, filled before op `made` of the entry."""

    slot: int
    made: int


@dataclass(frozen=True)
class Layout:
    """Struct fields. `states` and `lists[entry][value]` are by tensor name, `inputs[entry][input]` byte offsets.

    `views[entry][value]` is the value that a reshape is a view of.
    """

    states: Mapping[str, Field]
    others: tuple[Field, ...]
    inputs: Mapping[str, Mapping[str, int]]
    lists: Mapping[str, Mapping[str, EventList]]
    views: Mapping[str, Mapping[str, str]]

    @property
    def fields(self) -> tuple[Field, ...]:
        return (*self.states.values(), *self.others)

    @property
    def struct_bytes(self) -> int:
        return sum(f.nbytes for f in self.fields)


def roots(entry: Entry) -> dict[str, str]:
    """The value that each reshape is a view of."""
    root: dict[str, str] = {}
    for op in entry.ops:
        if op.kind == "reshape":
            root[op.outputs[0]] = root.get(op.inputs[0], op.inputs[0])
    return root


def _entry_lists(graph: Graph, entry: Entry) -> tuple[dict[str, EventList], list[int], int]:
    """Lists by value, the size of each slot, and the longest row of the ops that list row by row."""
    root = roots(entry)
    uses: list[tuple[int, str, int]] = []
    row = 0
    for at, op in enumerate(entry.ops):
        row = max(row, windows_listed(graph, op)[0])
        for x, w in event_inputs(graph, op):
            shape = graph.tensors[x].shape
            if len(shape) == 1 and graph.tensors[w].is_const:
                uses.append((at, root.get(x, x), shape[0]))
            else:
                row = max(row, shape[-1])
    return *list_slots(uses), row


def list_slots(uses: Sequence[tuple[int, str, int]]) -> tuple[dict[str, EventList], list[int]]:
    """Lists by value and the size of each slot, for uses (op number, value, elements) in order.

    A vector of spikes is listed once for all ops that read it; slots are used again when no op reads them any more.
    """
    last = {value: at for at, value, _ in uses}
    lists: dict[str, EventList] = {}
    sizes: list[int] = []
    busy_until: list[int] = []
    for at, value, size in uses:
        if value in lists:
            continue
        slot = next((s for s, until in enumerate(busy_until) if until < at), len(sizes))
        if slot == len(sizes):
            sizes.append(0)
            busy_until.append(0)
        sizes[slot], busy_until[slot] = max(sizes[slot], size), last[value]
        lists[value] = EventList(slot, at)
    return lists, sizes


def _input_offsets(graph: Graph, entry: Entry) -> tuple[dict[str, int], int]:
    offsets, at = {}, 0
    for name in entry.inputs:
        offsets[name] = at
        at += -(-buffer_bytes(graph.tensors[name]) // ALIGN) * ALIGN
    return offsets, at


def make_layout(graph: Graph, plan: Plan) -> Layout:
    """Lay out the struct; entries share the arena, the input space and the lists."""
    states = {}
    for at, state in enumerate(graph.states):
        tensor = graph.tensors[state.tensor]
        name = state_field(at, state.tensor)
        note = f"state {state.tensor} {list(tensor.shape)} {tensor.dtype}, {state.reset}"
        states[state.tensor] = field_of(value_ctype(tensor), name, buffer_bytes(tensor), note)
    per_entry = {e.name: _entry_lists(graph, e) for e in graph.entries.values()}
    inputs = {e.name: _input_offsets(graph, e) for e in graph.entries.values()}
    sizes: Sequence[int] = [max(column) for column in zip_longest(*(s for _, s, _ in per_entry.values()), fillvalue=0)]
    row = max((r for _, _, r in per_entry.values()), default=0)
    seen = max((windows_listed(graph, op)[1] for _, op in graph.ops()), default=0)
    others = [
        field_of("float", "input", max(n for _, n in inputs.values()), "copies of the inputs"),
        field_of("float", "arena", plan.arena_bytes, "values of the running entry; spikes as 32-bit words"),
        *(field_of("uint16_t", f"list{s}", 2 * n, "neurons that fired") for s, n in enumerate(sizes)),
        field_of("uint16_t", "row", 2 * row, "neurons that fired in one row of a value, or in windows"),
        field_of("uint32_t", "seen", 4 * seen, "spikes that neighbouring windows see"),
        field_of("uint32_t", "count", 4 * len(sizes), "how many neurons each list holds"),
        *width_fields(graph),
    ]
    if not any(f.length for f in (*states.values(), *others)):
        others.append(field_of("uint32_t", "empty", ALIGN, "C has no empty structs"))
    return Layout(
        states,
        tuple(f for f in others if f.length),
        {name: offsets for name, (offsets, _) in inputs.items()},
        {name: lists for name, (lists, _, _) in per_entry.items()},
        {e.name: roots(e) for e in graph.entries.values()},
    )
