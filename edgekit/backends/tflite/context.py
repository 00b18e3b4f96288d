"""The step of a float graph as a subgraph: each value in the two forms a spike has, and ops that every row needs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.tflite.schema import schema
from edgekit.backends.tflite.writer import Quant, SubgraphWriter, type_of
from edgekit.ir import Graph, Op

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
REAL, FLAG = "FLOAT32", "BOOL"
MOST_AXES = 4  # with the batch; TFLite-Micro and older kernels broadcast and slice no more
MOST_JOINED = 10  # values that one CONCATENATION of TFLite-Micro takes


class Context:
    """Where the ops of one entry are written to. Shapes here have the batch axis of length 1 in front.

    A spike is a BOOL where it is compared or chosen by, and a float32 of 0 or 1 where it is moved or multiplied; each
    form is made when it is first asked for.
    """

    def __init__(self, graph: Graph, to: SubgraphWriter) -> None:
        self.graph, self.to = graph, to
        self._real: dict[str, int] = {}
        self._flag: dict[str, int] = {}
        self._shapes: dict[int, Shape] = {}
        self._types: dict[int, str] = {}
        self._quants: dict[int, Quant | None] = {}
        self._consts: dict[tuple[str, Shape, bytes], int] = {}
        self._ends: set[int] = set()  # tensors that cannot be an output (again)
        self._stem = "step"

    def begin(self, op: Op) -> None:
        """Results of an op are named after it."""
        self._stem = op.outputs[0]

    # --- values of the graph ---

    def shape(self, name: str) -> Shape:
        """The shape of a value of the graph."""
        return (1, *self.graph.tensors[name].shape)

    def real(self, name: str) -> int:
        """A value as float32."""
        if name not in self._real:
            data = self.graph.tensors[name].data
            if data is not None:
                self._real[name] = self.const(data[None].astype(np.float32), name)
            else:
                self._real[name] = self.cast(self._flag[name])
        return self._real[name]

    def flag(self, name: str) -> int:
        """A spike as BOOL."""
        if name not in self._flag:
            data = self.graph.tensors[name].data
            if data is not None:
                self._flag[name] = self.const(data[None].astype(np.bool_), name)
            else:
                self._flag[name] = self.spike(self._real[name])
        return self._flag[name]

    def set_real(self, name: str, tensor: int) -> None:
        """Say which float32 tensor a value is; of a spike it holds zeros and ones alone."""
        self._real[name] = tensor

    def set_flag(self, name: str, tensor: int) -> None:
        """Say which BOOL tensor a spike is."""
        self._flag[name] = tensor

    def output(self, name: str) -> int:
        """A value as a tensor that is neither an input, a constant, nor another output."""
        value = self.real(name)
        if value in self._ends:
            value = self.copy(value, self.shape(name))
        self._ends.add(value)
        return value

    # --- tensors ---

    def const(self, data: Array, stem: str, quant: Quant | None = None) -> int:
        """A constant; equal ones are one tensor."""
        key = (type_of(data) + repr(quant), data.shape, data.tobytes())
        if key not in self._consts:
            made = self.to.tensor(stem, data.shape, type_of(data), data=data, quant=quant)
            self._consts[key] = self._known(made, data.shape, type_of(data), quant)
            self._ends.add(made)
        return self._consts[key]

    def number(self, value: float) -> int:
        """A float32 constant that broadcasts to any shape."""
        return self.const(np.full((1,), value, np.float32), "number")

    def ints(self, values: Sequence[int] | Array) -> int:
        """An int32 constant: axes, sizes, indices."""
        return self.const(np.array(values, np.int32), "ints")

    def port(self, name: str, shape: Shape, dtype: str = REAL, quant: Quant | None = None) -> int:
        """Add a tensor that comes from outside."""
        made = self._known(self.to.tensor(name, shape, dtype, quant=quant), shape, dtype, quant)
        self._ends.add(made)
        return made

    def _known(self, tensor: int, shape: Sequence[int], dtype: str, quant: Quant | None = None) -> int:
        self._shapes[tensor], self._types[tensor], self._quants[tensor] = tuple(shape), dtype, quant
        return tensor

    def like(self, x: int) -> dict[str, Any]:
        """Type and scales of a tensor, for a result that has the same."""
        return {"dtype": self._types[x], "quant": self._quants[x]}

    def op(
        self,
        builtin: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        *,
        dtype: str = REAL,
        quant: Quant | None = None,
        **options: Any,
    ) -> int:
        """Add an operator with one result and return that."""
        made = self._known(self.to.tensor(self._stem, shape, dtype, quant=quant), shape, dtype, quant)
        self.to.operator(builtin, inputs, [made], **options)
        return made

    def cast(self, flag: int) -> int:
        """A BOOL as a float32 of 0 or 1."""
        types = schema().TensorType
        return self.op("CAST", [flag], self._shapes[flag], inDataType=types.BOOL, outDataType=types.FLOAT32)

    def spike(self, real: int) -> int:
        """A BOOL that is true where a float32 is not 0."""
        return self.elementwise("NOT_EQUAL", [real, self.number(0)], self._shapes[real], dtype=FLAG)

    def shape_of(self, tensor: int) -> Shape:
        """The shape of a tensor that was added here."""
        return self._shapes[tensor]

    # --- ops that other rows are made of ---

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        """The same elements in another shape; x itself where that is its shape."""
        if self._shapes[x] == tuple(shape):
            return x
        return self.copy(x, shape)

    def copy(self, x: int, shape: Sequence[int]) -> int:
        """The same elements in a tensor of its own."""
        return self.op("RESHAPE", [x, self.ints(shape)], shape, **self.like(x), newShape=list(shape))

    def transpose(self, x: int, perm: Sequence[int]) -> int:
        """Axes in another order; axes of length one cost nothing, and neighbours that stay so move as one."""
        shape = self._shapes[x]
        out = tuple(shape[p] for p in perm)
        runs: list[list[int]] = []
        for p in (p for p in perm if shape[p] != 1):
            if runs and p == runs[-1][-1] + 1:
                runs[-1].append(p)
            else:
                runs.append([p])
        if len(runs) <= 1:
            return self.reshape(x, out)
        if len(shape) > MOST_AXES:
            order = sorted(range(len(runs)), key=lambda i: runs[i][0])
            x = self.reshape(x, [prod(shape[p] for p in runs[i]) for i in order])
            perm = [order.index(i) for i in range(len(runs))]
        turned = self.op("TRANSPOSE", [x, self.ints(perm)], [self._shapes[x][p] for p in perm], **self.like(x))
        return self.reshape(turned, out)

    def around(self, x: int, axis: int) -> tuple[int, int]:
        """A tensor, and one of its axes, with so few axes that every kernel takes it."""
        shape = self._shapes[x]
        if len(shape) <= MOST_AXES:
            return x, axis
        return self.reshape(x, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))), 1

    def slice(self, x: int, axis: int, start: int, stop: int, step: int = 1) -> int:
        """Elements start, start + step, … below stop along one axis."""
        shape = self._shapes[x]
        length = len(range(start, stop, step))
        if length == shape[axis]:
            return x
        y, at = self.around(x, axis)
        inner = self._shapes[y]
        begin, end, strides = [0] * len(inner), list(inner), [1] * len(inner)
        begin[at], end[at], strides[at] = start, stop, step
        cut = [*inner[:at], length, *inner[at + 1 :]]
        y = self.op("STRIDED_SLICE", [y, self.ints(begin), self.ints(end), self.ints(strides)], cut, **self.like(x))
        return self.reshape(y, (*shape[:axis], length, *shape[axis + 1 :]))

    def concat(self, parts: Sequence[int], axis: int) -> int:
        """Tensors side by side along one axis."""
        parts = list(parts)
        while len(parts) > 1:
            joined = [parts[i : i + MOST_JOINED] for i in range(0, len(parts), MOST_JOINED)]
            parts = [self._joined(group, axis) if len(group) > 1 else group[0] for group in joined]
        return parts[0]

    def _joined(self, parts: Sequence[int], axis: int) -> int:
        first = self._shapes[parts[0]]
        length = sum(self._shapes[p][axis] for p in parts)
        return self.op(
            "CONCATENATION", parts, (*first[:axis], length, *first[axis + 1 :]), **self.like(parts[0]), axis=axis
        )

    def expand(self, x: int, shape: Shape) -> int:
        """Axes of length one repeated; neighbours that are alike in that count as one where there are many."""
        have = self._shapes[x]
        have = (*(1,) * (len(shape) - len(have)), *have)
        if have == shape:
            return self.reshape(x, shape)
        if len(shape) <= MOST_AXES:
            return self._repeated(self.reshape(x, have), shape)
        runs: list[tuple[bool, int]] = []
        for n, wanted in zip(have, shape, strict=True):
            repeats = n != wanted
            if wanted == 1:
                continue
            if runs and runs[-1][0] == repeats:
                runs[-1] = (repeats, runs[-1][1] * wanted)
            else:
                runs.append((repeats, wanted))
        x = self.reshape(x, [1 if repeats else n for repeats, n in runs])
        return self.reshape(self._repeated(x, tuple(n for _, n in runs)), shape)

    def _repeated(self, x: int, shape: Shape) -> int:
        return self.op("BROADCAST_TO", [x, self.ints(shape)], shape, **self.like(x))

    def elementwise(
        self,
        builtin: str,
        operands: Sequence[int],
        shape: Shape,
        *,
        dtype: str = REAL,
        quant: Quant | None = None,
        **options: Any,
    ) -> int:
        """An operator on operands that broadcast to `shape`, of few enough axes that every kernel takes them."""
        if len(shape) <= MOST_AXES:
            return self.op(builtin, operands, shape, dtype=dtype, quant=quant, **options)
        flat = (1, prod(shape))
        alike = [t if self._shapes[t] == (1,) else self.reshape(self.expand(t, shape), flat) for t in operands]
        return self.reshape(self.op(builtin, alike, flat, dtype=dtype, quant=quant, **options), shape)
