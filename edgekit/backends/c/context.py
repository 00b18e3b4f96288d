"""What every part of the emitter needs: the graph, where its values lie, and the constants written so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgekit.backends.c.coding import Coding
from edgekit.backends.c.data import PAD_I8, Array, c_array, pack_dot, pack_panels, padded, spike_words
from edgekit.backends.c.layout import Layout
from edgekit.backends.c.program import Constant
from edgekit.backends.c.select import kernel_of
from edgekit.backends.c.sharing import Functions
from edgekit.backends.c.ticks import Ticks
from edgekit.errors import GraphError
from edgekit.ir import FLOAT32, SPIKE, Entry, Graph, Op, Plan, Tensor
from edgekit.ir.plan import ALIGN


@dataclass
class Constants:
    """The constant arrays of a program; equal ones are written once, whatever they are for.

    With `coding`, those of integers are entropy-coded where that saves something; `nbytes` counts them so.
    """

    prefix: str
    align: int = ALIGN
    coding: Coding | None = None
    nbytes: int = 0
    arrays: dict[str, Constant] = field(default_factory=dict)
    _names: dict[tuple[str, bytes], str] = field(default_factory=dict)
    _texts: list[str] = field(default_factory=list)
    _decoded: dict[str, str] = field(default_factory=dict)

    def add(self, key: tuple[str, ...], ctype: str, make: Callable[[], Array]) -> str:
        """The C expression of an array of what `make` gives; `key` says in a comment what it is."""
        values = make()
        same = (ctype, values.tobytes())  # what it is for does not tell two arrays apart: their numbers do
        if same not in self._names:
            self._names[same] = name = f"{self.prefix}_c{len(self._names)}"
            text, nbytes = c_array(ctype, name, values, self.align), values.nbytes
            if self.coding is not None and (made := self.coding.take(name, ctype, values)) is not None:
                text, self._decoded[name], nbytes = made
            self.nbytes += nbytes
            self.arrays[name] = Constant(name, (), nbytes)
            self._texts.append(f"/* {comment(' '.join(key))} */\n{text}")
        known = self.arrays[self._names[same]]
        if key not in known.uses:
            self.arrays[known.symbol] = replace(known, uses=(*known.uses, key))
        return self._decoded.get(known.symbol, known.symbol)

    def text(self) -> str:
        """All arrays as C."""
        return "\n".join(self._texts)


@dataclass(frozen=True)
class Context:
    """One emission: `prefix` is `ek_<name>`, `pad` what outputs of a float linear are padded to.

    int8 weights of a dense linear with at least `dot` inputs (0: of none) are packed for integer dot products.
    """

    graph: Graph
    plan: Plan
    layout: Layout
    prefix: str
    pad: int
    dot: int
    consts: Constants
    ticks: Ticks = field(default_factory=Ticks)
    functions: Functions = field(default_factory=Functions)

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def pointer(self, entry: Entry, name: str) -> str:
        """The C expression of a value's first element; a constant becomes a padded array."""
        place = self.plan.buffers[entry.name][name]
        if place.space == "const":
            return self.whole(entry, name, self.tensor(name).shape)
        if place.space == "state":
            return f"m->{self.layout.states[place.root].name}"
        offset = self.layout.inputs[entry.name][place.root] if place.space == "input" else place.offset
        where = f"m->{place.space} + {offset // 4}" if offset else f"m->{place.space}"
        return f"(uint32_t *)({where})" if self.tensor(name).dtype is SPIKE else where

    def root(self, entry: Entry, name: str) -> str:
        """The value that `name` is a view of, or itself."""
        return self.layout.views[entry.name].get(name, name)

    def const(self, entry: Entry, name: str) -> Array | None:
        """The data of a constant, or of a view of one; None for what is computed."""
        data = self.tensor(self.root(entry, name)).data
        return None if data is None else data.reshape(self.tensor(name).shape)

    def whole(self, entry: Entry, name: str, shape: Sequence[int]) -> str:
        """A constant broadcast to a shape, row-major, padded to whole vectors."""
        data, key = self.const(entry, name), (name, f"as {list(shape)}")
        if data is None:
            raise GraphError(f"tensor {name!r}", "is not a constant")
        if data.dtype == np.bool_:
            return self.consts.add(key, "uint32_t", lambda: spike_words(np.broadcast_to(data, shape)))
        return self.consts.add(key, "float", lambda: padded(np.broadcast_to(data, shape)))

    def data(self, name: str) -> Array:
        """The data of a constant; GraphError for anything else."""
        data = self.tensor(name).data
        if data is None:
            raise GraphError(f"tensor {name!r}", "is not a constant")
        return data

    def kernel(self, op: Op) -> str:
        """The kernel that runs an op in this program; a reshape needs none and gives ''."""
        kernel = kernel_of(self.graph, op)
        if kernel != "linear_dense_i8" or not 0 < self.dot <= self.tensor(op.inputs[0]).shape[-1]:
            return kernel
        return "linear_dot_i8"

    def packed_for_dot(self, w: str) -> str:
        """The C arguments of int8 weights packed for dot products: the weights and the scale of each output."""
        data = self.data(w)
        return f"{self.consts.add((w, 'for dot products'), 'int8_t', lambda: pack_dot(data))}, {self.scales(w)}"

    def packed(self, w: str) -> str:
        """The C arguments of packed weights: the panels, and for int8 the scale of each output."""
        tensor, data = self.tensor(w), self.data(w)
        if tensor.dtype is FLOAT32:
            return self.consts.add((w, "panels"), "float", lambda: pack_panels(data, self.pad))
        panels = self.consts.add((w, "panels"), "int8_t", lambda: pack_panels(data, PAD_I8))
        return f"{panels}, {self.scales(w)}"

    def scales(self, w: str) -> str:
        """The scale of each output of int8 weights."""
        tensor = self.tensor(w)
        if tensor.quant is None:
            raise GraphError(f"weights {w!r}", "are int8 without scales")
        scale = np.broadcast_to(tensor.quant.scale, tensor.shape[0])
        return self.consts.add((w, "scales"), "float", lambda: padded(scale))


def comment(text: str) -> str:
    """Text that cannot end the C comment it stands in."""
    return "".join(c if c.isprintable() else " " for c in text).replace("*/", "* /").replace("/*", "/ *")


def suffix(tensor: Tensor) -> str:
    """The ending of the kernels that handle values of this dtype."""
    return "spike" if tensor.dtype is SPIKE else "f32"


def function(head: str, *lines: str) -> str:
    """A C function from its head and its lines."""
    return f"{head} {{\n{''.join(f'    {line}{chr(10)}' for line in lines)}}}\n"
