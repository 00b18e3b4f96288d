"""Products over matrices of few distinct values, stored as numbers of these where that makes flash smaller."""

from __future__ import annotations

from edgekit.backends.c.integer import palette_pairs, palette_vectors, vectors
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code, Product


def dense(ctx: Context, product: Product) -> Code | None:
    """y = W x + c of numbers; None where the matrix stays as it is."""
    if ctx.flavour.name == "dsp":
        return palette_pairs.dense(ctx, product)
    if ctx.flavour.name == "mve" and not vectors.span_parts(ctx, product):
        return palette_vectors.dense(ctx, product)
    return None
