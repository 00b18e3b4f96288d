"""Files that another tool wrote: what tells them, and what that tool leaves out of them."""

from __future__ import annotations

import numpy as np

from edgekit.nir.conventions import Conventions
from edgekit.nir.flatten import Flat
from edgekit.nir.nodes import SPIKING, Node, listed

SNNTORCH_DT = 1e-4
"""The seconds of a step that snnTorch writes into tau and r."""
NEAR = 1e-4
"""How closely a ratio of float32 numbers is met."""


def snntorch_notes(flat: Flat, conventions: Conventions, asked: object) -> list[str]:
    """What to tell of neurons that snnTorch wrote: its export leaves out how a module resets.

    `asked` is the reset that somebody named, None where it follows from the file.
    """
    spiking = [node for node in flat.nodes.values() if node.kind in SPIKING]
    if conventions.dt is None or not spiking or not all(_is_snntorch(node) for node in spiking):
        return []
    who = (
        f"{listed([node.name for node in spiking])}: written as snnTorch writes neurons (r = tau / 1e-4 s, v_leak = 0)"
    )
    notes = []
    if asked is None:
        notes.append(
            f"{who}, which leaves out how they reset: by default snnTorch subtracts the threshold, a step later and "
            "after the decay; for the same spikes convert the module itself; --reset subtract, at once, comes near"
        )
    elif asked == "subtract":
        notes.append(
            f"{who}: it subtracts the threshold a step later, after the decay, and here it is subtracted at once; for "
            "the same spikes convert the module itself"
        )
    if abs(conventions.dt / SNNTORCH_DT - 1) > NEAR:
        notes.append(f"{who}, for steps of dt = {SNNTORCH_DT:g} s; with {conventions.dt:g} s they are other neurons")
    return notes


def _is_snntorch(node: Node) -> bool:
    """Whether r undoes dt / tau for steps of 1e-4 s, as w_in does for a synapse, and leak and reset are at 0."""
    if node.kind == "IF" or node["v_leak"].any() or ("v_reset" in node.values and node["v_reset"].any()):
        return False
    gains = [("r", "tau")] if node.kind == "LIF" else [("r", "tau_mem"), ("w_in", "tau_syn")]
    return all(gain in node.values and _undoes(node, gain, tau) for gain, tau in gains)


def _undoes(node: Node, gain: str, tau: str) -> bool:
    if node[gain].shape != node[tau].shape:
        return False
    return bool(np.abs(node[gain] * SNNTORCH_DT / node[tau] - 1).max() <= NEAR)
