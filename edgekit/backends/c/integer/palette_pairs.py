"""Weights of few distinct values for two int16 in a register: numbers of pairs of weights, or two bits each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.levels import Levels, levels_of, pays, shortened
from edgekit.backends.c.integer.pairs_dense import BLOCK, dense_form, is_left
from edgekit.backends.c.integer.weights import neighbours
from edgekit.ir import INT8, Graph, Tensor
from edgekit.ir.ops.contract import accumulator

STEP = 8  # inputs of a step of a dense kernel
ROW = 16  # outputs that rows of events are padded to
TABLE_BYTES = 4  # of a pair of weights
FIELD = 2  # bits of a weight without a table


@dataclass(frozen=True)
class Coded:
    """How a matrix is stored: `pair` bits for each pair of weights, 4, 6 or 8; with a `table`, or `low` is missing."""

    levels: Levels
    table: bool

    @property
    def pair(self) -> int:
        return 2 * self.levels.bits

    @property
    def name(self) -> str:
        return f"p{self.pair}" if self.table else "w2"

    @property
    def low(self) -> int:
        return 0 if self.table else self.levels.low or 0

    @property
    def table_bytes(self) -> int:
        return TABLE_BYTES * len(self.levels.values) ** 2 if self.table else 0

    def pairs(self, rows: Array) -> Array:
        """The numbers of neighbouring pairs in rows of weights, or their distances from `low`, [row][pair]."""
        if not self.table:
            return (rows.astype(np.int64) - self.low).clip(0, 3)
        numbers = self.levels.numbers(rows)
        return np.asarray(numbers[:, 0::2] * len(self.levels.values) + numbers[:, 1::2])

    def packed(self, rows: Array) -> Array:
        """Four pairs after the other, the first in the lowest bits, [row][bytes]."""
        fours = self.pairs(rows).reshape(len(rows), -1, 4).astype(np.uint64)
        words = (fours << np.arange(0, 4 * self.pair, self.pair, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
        return np.asarray(words[..., None].view(np.uint8)[..., : self.pair // 2].reshape(len(rows), -1))

    def words(self, ctx: Context, w: str) -> str:
        """The table of all pairs, the first weight in the lower half, as a C pointer."""
        values = np.array(self.levels.values, np.int64) & 0xFFFF
        both = (values[:, None] | values[None, :] << 16).reshape(-1)
        return f"(const ek_word *){ctx.consts.add((w, 'pairs of levels'), 'uint32_t', lambda: both.astype(np.uint32))}"


def coded_dense(graph: Graph, x: str, w: str) -> Coded | None:
    """How a matrix of numbers is stored; None where it stays as it is: of too many levels, or no larger that way."""
    tensor, inputs, levels = graph.tensors[w], graph.tensors[x], levels_of(graph.tensors[w])
    form = dense_form(graph, x, w)
    if levels is None or form is None:
        return None
    (n_out, n_in), bits = tensor.shape, weight_bits(tensor)
    if inputs.size > n_in and n_in % STEP:
        return None
    coded = Coded(levels, levels.low is None)
    outputs, width = -(-n_out // BLOCK) * BLOCK, -(-n_in // STEP) * STEP
    before = outputs * (-(-n_in // 4) * 4 * bits // 8 + 4 * (form == "x8_w8"))
    return coded if pays(before, outputs * width * coded.pair // 16 + coded.table_bytes) else None


def dense(ctx: Context, product: Product) -> Code | None:
    """Four outputs at a time, eight inputs in a step."""
    p, coded = product, coded_dense(ctx.graph, product.x, product.w)
    if coded is None or is_left(ctx, p.entry, p.at):
        return None
    x, (n_out, n_in) = ctx.tensor(p.x), ctx.tensor(p.w).shape

    def make() -> Array:
        rows = np.pad(ctx.data(p.w), ((0, -n_out % BLOCK), (0, -n_in % STEP)))
        rows = neighbours(rows) if x.dtype is INT8 else rows
        if not coded.table:
            fields = coded.pairs(rows).reshape(-1, 2, rows.shape[1] // STEP, 4, 2).astype(np.uint64)
            at = 8 * np.arange(2)[:, None, None, None] + FIELD * np.arange(4)[:, None] + 16 * np.arange(2)
            words = (fields << at.astype(np.uint64)).sum(axis=(1, 3, 4))
            blocks = words.astype("<u4").reshape(-1, BLOCK // 2, words.shape[1]).swapaxes(1, 2)
            return np.ascontiguousarray(blocks).reshape(-1).view(np.uint8)
        steps = coded.packed(rows).reshape(-1, BLOCK, rows.shape[1] // STEP, coded.pair // 2).swapaxes(1, 2)
        return np.pad(steps.reshape(-1), (0, int(coded.pair == 6)))  # words are read that reach past three bytes

    weights = ctx.consts.add((p.w, f"{coded.name} in blocks of four, x{x.dtype.bits}"), "uint8_t", make)
    more = coded.words(ctx, p.w) if coded.table else f"(uint32_t){coded.low}"
    wide = "m->wide" if _in_scratch(x, ctx.tensor(p.w), coded) else "0"
    kernel = f"pairs_x{x.dtype.bits}_{coded.name}_a{p.bits}"
    to, from_ = ctx.pointer(p.entry, p.y), ctx.pointer(p.entry, p.x)
    sizes = f"{x.size // n_in}u, {n_in}u, {n_out}u"
    return Code(kernel, [f"ek_{kernel}({to}, {p.c}, {p.step}u, {weights}, {more}, {from_}, {wide}, {sizes});"])


def _in_scratch(x: Tensor, w: Tensor, coded: Coded) -> bool:
    """Whether the kernel reads x elsewhere: int8 widened, and what is past the end as zeros where no weight is one."""
    return x.dtype is INT8 or (coded.table and w.shape[1] % STEP > 0 and 0 not in coded.levels.values)


def scratch(graph: Graph) -> int:
    """Bytes of one row of inputs in the form that a kernel reads."""
    widths = [0]
    for x, w in _products(graph):
        coded = coded_dense(graph, x, w)
        if coded is not None and _in_scratch(graph.tensors[x], graph.tensors[w], coded):
            widths.append(-(-graph.tensors[w].shape[1] // STEP) * STEP * 2)
    return max(widths)


def _products(graph: Graph) -> Iterator[tuple[str, str]]:
    for _, op in graph.ops():
        if op.kind in ("linear", "memory_update"):
            yield from zip(op.inputs[::2], op.inputs[1::2], strict=False)  # an addend has no weights beside it


# --- events ----------------------------------------------------------------------------------------------------------


def coded_events(graph: Graph, w: str) -> Coded | None:
    """How the rows of a matrix are stored that events read; None where they stay as they are."""
    tensor, step = shortened(graph, w)
    levels = levels_of(tensor) if step == 1 else None
    if levels is None:
        return None
    narrow = all(accumulator(op.attrs).bits == 16 for _, op in graph.ops() if op.kind == "linear" and op.inputs[1] == w)
    coded = Coded(levels, levels.low is None or not narrow)
    before = tensor.shape[1] * -(-tensor.shape[0] // ROW) * ROW * weight_bits(tensor) // 8
    return coded if pays(before, tensor.shape[1] * row_bytes(tensor, coded) + coded.table_bytes) else None


def row_bytes(w: Tensor, coded: Coded) -> int:
    """Bytes of a row: whole words."""
    return -(-(-(-w.shape[0] // ROW) * coded.pair) // 4) * 4


def event_bytes(ctx: Context, w: str, coded: Coded) -> Array:
    """Rows [in][bytes] of a matrix."""
    columns = ctx.data(w).T
    rows = np.pad(columns, ((0, 0), (0, -columns.shape[1] % ROW)))
    if coded.table:
        packed = coded.packed(rows)
    else:  # outputs 0, 1, 2, 3 of every four in bytes 0, 2, 1, 3 of a word, the fours in the bits of a byte
        fours = coded.pairs(rows).reshape(len(rows), -1, 4, 4)
        fields = (fours << FIELD * np.arange(4)[:, None]).sum(axis=2)
        packed = neighbours(fields).reshape(len(rows), -1).astype(np.uint8)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))


def event_call(ctx: Context, w: str, coded: Coded) -> str:
    """The arguments of a kernel of events that follow the rows: the table, and what is missing in every weight."""
    return f"{coded.words(ctx, w) if coded.table else '0'}, (uint32_t){coded.low}"
