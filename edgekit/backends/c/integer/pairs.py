"""Forms of the flavour with two int16 in a register: the DSP instructions of Cortex-M4, M7 and M33."""

from __future__ import annotations

from edgekit.backends.c.integer import pairs_dense, palette_pairs
from edgekit.backends.c.integer.context import Context
from edgekit.backends.c.integer.forms import Code, Forms
from edgekit.backends.c.integer.pairs_dense import dense, few, memory_rows
from edgekit.backends.c.integer.pairs_events import events, fire, fired, groups, lists, memory_table
from edgekit.backends.c.integer.pairs_fused import in_fours
from edgekit.ir import Entry, Graph, Op


def fused(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """The rescaled sums of few inputs, or whole neurons, where the chain is that; else four elements at a time."""
    return few(ctx, entry, op) or fire(ctx, entry, op) or in_fours(ctx, entry, op)


def memory(ctx: Context, entry: Entry, op: Op) -> Code | None:
    """A memory of spikes by table, one of few numbers at once."""
    return memory_table(ctx, entry, op) or memory_rows(ctx, entry, op)


def scratch(graph: Graph) -> int:
    """Bytes of one row of inputs in the form that a kernel reads."""
    return max(pairs_dense.scratch(graph), palette_pairs.scratch(graph))


PAIRS = Forms(fired, groups, dense, events, memory, fused, scratch=scratch, lists=lists)
