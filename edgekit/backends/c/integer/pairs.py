"""Forms of the flavour with two int16 in a register: the DSP instructions of Cortex-M4, M7 and M33."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, listed, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Group, Product
from edgekit.backends.c.integer.pairs_fused import fused
from edgekit.backends.c.integer.portable import fired_list, is_listed
from edgekit.backends.c.integer.weights import CTYPES, stored
from edgekit.backends.c.layout import roots
from edgekit.ir import INT16, Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator

EVENT_BLOCK = 16  # outputs of one block of the event kernel


def groups(graph: Graph, entry: Entry) -> dict[str, Group]:
    """For each spike vector whose linears all add int8 weights in int16: their weights side by side in one row."""
    view, readers = roots(entry), dict[str, list[Op]]()
    for op in entry.ops:
        if (x := listed(graph, op)) is not None:
            readers.setdefault(view.get(x, x), []).append(op)
    found = {}
    for value, ops in readers.items():
        names = list(dict.fromkeys(op.inputs[1] for op in ops))
        widths = [-(-graph.tensors[w].shape[0] // EVENT_BLOCK) * EVENT_BLOCK for w in names]
        starts = [0, *np.cumsum(widths).tolist()]
        fits = all(accumulator(op.attrs).bits == 16 and weight_bits(graph.tensors[op.inputs[1]]) == 8 for op in ops)
        if fits and graph.tensors[value].size * starts[-1] // 4 < 2**16:
            found[value] = Group(tuple(names), dict(zip(names, starts, strict=False)), starts[-1])
    return found


def dense(ctx: Context, product: Product) -> Code | None:
    """Four outputs at a time, where rows of x begin at whole words."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    bits, (n_out, n_in) = weight_bits(w), w.shape
    rows = x.size // n_in
    known = bits == 8 or (bits == 16 and x.dtype is INT16)
    if not known or not (rows == 1 or n_in % 4 == 0):
        return None
    kernel = f"pairs_x{x.dtype.bits}_w{bits}_a{p.bits}"
    weights, width = _paired_rows(ctx, p)
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    sizes = f"{rows}u, {n_in}u, {width}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {from_}, {sizes});"])


def events(ctx: Context, product: Product) -> Code | None:
    """The rows of a group, 16 outputs at a time."""
    p = product
    root = ctx.root(p.entry, p.x)
    if not is_listed(ctx, p) or root not in ctx.groups[p.entry.name]:
        return None
    group = ctx.groups[p.entry.name][root]
    fired, count, find = fired_list(ctx, p, group.stride // 4)
    weights, n_out = f"{_grouped_rows(ctx, group)} + {group.columns[p.w]}", ctx.tensor(p.w).shape[0]
    call = (
        f"ek_event_pairs({ctx.pointer(p.entry, p.y)}, {p.c}, {weights}, {fired}, {count}, {-(-n_out // EVENT_BLOCK)}u);"
    )
    return Code("event_pairs", [*find, call])


def _paired(values: Array) -> Array:
    """Bytes of each word in the order 0, 2, 1, 3, in which SXTB16 makes pairs of neighbours of them."""
    return np.asarray(values.reshape(*values.shape[:-1], -1, 4)[..., [0, 2, 1, 3]].reshape(values.shape))


def _paired_rows(ctx: Context, product: Product) -> tuple[str, int]:
    """Blocks of four outputs, a word of each in turn, and the number of inputs with those of the padding."""
    w, x = product.w, ctx.tensor(product.x)
    bits, (n_out, n_in) = weight_bits(ctx.tensor(w)), ctx.tensor(w).shape
    per = 32 // bits
    width, swap = -(-n_in // per) * per, bits == 8 and x.dtype is INT16

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, -n_out % 4), (0, width - n_in)))
        words = (_paired(rows) if swap else rows).reshape(-1, 4, width // per, per)
        return stored(words.swapaxes(1, 2), bits)

    return ctx.consts.add((w, f"blocks of four, for {x.dtype}"), CTYPES[bits], make), width


def _grouped_rows(ctx: Context, group: Group) -> str:
    """Rows of all weights of a group, in the order of bytes that the kernel wants."""

    def make() -> Array:
        columns = [ctx.data(w).T for w in group.weights]
        padded = [np.pad(c, ((0, 0), (0, -c.shape[1] % EVENT_BLOCK))) for c in columns]
        return stored(_paired(np.concatenate(padded, axis=1)), 8)

    return ctx.consts.add((*group.weights, "event rows, paired"), "int8_t", make)


PAIRS = Forms(groups, dense, events, fused=fused)
