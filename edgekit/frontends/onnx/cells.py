"""States that recurrent operators tell, and the arithmetic of a cell that is written out.

An input that becomes a first state, and an output that a last one leaves by, are a pair. A sum W x + U h under a
nonlinearity is that of a recurrent cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from edgekit.frontends.onnx.pairing import Pair, alike
from edgekit.frontends.onnx.ports import Port

_MOVES = frozenset(
    {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
_WHOLE = _MOVES - {"Concat", "Gather", "Slice", "Split"}
_BENDS = frozenset({"Relu", "Sigmoid", "Tanh"})
MAX_GATES = 4
_STATES = {"LSTM": ((5, 1), (6, 2)), "GRU": ((5, 1),), "RNN": ((5, 1),)}  # first state in, last state out


def cell_pairs(graph: Any, inputs: Sequence[Port], outputs: Sequence[Port]) -> list[Pair]:
    """Pairs of an input and an output between which an LSTM, GRU or RNN keeps its state, where there is one of each."""
    ins, outs = {p.name: p for p in inputs}, {p.name: p for p in outputs}
    makers, readers = _makers(graph), _readers(graph)
    found: dict[str, set[str]] = {}
    for node in graph.node:
        for first, last in _STATES.get(node.op_type, ()):
            if len(node.input) > first and node.input[first] and node.output:
                source = _source(node.input[first], makers)
                if source not in ins:
                    continue
                ends = {n for n in _left(node, last, readers) if n in outs and alike(ins[source], outs[n])}
                if not ends and last == 1:  # of one step, all outputs are the last
                    every = _left(node, 0, readers, _WHOLE)
                    ends = {n for n in every if n in outs and alike(ins[source], outs[n])}
                found.setdefault(source, set()).update(ends)
    taken = [n for ends in found.values() for n in ends]
    return [
        Pair(name, end, "by its recurrent cell")
        for name, ends in found.items()
        if len(ends) == 1 and taken.count(end := next(iter(ends))) == 1
    ]


def cell_inputs(graph: Any, inputs: Sequence[Port]) -> set[str]:
    """Inputs h of a sum W x + U h that only a nonlinearity follows, with U of as many columns as h, for each gate."""
    ins = {p.name: p for p in inputs}
    makers, readers = _makers(graph), _readers(graph)
    stored = {t.name: math.prod(t.dims) for t in graph.initializer}
    stored |= {n.output[0]: math.prod(a.t.dims) for n in graph.node for a in n.attribute if n.op_type == "Constant"}
    reached: dict[str, set[str]] = {}  # sums by the inputs whose products come to them
    square: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("Gemm", "MatMul"):
            continue
        sources = [_source(name, makers) for name in node.input[:2]]
        sizes = [stored[s] for s in sources if s in stored]
        data = [s for s in sources if s in ins]
        if not sizes or not data:
            continue
        width = ins[data[0]].shape[-1] if ins[data[0]].shape else 1
        if sizes[0] in {gates * width**2 for gates in range(1, MAX_GATES + 1)}:
            square.add(data[0])
        for end in _ends(node.output[0], readers, _MOVES):
            sums = [n.output[0] for n in readers.get(end, ()) if n.op_type in ("Add", "Sum")]
            plain = [y for y in sums if any(i in stored for i in makers[y].input)]
            sums += [n.output[0] for y in plain for n in readers.get(y, ()) if n.op_type in ("Add", "Sum")]
            for name in sums:
                reached.setdefault(name, set()).add(data[0])
    cells = {
        name
        for name, found in reached.items()
        if len(found) > 1 and any(n.op_type in _BENDS for end in _ends(name, readers) for n in readers.get(end, ()))
    }
    return {source for name in cells for source in reached[name]} & square


def _makers(graph: Any) -> dict[str, Any]:
    return {name: node for node in graph.node for name in node.output if name}


def _readers(graph: Any) -> dict[str, list[Any]]:
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _left(node: Any, at: int, readers: dict[str, list[Any]], moves: frozenset[str] = _MOVES) -> Iterator[str]:
    """The ends of a result of a node, if that is named."""
    if at < len(node.output) and node.output[at]:
        yield from _ends(node.output[at], readers, moves)


def _source(name: str, makers: dict[str, Any]) -> str:
    """Where a value comes from, behind what only moves it."""
    while name in makers and makers[name].op_type in _MOVES:
        name = makers[name].input[0]
    return name


def _ends(name: str, readers: dict[str, list[Any]], moves: frozenset[str] = _MOVES) -> Iterator[str]:
    """A value and everything that is only a move of it."""
    seen, left = {name}, [name]
    while left:
        current = left.pop()
        yield current
        for node in readers.get(current, ()):
            if node.op_type in moves:
                left += [n for n in node.output if n not in seen]
                seen.update(node.output)
