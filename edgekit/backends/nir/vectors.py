"""A graph whose values are all vectors: what moves elements or works row by row becomes a matrix, as NIR says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import FLOAT32, OPS, SPIKE, DType, Graph, GraphBuilder, Op, printable
from edgekit.ir.ops.elementwise import SCALAR_OPS

Array = npt.NDArray[Any]

MAX_MATRIX = 2**22
"""Elements of a matrix that is made here."""
MOVES = ("reshape", "transpose", "expand", "slice", "gather", "concat")
SPATIAL = ("conv", "windows", "pad")


def as_vectors(graph: Graph, faults: list[str]) -> Graph:
    """The step of a graph on vectors; the graph itself where it has channels and places, which NIR's nodes take.

    What has no such form is added to `faults`.
    """
    spatial = any(op.kind in SPATIAL for op in graph.entries["step"].ops)
    return graph if spatial else _Vectors(graph, faults).run()


class _Vectors:
    def __init__(self, graph: Graph, faults: list[str]) -> None:
        self.graph, self.faults = graph, faults
        self.b = GraphBuilder(graph.name, graph.dt)
        self.names: dict[str, str] = {}

    def run(self) -> Graph:
        """Every value in order."""
        step = self.graph.entries["step"]
        for name in step.inputs:
            tensor = self.graph.tensor(name)
            self.b.input(name, tensor.shape, tensor.dtype)
            flat = len(tensor.shape) == 1
            self.names[name] = name if flat else self.b.op("reshape", name, shape=(tensor.size,))
        for state in self.graph.states:
            self.b.state(state.tensor, state.init.reshape(-1), self._held(state.tensor), state.reset)
            self.names[state.tensor] = state.tensor
        for op in step.ops:
            self._op(op)
        for name in step.outputs:
            out = self.names[name]
            if out != name:
                out = self.b.op("reshape", out, out=name, shape=(self.graph.tensor(name).size,))
            self.b.output(out)
        for held, value in step.updates.items():
            self.b.update(held, self._typed(value, held))
        return self.b.build()

    def _held(self, state: str) -> DType:
        """The dtype of a state: moved spikes come out of a matrix, as numbers 0 and 1."""
        step = self.graph.entries["step"]
        moved = any(op.kind in MOVES and step.updates.get(state) in op.outputs for op in step.ops)
        return FLOAT32 if moved else self.graph.tensor(state).dtype

    def _typed(self, value: str, state: str) -> str:
        """A value in the dtype of a state."""
        name, wants = self._flat(value, self.graph.tensor(state).shape), self.b.tensor(state).dtype
        have = self.b.tensor(name).dtype
        return name if have is wants else self.b.op("cast", name, to=wants.name)

    def _op(self, op: Op) -> None:
        (name,) = op.outputs
        rows: Mapping[str, Callable[[Op], str]] = {"linear": self._linear, "sum": self._sum, "concat": self._concat}
        if op.kind in rows:
            self.names[name] = rows[op.kind](op)
        elif op.kind in MOVES:
            self.names[name] = self._moved(op)
        elif op.kind in SCALAR_OPS:
            self.names[name] = self._elementwise(op)
        else:
            self.faults.append(f"{_at(op)}: NIR has no node for it")
            self.names[name] = self._lost(name)

    def _lost(self, name: str) -> str:
        """Zeros in the place of what has no form."""
        tensor = self.graph.tensor(name)
        return self.b.const(self.b.fresh(f"{name}.lost"), np.zeros(tensor.size), tensor.dtype)

    def _flat(self, value: str, shape: tuple[int, ...], source: str = "") -> str:
        """A value as a vector, broadcast to a shape."""
        tensor = self.graph.tensor(value)
        if tensor.data is not None:
            data = tensor.data if tensor.size == 1 else np.broadcast_to(tensor.data, shape)
            flat = data.reshape(() if tensor.size == 1 else -1)
            return self.b.const(self.b.fresh(f"{value}.flat"), flat, tensor.dtype)
        if tensor.shape == shape:
            return self.names[value]
        index = np.broadcast_to(np.arange(tensor.size).reshape(tensor.shape), shape)
        return self._selected(self.names[value], index.reshape(-1), tensor.size, source)

    def _selected(self, name: str, index: Array, size: int, source: str) -> str:
        """Elements of a vector by their places in it."""
        if np.array_equal(index, np.arange(size)):
            return name
        return self._product(name, lambda: np.eye(size)[index], len(index) * size, source)

    def _product(self, name: str, matrix: Callable[[], Array], elements: int, source: str, *addend: str) -> str:
        if elements > MAX_MATRIX:
            self.faults.append(f"{source or name}: would be a matrix of {elements:,} elements in NIR")
            return self.b.const(self.b.fresh("lost"), np.zeros(elements // self.b.tensor(name).size), FLOAT32)
        weight = self.b.const(self.b.fresh(printable(f"{source or 'move'}.matrix")), matrix())
        return self.b.op("linear", name, weight, *addend, source=source)

    def _linear(self, op: Op) -> str:
        x, weight, given = self.graph.tensor(op.inputs[0]), self.graph.tensor(op.inputs[1]), op.outputs[0]
        if weight.data is None or weight.quant is not None or x.data is not None:
            why = "changes at run time" if weight.data is None else "is quantised; export the float32 graph"
            self.faults.append(f"{_at(op)}: its matrix {why}" if x.data is None else f"{_at(op)}: has a constant input")
            return self._lost(given)
        addend = [self._flat(n, self.graph.tensor(given).shape, op.source) for n in op.inputs[2:]]
        rows, data = prod(x.shape[:-1]), weight.data
        if rows == 1:
            name = self.b.const(self.b.fresh(f"{weight.name}.flat"), data)
            return self.b.op("linear", self.names[x.name], name, *addend, source=op.source)
        elements = rows * rows * data.size
        return self._product(self.names[x.name], lambda: np.kron(np.eye(rows), data), elements, op.source, *addend)

    def _sum(self, op: Op) -> str:
        x = self.graph.tensor(op.inputs[0])
        size = x.size

        def matrix() -> Array:
            return np.asarray(np.eye(size).reshape(*x.shape, size).sum(axis=op.attrs["axis"])).reshape(-1, size)

        given = self.graph.tensor(op.outputs[0]).size
        return self._product(self._flat(x.name, x.shape), matrix, given * size, op.source or op.kind)

    def _moved(self, op: Op) -> str:
        x = self.graph.tensor(op.inputs[0])
        places = np.arange(x.size, dtype=np.int64).reshape(1, *x.shape)
        (index,) = OPS[op.kind].evaluate([places], op.attrs, [x])
        return self._selected(self._flat(x.name, x.shape), np.asarray(index).reshape(-1), x.size, op.source or op.kind)

    def _concat(self, op: Op) -> str:
        tensors = [self.graph.tensor(n) for n in op.inputs]
        starts = np.cumsum([0, *(t.size for t in tensors)])
        places = [np.arange(t.size).reshape(1, *t.shape) + s for t, s in zip(tensors, starts[:-1], strict=True)]
        (index,) = OPS["concat"].evaluate(places, op.attrs, tensors)
        index, total = np.asarray(index).reshape(-1), ""
        for tensor, start in zip(tensors, starts[:-1], strict=True):
            matrix = (index[:, None] == np.arange(start, start + tensor.size)).astype(np.float64)
            source = op.source or op.kind
            part = self._product(self._flat(tensor.name, tensor.shape), lambda m=matrix: m, matrix.size, source)  # type: ignore[misc]
            total = part if not total else self.b.op("add", total, part, source=op.source)
        return total

    def _elementwise(self, op: Op) -> str:
        shape = self.graph.tensor(op.outputs[0]).shape
        names = [self._flat(n, shape, op.source) for n in op.inputs]
        if op.kind == "cast" and self.b.tensor(names[0]).dtype.name == op.attrs["to"]:
            return names[0]  # moved spikes are numbers already
        for at, name in enumerate(names):
            if self.graph.tensor(op.inputs[at]).dtype is SPIKE and self.b.tensor(name).dtype is not SPIKE:
                names[at] = self.b.op("cast", name, to="spike", source=op.source)
        own = op.outputs[0] if op.outputs[0] in self.graph.entries["step"].outputs else None
        return self.b.op(op.kind, *names, out=own, source=op.source, **op.attrs)


def _at(op: Op) -> str:
    return f"{op.kind} in {op.source}" if op.source else op.kind
