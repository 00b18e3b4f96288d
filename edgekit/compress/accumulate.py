"""Exact sums of products: weights on one scale per output, so that all terms of a sum share its accumulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.feedback import Correlation
from edgekit.compress.recipes import Recipe
from edgekit.compress.stored import Array, Rounded, Stored, finest_scale, largest_of
from edgekit.compress.terms import Dot
from edgekit.compress.writer import Writer
from edgekit.ir import INT4, INT8, INT16, INT32, DType
from edgekit.ir.quant import QuantParams

LARGEST_SUM = 2**31 - 1
FINEST = 2**19  # of a sum's scale against that of its result
ALIKE = 1.5  # products share an accumulator while their scales differ by no more
WIDTHS = {4: INT4, 8: INT8, 16: INT16}


@dataclass(frozen=True, eq=False)
class Product:
    """One matrix and its operand. `effective` are the weights times the scale of each element of the operand.

    The weights are `times`, per output, those of `tensor`. With a `correlation` of the operand's elements, weights of 8
    bits and less are rounded with error feedback. With `levels`, all outputs share a scale: see `finest_scale`. A scale
    per output that is `pinned` is that of weights which are whole numbers on it already.
    """

    x: Stored
    effective: Array
    bits: int
    tensor: str
    times: Array
    correlation: Correlation | None = None
    levels: int | None = None
    pinned: Array | None = None

    @property
    def largest(self) -> int:
        largest = largest_of(INT8) // 16 if self.bits == 4 else largest_of(WIDTHS[self.bits])
        return largest if self.levels is None else min(largest, self.levels)

    @property
    def own_scale(self) -> Array:
        """The scale per output that is pinned, or the finest that its bits allow."""
        return self.pinned if self.pinned is not None else finest_scale(self.effective, self.largest, self.levels)

    def unit(self, scale: Array) -> Array:
        """What 1 in the integer weights at a scale per output stands for in the tensor [out, in]."""
        return np.asarray((scale / self.times)[:, None] / _rows(self.x, self.effective.shape[1]))

    def stored_at(self, scale: Array) -> Array:
        """The integer weights at a scale per output."""
        weights = self.effective / scale[:, None]
        if self.correlation is not None and self.bits <= 8 and self.pinned is None:
            return self.correlation.rounded(weights, _rows(self.x, weights.shape[1]), self.largest)
        whole = np.floor(weights + 0.5)
        return np.clip(whole, -self.largest, self.largest).astype(np.int64)


def product(
    x: Stored, dot: Dot, bits: int, recipe: Recipe | None = None, correlation: Correlation | None = None
) -> Product:
    """A product whose operand has one scale, or one per element of its last axis; the recipe may know its scale."""
    levels = None if recipe is None else recipe.levels.get(dot.tensor)
    rows = _rows(x, dot.weights.shape[1])
    pinned = None if recipe is None else pinned_scale(recipe, dot, rows)
    return Product(x, dot.weights * rows, bits, dot.tensor, dot.times, correlation, levels, pinned)


def pinned_scale(recipe: Recipe, dot: Dot, rows: Array | float = 1.0) -> Array | None:
    """The scale per output of a matrix whose unit a recipe knows; `rows` is that of each element of its operand."""
    unit = recipe.units.get(dot.tensor)
    return None if unit is None else np.asarray(np.max(np.abs(dot.times[:, None] * unit * rows), axis=1))


def _rows(x: Stored, size: int) -> Array:
    """The scale of each element of an operand's last axis."""
    scale = np.asarray(x.scale, np.float64)
    return np.array(np.broadcast_to(scale.reshape(-1, scale.shape[-1])[0] if scale.ndim else scale, (size,)))


def apart(products: Sequence[Product]) -> list[list[Product]]:
    """Products that may share an accumulator, the finest first: those whose own scales are not far apart.

    A matrix on the scale of one with far larger products would lose bits. One with bits to spare joins the coarsest.
    """
    tight = sorted((p for p in products if p.bits <= 8), key=lambda p: -float(np.median(p.own_scale)))
    groups: list[list[Product]] = []
    for p in tight:
        if groups and _share(p, groups[-1][0]):
            groups[-1].append(p)
        else:
            groups.append([p])
    spare = [p for p in products if p.bits > 8]
    if not groups:
        return [spare]
    groups[0] += spare
    return groups[::-1]


def _share(p: Product, coarser: Product) -> bool:
    """Whether a product loses few bits on the scale of a coarser one; where both are pinned, none."""
    if p.pinned is not None and coarser.pinned is not None:
        return bool(np.allclose(p.pinned, coarser.pinned, rtol=1e-6, atol=0))
    return float(np.median(p.own_scale)) * ALIKE >= float(np.median(coarser.own_scale))


def common_scale(products: Sequence[Product], bias: Array, result: Array | float = 0.0) -> Array:
    """The finest scale per output at which the weights fit their bits and no sum can leave int32.

    It is at most 2^19 times finer than that of the `result`: the multiplier between them then has 12 bits.
    """
    scales = [p.own_scale for p in products]
    reach = sum(np.abs(p.effective).sum(axis=1) * p.x.limit for p in products) + np.abs(bias)
    scale = np.maximum.reduce([*scales, reach / (LARGEST_SUM - 2**20), np.broadcast_to(result, reach.shape) / FINEST])
    scale = np.where(scale > 0, scale, scale.max() if scale.max() > 0 else 1.0)
    while True:
        sums = sum(np.abs(p.stored_at(scale)).sum(axis=1) * p.x.limit for p in products) + np.abs(bias / scale) + 1
        if (sums <= LARGEST_SUM).all():
            return scale
        scale = np.where(sums <= LARGEST_SUM, scale, scale * 1.001)


def write_weights(writer: Writer, p: Product, scale: Array) -> str:
    """The weights as a constant; its scales are those of the reals where the operand has one scale."""
    quant = None
    if np.ndim(p.x.scale) == 0:
        real = np.asarray(scale / p.x.scale, np.float32)
        quant = QuantParams(real, np.zeros(real.size, np.int32), 0, -p.largest, p.largest)
    dtype = WIDTHS[p.bits]
    writer.rounded[p.tensor] = Rounded(p.unit(scale), p.largest)
    return writer.const(f"{p.tensor}.{dtype}", p.stored_at(scale), dtype, quant)


def reach_of(products: Sequence[Product], scale: Array) -> tuple[Array, Array]:
    """How far spikes can raise and lower each sum, in integers."""
    stored = [p.stored_at(scale) for p in products]
    up = sum((np.maximum(w, 0).sum(axis=1) for w in stored), start=np.zeros((), np.int64))
    down = sum((np.maximum(-w, 0).sum(axis=1) for w in stored), start=np.zeros((), np.int64))
    return np.asarray(up), np.asarray(down)


def write_chain(
    writer: Writer,
    root: str,
    products: Sequence[Product],
    scale: Array,
    addend: str | None,
    *,
    out: str,
    dtype: DType = INT32,
) -> str:
    """linear(x1, W1, linear(x2, W2, … addend)): one accumulator."""
    for at, p in enumerate(products):
        name = out if at == len(products) - 1 else writer.fresh(root, "sum")
        weights = write_weights(writer, p, scale)
        inputs = (p.x.name, weights, *((addend,) if addend else ()))
        addend = writer.op("linear", *inputs, out=name, accumulate=dtype.name)
    assert addend is not None
    return addend


def folded_zeros(products: Sequence[Product], scale: Array) -> Array:
    """What the zero points of the operands add to each sum, in integers."""
    zeros = [p.stored_at(scale).sum(axis=1) * p.x.zero for p in products]
    return np.asarray(sum(zeros, start=np.zeros((), np.int64)))
