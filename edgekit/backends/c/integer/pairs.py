"""Forms of the flavour with two int16 in a register: the DSP instructions of Cortex-M4, M7 and M33."""

from __future__ import annotations

from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code, Forms
from edgekit.backends.c.integer.pairs_dense import dense, few, scratch
from edgekit.backends.c.integer.pairs_events import events, fire, groups, lists, memory
from edgekit.backends.c.integer.pairs_fused import in_fours
from edgekit.ir import INT16, Entry, Op


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """The rescaled sums of few inputs, or whole neurons, where the chain is that; else four elements at a time."""
    return few(ctx, entry, op) or fire(ctx, entry, op) or in_fours(ctx, entry, op)


def lookup(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """Two values at a time; None for the table of an int8."""
    x, table = (ctx.tensor(name) for name in op.inputs)
    if x.dtype is not INT16:
        return None
    fraction = 16 - (table.size - 1).bit_length() + 1
    values = f"{ctx.pointer(entry, op.outputs[0])}, {ctx.pointer(entry, op.inputs[0])}"
    whole = ctx.whole(entry, op.inputs[1], table.shape)
    return Code("lookup_pairs", [f"ek_lookup_pairs({values}, {whole}, {x.size}u, {fraction}u);"])


PAIRS = Forms(groups, dense, events, memory, fused, lookup, scratch, lists)
