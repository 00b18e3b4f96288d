"""Forms of the flavour with two int16 in a register: the DSP instructions of Cortex-M4, M7 and M33."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Forms, Product
from edgekit.backends.c.integer.pairs_events import events, fire, groups, lists, memory, neighbours
from edgekit.backends.c.integer.pairs_fused import in_fours
from edgekit.backends.c.integer.weights import CTYPES, stored
from edgekit.ir import INT16, SPIKE, Entry, Graph, Op

BLOCK = 4  # outputs of one block of the dense kernels
MOST_BY_BYTES = 2**23 // 128 - 1  # weights of one output whose sum with int8 inputs stays below 2^23


def dense(ctx: Context, product: Product) -> Code | None:
    """Four outputs at a time, where rows of x begin at whole words and rows of y at whole blocks."""
    p = product
    form = _dense_form(ctx.graph, p.x, p.w)
    if form is None:
        return None
    n_out, n_in = ctx.tensor(p.w).shape
    weights, words = _blocks(ctx, p.w, form)
    kernel, rows = f"pairs_{form}_a{p.bits}", ctx.tensor(p.x).size // n_in
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    wide = "m->wide" if _is_widened(form) else "0"
    sizes = f"{rows}u, {n_in}u, {words}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {from_}, {wide}, {sizes});"])


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Whole neurons where the chain is one, else four elements at a time."""
    return fire(ctx, entry, op) or in_fours(ctx, entry, op)


def _is_widened(form: str) -> bool:
    return "x8" in form


def _dense_form(graph: Graph, x: str, w: str) -> str | None:
    """The dense kernel for these operands; None where there is none."""
    inputs, weights = graph.tensors[x], graph.tensors[w]
    bits, (n_out, n_in) = weight_bits(weights), weights.shape
    several = inputs.size > n_in
    if bits == 4 or inputs.dtype is SPIKE or (several and (n_in % 4 or n_out % BLOCK)):
        return None
    if inputs.dtype is INT16:
        return f"x16_w{bits}"
    data = None if weights.data is None else weights.data.astype(np.int64)
    if (
        bits == 8
        and data is not None
        and data.min(initial=0) > -128
        and np.abs(data).sum(axis=1).max() <= MOST_BY_BYTES
    ):
        return "x8_w8"
    return f"wide_x8_w{bits}"


def scratch(graph: Graph) -> int:
    """Bytes of one row of int8 inputs in the form that a kernel reads."""
    widths = [0]
    for _, op in graph.ops():
        if op.kind in ("linear", "memory_update"):
            for x, w in zip(op.inputs[::2], op.inputs[1::2], strict=False):  # an addend has no weights beside it
                form = _dense_form(graph, x, w)
                widths.append(-(-graph.tensors[w].shape[1] // 4) * 8 if form and _is_widened(form) else 0)
    return max(widths)


def _blocks(ctx: Context, w: str, form: str) -> tuple[str, int]:
    """Blocks of four outputs, for each step a word of each of them, and how many steps there are."""
    bits, (n_out, n_in) = weight_bits(ctx.tensor(w)), ctx.tensor(w).shape
    per = 32 // bits
    width = -(-n_in // 4) * 4 if _is_widened(form) else -(-n_in // per) * per

    def make() -> Array:
        rows = np.pad(ctx.data(w), ((0, -n_out % BLOCK), (0, width - n_in)))
        if form == "x8_w8":
            return _blocks_by_bytes(rows.astype(np.int64))
        if form in ("x16_w8", "wide_x8_w16"):  # neighbours: what SXTB16 makes of bytes, or has made of x
            rows = neighbours(rows)
        return stored(rows.reshape(-1, BLOCK, width // per, per).swapaxes(1, 2), bits)

    ctype = "uint32_t" if form == "x8_w8" else CTYPES[bits]
    return f"(const ek_word *){ctx.consts.add((w, f'blocks of four, {form}'), ctype, make)}", width // per


def _blocks_by_bytes(rows: Array) -> Array:
    """Words of 256 w1 + w0 and 256 w3 + w2, after what the sums of the four outputs begin at."""
    halves = (256 * rows[:, 1::2] + rows[:, 0::2]) & 0xFFFF
    words = (halves[:, 0::2] | halves[:, 1::2] << 16).reshape(len(rows) // BLOCK, BLOCK, -1)
    first = -127 * rows[:, 0::2].sum(axis=1).reshape(-1, BLOCK, 1)
    blocks = np.concatenate([first & 0xFFFFFFFF, words], axis=2).swapaxes(1, 2)
    return np.ascontiguousarray(blocks).reshape(-1).astype(np.uint32)


PAIRS = Forms(groups, dense, events, memory, fused, scratch=scratch, lists=lists)
