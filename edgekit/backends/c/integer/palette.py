"""Products over matrices of few distinct values, stored as numbers of these where that makes flash smaller."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer import palette_pairs, palette_vectors, palette_wide, portable, vectors
from edgekit.backends.c.integer.context import Context, weight_bits
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.backends.c.integer.levels import Levels, levels_of, pays


def dense(ctx: Context, product: Product) -> Code | None:
    """y = W x + c of numbers, in the form of the flavour; None where the matrix stays as it is."""
    match ctx.flavour.name:
        case "dsp":
            return palette_pairs.dense(ctx, product)
        case "mve":
            return palette_vectors.dense(ctx, product) if not vectors.span_parts(ctx, product) else None
        case "wide":
            return palette_wide.dense(ctx, product)
    return _dense(ctx, product)


def events(ctx: Context, product: Product) -> Code | None:
    """y = W x + c of spikes in plain C; None where the matrix stays as it is, or the flavour has forms of its own."""
    p = product
    if ctx.flavour.name != "portable" or not portable.is_listed(ctx, p) or (coded := _coded(ctx, p.w, 0)) is None:
        return None
    weights, levels = coded
    kernel, (fired, count, find) = f"event_n{levels.bits}_a{p.bits}", portable.fired_list(ctx, p)
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {weights}, {_table(ctx, p.w, levels)}, {fired}, {count}"
    return Code(kernel, [*find, f"ek_{kernel}({values}, {ctx.tensor(p.w).shape[0]}u);"])


def _dense(ctx: Context, product: Product) -> Code | None:
    """Row by row, in plain C."""
    p, coded = product, _coded(ctx, product.w, 1)
    if coded is None:
        return None
    (weights, levels), x, (n_out, n_in) = coded, ctx.tensor(p.x), ctx.tensor(p.w).shape
    kernel = f"dense_x{x.dtype.bits}_n{levels.bits}_a{p.bits}"
    values = f"{ctx.pointer(p.entry, p.y)}, {p.c}, {p.step}u, {weights}, {_table(ctx, p.w, levels)}"
    return Code(kernel, [f"ek_{kernel}({values}, {ctx.pointer(p.entry, p.x)}, {x.size // n_in}u, {n_in}u, {n_out}u);"])


def _coded(ctx: Context, w: str, axis: int) -> tuple[str, Levels] | None:
    """Rows of numbers along an axis of a matrix, each of whole bytes."""
    tensor, levels = ctx.tensor(w), levels_of(ctx.tensor(w))
    if levels is None:
        return None
    n, length = tensor.shape[1 - axis], tensor.shape[axis]
    unit = ctx.flavour.row if axis else 1
    before = n * (-(-length // unit) * unit) * weight_bits(tensor) // 8
    if not pays(before, n * -(-length * levels.bits // 8) + len(levels.values)):
        return None

    def make() -> Array:
        numbers = levels.numbers(ctx.data(w) if axis else ctx.data(w).T)
        bits = (numbers[..., None] >> np.arange(levels.bits) & 1).reshape(n, -1).astype(np.uint8)
        return np.pad(np.packbits(bits, axis=1, bitorder="little").reshape(-1), (0, int(levels.bits == 3)))

    return ctx.consts.add((w, f"numbers of {levels.bits} bits along axis {axis}"), "uint8_t", make), levels


def _table(ctx: Context, w: str, levels: Levels) -> str:
    values = np.array(levels.values, np.int8)
    return ctx.consts.add((w, "levels"), "int8_t", lambda: values)
