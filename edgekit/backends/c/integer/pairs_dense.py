"""Dense sums of the flavour with two int16 in a register: four outputs at a time, and few inputs."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.block_streams import fits_bytes
from edgekit.backends.c.integer.body import body_of, constant_of
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.fused import HIGH_LIMIT, HIGH_SHIFT
from edgekit.backends.c.integer.weights import CTYPES, neighbours, stored
from edgekit.ir import INT8, INT16, INT32, SPIKE, Entry, Graph, Op
from edgekit.ir.ops.contract import accumulator

BLOCK = 4  # outputs of one block of the dense kernels
STEP_INPUTS = {"x8_w4": 8, "x16_w4": 8, "few": 2}  # inputs of a step of a kernel, where they are not four
FEW = 3  # words of inputs that a kernel keeps in registers
SHORT_ROW = 16  # values of a memory's channel that go at once


def dense(ctx: Context, product: Product) -> Code | None:
    """Four outputs at a time, where rows of x begin at whole words and rows of y at whole blocks."""
    p = product
    form = dense_form(ctx.graph, p.x, p.w)
    if form is None:
        return None
    if is_left(ctx, p.entry, p.at):
        return Code("left_to_next", ["(void)m;"])
    n_out, n_in = ctx.tensor(p.w).shape
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    weights, steps = _blocks(ctx, p.w, form)
    kernel, rows = f"pairs_{form}_a{p.bits}", ctx.tensor(p.x).size // n_in
    wide = "m->wide" if _is_widened(form) else "0"
    sizes = f"{rows}u, {n_in}u, {steps}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {from_}, {wide}, {sizes});"])


def memory_rows(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A m + B u of short rows of int16 at once."""
    m, a, u, b = op.inputs
    (channels, order), inputs = ctx.tensor(m).shape, ctx.tensor(u).shape[1]
    narrow = all(ctx.tensor(name).dtype is INT16 for name in op.inputs)
    if not narrow or order % 2 or order + inputs > SHORT_ROW or accumulator(op.attrs) is not INT32:
        return None

    def make() -> Array:
        pairs = ctx.data(a).astype(np.int64).reshape(order, -1, 2) & 0xFFFF
        words = np.concatenate([pairs[..., 0] | pairs[..., 1] << 16, ctx.data(b).astype(np.int64) & 0xFFFFFFFF], axis=1)
        return words.reshape(-1).astype(np.uint32)

    weights = f"(const ek_word *){ctx.consts.add((a, b, 'words of each output'), 'uint32_t', make)}"
    values = ", ".join(ctx.pointer(entry, name) for name in (m, u))
    sizes = f"{channels}u, {order}u, {inputs}u"
    kernel = "memory_rows_x16_w16_a32"
    return Code(kernel, [f"ek_{kernel}({ctx.pointer(entry, op.outputs[0])}, {weights}, {values}, {sizes});"])


def few(ctx: Context, entry: Entry, after: Op) -> Code | None:
    """The sums of the op before and what this one makes of them."""
    at = entry.ops.index(after) - 1
    if not is_left(ctx, entry, at):
        return None
    (x, w), y = entry.ops[at].inputs, after.outputs[0]
    weights, words = _blocks(ctx, w, "few")
    n_out = ctx.tensor(w).shape[0]
    factor = np.broadcast_to(ctx.data(after.inputs[1]).astype(np.int64), (n_out,))
    largest = np.abs(ctx.data(w).astype(np.int64)).sum(axis=1) * 2**15
    clipped = "_clipped" * bool((largest * np.abs(factor) >> HIGH_SHIFT).max() >= INT16.limits[1])
    doubled = np.pad(2 * factor, (0, -n_out % BLOCK)).astype(np.int32)
    factors = ctx.array((after.inputs[1], "doubled, in blocks"), INT32, doubled)
    values = f"{ctx.pointer(entry, y)}, {weights}, (const ek_word *){ctx.pointer(entry, x)}"
    kernel = f"few{clipped}_x16_w16"
    return Code(kernel, [f"ek_{kernel}({values}, {words}u, {factors}, {-(-n_out // BLOCK)}u);"])


def is_left(ctx: Context, entry: Entry, at: int) -> bool:
    """Whether op `at` sums a few inputs for the next op alone, which rescales them to int16: one kernel does both."""
    if not 0 <= at < len(entry.ops) - 1 or entry.ops[at].kind != "linear" or entry.ops[at + 1].kind != "fused":
        return False
    op, after = entry.ops[at], entry.ops[at + 1]
    sums, body = op.outputs[0], body_of(ctx, after)
    if len(op.inputs) > 2 or dense_form(ctx.graph, *op.inputs) != "x16_w16" or accumulator(op.attrs) is not INT32:
        return False
    uses = [n for o in entry.ops for n in o.inputs] + [*entry.outputs, *entry.updates.values()]
    alone = uses.count(sums) == 1 and ctx.tensor(op.inputs[0]).size == ctx.tensor(op.inputs[1]).shape[1] <= 2 * FEW
    lines = [body.lines[n] for n in body.used]
    wanted = [("rescale", (0, 1), (("shift", HIGH_SHIFT), ("to", "int16")))]
    if not alone or after.inputs[0] != sums or lines != wanted or len(body.results) != 1:
        return False
    factor = constant_of(ctx, entry, body, 1)
    small = factor is not None and bool((np.abs(factor) < HIGH_LIMIT).all())
    x, y = (ctx.plan.buffers[entry.name][name] for name in (op.inputs[0], after.outputs[0]))
    return small and x.space != "arena" and (x.space, x.root) != (y.space, y.root)  # else y may lie over x


def _is_widened(form: str) -> bool:
    return form.startswith(("x8", "wide_x8"))


def dense_form(graph: Graph, x: str, w: str) -> str | None:
    """The dense kernel for these operands; None where there is none."""
    inputs, weights = graph.tensors[x], graph.tensors[w]
    bits, (n_out, n_in) = weight_bits(weights), weights.shape
    several = inputs.size > n_in
    if inputs.dtype is SPIKE or (several and (n_in % (8 if bits == 4 else 4) or n_out % BLOCK)):
        return None
    if inputs.dtype is INT16:
        return f"x16_w{bits}"
    fits = bits == 4 or (bits == 8 and fits_bytes(weights))
    return f"{'wide_' * (not fits)}x8_w{bits}"


def scratch(graph: Graph) -> int:
    """Bytes of one row of int8 inputs in the form that a kernel reads."""
    widths = [0]
    for _, op in graph.ops():
        if op.kind in ("linear", "memory_update"):
            for x, w in zip(op.inputs[::2], op.inputs[1::2], strict=False):  # an addend has no weights beside it
                read = graph.tensors[x].dtype is INT8 and (
                    dense_form(graph, x, w) or graph.tensors[w].shape[1] % 4 == 0
                )
                widths.append(-(-graph.tensors[w].shape[1] // 8) * 16 if read else 0)
    return max(widths)


def _blocks(ctx: Context, w: str, form: str) -> tuple[str, int]:
    """Weights in blocks of four outputs, a word of each in turn, and how many steps a block takes."""
    bits, (n_out, n_in) = weight_bits(ctx.tensor(w)), ctx.tensor(w).shape
    per, inputs = 32 // bits, STEP_INPUTS.get(form, 4)
    width = -(-n_in // inputs) * inputs

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, -n_out % BLOCK), (0, width - n_in)))
        if form == "x8_w4":
            rows = _by_nibbles(rows.astype(np.int64))
            return stored(rows.reshape(-1, BLOCK, width // per, 4).swapaxes(1, 2), 8)
        if form == "x16_w4":
            rows = rows.reshape(len(rows), -1, 4, 2).swapaxes(2, 3).reshape(rows.shape) ^ 8  # as int4, 8 more
        if form == "x8_w8":
            return _blocks_by_bytes(rows.astype(np.int64))
        if form in ("x16_w8", "wide_x8_w16"):  # neighbours: what SXTB16 makes of bytes, or has made of x
            rows = neighbours(rows)
        return stored(rows.reshape(-1, BLOCK, width // per, per).swapaxes(1, 2), bits)

    ctype = {"x8_w8": "uint32_t", "x8_w4": "int8_t"}.get(form, CTYPES[bits])
    return f"(const ek_word *){ctx.consts.add((w, f'blocks of four, {form}'), ctype, make)}", width // inputs


def _by_nibbles(rows: Array) -> Array:
    """Bytes of 16 w1 + w0 + 8 in the order 0, 2, 1, 3."""
    return neighbours(16 * rows[:, 1::2] + rows[:, 0::2] + 8)


def _blocks_by_bytes(rows: Array) -> Array:
    """Words of 256 w1 + w0 and 256 w3 + w2, after what the sums of the four outputs begin at."""
    halves = (256 * rows[:, 1::2] + rows[:, 0::2]) & 0xFFFF
    words = (halves[:, 0::2] | halves[:, 1::2] << 16).reshape(len(rows) // BLOCK, BLOCK, -1)
    first = -127 * rows[:, 0::2].sum(axis=1).reshape(-1, BLOCK, 1)
    blocks = np.concatenate([first & 0xFFFFFFFF, words], axis=2).swapaxes(1, 2)
    return np.ascontiguousarray(blocks).reshape(-1).astype(np.uint32)
