"""What every part of the integer emitter needs: the graph, where its values lie, and the constants written so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from edgekit.backends.c.context import Constants
from edgekit.backends.c.data import Array, padded
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Forms, Group
from edgekit.backends.c.layout import EventList, Layout, field_of, list_slots, roots, state_field, width_fields
from edgekit.backends.c.sharing import Functions
from edgekit.backends.c.ticks import Ticks
from edgekit.errors import GraphError
from edgekit.ir import FLOAT32, INT4, INT8, INT16, INT32, SPIKE, DType, Entry, Graph, Op, Plan, Tensor
from edgekit.ir.plan import buffer_bytes
from edgekit.ir.widths import is_width

# dtype -> ending of kernel names, C type of ports and struct fields, and of values in kernels
SUFFIXES: Mapping[DType, str] = {INT8: "i8", INT16: "i16", INT32: "i32", SPIKE: "spike", FLOAT32: "f32"}
PORTS: Mapping[DType, str] = {INT8: "int8_t", INT16: "int16_t", INT32: "int32_t", SPIKE: "int8_t", FLOAT32: "float"}
FIELDS: Mapping[DType, str] = {**PORTS, SPIKE: "uint32_t"}
VALUES: Mapping[DType, str] = {INT8: "ek_i8", INT16: "ek_i16", INT32: "ek_i32", SPIKE: "ek_word", FLOAT32: "ek_f32"}
MAX_EVENTS = 2**16  # an event list holds 16-bit numbers


def listed(graph: Graph, op: Op) -> str | None:
    """The spike vector whose neurons that fired an op wants in a list for the whole entry; None for any other op."""
    if op.kind != "linear":
        return None
    x = graph.tensors[op.inputs[0]]
    return op.inputs[0] if x.dtype is SPIKE and len(x.shape) == 1 and x.size <= MAX_EVENTS else None


def passed_on(entry: Entry) -> set[str]:
    """The inputs that only a border op of the entry reads, which it does where the caller has them."""
    uses = [n for op in entry.ops for n in op.inputs] + [*entry.outputs, *entry.updates.values()]
    border = {op.inputs[0] for op in entry.ops if op.kind in ("quantize", "dequantize")}
    return {n for n in entry.inputs if n in border and uses.count(n) == 1}


def carried(entry: Entry, groups: Mapping[str, Group]) -> dict[str, str]:
    """The state by its new value, where one group of both says that their lists are one, a step apart."""
    view = roots(entry)
    pairs = {view.get(value, value): state for state, value in entry.updates.items()}
    return {v: s for v, s in pairs.items() if s in groups and v in groups and groups[s] is groups[v]}


def _goes_on(entry: Entry, at: int) -> bool:
    """Whether the next op adds to the sums of op `at`: a form may then read the lists of both there."""
    after = entry.ops[at + 1] if at + 1 < len(entry.ops) else None
    return after is not None and after.kind == "linear" and after.inputs[2:] == entry.ops[at].outputs


def _as_in_step(
    entry: Entry, found: dict[str, EventList], uses: Sequence[tuple[int, str, int]], full: Mapping[str, EventList]
) -> dict[str, EventList]:
    """The lists of a nested width in the slots that they have in the full step, if each is alone in its slot there."""
    named = {value: value.removeprefix(f"{entry.name}.") for value in found}
    if not set(named.values()) <= full.keys():
        return found
    busy = list[tuple[int, int, int]]()  # slot, and the ops between which it is needed
    for value, there in named.items():
        slot, made, last = full[there].slot, found[value].made, max(at for at, v, _ in uses if v == value)
        if any(slot == s and made <= until and since <= last for s, since, until in busy):
            return found
        busy.append((slot, made, last))
    return {value: EventList(full[there].slot, found[value].made) for value, there in named.items()}


def make_layout(graph: Graph, plan: Plan, rows: int, scratch: int, groups: Mapping[str, Mapping[str, Group]]) -> Layout:
    """Lay out the struct; entries share the arena, the input space and the lists.

    `rows` is the longest row that is listed by itself, `scratch` what the forms of the flavour use. A list that is
    carried from step to step has its slot to itself, and belongs to the state before any op has run.
    """
    align, states = plan.align, {}
    for at, state in enumerate(graph.states):
        tensor = graph.tensors[state.tensor]
        name = state_field(at, state.tensor)
        note = f"state {state.tensor} {list(tensor.shape)} {tensor.dtype}, {state.reset}"
        size = buffer_bytes(tensor, plan.lanes)
        states[state.tensor] = field_of(FIELDS[tensor.dtype], name, size, note, align)
    inputs, room, lists, sizes = {}, 0, dict[str, dict[str, EventList]](), list[list[int]]()
    for entry in graph.entries.values():
        offsets, at, elsewhere = {}, 0, passed_on(entry)
        for name in entry.inputs:
            if name in elsewhere:
                continue
            offsets[name] = at
            at += -(-buffer_bytes(graph.tensors[name], plan.lanes) // align) * align
        inputs[entry.name], room, root = offsets, max(room, at), roots(entry)
        uses = [
            (at, root.get(x, x), graph.tensors[x].size)
            for at, op in enumerate(entry.ops)
            if (x := listed(graph, op)) is not None
        ]
        kept = carried(entry, groups[entry.name])
        always = [(n, s, graph.tensors[s].size) for n in (-1, len(entry.ops)) for s in kept.values()]
        uses += [(n + 1, value, size) for n, value, size in uses if _goes_on(entry, n)]
        shared = [(n, kept.get(value, value), size) for n, value, size in uses]
        found, slots = list_slots(sorted((*always, *shared), key=lambda use: use[0]))
        made = {v: next(n for n, value, _ in uses if value == v) for v in kept}
        if is_width(entry.name):
            found = _as_in_step(entry, found, shared, lists["step"])
        lists[entry.name] = {**found, **{v: EventList(found[s].slot, made[v]) for v, s in kept.items()}}
        sizes.append(slots)
    slots = [max(column) for column in zip_longest(*sizes, fillvalue=0)]
    others = [
        field_of("uint32_t", "input", room, "copies of the inputs", align),
        field_of("uint32_t", "arena", plan.arena_bytes, "values of the running entry", align),
        *(field_of("uint16_t", f"list{s}", 2 * (n + 4), "neurons that fired", align) for s, n in enumerate(slots)),
        field_of("uint16_t", "row", 2 * rows, "neurons that fired in one row of a value", align),
        field_of("uint32_t", "wide", scratch, "inputs of the running op as its kernel reads them", align),
        field_of("uint32_t", "count", 4 * len(slots), "how many neurons each list holds", align),
        field_of("uint32_t", "nonfinite", 4, "how many inputs of quantize were NaN or Inf", align),
        *width_fields(graph, align),
    ]
    views = {e.name: roots(e) for e in graph.entries.values()}
    return Layout(states, tuple(f for f in others if f.length), inputs, lists, views)


@dataclass(frozen=True)
class Context:
    """One emission; `prefix` is `ek_<name>`, `groups[entry][value]` the event weights that share rows."""

    graph: Graph
    plan: Plan
    flavour: Flavour
    forms: Forms
    layout: Layout
    prefix: str
    consts: Constants
    groups: Mapping[str, Mapping[str, Group]]
    ticks: Ticks = field(default_factory=Ticks)
    functions: Functions = field(default_factory=Functions)

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def root(self, entry: Entry, name: str) -> str:
        """The value that `name` is a view of, or itself."""
        return self.layout.views[entry.name].get(name, name)

    def pointer(self, entry: Entry, name: str) -> str:
        """The C expression of a value's first element; a constant becomes a padded array."""
        place, tensor = self.plan.buffers[entry.name][name], self.tensor(name)
        if place.space == "const":
            return self.whole(entry, name, tensor.shape)
        if place.space == "state":
            return f"(({VALUES[tensor.dtype]} *)m->{self.layout.states[place.root].name})"
        offset = self.layout.inputs[entry.name][place.root] if place.space == "input" else place.offset
        where = f"m->{place.space} + {offset // 4}" if offset else f"m->{place.space}"
        return f"(({VALUES[tensor.dtype]} *)({where}))"

    def const(self, entry: Entry, name: str) -> Array | None:
        """The data of a constant, or of a view of one; None for what is computed."""
        data = self.tensor(self.root(entry, name)).data
        return None if data is None else data.reshape(self.tensor(name).shape)

    def data(self, name: str) -> Array:
        """The data of a constant; GraphError for anything else."""
        data = self.tensor(name).data
        if data is None:
            raise GraphError(f"tensor {name!r}", "is not a constant")
        return data

    def whole(self, entry: Entry, name: str, shape: Sequence[int]) -> str:
        """A constant broadcast to a shape, row-major, padded to whole vectors."""
        data = self.const(entry, name)
        if data is None:
            raise GraphError(f"tensor {name!r}", "is not a constant")
        return self.array((name, f"as {list(shape)}"), self.tensor(name).dtype, np.broadcast_to(data, shape))

    def array(self, key: tuple[str, ...], dtype: DType, values: Array) -> str:
        """A constant array of a dtype, padded to whole vectors; spikes as words."""
        if dtype is SPIKE:
            return self.pointed(self.consts.add(key, "uint32_t", lambda: self.spike_words(values)), SPIKE)
        ctype = FIELDS[dtype]
        return self.pointed(self.consts.add(key, ctype, lambda: padded(values, self.plan.lanes)), dtype)

    def pointed(self, name: str, dtype: DType) -> str:
        """A constant array as the kernels take it."""
        return f"((const {VALUES[dtype]} *){name})"

    def spike_words(self, values: Array) -> Array:
        """Spikes as 32-bit words in the order of bits of this flavour."""
        bits = padded(values.astype(np.uint64).reshape(-1), 32).reshape(-1, 32)
        return np.asarray((bits << np.array(self.flavour.slots, np.uint64)).sum(axis=1).astype(np.uint32))


def weight_bits(tensor: Tensor) -> int:
    """Bits of an integer weight as it is stored: 4, 8 or 16."""
    return {INT4: 4, INT8: 8, INT16: 16}[tensor.dtype]
