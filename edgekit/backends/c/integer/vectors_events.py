"""Event-driven sums with eight int16 in a vector: rows of all targets, and two lists in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.addend import addend_of
from edgekit.backends.c.integer.blocks import layout_of
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.event_groups import carried_lists, filled, group_of, joint_groups, list_of
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Code, Group, Product
from edgekit.backends.c.integer.levels import shortened
from edgekit.backends.c.integer.palette_vectors import coded_events, event_rows, row_bytes
from edgekit.backends.c.integer.weights import stored
from edgekit.ir import Entry, Graph, Op
from edgekit.ir.plan import LANES, buffer_bytes

PAD = {4: 16, 8: 8, 16: 8}  # weights of a row, by their bits, are padded to a multiple of so many
# weights and sums in bits: the sums of the narrowest block of a kernel, and how many times as wide the widest one is
WIDTHS = {(4, 16): (16, 3), (4, 32): (16, 1), (8, 16): (8, 6), (8, 32): (4, 6), (16, 16): (8, 6), (16, 32): (4, 6)}
MOST_OFFSET, UNITS = 2**16, (1, 8)  # offsets of rows have 16 bits, in units of so many bytes
NO_ROWS = "0, 0, 0u, 1u"  # what a kernel gets in place of a second list


def groups(graph: Graph, entry: Entry, flavour: Flavour) -> dict[str, Group]:
    """For each spike vector whose linears have weights of one width, or of few values: theirs side by side in bytes.

    Weights in blocks are elsewhere: their group has a list of numbers of rows.
    """
    return joint_groups(graph, entry, lambda graph, ops: _group(graph, ops, flavour))


def _group(graph: Graph, ops: Sequence[Op], flavour: Flavour) -> Group | None:
    everything = list(dict.fromkeys(op.inputs[1] for op in ops))
    names = [w for w in everything if layout_of(flavour, graph.tensors[w], spikes=True) is None]
    numbered = names != everything
    starts = [0, *np.cumsum([_matrix_bytes(graph, w) for w in names], dtype=int).tolist()]
    rows = -(-graph.tensors[everything[0]].shape[1] // LANES) * LANES
    widths = {_form(graph, w) for w in names if coded_events(graph, w) is None}
    if len(widths) > 1 or (rows > MOST_OFFSET if numbered else rows * starts[-1] > MOST_OFFSET * UNITS[-1]):
        return None
    return Group(tuple(names), dict(zip(names, starts, strict=False)), starts[-1], numbered)


def _matrix_bytes(graph: Graph, name: str) -> int:
    """Bytes of the part of a row that one matrix takes."""
    w, coded = graph.tensors[name], coded_events(graph, name)
    bits = _bits(graph, name)
    return -(-w.shape[0] // PAD[bits]) * PAD[bits] * bits // 8 if coded is None else row_bytes(w, coded)


def _bits(graph: Graph, name: str) -> int:
    """Bits of a weight as the rows hold it."""
    return weight_bits(shortened(graph, name)[0])


def _form(graph: Graph, name: str) -> str:
    """What kernels of rows are called by: the bits of a weight, s4 where it is in steps."""
    return "s4" if shortened(graph, name)[1] > 1 else f"w{weight_bits(graph.tensors[name])}"


def events(ctx: Context, product: Product) -> Code | None:
    """The rows of a group, up to 48 outputs at a time in the registers, or 24 of int32.

    Sums that are only the addend of the next op's are left to that one, which then adds the rows of both.
    """
    p = product
    if group_of(ctx, p) is None:
        return None
    (n_out, _), bits, form = ctx.tensor(p.w).shape, _bits(ctx.graph, p.w), _form(ctx.graph, p.w)
    lines = filled(ctx, p, _fill)
    if _leaves(ctx, p.entry, p.at):
        return Code("event_list", lines or ["(void)m;"])
    parts = [p]
    if _leaves(ctx, p.entry, p.at - 1):
        parts = [_product_at(ctx, p.entry, p.at - 1), p]
    to, c, done, (lanes, most) = ctx.pointer(p.entry, p.y), parts[0].c, 0, WIDTHS[bits, p.bits]
    if (coded := coded_events(ctx.graph, p.w)) is not None:
        rows = ", ".join([*(_rows(ctx, part, 0) for part in parts), *[NO_ROWS] * (2 - len(parts))])
        lines.append(f"ek_rows_{coded.name}_a16({to}, {c}, {n_out}u, {coded.given(ctx, p.w)}, {rows});")
        return Code(f"event_eights_{coded.name}_a16", lines)
    for wide, blocks in _split(-(-n_out // lanes), most):
        rows = ", ".join([*(_rows(ctx, part, done) for part in parts), *[NO_ROWS] * (2 - len(parts))])
        start = c if c == "0" else f"{c} + {done}"
        lines.append(f"ek_rows_{form}_a{p.bits}_{wide}({to} + {done}, {start}, {blocks}u, {rows});")
        done += lanes * wide * blocks
    return Code(f"event_eights_{form}_a{p.bits}", lines)


def fired(ctx: Context, product: Product) -> tuple[str, str, list[str]]:
    """The list of a listed x, its count, and the line that fills it in the op that reads it first."""
    return *list_of(ctx, product.entry, product.x), filled(ctx, product, _fill)


def lists(ctx: Context) -> list[str]:
    """Fills the lists that a step takes over from the one before it."""
    return carried_lists(ctx, _fill)


def _fill(ctx: Context, entry: Entry, value: str, where: str, n: int) -> str:
    group = ctx.groups[entry.name][value]
    fired, count = list_of(ctx, entry, value)
    step = 1 if group.numbered else group.stride // _unit(ctx, group)
    return f"{count} = ek_fired_rows({fired}, {where}, {n}u, {step}u);"


def _rows(ctx: Context, product: Product, done: int) -> str:
    """The arguments of a kernel for the rows of one product, from output `done` on."""
    group = ctx.groups[product.entry.name][ctx.root(product.entry, product.x)]
    fired, count = list_of(ctx, product.entry, product.x)
    first = group.columns[product.w] + done * _bits(ctx.graph, product.w) // 8
    return f"(const ek_i8 *){_grouped_rows(ctx, group)} + {first}, {fired}, {count}, {_unit(ctx, group)}u"


def _unit(ctx: Context, group: Group) -> int:
    """Bytes of one unit of what the list holds: a whole row, or so few that 16 bits hold the offset of any row."""
    if group.numbered:
        return group.stride
    rows = -(-ctx.tensor(group.weights[0]).shape[1] // LANES) * LANES
    return next(unit for unit in UNITS if rows * group.stride <= MOST_OFFSET * unit)


def _split(vectors: int, most: int) -> list[tuple[int, int]]:
    """Widths of blocks and how many of each, nearly equal and as few as the registers allow."""
    blocks = -(-vectors // most)
    wide, more = divmod(vectors, blocks)
    return [(w, n) for w, n in ((wide + 1, more), (wide, blocks - more)) if n]


# --- two events in one pass ------------------------------------------------------------------------------------------


def _product_at(ctx: Context, entry: Entry, at: int) -> Product:
    x, w, *addend = entry.ops[at].inputs
    c, step = addend_of(ctx, entry, addend[0], entry.ops[at]) if addend else ("0", 0)
    return Product(entry, at, entry.ops[at], x, w, entry.ops[at].outputs[0], c, step)


def _leaves(ctx: Context, entry: Entry, at: int) -> bool:
    """Whether an op only lists its spikes, and the next one, which alone reads its sums, adds the rows of both."""
    if not 0 <= at < len(entry.ops) - 1 or _leaves(ctx, entry, at - 1):
        return False
    op, after = entry.ops[at], entry.ops[at + 1]
    sums = op.outputs[0]
    uses = [n for o in entry.ops for n in o.inputs] + [*entry.outputs, *entry.updates.values()]
    if any(o.kind != "linear" for o in (op, after)) or after.inputs[2:] != (sums,) or uses.count(sums) > 1:
        return False
    pair = [_product_at(ctx, entry, n) for n in (at, at + 1)]
    if any(layout_of(ctx.flavour, ctx.tensor(p.w), spikes=True) is not None for p in pair):
        return False
    widths = {(_form(ctx.graph, p.w), coded_events(ctx.graph, p.w)) for p in pair}
    return all(group_of(ctx, p) is not None for p in pair) and len(widths) == 1 and not _clobbers(ctx, entry, op, after)


def _clobbers(ctx: Context, entry: Entry, op: Op, after: Op) -> bool:
    """Whether writing the sums of `after` would change addends of `op` that are read later."""
    if len(op.inputs) < 3:
        return False
    places = ctx.plan.buffers[entry.name]
    c, y = places[op.inputs[2]], places[after.outputs[0]]
    if c.space != y.space or c.space == "const":
        return False
    apart = abs(c.offset - y.offset)
    return 0 < apart < max(buffer_bytes(ctx.tensor(n), ctx.plan.lanes) for n in (op.inputs[2], after.outputs[0]))


# --- rows ------------------------------------------------------------------------------------------------------------


def _grouped_rows(ctx: Context, group: Group) -> str:
    """Rows of all weights of a group, those of each 32 neurons in the order of their bits, the highest first."""

    def make() -> Array:
        return _by_bit(
            np.concatenate([_matrix_rows(ctx, w) for w in group.weights], axis=1), ctx.flavour.slots
        ).reshape(-1)

    return ctx.consts.add((*group.weights, "event rows by bit"), "int8_t", make)


def _matrix_rows(ctx: Context, w: str) -> Array:
    """Rows [in][bytes] of a matrix."""
    step, bits, columns = shortened(ctx.graph, w)[1], _bits(ctx.graph, w), ctx.data(w).T
    if (coded := coded_events(ctx.graph, w)) is not None:
        return event_rows(columns, coded).view(np.int8)
    rows = np.pad(columns, ((0, 0), (0, -columns.shape[1] % PAD[bits])))
    if bits > 4:
        return stored(rows, bits).astype(f"<i{bits // 8}").view(np.int8).reshape(len(rows), -1)
    halves = (rows // step).reshape(len(rows), -1, 2, 8)
    return nibble_pairs(halves[:, :, 0], halves[:, :, 1]).reshape(len(rows), -1)


def nibble_pairs(a: Array, b: Array) -> Array:
    """int4 weights two to an int8: 16 b + (a + 8)."""
    return np.asarray((16 * b.astype(np.int64) + a + 8).astype(np.int8))


def by_list(ctx: Context, rows: Array) -> Array:
    """Rows of neurons in the order of their bits."""
    return _by_bit(rows, ctx.flavour.slots)


def _by_bit(rows: Array, slots: Sequence[int]) -> Array:
    """Row 32 g + z is that of the neuron whose spike is bit 31 - z of word g; zeros where there is none."""
    element = np.argsort(LANES - 1 - np.array(slots))
    full = np.pad(rows, ((0, -len(rows) % LANES), (0, 0)))
    return full.reshape(-1, LANES, rows.shape[1])[:, element].reshape(-1, rows.shape[1])
