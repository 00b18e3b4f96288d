"""Spiking layers of the flavour with two int16 in a register: rows of events, memories by table, neurons that fire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer import weights
from edgekit.backends.c.integer.block_streams import rows_stream
from edgekit.backends.c.integer.blocks import layout_of
from edgekit.backends.c.integer.body import Body, body_of, constant_of
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.event_groups import carried_lists, filled, group_of, joint_groups, list_of
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Code, Group, Product
from edgekit.backends.c.integer.levels import shortened
from edgekit.backends.c.integer.palette_pairs import coded_events, event_bytes, event_call, row_bytes
from edgekit.ir import INT16, SPIKE, Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator

BLOCK = 16  # outputs that rows of weights are padded to: as many int16 as a kernel keeps in registers
HEAD_BYTES = 4  # of a row that is elsewhere, in blocks: where it begins
MOST_WORDS = 2**16  # an offset of a row has 16 bits
DECAY_BITS = 15
ORDER = 4  # of the memories that go by table, with one input


def groups(graph: Graph, entry: Entry, flavour: Flavour) -> dict[str, Group]:
    """For each spike vector: the weights of its linears side by side in one row, in bytes."""
    return joint_groups(graph, entry, lambda graph, ops: _group(graph, ops, flavour))


def _group(graph: Graph, ops: Sequence[Op], flavour: Flavour) -> Group | None:
    names = list(dict.fromkeys(op.inputs[1] for op in ops))
    starts = [0, *np.cumsum([_row_bytes(graph, w, flavour) for w in names]).tolist()]
    if graph.tensors[names[0]].shape[1] * starts[-1] // 4 > MOST_WORDS:
        return None
    return Group(tuple(names), dict(zip(names, starts, strict=False)), starts[-1])


def _row_bytes(graph: Graph, name: str, flavour: Flavour) -> int:
    w, coded = graph.tensors[name], coded_events(graph, name)
    if layout_of(flavour, w, spikes=True) is not None:
        return HEAD_BYTES
    bits = weight_bits(shortened(graph, name)[0])
    return -(-w.shape[0] // BLOCK) * BLOCK * bits // 8 if coded is None else row_bytes(w, coded)


def events(ctx: Context, product: Product) -> Code | None:
    """The rows of a group, with eight registers of sums at a time, or the blocks of outputs that each of them has."""
    p, group = product, group_of(ctx, product)
    if group is None:
        return None
    (fired, count), w, coded = list_of(ctx, p.entry, p.x), ctx.tensor(p.w), coded_events(ctx.graph, p.w)
    rows = f"{_rows(ctx, group)} + {group.columns[p.w] // 4}"
    if layout_of(ctx.flavour, w, spikes=True) is not None:
        form = f"w{max(8, weight_bits(w))}_a{p.bits}"
        words = ctx.consts.add((p.w, f"stream of rows, {form}"), "uint32_t", lambda: rows_stream(ctx, p.w, form)[0])
        values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {rows}, (const ek_word *){words}, {fired}, {count}"
        kernel = f"pair_block_rows_{form}"
        return Code(kernel, [*filled(ctx, p, _fill), f"ek_{kernel}({values}, {w.shape[0]}u);"])
    whole = "s4" if shortened(ctx.graph, p.w)[1] > 1 else f"w{weight_bits(w)}"
    form, blocks = coded.name if coded else whole, -(-w.shape[0] * p.bits // (16 * BLOCK))
    kernel = f"event_pairs_{form}_a{p.bits}"
    rows += f", {event_call(ctx, p.w, coded)}" if coded else ""
    call = f"ek_{kernel}({ctx.pointer(p.entry, p.y)}, {p.c}, {rows}, {fired}, {count}, {blocks}u);"
    return Code(kernel, [*filled(ctx, p, _fill), call])


def fired(ctx: Context, product: Product) -> tuple[str, str, list[str]]:
    """The list of a listed x, its count, and the line that fills it in the op that reads it first."""
    return *list_of(ctx, product.entry, product.x), filled(ctx, product, _fill)


def lists(ctx: Context) -> list[str]:
    """Fills the lists that a step takes over from the one before it."""
    return carried_lists(ctx, _fill)


def _fill(ctx: Context, entry: Entry, value: str, where: str, n: int) -> str:
    (fired, count), group = list_of(ctx, entry, value), ctx.groups[entry.name][value]
    return f"{count} = ek_fired_rows({fired}, {where}, {n}u, {group.stride // 4}u);"


def _rows(ctx: Context, group: Group) -> str:
    """Rows of all weights of a group in the order of the bits of spikes."""

    coded = [coded_events(ctx.graph, w) for w in group.weights]
    over_read = int(any(c is not None and c.name == "p6" for c in coded))

    def make() -> Array:
        n_in = ctx.tensor(group.weights[0]).shape[1]
        order = [at + i for at in range(0, n_in, 32) for i in _by_bit(ctx, min(32, n_in - at))]
        rows = np.concatenate([_bytes(ctx, w)[order] for w in group.weights], axis=1)
        return np.pad(np.ascontiguousarray(rows).reshape(-1).view("<u4").astype(np.uint32), (0, over_read))

    return f"(const ek_word *){ctx.consts.add((*group.weights, 'event rows by bit'), 'uint32_t', make)}"


def _bytes(ctx: Context, w: str) -> Array:
    """Rows [in][bytes] of whole blocks of a matrix, as the kernel of their width reads them, or where they begin."""
    if layout_of(ctx.flavour, ctx.tensor(w), spikes=True) is not None:
        form = f"w{max(8, weight_bits(ctx.tensor(w)))}_a16"
        return np.ascontiguousarray(rows_stream(ctx, w, form)[1].astype("<u4")[:, None]).view(np.uint8)
    if (coded := coded_events(ctx.graph, w)) is not None:
        return event_bytes(ctx, w, coded)
    short, step = shortened(ctx.graph, w)
    bits, columns = weight_bits(short), ctx.data(w).T.astype(np.int64)
    rows = np.pad(columns, ((0, 0), (0, -columns.shape[1] % BLOCK)))
    if bits == 4:
        rows = rows // step if step > 1 else rows + 8
        lower, upper = (half & 15 for half in np.split(rows.reshape(len(rows), -1, 2, 4), 2, axis=2))
        return weights.neighbours((lower | upper << 4).reshape(len(rows), -1)).astype(np.uint8)
    if bits == 8:
        return weights.neighbours(rows).astype(np.int8).view(np.uint8)
    return np.ascontiguousarray(rows.astype("<i2")).view(np.uint8)


def _by_bit(ctx: Context, n: int) -> list[int]:
    """The first n elements of a word of spikes in the order of their bits."""
    return sorted(range(n), key=lambda element: ctx.flavour.slots[element])


def memory_table(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u of spikes for memories of order 4 with one input: a table, two channels at a time."""
    m, a, u, b = op.inputs
    spikes = ctx.tensor(m).dtype is SPIKE and ctx.tensor(u).dtype is SPIKE
    if not spikes or ctx.tensor(b).shape != (ORDER, 1) or accumulator(op.attrs).bits != 16:
        return None

    def make() -> Array:
        by_bit = np.arange(2 ** (ORDER + 1)).reshape(2, 2, 2, 2, 2).swapaxes(2, 3)  # bits 2 and 1 change places
        return weights.memory_table(ctx, (a, b), 16)[by_bit.reshape(-1)].reshape(-1)

    table = f"(const ek_i16 *){ctx.consts.add((a, b, 'table by bits of pairs'), 'int16_t', make)}"
    values = f"{ctx.pointer(entry, op.outputs[0])}, {table}, {ctx.pointer(entry, m)}, {ctx.pointer(entry, u)}"
    return Code("memory_pairs_a16", [f"ek_memory_pairs_a16({values}, {ctx.tensor(m).shape[0]}u);"])


def fire(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Neurons of one decay that lose their threshold the step after they fired; None for any other chain."""
    body = body_of(ctx, op)
    chain = _chain(body)
    if chain is None or ctx.pointer(entry, op.outputs[0]) != ctx.pointer(entry, op.inputs[chain["v"]]):
        return None
    factor, levels, on, off = (constant_of(ctx, entry, body, chain[name]) for name in ("factor", "level", "on", "off"))
    if factor is None or levels is None or on is None or off is None:
        return None
    one_decay = np.unique(factor).size == 1 and factor.flat[0] >= 0
    if not one_decay or off.any() or (on + levels).any() or ctx.const(entry, op.inputs[chain["current"]]) is not None:
        return None
    (shape, n), m = (ctx.tensor(op.outputs[0]).shape, ctx.tensor(op.outputs[0]).size), int(factor.flat[0])
    name = op.inputs[chain["level"]]
    if np.unique(levels).size == 1:
        pair = ctx.consts.add((name, "as a pair"), "int16_t", lambda: np.full(2, levels.flat[0], np.int16))
        shared, level = "shared", f"(const ek_i16 *){pair}"
    else:
        shared, level = "own", ctx.whole(entry, name, shape)
    short = 2 * m < 2**DECAY_BITS
    kernel, spikes = f"fire_{shared}_{16 if short else 15}", ctx.pointer(entry, op.outputs[1])
    values = ", ".join(ctx.pointer(entry, op.inputs[chain[name]]) for name in ("v", "current"))
    lines = [f"ek_{kernel}({values}, {level}, {spikes}, {2 * m if short else m}u, {n}u);"]
    if n % 32:
        there = sum(1 << ctx.flavour.slots[i] for i in range(n % 32))
        lines.append(f"{spikes}[{n // 32}] &= 0x{there:08x}u;")
    return Code(kernel, lines)


def _chain(body: Body) -> dict[str, int] | None:
    """The inputs of a body by their part in a neuron that leaks and fires; None where it is something else."""
    lines = [body.lines[at] for at in body.used]
    if [kind for kind, _, _ in lines] != ["rescale", "add", "gt", "where", "add", "gt"]:
        return None
    kept, driven, above, back, new, fired = (body.arity + at for at in body.used)
    (v, factor), (_, level), (_, on, off) = lines[0][1], lines[2][1], lines[3][1]
    current = next((o for o in lines[1][1] if o != kept), kept)
    summed = (("saturate", True),)
    chain = [
        ("rescale", (v, factor), (("shift", DECAY_BITS), ("to", "int16"))),
        ("add", lines[1][1], summed),
        ("gt", (v, level), ()),
        ("where", (above, on, off), ()),
        ("add", lines[4][1], summed),
        ("gt", (new, level), ()),
    ]
    joined = set(lines[1][1]) == {kept, current} and set(lines[4][1]) == {driven, back}
    inputs = {"v": v, "factor": factor, "current": current, "level": level, "on": on, "off": off}
    known = all(o < body.arity and body.types[o].dtype is INT16 for o in inputs.values())
    return inputs if lines == chain and joined and known and body.results == (new, fired) else None
