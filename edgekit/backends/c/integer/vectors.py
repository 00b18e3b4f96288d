"""Forms of the flavour with eight int16 in a vector: MVE of Cortex-M55 and M85."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, carried, listed, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Group, Product
from edgekit.backends.c.integer.linear import addend_of
from edgekit.backends.c.integer.portable import is_listed
from edgekit.backends.c.integer.vectors_fused import fused
from edgekit.backends.c.integer.weights import CTYPES, memory_table, stored
from edgekit.backends.c.layout import roots
from edgekit.ir import INT8, INT16, SPIKE, Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator
from edgekit.ir.plan import buffer_bytes

LANES = 8  # int16 of a vector
MOST_SUMS = 6  # vectors of sums that the event kernel keeps in registers
ROWS_AT_ONCE = (8, 4, 1)  # outputs of a block of dense weights
SPAN_COST, DENSE_COST = 3, 2.1  # instructions per vector of weights
SPAN_FIXED, DENSE_FIXED = 4, 2  # instructions per output beside those
MOST_OFFSET, UNITS = 2**16, (1, 8)  # offsets of rows have 16 bits, in units of so many bytes
TABLE_ORDER, TABLE_ROWS = (
    4,
    88,
)  # of the memory update by table: spikes of a channel, and rows up to the last that is used


def groups(graph: Graph, entry: Entry) -> dict[str, Group]:
    """For each spike vector whose linears all sum in int16, with weights of one width: theirs side by side in a row.

    A state and its new value have one group, where the list of the one can be that of the other in the next step.
    """
    view, readers = roots(entry), dict[str, list[int]]()
    for at, op in enumerate(entry.ops):
        if (x := listed(graph, op)) is not None:
            readers.setdefault(view.get(x, x), []).append(at)
    found = {}
    joint = {s: v for s, v in _lasting(graph, entry).items() if s in readers and v in readers}
    joint = {s: v for s, v in joint.items() if max(readers[s]) < min(readers[v])}
    alone = [(v,) for v in readers]
    for values in (*joint.items(), *alone):
        if all(v not in found for v in values):
            group = _group(graph, [entry.ops[at] for v in values for at in readers[v]])
            found.update(dict.fromkeys(values, group) if group is not None else {})
    return found


def _lasting(graph: Graph, entry: Entry) -> dict[str, str]:
    """The new value of each state that this entry alone sets, with lists that no other entry writes over."""
    others = [e for e in graph.entries.values() if e.name != entry.name]
    if any(listed(graph, op) for e in others for op in e.ops):
        return {}
    view, made = roots(entry), {name for op in entry.ops for name in op.outputs}
    news = {s: view.get(v, v) for s, v in entry.updates.items() if not any(s in e.updates for e in others)}
    return {s: v for s, v in news.items() if v in made and list(news.values()).count(v) == 1}


def _group(graph: Graph, ops: Sequence[Op]) -> Group | None:
    """The weights of some linears over spikes side by side, where the event kernel can add them."""
    names = list(dict.fromkeys(op.inputs[1] for op in ops))
    widths = {weight_bits(graph.tensors[w]) for w in names}
    starts = [0, *np.cumsum([-(-graph.tensors[w].shape[0] // LANES) * LANES for w in names]).tolist()]
    fits = widths in ({8}, {16}) and all(accumulator(op.attrs).bits == 16 for op in ops)
    rows = -(-graph.tensors[names[0]].shape[1] // 32) * 32
    if not fits or rows * starts[-1] * max(widths) // 8 > MOST_OFFSET * UNITS[-1]:
        return None
    return Group(tuple(names), dict(zip(names, starts, strict=False)), starts[-1])


def dense(ctx: Context, product: Product) -> Code | None:
    """Eight outputs at a time, or each from the few neighbouring inputs that it reads."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = weight_bits(w), w.shape
    per = 16 if x.dtype is INT8 and bits == 8 else LANES
    vectors, rows = -(-n_in // per), x.size // n_in
    even = p.bits == 32 or n_out % 2 == 0  # rows of sums begin at whole words
    if bits == 4 or (rows > 1 and (n_in % per or not even)):
        return None
    form = f"x{x.dtype.bits}_w{bits}_a{p.bits}"
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    first, span = _spans(ctx.data(p.w), per)
    dense_cost = n_out * (DENSE_COST * vectors + DENSE_FIXED)
    if rows == 1 and vectors * per <= MOST_OFFSET and n_out * (SPAN_COST * span + SPAN_FIXED) < dense_cost:
        weights, begins = _span_rows(ctx, p.w, first, span * per), _numbers(ctx, p.w, first)
        call = f"ek_spans_{form}({to}, {p.c}, {weights}, {begins}, {from_}, {span}u, {n_out}u);"
        return Code(f"spans_{form}", [call])
    weights = _blocks(ctx, p.w, per)
    sizes = f"{rows}u, {n_in}u, {vectors}u, {n_out}u"
    return Code(f"eights_{form}", [f"ek_eights_{form}({to}, {p.c}, {p.step}u, {weights}, {from_}, {sizes});"])


def events(ctx: Context, product: Product) -> Code | None:
    """The rows of a group, up to 48 outputs at a time in the registers.

    The sum that is only another one's addend is left to that one, which then adds the rows of both.
    """
    p = product
    if not _is_grouped(ctx, p):
        return None
    (n_out, _), bits = ctx.tensor(p.w).shape, weight_bits(ctx.tensor(p.w))
    lines = _fill(ctx, p)
    if _leaves(ctx, p.entry, p.at):
        return Code("event_list", lines or ["(void)m;"])
    parts = [p]
    if _leaves(ctx, p.entry, p.at - 1):
        parts = [_product_at(ctx, p.entry, p.at - 1), p]
    to, c, done = ctx.pointer(p.entry, p.y), parts[0].c, 0
    for wide, blocks in _split(-(-n_out // LANES)):
        rows = ", ".join([_rows(ctx, part, done) for part in parts] + ["0, 0, 0u, 1u"] * (2 - len(parts)))
        start = c if c == "0" else f"{c} + {done}"
        lines.append(f"ek_rows_w{bits}_{wide}({to} + {done}, {start}, {blocks}u, {rows});")
        done += LANES * wide * blocks
    return Code(f"event_eights_w{bits}", lines)


def lists(ctx: Context) -> list[str]:
    """Fills the lists that a step takes over from the one before it."""
    return [
        _fill_line(ctx, entry, state, ctx.pointer(entry, state), ctx.tensor(state).size)
        for entry in ctx.graph.entries.values()
        for state in carried(entry, ctx.groups[entry.name]).values()
    ]


def _is_grouped(ctx: Context, product: Product) -> bool:
    return is_listed(ctx, product) and ctx.root(product.entry, product.x) in ctx.groups[product.entry.name]


def _group_of(ctx: Context, product: Product) -> Group:
    return ctx.groups[product.entry.name][ctx.root(product.entry, product.x)]


def _fill(ctx: Context, product: Product) -> list[str]:
    """The line that lists the neurons that fired, in the op that reads them first."""
    p, root = product, ctx.root(product.entry, product.x)
    if ctx.layout.lists[p.entry.name][root].made != p.at:
        return []
    return [_fill_line(ctx, p.entry, root, ctx.pointer(p.entry, p.x), ctx.tensor(p.x).size)]


def _fill_line(ctx: Context, entry: Entry, value: str, where: str, n: int) -> str:
    slot, group = ctx.layout.lists[entry.name][value].slot, ctx.groups[entry.name][value]
    step = _row_bytes(ctx, group) // _unit(ctx, group)
    return f"m->count[{slot}] = ek_fired_rows(m->list{slot}, {where}, {n}u, {step}u);"


def _rows(ctx: Context, product: Product, done: int) -> str:
    """The arguments of a kernel for the rows of one product, from output `done` on."""
    p, group = product, _group_of(ctx, product)
    slot = ctx.layout.lists[p.entry.name][ctx.root(p.entry, p.x)].slot
    bits = weight_bits(ctx.tensor(p.w))
    first = (group.columns[p.w] + done) * bits // 8
    rows = f"(const ek_i8 *){_grouped_rows(ctx, group, bits)} + {first}"
    return f"{rows}, m->list{slot}, m->count[{slot}], {_unit(ctx, group)}u"


def _row_bytes(ctx: Context, group: Group) -> int:
    return group.stride * weight_bits(ctx.tensor(group.weights[0])) // 8


def _unit(ctx: Context, group: Group) -> int:
    """Bytes of one unit of offset, of which 16 bits hold as many as the group has."""
    rows = -(-ctx.tensor(group.weights[0]).shape[1] // 32) * 32
    return next(unit for unit in UNITS if rows * _row_bytes(ctx, group) <= MOST_OFFSET * unit)


def _product_at(ctx: Context, entry: Entry, at: int) -> Product:
    x, w, *addend = entry.ops[at].inputs
    c, step = addend_of(ctx, entry, addend[0], entry.ops[at]) if addend else ("0", 0)
    return Product(entry, at, entry.ops[at], x, w, entry.ops[at].outputs[0], c, step)


def _leaves(ctx: Context, entry: Entry, at: int) -> bool:
    """Whether an op only lists its spikes, and the next one, which alone reads its sums, adds the rows of both."""
    if not 0 <= at < len(entry.ops) - 1 or _leaves(ctx, entry, at - 1):
        return False
    op, after = entry.ops[at], entry.ops[at + 1]
    sum_ = op.outputs[0]
    uses = [n for o in entry.ops for n in o.inputs] + [*entry.outputs, *entry.updates.values()]
    if any(o.kind != "linear" for o in (op, after)) or after.inputs[2:] != (sum_,) or uses.count(sum_) > 1:
        return False
    pair = [_product_at(ctx, entry, n) for n in (at, at + 1)]
    widths = {weight_bits(ctx.tensor(p.w)) for p in pair}
    return all(_is_grouped(ctx, p) for p in pair) and len(widths) == 1 and not _is_clobbered(ctx, entry, op, after)


def _is_clobbered(ctx: Context, entry: Entry, op: Op, after: Op) -> bool:
    """Whether writing the sums of `after` would change addends of `op` that are read later."""
    if len(op.inputs) < 3:
        return False
    places = ctx.plan.buffers[entry.name]
    c, y = places[op.inputs[2]], places[after.outputs[0]]
    if c.space != y.space or c.space == "const":
        return False
    apart = abs(c.offset - y.offset)
    return 0 < apart < max(buffer_bytes(ctx.tensor(n), ctx.plan.lanes) for n in (op.inputs[2], after.outputs[0]))


def memory(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u of four spikes and one: four rows of a table at once."""
    m, a, u, b = op.inputs
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    both = ctx.tensor(m).dtype is SPIKE and ctx.tensor(u).dtype is SPIKE
    if not both or (order, inputs) != (TABLE_ORDER, 1) or accumulator(op.attrs).bits != 16:
        return None
    spread = [
        sum((row >> bit & 1) << 2 * bit for bit in range(TABLE_ORDER)) | row >> TABLE_ORDER << 1 for row in range(32)
    ]

    def make() -> Array:
        table = np.zeros((TABLE_ROWS, order), np.int16)
        table[spread] = memory_table(ctx, (a, b), 16)
        return table.reshape(-1)

    table = f"(const ek_i16 *){ctx.consts.add((a, b, 'table by spread bits'), 'int16_t', make)}"
    values = f"{ctx.pointer(entry, op.outputs[0])}, {table}, {ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
    return Code("memory4_a16", [f"ek_memory4_a16({values}, {channels}u);"])


def lookup(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Eight values at a time by gathering, where no segment of the table is too steep for int16."""
    x, table = ctx.tensor(op.inputs[0]), ctx.data(op.inputs[1])
    low, high = INT16.limits
    rise = np.diff(table.astype(np.int64))
    if x.dtype is not INT16 or bool((rise < low).any() or (rise > high).any()):
        return None
    to, from_ = ctx.pointer(entry, op.outputs[0]), ctx.pointer(entry, op.inputs[0])
    fraction = 16 - (table.size - 1).bit_length() + 1
    whole = ctx.whole(entry, op.inputs[1], table.shape)
    return Code("lookup_eights", [f"ek_eight_lookup({to}, {from_}, {whole}, {x.size}u, {fraction}u);"])


def _split(vectors: int) -> list[tuple[int, int]]:
    """Widths of blocks and how many of each, nearly equal and as few as the registers allow."""
    blocks = -(-vectors // MOST_SUMS)
    wide, more = divmod(vectors, blocks)
    return [(w, n) for w, n in ((wide + 1, more), (wide, blocks - more)) if n]


def _blocks(ctx: Context, w: str, per: int) -> str:
    """Weights in blocks of eight outputs, four and one, a vector of inputs of each in turn."""
    bits = weight_bits(ctx.tensor(w))

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, 0), (0, -ctx.data(w).shape[1] % per)))
        parts, at = [], 0
        for n in ROWS_AT_ONCE:
            while at + n <= len(rows):
                parts.append(rows[at : at + n].reshape(n, -1, per).swapaxes(0, 1).reshape(-1))
                at += n
        return stored(np.concatenate(parts), bits)

    return ctx.consts.add((w, f"blocks of eight, vectors of {per}"), CTYPES[bits], make)


def _spans(weights: Array, per: int) -> tuple[Array, int]:
    """Where the non-zero weights of each output begin, and how many vectors the longest span takes."""
    n_in = weights.shape[1]
    taken = weights != 0
    first = np.where(taken.any(axis=1), taken.argmax(axis=1), 0)
    length = np.where(taken.any(axis=1), n_in - taken[:, ::-1].argmax(axis=1) - first, 1)
    span = int(-(-length.max() // per))
    return np.minimum(first, -(-n_in // per) * per - span * per), span


def _span_rows(ctx: Context, w: str, first: Array, width: int) -> str:
    bits = weight_bits(ctx.tensor(w))

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, 0), (0, width)))
        return stored(np.stack([row[at : at + width] for row, at in zip(rows, first, strict=True)]), bits)

    return ctx.consts.add((w, f"spans of {width}"), CTYPES[bits], make)


def _numbers(ctx: Context, w: str, first: Array) -> str:
    return ctx.consts.add((w, "where spans begin"), "uint16_t", lambda: first.astype(np.uint16))


def _grouped_rows(ctx: Context, group: Group, bits: int) -> str:
    """Rows of all weights of a group, those of each 32 neurons in the order of their bits, the highest first."""

    def make() -> Array:
        columns = [ctx.data(w).T for w in group.weights]
        rows = np.concatenate([np.pad(c, ((0, 0), (0, -c.shape[1] % LANES))) for c in columns], axis=1)
        return stored(_by_bit(rows, ctx.flavour.slots), bits)

    return ctx.consts.add((*group.weights, "event rows by bit"), CTYPES[bits], make)


def _by_bit(rows: Array, slots: Sequence[int]) -> Array:
    """Row 32 g + z is that of the neuron whose spike is bit 31 - z of word g; zeros where there is none."""
    element = np.argsort(31 - np.array(slots))
    full = np.pad(rows, ((0, -len(rows) % 32), (0, 0)))
    return full.reshape(-1, 32, rows.shape[1])[:, element].reshape(-1, rows.shape[1])


VECTORS = Forms(groups, dense, events, memory, fused, lookup, lists=lists)
