"""States that recurrent operators tell: an input that becomes a first state, an output that a last one leaves by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgekit.frontends.onnx.pairing import Pair, alike
from edgekit.frontends.onnx.ports import Port

_MOVES = frozenset(
    {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
_STATES = {"LSTM": ((5, 1), (6, 2)), "GRU": ((5, 1),), "RNN": ((5, 1),)}  # first state in, last state out


def cell_pairs(graph: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> list[Pair]:
    """Pairs of an input and an output between which an LSTM, GRU or RNN keeps its state, where there is one of each."""
    ins, outs = {p.name: p for p in inputs}, {p.name: p for p in outputs}
    makers = {name: node for node in graph.node for name in node.output if name}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, set[str]] = {}
    for node in graph.node:
        for first, last in _STATES.get(node.op_type, ()):
            if len(node.input) > first and len(node.output) > last:
                source = _source(node.input[first], makers)
                ends = set(_ends(node.output[last], readers)) & outs.keys()
                if source in ins:
                    found.setdefault(source, set()).update(n for n in ends if alike(ins[source], outs[n]))
    taken = [n for ends in found.values() for n in ends]
    return [
        Pair(name, end, "by its recurrent cell")
        for name, ends in found.items()
        if len(ends) == 1 and taken.count(end := next(iter(ends))) == 1
    ]


def _source(name: str, makers: dict[str, Any]) -> str:
    """Where a value comes from, behind what only moves it."""
    while name in makers and makers[name].op_type in _MOVES:
        name = makers[name].input[0]
    return name


def _ends(name: str, readers: dict[str, list[Any]]) -> Iterator[str]:
    """A value and everything that is only a move of it."""
    seen, left = {name}, [name]
    while left:
        current = left.pop()
        yield current
        for node in readers.get(current, ()):
            if node.op_type in _MOVES:
                left += [n for n in node.output if n not in seen]
                seen.update(node.output)
