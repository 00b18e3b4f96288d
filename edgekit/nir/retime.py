"""Along which edges a value is kept for a step: recurrent edges, moved to where fewer bits are kept."""

from __future__ import annotations

from edgekit.nir.flatten import Flat
from edgekit.nir.nodes import STATEFUL
from edgekit.nir.order import Order

Edges = frozenset[tuple[str, str]]


def kept_edges(flat: Flat, order: Order) -> Edges:
    """The edges along which a program keeps a value for a step, from the recurrent edges of the order."""
    return retimed(flat, order.recurrent)


def retimed(flat: Flat, late: Edges) -> Edges:
    """Late edges moved back over nodes without state.

    Where a stateless node would be kept for all its readers and only reads neurons, the spikes of those are kept
    instead, and the node computes from them: the same values, in fewer bits.
    """
    kept = set(late)
    while True:
        movable = next((name for name in flat.nodes if _is_movable(flat, kept, name)), None)
        if movable is None:
            return frozenset(kept)
        kept.difference_update((movable, reader) for reader in flat.readers[movable])
        kept.update((source, movable) for source in flat.sources[movable])


def _is_movable(flat: Flat, kept: set[tuple[str, str]], name: str) -> bool:
    readers, sources = flat.readers[name], flat.sources[name]
    return (
        flat.nodes[name].kind not in (*STATEFUL, "Input", "Output", "Delay")
        and bool(readers)
        and all((name, reader) in kept for reader in readers)
        and not any((source, name) in kept for source in sources)
        and all(_may_be_kept(flat, source, name) for source in sources)
    )


def _may_be_kept(flat: Flat, source: str, reader: str) -> bool:
    """Whether a value may be kept before a node instead of behind it: a neuron's, or one that nothing else reads."""
    kind = flat.nodes[source].kind
    return kind in STATEFUL or (kind not in ("Input", "Delay") and flat.readers[source] == (reader,))
