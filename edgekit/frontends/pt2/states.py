"""Which inputs of a program are states, and what to say of programs that seem to have lost theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.errors import UsageError
from edgekit.frontends.pt2.ends import Ends, Port

STATEFUL = re.compile(
    r"(mem|syn|state|hidden|membrane|spk|spike|volt|cell|h|hx|hn|c|cx|cn|v|u|s)(_?(prev|state|buf|buffer|exc|inh|\d+))*"
)
"""Names that buffers and arguments with a state in them usually have."""

NEURONS = ("snntorch.", "norse.", "sinabs.", "spikingjelly.", "lava.")
"""Packages whose modules nearly always have a state."""

RECURRENT = (*NEURONS, "torch.nn.modules.rnn.")

REMEDY = "pass the state as an argument, (x, state) -> (y, state), or update a registered buffer in place"


@dataclass(frozen=True)
class Pair:
    """A state: where it enters, the value that is its next one, and where that leaves (None: it is written)."""

    entry: Port
    value: str
    exit: Port | None


def state_pairs(ends: Ends, named: Sequence[str], written: frozenset[str]) -> tuple[list[Pair], list[str]]:
    """The inputs that are states, and notes on those that no user named.

    They are the pairs `input:output` that a user names, the inputs that the program writes, and a cell's state.
    """
    pairs, notes = _named(ends, named), []
    paired = {pair.entry.leaf for pair in pairs}
    for port in ends.entries():
        new = [o.value.name for o in ends.program.outputs if o.kind == "input" and o.target == port.value]
        if port.leaf not in paired and (new or port.value in written):
            pairs.append(Pair(port, new[0] if new else port.value, None))
            notes.append(f"{port.names[0]}: an input that the program writes, taken as state")
    if not pairs:
        pairs = _cell(ends)
        notes += [f"{pair.entry.names[0]}: passed as argument, taken as state" for pair in pairs]
    return pairs, notes


def _named(ends: Ends, named: Sequence[str]) -> list[Pair]:
    """The pairs that a user names; UsageError lists the names there are when one is unknown."""
    entries, exits = ends.entries(), ends.exits()
    pairs: list[Pair] = []
    for text in named:
        left, _, right = text.partition(":")
        entry = next((port for port in entries if left in port.names), None)
        leaving = next((port for port in exits if right in port.names), None)
        if entry is None or leaving is None:
            choices = [
                f"{kind}: " + ", ".join(" or ".join(port.names) for port in ports)
                for kind, ports in (("inputs", entries), ("outputs", exits))
            ]
            raise UsageError(f"state {text!r}", f"is no pair input:output of {ends.thing}", "choose of these", choices)
        if entry.shape != leaving.shape:
            raise UsageError(f"state {text!r}", f"enters as {list(entry.shape)} and leaves as {list(leaving.shape)}")
        if any(entry == other.entry or leaving == other.exit for other in pairs):
            raise UsageError(f"state {text!r}", "names an input or output that is paired already")
        pairs.append(Pair(entry, leaving.value, leaving))
    return pairs


def _cell(ends: Ends) -> list[Pair]:
    """The pairs of a cell `(x, h, c) -> (h, c)`: all that it returns is its state, and a recurrent module is in it.

    Every other way to pass a state is found as in any module.
    """
    first, *others = [child for side in ends.program.in_tree.children for child in side.children]
    inside, exits = [port for port in ends.entries() if port.leaf != first.leaf], ends.exits()
    flat = all(child.kind is None for child in (first, *others))
    recurrent = any(node.kind.startswith(RECURRENT) for node in ends.program.graph.nodes)
    if not flat or not recurrent or not inside or [p.shape for p in inside] != [p.shape for p in exits]:
        return []
    return [Pair(entry, leaving.value, leaving) for entry, leaving in zip(inside, exits, strict=True)]


def lost(ends: Ends) -> list[str]:
    """What to tell of a program in which nothing is a state although something looks like one.

    torch.export keeps only what a module writes into registered buffers in place: an attribute that a step rebinds
    (`self.mem = …`) is exported as its value at that time, and the program starts from it at every step.
    """
    buffers = [i.target for i in ends.program.inputs if i.kind in ("buffer", "constant")]
    looks = [name for name in buffers if STATEFUL.fullmatch(name.rpartition(".")[2].lower())]
    kinds = {(n.path, n.kind) for n in ends.program.graph.nodes if n.kind.startswith(NEURONS)}
    looks += [f"{path} ({kind})" for path, kind in sorted(kinds)]
    notes = []
    if looks:
        notes.append(
            f"no state is updated, though there is {', '.join(looks[:8])}: torch.export silently loses attributes that "
            f"a step rebinds; if this module has a state, {REMEDY}"
        )
    entries, exits = ends.entries(), ends.exits()
    if others := [port for port in entries[1:] if port.shape in [leaving.shape for leaving in exits]]:
        called = ", ".join(port.names[0] for port in others)
        notes.append(
            f"{called}: taken as input, and of the shape of an output; where it is a state, name its pair, such as "
            f"{others[-1].names[0]}:{exits[-1].names[0]}"
        )
    return notes
