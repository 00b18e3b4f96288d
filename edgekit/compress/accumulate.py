"""Exact sums of products: weights on one scale per output, so that all terms of a sum share its accumulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekit.compress.feedback import Correlation, rounded_to
from edgekit.compress.forms import SAME, Form
from edgekit.compress.stored import Array, Rounded, Stored
from edgekit.compress.terms import Dot
from edgekit.compress.writer import Writer
from edgekit.errors import GraphError
from edgekit.ir import INT32, DType
from edgekit.ir.quant import QuantParams

LARGEST_SUM = 2**31 - 1
FINEST = 2**19  # of a sum's scale against that of its result
ALIKE = 1.5  # products share an accumulator while their scales differ by no more


@dataclass(frozen=True, eq=False)
class Product:
    """One matrix and its operand. `effective` are the weights times the scale of each element of the operand.

    The weights are `times`, per output, those of `tensor`, and become integers as `form` says. With a `correlation` of
    the operand's elements, weights of 8 bits and less are rounded with error feedback. A scale per output that is
    `pinned` is that of weights which are whole numbers on it already.
    """

    x: Stored
    effective: Array
    form: Form
    tensor: str
    times: Array
    correlation: Correlation | None = None
    pinned: Array | None = None

    @cached_property
    def own_scale(self) -> Array:
        """The scale per output that is pinned, or the finest that its form allows."""
        return self.pinned if self.pinned is not None else self.form.finest(self.effective, self._power)

    @property
    def _rows(self) -> Array:
        return _rows(self.x, self.effective.shape[1])

    @property
    def _power(self) -> Array | None:
        """E[x²] of the integers of the operand."""
        return None if self.correlation is None else np.asarray(self.correlation.power / self._rows**2)

    def rounded(self, scale: Array) -> Rounded:
        """How the tensor [out, in] is rounded at a scale per output."""
        scale, form = scale * self.form.step, self.form
        unit = np.asarray((scale / self.times)[:, None] / self._rows)
        return Rounded(unit, form.largest, self._levels(self.effective / scale[:, None]), form.step)

    def stored_at(self, scale: Array) -> Array:
        """The integer weights at a scale per output."""
        return self._in_steps(self.effective / (scale * self.form.step)[:, None]) * self.form.step

    def _in_steps(self, weights: Array) -> Array:
        largest = self.form.largest
        levels = self._levels(weights)
        if self.correlation is not None and not self.form.is_fine and self.pinned is None:
            return self.correlation.rounded(weights, self._rows, largest, levels)
        return np.where(weights == 0, 0, rounded_to(weights, largest, levels)).astype(np.int64)

    def _levels(self, weights: Array) -> tuple[int, ...] | None:
        return self.form.chosen(weights, self._power)


def product(x: Stored, dot: Dot, form: Form, correlation: Correlation | None = None) -> Product:
    """A product whose operand has one scale, or one per element of its last axis."""
    rows = _rows(x, dot.weights.shape[1])
    pinned = form.pinned(dot.times, rows)
    return Product(x, dot.weights * rows, form, dot.tensor, dot.times, correlation, pinned)


def _rows(x: Stored, size: int) -> Array:
    """The scale of each element of an operand's last axis."""
    scale = np.asarray(x.scale, np.float64)
    return np.array(np.broadcast_to(scale.reshape(-1, scale.shape[-1])[0] if scale.ndim else scale, (size,)))


def apart(products: Sequence[Product]) -> list[list[Product]]:
    """Products that may share an accumulator, the finest first: those whose own scales are not far apart.

    A matrix on the scale of one with far larger products would lose bits. One with bits to spare joins the coarsest.
    Where some are alone, the coarsest come first: then none loses bits on its way to the next.
    """
    tight = sorted((p for p in products if not p.form.is_fine), key=lambda p: -float(np.median(p.own_scale)))
    groups: list[list[Product]] = []
    for p in tight:
        if groups and _share(p, groups[-1][0]):
            groups[-1].append(p)
        else:
            groups.append([p])
    spare = [p for p in products if p.form.is_fine]
    if not groups:
        return [spare]
    groups[0] += spare
    return groups if any(p.form.alone for p in products) else groups[::-1]


def _share(p: Product, coarser: Product) -> bool:
    """Whether a product loses few bits on the scale of a coarser one; where both are pinned, none."""
    if p.form.alone or coarser.form.alone:
        return False
    if p.pinned is not None and coarser.pinned is not None:
        return bool(np.allclose(p.pinned, coarser.pinned, rtol=SAME, atol=0))
    return float(np.median(p.own_scale)) * ALIKE >= float(np.median(coarser.own_scale))


def common_scale(products: Sequence[Product], bias: Array, result: Array | float = 0.0) -> Array:
    """The finest scale per output at which the weights fit their bits and no sum can leave int32; the pinned one.

    It is at most 2^19 times finer than that of the `result`: the multiplier between them then has 12 bits. GraphError
    where weights or operands are so large that there is none.
    """
    scales = [p.own_scale for p in products]
    pinned = [p.pinned for p in products if p.pinned is not None]
    if pinned and _fits(products, bias, known := np.asarray(np.maximum.reduce(pinned))):
        return known
    reach = sum(np.abs(p.effective).sum(axis=1) * p.x.limit for p in products) + np.abs(bias)
    scale = np.maximum.reduce([*scales, reach / (LARGEST_SUM - 2**20), np.broadcast_to(result, reach.shape) / FINEST])
    if not np.isfinite(scale).all():
        raise GraphError(f"sums with {products[0].tensor}", "have no scale: NaN, Inf or more than float32 holds")
    scale = np.asarray(np.where(scale > 0, scale, scale.max() if scale.max() > 0 else 1.0))
    while not (fits := _sums(products, bias, scale) <= LARGEST_SUM).all():
        scale = np.asarray(np.where(fits, scale, scale * 1.001))
    return scale


def _sums(products: Sequence[Product], bias: Array, scale: Array) -> Array:
    """The largest magnitude that each sum can have, in integers at a scale per output."""
    sums = sum(np.abs(p.stored_at(scale)).sum(axis=1) * p.x.limit for p in products)
    return np.asarray(sums + np.abs(bias / scale) + 1)


def _fits(products: Sequence[Product], bias: Array, scale: Array) -> bool:
    """Whether no weight is too large for a scale per output, and no sum."""
    wide = (p for p in products if p.form.is_fine)
    return all(bool((p.own_scale <= scale).all()) for p in wide) and bool(
        (_sums(products, bias, scale) <= LARGEST_SUM).all()
    )


def write_weights(writer: Writer, p: Product, scale: Array) -> str:
    """The weights as a constant; its scales are those of the reals where the operand has one scale."""
    quant = None
    if np.ndim(p.x.scale) == 0:
        real = np.asarray(scale / p.x.scale, np.float32)
        largest = p.form.largest * p.form.step
        quant = QuantParams(real, np.zeros(real.size, np.int32), 0, -largest, largest)
    dtype = p.form.dtype
    if p.form.unit is not None and not p.form.is_fine and not _as_pinned(p, scale):
        writer.notes.append(f"{p.tensor}: is not held on the scale that its training had, which does not fit any more")
    writer.rounded[p.tensor] = p.rounded(scale)
    return writer.const(f"{p.tensor}.{dtype}", p.stored_at(scale), dtype, quant)


def _as_pinned(p: Product, scale: Array) -> bool:
    return p.pinned is not None and bool(np.allclose(p.pinned, scale, rtol=SAME, atol=0))


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
