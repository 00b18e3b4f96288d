"""Two nodes that are one: a synapse and its membrane (LI, then LIF are CubaLIF), a matrix and a bias behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.backends.nir.build import Network
from edgekit.nir.raw import RawNode

CUBA: Mapping[str, str] = {"LIF": "CubaLIF", "LI": "CubaLI"}


def join(network: Network) -> Network:
    """The network in which a node that only another one reads, and that reads nothing else, may be part of that."""
    for rule in (_bias, _synapse):
        for name in list(network.nodes):
            _try(network, name, rule)
    return network


def _try(network: Network, name: str, rule: Callable[[RawNode, RawNode], RawNode | None]) -> None:
    readers = [b for a, b in network.edges if a == name]
    sources = [a for a, b in network.edges if b == name]
    if len(readers) != 1 or not sources or readers[0] == name or (name, readers[0]) in network.late:
        return
    reader = readers[0]
    if [a for a, b in network.edges if b == reader] != [name]:
        return
    node = rule(network.nodes[name], network.nodes[reader])
    if node is None:
        return
    network.nodes[reader] = node
    del network.nodes[name]
    network.edges[:] = [(a, reader) if b == name else (a, b) for a, b in network.edges if a != name]
    moved = {(a, reader) if b == name else (a, b) for a, b in network.late}
    network.late.clear()
    network.late.update(moved)


def _synapse(first: RawNode, second: RawNode) -> RawNode | None:
    """A leaky synapse without a leak voltage, then a leaky membrane."""
    if first.kind != "LI" or second.kind not in CUBA or np.any(first.fields["v_leak"]):
        return None
    fields = {k: v for k, v in second.fields.items() if k != "tau"}
    fields |= {"tau_syn": first.fields["tau"], "tau_mem": second.fields["tau"], "w_in": first.fields["r"]}
    return RawNode(CUBA[second.kind], fields)


def _bias(first: RawNode, second: RawNode) -> RawNode | None:
    """A matrix, then a unit matrix with a bias."""
    if first.kind not in ("Linear", "Affine") or second.kind != "Affine":
        return None
    weight = second.fields["weight"]
    if weight.ndim != 2 or not np.array_equal(weight, np.eye(len(weight))):
        return None
    bias = first.fields.get("bias", 0.0) + second.fields["bias"]
    return RawNode("Affine", {"weight": first.fields["weight"], "bias": bias})
