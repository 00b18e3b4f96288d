"""Weights of few distinct values for eight int16 in a vector: two bits each, or numbers that are gathered by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.levels import NEIGHBOURS, Levels, levels_of, pays
from edgekit.ir import INT8, Graph, Tensor
from edgekit.ir.ops.contract import accumulator

LANES, BYTES = 8, 16  # int16 and int8 of a vector
BLOCK = 4  # outputs of a block of dense weights
ROW = 32  # outputs that rows of events are padded to


@dataclass(frozen=True)
class Coded:
    """How a matrix is stored: `bits` of each weight, 2 or 4; with a `table`, or `low` is missing."""

    levels: Levels
    table: bool

    @property
    def bits(self) -> int:
        return 2 if len(self.levels.values) <= NEIGHBOURS else 4

    @property
    def name(self) -> str:
        return f"n{self.bits}" if self.table else "w2"

    def joined(self, parts: Array) -> Array:
        """Weights [..., part, element] as bytes [..., element], the first part in the lowest bits."""
        if self.table:
            numbers = self.levels.numbers(parts).astype(np.int64)
        else:
            numbers = parts.astype(np.int64) - (self.levels.low or 0)
            numbers[..., -1, :] -= 2  # so that the byte is a signed number
        shifts = self.bits * np.arange(parts.shape[-2])[:, None]
        return np.asarray((numbers << shifts).sum(axis=-2).astype(np.uint8 if self.table else np.int8))

    def given(self, ctx: Context, w: str) -> str:
        """What a kernel gets beside the weights: the table, or what is missing in each of them."""
        if not self.table:
            return f"{self.levels.low}"
        values = np.pad(np.array(self.levels.values, np.int8), (0, 2**self.bits - len(self.levels.values)))
        return ctx.consts.add((w, "levels"), "int8_t", lambda: values)


def dense(ctx: Context, product: Product) -> Code | None:
    """Four outputs at a time."""
    p, x, w = product, ctx.tensor(product.x), ctx.tensor(product.w)
    levels, (n_out, n_in) = levels_of(w), w.shape
    if levels is None or x.size > n_in:
        return None
    coded, per = Coded(levels, levels.low is None), BYTES if x.dtype is INT8 else LANES
    size = -(-n_out // BLOCK) * BLOCK * -(-n_in // per) * per
    if not pays(size * weight_bits(w) // 8, size * coded.bits // 8):
        return None

    def make() -> Array:
        rows = np.pad(ctx.data(p.w), ((0, -n_out % BLOCK), (0, -n_in % per)))
        parts = rows.reshape(-1, BLOCK * coded.bits // 8, 8 // coded.bits, rows.shape[1] // per, per)
        return np.ascontiguousarray(coded.joined(parts.transpose(0, 3, 1, 2, 4))).reshape(-1)

    key = (p.w, f"{coded.name} in blocks of four, vectors of {per}")
    weights = ctx.consts.add(key, "uint8_t" if coded.table else "int8_t", make)
    kernel = f"eights_x{x.dtype.bits}_{coded.name}_a{p.bits}"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {weights}, {coded.given(ctx, p.w)}, {ctx.pointer(p.entry, p.x)}"
    outputs = -(-n_out // BLOCK) * BLOCK
    return Code(kernel, [f"ek_{kernel}({values}, {n_in}u, {outputs}u);"])


# --- events ----------------------------------------------------------------------------------------------------------


def coded_events(graph: Graph, w: str) -> Coded | None:
    """How the rows of a matrix are stored that events read; None where they stay as they are."""
    tensor, levels = graph.tensors[w], levels_of(graph.tensors[w])
    narrow = all(accumulator(op.attrs).bits == 16 for _, op in graph.ops() if op.kind == "linear" and op.inputs[1] == w)
    if levels is None or not narrow:
        return None
    coded = Coded(levels, levels.low is None)
    before = -(-tensor.shape[0] // (2 * LANES)) * 2 * LANES * weight_bits(tensor) // 8
    return coded if pays(tensor.shape[1] * before, tensor.shape[1] * row_bytes(tensor, coded)) else None


def row_bytes(w: Tensor, coded: Coded) -> int:
    """Bytes of a row."""
    return -(-w.shape[0] // ROW) * ROW * coded.bits // 8


def event_rows(columns: Array, coded: Coded) -> Array:
    """Rows [in][out] as rows [in][bytes]; those outputs are in one byte that are eight apart."""
    rows = np.pad(columns, ((0, 0), (0, -columns.shape[1] % ROW)))
    return coded.joined(rows.reshape(len(rows), -1, 8 // coded.bits, LANES)).reshape(len(rows), -1)
