"""Linears and memory updates as products y = W x + c, each in the form that the flavour has for it."""

from __future__ import annotations

from edgekit.backends.c.integer import palette, portable
from edgekit.backends.c.integer.addend import addend_of
from edgekit.backends.c.integer.blocks import block_code
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code, Product
from edgekit.ir import SPIKE, Entry, Op


def linear_code(ctx: Context, entry: Entry, at: int, op: Op) -> Code:
    """y = W x (+ c)."""
    x, w, *addend = op.inputs
    c, step = addend_of(ctx, entry, addend[0], op) if addend else ("0", 0)
    return _named("linear", _product(ctx, Product(entry, at, op, x, w, op.outputs[0], c, step)))


def memory_code(ctx: Context, entry: Entry, at: int, op: Op) -> Code:
    """y = A m + B u per channel: at once where there is a form for it, or y = B u followed by y = A m + y."""
    whole = ctx.forms.memory(ctx, entry, op) or portable.memory(ctx, entry, op)
    if whole is not None:
        return whole
    m, a, u, b = op.inputs
    y = op.outputs[0]
    order = ctx.tensor(m).shape[1]
    driven = _product(ctx, Product(entry, at, op, u, b, y))
    both = _product(ctx, Product(entry, at, op, m, a, y, ctx.pointer(entry, y), order))
    return _named("memory", Code(both.kernel, [*driven.lines, *both.lines]))


def _named(kind: str, code: Code) -> Code:
    return Code(f"{kind}_{code.kernel}", code.lines)


def _product(ctx: Context, product: Product) -> Code:
    if (in_blocks := block_code(ctx, product)) is not None:
        return in_blocks
    if ctx.tensor(product.x).dtype is SPIKE:
        return palette.events(ctx, product) or ctx.forms.events(ctx, product) or portable.events(ctx, product)
    return palette.dense(ctx, product) or ctx.forms.dense(ctx, product) or portable.dense(ctx, product)
