"""Weights of few distinct values for eight int16 in a vector: two bits each, or numbers that are gathered by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.levels import NEIGHBOURS, Levels, levels_of, pays, shortened
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
        """Bits of a weight in rows of events, and where a byte is of two or of four outputs."""
        return 2 if len(self.levels.values) <= NEIGHBOURS else 4

    @property
    def outputs(self) -> int:
        """Outputs of a block of dense weights."""
        return 2 * BLOCK if self.levels.bits == 3 else BLOCK

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
    width, outputs = -(-n_in // per) * per, -(-n_out // coded.outputs) * coded.outputs
    before = -(-n_out // BLOCK) * BLOCK * width * weight_bits(w) // 8
    if not pays(before, outputs * width * levels.bits // 8):
        return None
    form = "n3" if levels.bits == 3 else coded.name

    def make() -> Array:
        rows = np.pad(ctx.data(p.w), ((0, outputs - n_out), (0, width - n_in)))
        parts = rows.reshape(-1, coded.outputs, width // per, per).swapaxes(1, 2)
        if form == "n3":
            return _with_thirds(levels.numbers(parts)).reshape(-1)
        bytes_of = parts.reshape(*parts.shape[:2], -1, 8 // coded.bits, per)
        return np.ascontiguousarray(coded.joined(bytes_of)).reshape(-1)

    key = (p.w, f"{form} in blocks, vectors of {per}")
    weights = ctx.consts.add(key, "uint8_t" if coded.table else "int8_t", make)
    kernel = f"eights_x{x.dtype.bits}_{form}_a{p.bits}"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {weights}, {coded.given(ctx, p.w)}, {ctx.pointer(p.entry, p.x)}"
    return Code(kernel, [f"ek_{kernel}({values}, {n_in}u, {-(-n_out // BLOCK) * BLOCK}u);"])


def _with_thirds(numbers: Array) -> Array:
    """Bytes [..., 3, input] of numbers [..., 8, input]: lower bits of four outputs, of four more, and third bits."""
    lower = (numbers & 3).reshape(*numbers.shape[:-2], 2, 4, numbers.shape[-1]) << 2 * np.arange(4)[:, None]
    third = (numbers >> 2) << np.arange(8)[:, None]
    both = np.concatenate([lower.sum(axis=-2), third.sum(axis=-2)[..., None, :]], axis=-2)
    return np.asarray(both.astype(np.uint8))


# --- events ----------------------------------------------------------------------------------------------------------


def coded_events(graph: Graph, w: str) -> Coded | None:
    """How the rows of a matrix are stored that events read; None where they stay as they are."""
    tensor, step = shortened(graph, w)
    levels = levels_of(tensor) if step == 1 else None
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
