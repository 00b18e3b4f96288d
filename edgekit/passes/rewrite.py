"""What the passes share: walk a graph op by op into a new one, and drop what nothing reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir.dtypes import FLOAT32, DType
from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.ops import OPS
from edgekit.ir.quant import QuantParams
from edgekit.ir.verify import verify

MAX_STEM = 80
"""How much of an input's name its result takes over: names of long chains stay within the length of a name."""

# A rule returns the names that stand for the op's outputs from here on, or None to keep the op as it is.
Rule = Callable[["Rewriter", Op], "tuple[str, ...] | None"]


def use_counts(graph: Graph) -> Counter[str]:
    """How often each tensor is read: by ops, as an output, or as the new value of a state."""
    uses: Counter[str] = Counter()
    for entry in graph.entries.values():
        for op in entry.ops:
            uses.update(op.inputs)
        uses.update(entry.outputs)
        uses.update(entry.updates.values())
    return uses


class Rewriter:
    """The graph under construction: the tensors so far, who produced them, and what replaced what."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.uses = use_counts(graph)
        self._ops: list[Op] = []
        self._producer: dict[str, Op] = {}
        self._renamed: dict[str, str] = {}
        self._source = ""

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def data(self, name: str) -> npt.NDArray[Any] | None:
        """The array of a constant, None for anything else."""
        return self.tensors[name].data

    def producer(self, name: str, kind: str = "") -> Op | None:
        """The op that made a value in this entry, if there is one (of that kind, when given)."""
        op = self._producer.get(name)
        return op if op is not None and (not kind or op.kind == kind) else None

    def single_use(self, name: str) -> bool:
        """Whether exactly one reader needs the value."""
        return self.uses[name] == 1

    def fresh(self, stem: str) -> str:
        """A tensor name that is not taken yet."""
        at, name = 0, stem
        while name in self.tensors:
            at += 1
            name = f"{stem}.{at}"
        return name

    def const(self, stem: str, data: npt.NDArray[Any], dtype: DType = FLOAT32, quant: QuantParams | None = None) -> str:
        """Add a constant under a fresh name made from `stem`."""
        name = self.fresh(stem)
        array = np.asarray(data, dtype=dtype.numpy)
        self.tensors[name] = Tensor(name, array.shape, dtype, quant, array)
        return name

    def emit(self, kind: str, *inputs: str, out: str = "", **attrs: Any) -> str:
        """Add an op with one result; the result is called `out`, or gets a fresh name."""
        ((shape, dtype),) = OPS[kind].check([self.tensors[n] for n in inputs], attrs)
        name = out or self.fresh(f"{inputs[0][:MAX_STEM].rstrip('.')}.{kind}")
        self.tensors[name] = Tensor(name, shape, dtype)
        self.append(Op(kind, inputs, (name,), attrs, self._source))
        return name

    def append(self, op: Op) -> None:
        """Add an op whose outputs are declared already."""
        self._ops.append(op)
        for name in op.outputs:
            self._producer[name] = op

    def resolve(self, name: str) -> str:
        """The name that stands for a value now."""
        while name in self._renamed:
            name = self._renamed[name]
        return name

    def entry(self, entry: Entry, rule: Rule) -> Entry:
        """Rewrite one entry with a rule."""
        self._ops, self._producer = [], {}
        for op in entry.ops:
            self._source = op.source
            current = Op(op.kind, tuple(self.resolve(n) for n in op.inputs), op.outputs, op.attrs, op.source)
            replaced = rule(self, current)
            if replaced is None:
                self.append(current)
                continue
            for old, new in zip(op.outputs, replaced, strict=True):
                if old != new:
                    self._renamed[old] = new
                    self.uses[new] += self.uses[old] - 1 if new in self.uses else self.uses[old]
        outputs = tuple(self.resolve(n) for n in entry.outputs)
        updates = {s: self.resolve(v) for s, v in entry.updates.items()}
        return Entry(entry.name, entry.inputs, outputs, tuple(self._ops), updates)


def first_of(rules: Sequence[Rule]) -> Rule:
    """One rule out of several: the first that applies."""

    def rule(rewriter: Rewriter, op: Op) -> tuple[str, ...] | None:
        return next((names for each in rules if (names := each(rewriter, op)) is not None), None)

    return rule


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Apply a rule to every op of every entry, in order, then drop what is no longer read."""
    rewriter = Rewriter(graph)
    entries = [rewriter.entry(entry, rule) for entry in graph.entries.values()]
    return sweep(graph.replace(tensors=rewriter.tensors).with_entries(*entries))


def sweep(graph: Graph) -> Graph:
    """Drop ops whose results nothing reads, then tensors that nothing mentions. States and inputs stay."""
    entries: list[Entry] = []
    mentioned = set(graph.state_names)
    for entry in graph.entries.values():
        live = {*entry.outputs, *entry.updates.values()}
        kept: list[Op] = []
        for op in reversed(entry.ops):
            if live.intersection(op.outputs):
                kept.append(op)
                live.update(op.inputs)
        ops = tuple(reversed(kept))
        entries.append(Entry(entry.name, entry.inputs, entry.outputs, ops, entry.updates))
        mentioned.update(live, entry.inputs, *(op.outputs for op in ops))
    tensors = {n: t for n, t in graph.tensors.items() if n in mentioned}
    return verify(graph.replace(tensors=tensors).with_entries(*entries))
