"""The float graph seen as sums: what a value is the sum of, with the constants that scale it folded in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph, Op, Tensor
from edgekit.passes.rewrite import use_counts

Array = npt.NDArray[Any]

AFFINE = ("add", "sub", "neg", "mul", "div", "linear", "memory_update", "where")


@dataclass(frozen=True, eq=False)
class Dot:
    """weights · x, where x is a spike or a real; the weights are `times`, per output, those of `tensor`, a constant."""

    x: str
    weights: Array
    tensor: str
    times: Array


@dataclass(frozen=True, eq=False)
class Memory:
    """A m[i] + B u[i] for every memory channel i."""

    m: str
    u: str
    a: Dot
    b: Dot


@dataclass(frozen=True, eq=False)
class Scaled:
    """factor · value."""

    value: str
    factor: Array


@dataclass(frozen=True, eq=False)
class Switch:
    """`on` where a spike is, else `off`."""

    spike: str
    on: Array
    off: Array


@dataclass(frozen=True, eq=False)
class Constant:
    """A number per element."""

    data: Array


Term = Dot | Memory | Scaled | Switch | Constant


class Sums:
    """Who makes and reads each value of a step, and which sums dissolve in the one sum that reads them."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.step = graph, graph.entries["step"]
        self.made: dict[str, Op] = {name: op for op in self.step.ops for name in op.outputs}
        kept = {s.tensor for s in graph.states if s.reset == "keep"}
        plastic = [op.inputs[1:] for op in self.step.ops if op.kind == "linear" and op.inputs[1] in kept]
        self.learned = frozenset(n for names in plastic for n in names if n in kept)  # weights and biases
        self.uses = use_counts(graph.with_entries(self.step))
        self.readers: dict[str, list[Op]] = {}
        for op in self.step.ops:
            for name in dict.fromkeys(op.inputs):
                self.readers.setdefault(name, []).append(op)

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def data(self, name: str) -> Array | None:
        """The array of a constant in float64, None for anything else."""
        data = self.graph.tensors[name].data
        return None if data is None else np.asarray(data, np.float64)

    def uncast(self, name: str) -> str:
        """The spike behind a cast to float32, else the value itself."""
        op = self.made.get(name)
        is_cast = op is not None and op.kind == "cast" and self.tensor(op.inputs[0]).dtype is SPIKE
        return op.inputs[0] if op is not None and is_cast else name

    def is_spike(self, name: str) -> bool:
        return self.tensor(self.uncast(name)).dtype is SPIKE

    def is_sum(self, name: str) -> bool:
        """Whether an op makes the value as a sum of terms."""
        op = self.made.get(name)
        if op is None or op.kind not in AFFINE:
            return False
        if op.kind == "mul":
            return any(self.data(n) is not None for n in op.inputs)
        if op.kind == "div":
            return self.data(op.inputs[1]) is not None
        if op.kind == "where":
            return all(self.data(n) is not None for n in op.inputs[1:])
        return op.kind != "linear" or self.data(op.inputs[1]) is not None

    def is_plastic(self, op: Op) -> bool:
        """Whether an op is a product with weights that are a state."""
        return op.kind == "linear" and op.inputs[1] in self.learned

    def feeds_plastic(self, name: str) -> bool:
        """Whether a value is what plastic weights multiply."""
        return any(self.is_plastic(op) and op.inputs[0] == name for op in self.readers.get(name, []))

    def dissolves(self, name: str) -> bool:
        """Whether a sum is only part of another one, which takes its terms over."""
        return self.uses[name] == 1 and any(self.is_sum(op.outputs[0]) for op in self.readers.get(name, []))

    def terms(self, root: str) -> list[Term]:
        """The terms of a value that is a sum; addends that nothing else reads are taken apart in turn."""
        return list(self._of(self.made[root], np.ones(())))

    def _flatten(self, name: str, factor: Array) -> Iterator[Term]:
        data = self.data(name)
        if data is not None:
            yield Constant(data * factor)
        elif self.is_spike(name):
            yield Switch(self.uncast(name), factor, np.zeros(()))
        elif self.uses[name] == 1 and self.is_sum(name) and self._takes(self.made[name], factor):
            yield from self._of(self.made[name], factor)
        else:
            yield Scaled(name, factor)

    def _takes(self, op: Op, factor: Array) -> bool:
        """Whether a factor can be folded into an op: into the rows of a matrix, where it varies along the last axis."""
        if op.kind == "linear":
            return factor.size == factor.shape[-1] if factor.ndim else True
        return op.kind != "memory_update" or factor.size == 1

    def _of(self, op: Op, factor: Array) -> Iterator[Term]:
        if op.kind in ("add", "sub"):
            yield from self._flatten(op.inputs[0], factor)
            yield from self._flatten(op.inputs[1], -factor if op.kind == "sub" else factor)
        elif op.kind == "neg":
            yield from self._flatten(op.inputs[0], -factor)
        elif op.kind == "div":
            yield from self._flatten(op.inputs[0], factor / self._constant(op.inputs[1]))
        elif op.kind == "mul":
            at = 0 if self.data(op.inputs[0]) is not None else 1
            yield from self._flatten(op.inputs[1 - at], factor * self._constant(op.inputs[at]))
        elif op.kind == "where":
            on, off = (self._constant(n) * factor for n in op.inputs[1:])
            yield Switch(op.inputs[0], on, off)
        elif op.kind == "memory_update":
            yield self._memory(op, factor)
        else:
            yield from self._linear(op, factor)

    def _constant(self, name: str) -> Array:
        data = self.data(name)
        assert data is not None  # is_sum has looked
        return data

    def _linear(self, op: Op, factor: Array) -> Iterator[Term]:
        rows = np.broadcast_to(factor.reshape(-1), (self.tensor(op.inputs[1]).shape[0],))
        yield Dot(self.uncast(op.inputs[0]), self._weights(op.inputs[1]) * rows[:, None], op.inputs[1], rows)
        for addend in op.inputs[2:]:
            yield from self._flatten(addend, factor)

    def _memory(self, op: Op, factor: Array) -> Memory:
        m, a, u, b = op.inputs
        m, u = self.uncast(m), self.uncast(u)
        times = factor.reshape(-1)[0]
        dots = (Dot(x, self._weights(w) * times, w, np.asarray(times)) for x, w in ((m, a), (u, b)))
        return Memory(m, u, *dots)

    def _weights(self, name: str) -> Array:
        tensor = self.tensor(name)
        if tensor.quant is not None and tensor.data is not None:
            return np.asarray(tensor.quant.dequantize(tensor.data), np.float64)
        return self._constant(name)

    def view_of(self, name: str) -> str:
        """The value that a chain of reshapes shows."""
        while name in self.made and self.made[name].kind == "reshape":
            name = self.made[name].inputs[0]
        return name

    def states_of(self, root: str) -> list[str]:
        """States whose next value is this one, or a view of it."""
        return [s for s, value in self.step.updates.items() if self.view_of(value) == root]

    def feeds_itself(self, root: str, x: str) -> bool:
        """Whether x is (a view of) a state that this value becomes."""
        return self.view_of(x) in self.states_of(root)


def spiking(term: Term, sums: Sums) -> bool:
    """Whether a term adds weights for spikes."""
    if isinstance(term, Dot):
        return sums.is_spike(term.x)
    return isinstance(term, Memory) and sums.is_spike(term.m) and sums.is_spike(term.u)
