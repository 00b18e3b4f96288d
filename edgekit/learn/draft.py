"""A graph under extension: states, constants and further entries beside the step that is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.dtypes import FLOAT32, DType
from edgekit.ir.graph import Entry, Graph, Op, Shape, State, Tensor
from edgekit.ir.ops import OPS
from edgekit.ir.quant import QuantParams
from edgekit.ir.verify import verify

Array = npt.NDArray[Any]


class Draft:
    """Adds to a graph; `build` verifies the whole. Ops go into the entry that was opened last."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors = dict(graph.tensors)
        self._states = list(graph.states)
        self._entries = dict(graph.entries)
        self._open: _Open | None = None

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        return self._tensors[name]

    def has(self, entry: str) -> bool:
        """Whether there is an entry of that name."""
        return entry in self._entries

    def fresh(self, stem: str) -> str:
        """A name that no tensor has: a layer of the model may be called like a part of the rule."""
        at, name = 0, stem
        while name in self._tensors:
            at += 1
            name = f"{stem}.{at}"
        return name

    def const(self, stem: str, data: npt.ArrayLike, dtype: DType = FLOAT32) -> str:
        """Add a constant under a fresh name."""
        array = np.asarray(data, dtype.numpy)
        return self._add(Tensor(self.fresh(stem), array.shape, dtype, None, array))

    def state(
        self, stem: str, init: npt.ArrayLike, policy: str, dtype: DType = FLOAT32, quant: QuantParams | None = None
    ) -> str:
        """Add a state with its first value."""
        array = np.asarray(init, dtype.numpy)
        name = self._add(Tensor(self.fresh(stem), array.shape, dtype, quant))
        self._states.append(State(name, array, policy))
        return name

    def first(self, state: str) -> Array:
        """The first value of a state, as it is stored."""
        return next(s.init for s in self._states if s.tensor == state)

    def left(self, stem: str, value: str) -> str:
        """Add a state that holds what a value was in the last step, for entries that come after it."""
        tensor = self._tensors[value]
        return self.state(stem, np.zeros(tensor.shape, tensor.dtype.numpy), "scratch", tensor.dtype)

    def step(self, entry: Entry) -> None:
        """Put another step in the place of the one there."""
        self._entries[entry.name] = entry

    def open(self, name: str) -> None:
        """Begin another entry."""
        self.close()
        self._open = _Open(name)

    def resume(self, name: str, forget: Iterable[str] = ()) -> Entry:
        """Go on with an entry that is there, which gets new outputs; states to forget are no longer states.

        Returns the entry as it was.
        """
        self.close()
        old, gone = self._entries[name], frozenset(forget)
        self._states = [s for s in self._states if s.tensor not in gone]
        self._open = _Open(name)
        self._open.inputs, self._open.ops = [*old.inputs], [*old.ops]
        self._open.updates = {s: value for s, value in old.updates.items() if s not in gone}
        return old

    def rewrite(self, name: str) -> tuple[str, ...]:
        """Begin an entry that is there anew, with its inputs, which are returned, and without any state so far."""
        self.close()
        old = self._entries[name]
        self._states, self._open = [], _Open(name)
        self._open.inputs = [*old.inputs]
        return old.inputs

    def close(self) -> None:
        """End the entry that is open."""
        if self._open is not None:
            self._entries[self._open.name] = self._open.entry()
            self._open = None

    def input(self, stem: str, shape: Shape, dtype: DType = FLOAT32) -> str:
        """Declare an input of the entry."""
        name = self._add(Tensor(self.fresh(stem), shape, dtype))
        self._now.inputs.append(name)
        return name

    def emit(self, kind: str, *inputs: str, out: str = "", **attrs: Any) -> str:
        """Add an op with one result to the entry, and return its name."""
        ((shape, dtype),) = OPS[kind].check([self._tensors[n] for n in inputs], attrs)
        name = self._add(Tensor(self.fresh(out or f"{self._now.name}.{kind}"), shape, dtype))
        self._now.ops.append(Op(kind, inputs, (name,), attrs, "learning"))
        return name

    def scaled(self, name: str, quant: QuantParams) -> str:
        """Say on what scale a value is held."""
        self._tensors[name] = dataclasses.replace(self._tensors[name], quant=quant)
        return name

    def update(self, state: str, value: str) -> None:
        """Say what a state becomes when the entry is done."""
        self._now.updates[state] = value

    def output(self, *names: str) -> None:
        """Declare outputs of the entry."""
        self._now.outputs.extend(names)

    def build(self) -> Graph:
        """The verified graph, without constants that nothing reads any more, and values that nothing makes."""
        self.close()
        entries = self._entries.values()
        used = {n for e in entries for op in e.ops for n in op.inputs}
        used |= {n for e in entries for n in (*e.outputs, *e.updates.values())}
        made = {n for e in entries for n in (*e.inputs, *(o for op in e.ops for o in op.outputs))}
        made |= {s.tensor for s in self._states}
        tensors = {n: t for n, t in self._tensors.items() if n in (used if t.is_const else made)}
        return verify(
            dataclasses.replace(self._graph, tensors=tensors, states=tuple(self._states), entries=self._entries)
        )

    @property
    def _now(self) -> _Open:
        if self._open is None:
            raise GraphError(f"graph {self._graph.name!r}", "has no entry open for what is to be added")
        return self._open

    def _add(self, tensor: Tensor) -> str:
        self._tensors[tensor.name] = tensor
        return tensor.name


class _Open:
    """The entry that is being written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.ops: list[Op] = []
        self.updates: dict[str, str] = {}

    def entry(self) -> Entry:
        return Entry(self.name, tuple(self.inputs), tuple(self.outputs), tuple(self.ops), self.updates)
