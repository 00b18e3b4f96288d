"""A leaky synapse before a leaky membrane is one node: LI, then LIF are CubaLIF, LI, then LI are CubaLI."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.backends.nir.build import Network
from edgekit.nir.raw import RawNode

JOINED: Mapping[str, str] = {"LIF": "CubaLIF", "LI": "CubaLI"}


def joined(network: Network) -> tuple[dict[str, RawNode], list[tuple[str, str]], set[tuple[str, str]]]:
    """(nodes, edges, late edges) in which each synapse that only drives one membrane is part of that."""
    nodes, edges = dict(network.nodes), list(network.edges)
    for name in list(nodes):
        synapse = nodes.get(name)
        after, before = [b for a, b in edges if a == name], [a for a, b in edges if b == name]
        if synapse is None or synapse.kind != "LI" or len(after) != 1 or (name, after[0]) in network.late or not before:
            continue
        reader = after[0]
        membrane = nodes[reader]
        alone = [a for a, b in edges if b == reader] == [name]
        if membrane.kind not in JOINED or not alone or np.any(synapse.fields["v_leak"]) or reader == name:
            continue
        fields = {k: v for k, v in membrane.fields.items() if k != "tau"}
        fields |= {
            "tau_syn": synapse.fields["tau"],
            "tau_mem": membrane.fields["tau"],
            "w_in": synapse.fields["r"],
        }
        nodes[reader] = RawNode(JOINED[membrane.kind], fields)
        del nodes[name]
        edges = [(a, reader) if b == name else (a, b) for a, b in edges if a != name]
    late = {(a, b) for a, b in network.late if a in nodes and b in nodes}
    for edge in network.late - late:  # late edges to a synapse lead to its membrane now
        late.update((edge[0], b) for a, b in network.edges if a == edge[1] and b in nodes)
    return nodes, edges, late
