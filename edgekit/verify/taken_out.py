"""The original without the units that a recipe took out: what the layers of a smaller program are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgekit.compress.shrink import units, without
from edgekit.errors import UsageError
from edgekit.ir import Graph


def without_dropped(graph: Graph, dropped: Mapping[str, Sequence[int]]) -> Graph | None:
    """The graph without units, by the names of their groups; None where it has no such units under these names."""
    known = {group.name: group for group in units(graph)} if dropped else {}
    if any(name not in known or max(gone) >= known[name].size for name, gone in dropped.items() if gone):
        return None
    try:
        return without(graph, {known[name]: gone for name, gone in dropped.items() if gone})
    except UsageError:
        return None
