"""The addend of a linear as its kernels take it."""

from __future__ import annotations

from edgekit.backends.c.integer.context import Context
from edgekit.ir import Entry, Op


def addend_of(ctx: Context, entry: Entry, c: str, op: Op) -> tuple[str, int]:
    """The addend of a linear as a C pointer, and its step per row of x."""
    tensor, y = ctx.tensor(c), ctx.tensor(op.outputs[0])
    n_out = y.shape[-1]
    if ctx.const(entry, c) is None:
        return ctx.pointer(entry, c), n_out
    if all(n == 1 for n in tensor.shape[:-1]):
        return ctx.whole(entry, c, (*tensor.shape[:-1], n_out)), 0
    return ctx.whole(entry, c, y.shape), n_out
