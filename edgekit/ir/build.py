"""A builder that infers shapes and dtypes while ops are added; front ends, passes and tests make graphs with it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.dtypes import FLOAT32, DType
from edgekit.ir.graph import Entry, Graph, Op, Shape, State, Tensor
from edgekit.ir.ops import OPS
from edgekit.ir.quant import QuantParams
from edgekit.ir.verify import verify

MAX_NAME = 160  # of a name made from another one, so that a suffix still fits


def printable(name: str) -> str:
    """A name that the graph accepts, from any key or path: other characters become `_`, what is too long is cut."""
    name = re.sub(r"[^A-Za-z0-9_.:/-]", "_", name)[:MAX_NAME]
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


class GraphBuilder:
    """Collects tensors, states and the ops of one entry after another; `build` verifies and freezes."""

    def __init__(self, name: str, dt: float | None = None) -> None:
        self.name, self.dt = name, dt
        self._tensors: dict[str, Tensor] = {}
        self._states: list[State] = []
        self._entries: dict[str, Entry] = {}
        self._open("step")

    def _open(self, entry: str) -> None:
        self._entry = entry
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._ops: list[Op] = []
        self._updates: dict[str, str] = {}

    def _close(self) -> None:
        if self._inputs or self._ops or self._outputs:
            self._entries[self._entry] = Entry(
                self._entry, tuple(self._inputs), tuple(self._outputs), tuple(self._ops), self._updates
            )

    def _add(self, tensor: Tensor) -> str:
        if tensor.name in self._tensors:
            raise GraphError(f"tensor {tensor.name!r}", "is defined twice")
        self._tensors[tensor.name] = tensor
        return tensor.name

    def fresh(self, stem: str) -> str:
        """A tensor name that is not taken yet."""
        if stem not in self._tensors:
            return stem
        at = 1
        while f"{stem}.{at}" in self._tensors:
            at += 1
        return f"{stem}.{at}"

    def entry(self, name: str) -> None:
        """Finish the current entry and start another one over the same tensors and states."""
        self._close()
        if name in self._entries:
            raise GraphError(f"entry {name!r}", "is defined twice")
        self._open(name)

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        if name not in self._tensors:
            raise GraphError(f"tensor {name!r}", "is used before it is defined")
        return self._tensors[name]

    def input(self, name: str, shape: Shape, dtype: DType = FLOAT32) -> str:
        """Declare an input of the current entry."""
        self._inputs.append(self._add(Tensor(name, tuple(shape), dtype)))
        return name

    def const(self, name: str, data: npt.ArrayLike, dtype: DType = FLOAT32, quant: QuantParams | None = None) -> str:
        """Add a constant."""
        array = np.asarray(data, dtype=dtype.numpy)
        return self._add(Tensor(name, array.shape, dtype, quant, array))

    def state(self, name: str, init: npt.ArrayLike, dtype: DType = FLOAT32, reset: str = "reset") -> str:
        """Add a state with its first value."""
        array = np.asarray(init, dtype=dtype.numpy)
        self._states.append(State(self._add(Tensor(name, array.shape, dtype)), array, reset))
        return name

    def emit(
        self, kind: str, *inputs: str, outs: tuple[str, ...] = (), source: str = "", **attrs: Any
    ) -> tuple[str, ...]:
        """Add an op and return the names of its results, `outs` where given."""
        if kind not in OPS:
            raise GraphError(f"op {kind!r}", "is not in the op table")
        typed = OPS[kind].check([self.tensor(i) for i in inputs], attrs)
        names = outs or tuple(self.fresh(f"{self._entry}.{kind}{len(self._ops)}") for _ in typed)
        if len(typed) > 1 and not outs:
            names = tuple(f"{n}.{i}" for i, n in enumerate(names))
        if len(names) != len(typed):
            raise GraphError(f"op {kind!r}", f"has {len(typed)} results, {len(names)} names given")
        for name, (shape, dtype) in zip(names, typed, strict=True):
            self._add(Tensor(name, shape, dtype))
        self._ops.append(Op(kind, tuple(inputs), names, attrs, source))
        return names

    def op(self, kind: str, *inputs: str, out: str | None = None, source: str = "", **attrs: Any) -> str:
        """Add an op with one result and return its name."""
        (name,) = self.emit(kind, *inputs, outs=(out,) if out else (), source=source, **attrs)
        return name

    def update(self, state: str, value: str) -> None:
        """Say which value becomes the state when the current entry is done."""
        if state in self._updates:
            raise GraphError(f"state {state!r}", "is updated twice")
        self._updates[state] = value

    def output(self, *values: str) -> None:
        """Declare outputs of the current entry."""
        self._outputs.extend(values)

    def build(self) -> Graph:
        """Close the last entry, verify, and return the graph."""
        self._close()
        return verify(Graph(self.name, self._tensors, tuple(self._states), self._entries, self.dt))
