"""A step in blocks: constants, states and values split where units join, and its ops over the blocks there are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.compress.stored import Array
from edgekit.errors import UsageError
from edgekit.ir import OPS, Entry, Graph, Op, QuantParams, State, Tensor

Axes = tuple[Array | None, ...]  # of each axis, the width at which every index joins; None where all are in all widths
Place = tuple[int | None, ...]  # of each axis, the width that a block joins at; None for a whole axis

MOVES = ("reshape", "expand", "transpose", "slice", "gather", "windows", "pad")


@dataclass(frozen=True, eq=False)
class Unshared:
    """A graph in which every operand that is a constant is one of its own; `origin` names what it is a copy of."""

    graph: Graph
    origin: Mapping[str, str]


def unshared(graph: Graph) -> Unshared:
    """The step alone, its constants copied for each use: equal numbers do not tie the units of two layers together."""
    step, tensors, origin = graph.entries["step"], dict(graph.tensors), dict[str, str]()
    used = set[str]()
    ops = []
    for at, op in enumerate(step.ops):
        inputs = []
        for i, name in enumerate(op.inputs):
            own = name
            if tensors[name].is_const and name in used:
                own = f"{name}:{at}.{i}"
                tensors[own], origin[own] = dataclasses.replace(tensors[name], name=own), name
            used.add(name)
            inputs.append(own)
        ops.append(dataclasses.replace(op, inputs=tuple(inputs)))
    alone = graph.replace(tensors=tensors, entries={"step": dataclasses.replace(step, ops=tuple(ops))})
    return Unshared(alone, origin)


class Blocks:
    """Writes entries of a step over shared blocks; `tensors` is what they need so far.

    `percents` are the widths, ascending.
    """

    def __init__(self, apart: Unshared, axes: Mapping[str, Axes], percents: Sequence[int]):
        self.graph, self.origin, self.axes, self.percents = apart.graph, apart.origin, axes, percents
        self.step = self.graph.entries["step"]
        self.tensors: dict[str, Tensor] = {}
        self._zeros = _zeros(self.graph)
        self._roots = _chains(self.step)
        self._limit, self._prefix = 0, ""
        self._own: dict[tuple[str, int | None], str] = {}
        for state in self.graph.states:
            for at in self._all(state.tensor):
                self._declare(self._block_name(state.tensor, at), state.tensor, self._place(state.tensor, at))

    # --- what there is ---

    def states(self) -> tuple[State, ...]:
        """The states in blocks."""
        made = []
        for state in self.graph.states:
            for at in self._all(state.tensor):
                init = np.asarray(state.init)[self._where(state.tensor, self._place(state.tensor, at))]
                made.append(State(self._block_name(state.tensor, at), init, state.reset))
        return tuple(made)

    def copy(self, entry: Entry) -> None:
        """Take over the tensors of an entry that has no units."""
        for name in (*entry.inputs, *(n for op in entry.ops for n in (*op.inputs, *op.outputs))):
            self.tensors.setdefault(name, self.graph.tensors[name])

    def entry(self, name: str, limit: int, write: Callable[[Blocks, Op], None]) -> Entry:
        """The step with all that has joined at the width numbered `limit`; `write` writes one op of it."""
        full = limit == len(self.percents) - 1
        self._limit, self._prefix, self._ops = limit, "" if full else f"{name}.", list[Op]()
        self._own = {
            (s.tensor, at): self._block_name(s.tensor, at) for s in self.graph.states for at in self._all(s.tensor)
        }
        inputs = tuple(self._made(n, None) for n in self.step.inputs)
        for at, n in zip(inputs, self.step.inputs, strict=True):
            self._declare(at, n, (None,) * len(self.graph.tensors[n].shape))
        for op in self.step.ops:
            write(self, op)
        updates = {
            self._own[state, at]: self.block(value, at)
            for state, value in self.step.updates.items()
            for at in self.present(state)
        }
        outputs = tuple(self.block(n, None) for n in self.step.outputs)
        return Entry(name, inputs, outputs, tuple(self._ops), updates)

    def axis(self, name: str) -> int | None:
        """The axis along which a value is split; UsageError where there are several."""
        split = [axis for axis, joins in enumerate(self.axes[name]) if joins is not None]
        if len(split) > 1:
            raise refused(name, "it would be split along two axes at once")
        return split[0] if split else None

    def present(self, name: str) -> list[int | None]:
        """The blocks of a value at the width that is written; [None] where it is whole."""
        return [at for at in self._all(name) if at is None or at <= self._limit]

    def missing(self, name: str) -> list[int]:
        """The blocks of a value that the width lacks."""
        return [at for at in self._all(name) if at is not None and at > self._limit]

    def _all(self, name: str) -> list[int | None]:
        axis = self.axis(name)
        return [None] if axis is None else [int(at) for at in np.unique(self._joins(name, axis))]

    def _joins(self, name: str, axis: int) -> Array:
        joins = self.axes[name][axis]
        assert joins is not None
        return joins

    def indices(self, name: str, axis: int, at: int | None) -> Array:
        """Which indices of an axis a block has."""
        n = self.graph.tensors[name].shape[axis]
        return np.arange(n) if at is None else np.flatnonzero(self._joins(name, axis) == at)

    def _place(self, name: str, at: int | None) -> Place:
        axis = self.axis(name)
        return tuple(at if i == axis else None for i in range(len(self.graph.tensors[name].shape)))

    def _where(self, name: str, place: Place) -> tuple[Array, ...]:
        return np.ix_(*(self.indices(name, axis, at) for axis, at in enumerate(place)))

    # --- names and tensors ---

    def _label(self, name: str, place: Place) -> str:
        widths = [str(self.percents[at]) for at in place if at is not None]
        return f"{name}/{'x'.join(widths)}" if widths else name

    def _block_name(self, name: str, at: int | None) -> str:
        return self._label(name, (at,))

    def _made(self, name: str, at: int | None) -> str:
        """The name of a block that the entry makes or is given."""
        self._own[name, at] = f"{self._prefix}{self._block_name(name, at)}"
        return self._own[name, at]

    def _declare(self, own: str, name: str, place: Place, data: Array | None = None) -> str:
        tensor = self.graph.tensors[name]
        shape = tuple(len(self.indices(name, axis, at)) for axis, at in enumerate(place))
        quant = tensor.quant
        if quant is not None and quant.axis is not None and place[quant.axis] is not None:
            taken = self.indices(name, quant.axis, place[quant.axis])
            zero = quant.zero_point[taken]
            quant = QuantParams(quant.scale[taken], zero, quant.axis, quant.qmin, quant.qmax)
        self.tensors[own] = Tensor(own, shape, tensor.dtype, quant, data)
        return own

    def block(self, name: str, at: int | None) -> str:
        """The name of a block of a value or constant that is split along one axis at most."""
        if self.graph.tensors[name].is_const:
            return self.const(name, self._place(name, at))
        return self._own[name, at]

    def const(self, name: str, place: Place, added: Array | None = None) -> str:
        """A block of a constant; with `added` a variant of it for this width alone."""
        data = np.asarray(self.graph.tensors[name].data)[self._where(name, place)]
        own = self._label(self.origin.get(name, name), place)
        if added is not None:
            own, data = f"{self._prefix}{own}", (data + added).astype(data.dtype)
        while own in self.tensors and not np.array_equal(np.asarray(self.tensors[own].data), data):
            own += ":"  # another use, split elsewhere
        return own if own in self.tensors else self._declare(own, name, place, data)

    def number(self, name: str, at: int | None, what: str, data: Array) -> str:
        """A constant of this width alone for a block of a value, in its dtype."""
        own, dtype = f"{self._prefix}{self._block_name(name, at)}/{what}", self.graph.tensors[name].dtype
        self.tensors[own] = Tensor(own, data.shape, dtype, None, data.astype(dtype.numpy))
        return own

    def emit(self, op: Op, inputs: Sequence[str], at: int | None, *, part: str = "", **attrs: Any) -> str:
        """The op for one block of its result, or with a `part` a value on the way there."""
        name = op.outputs[0]
        own = f"{self._prefix}{self._block_name(name, at)}{part}" if part else self._made(name, at)
        kind = attrs.pop("kind", op.kind)
        given = {**op.attrs, **attrs} if kind == op.kind else attrs
        OPS[kind].check([self.tensors[n] for n in inputs], given)
        self._declare(own, name, self._place(name, at))
        self._ops.append(Op(kind, tuple(inputs), (own,), given, op.source))
        return own

    # --- sums ---

    def zero(self, name: str) -> int:
        """The integer that stands for 0 in a value."""
        return self._zeros.get(name, 0)

    def left_out(self, op: Op, at: int | None) -> Array | None:
        """What the units that the width lacks add to the sums of a chain whose first linear is `op`; None for nothing.

        They would hold the integers that stand for 0.
        """
        total = None
        for linear in self._roots.get(op.outputs[0], ()):
            x, w = linear.inputs[:2]
            if not self.zero(x):
                continue
            for column in self.missing(x):
                weights = np.asarray(self.graph.tensors[w].data)[self._where(w, (at, column))]
                part = self.zero(x) * weights.astype(np.int64).sum(axis=1)
                total = part if total is None else total + part
        return total


def _zeros(graph: Graph) -> dict[str, int]:
    """The integers that stand for 0 in values of an integer program, where those are not 0."""
    found = {
        name: int(tensor.quant.zero_point[0])
        for name, tensor in graph.tensors.items()
        if not tensor.is_const and tensor.quant is not None and tensor.quant.zero_point.any()
    }
    for op in graph.entries["step"].ops:
        if op.kind in MOVES and op.inputs[0] in found:
            found.setdefault(op.outputs[0], found[op.inputs[0]])
    return found


def _chains(step: Entry) -> dict[str, list[Op]]:
    """The linears that add to one accumulator, by the result of the first of them.

    The addend of that is no linear's, or something else reads it too.
    """
    read = Counter([*(n for op in step.ops for n in op.inputs), *step.outputs, *step.updates.values()])
    made = {op.outputs[0]: op for op in step.ops if op.kind == "linear"}
    joined = {name for name in made if read[name] == 1}
    found: dict[str, list[Op]] = {}
    for op in made.values():
        first = op
        while len(first.inputs) > 2 and first.inputs[2] in joined:
            first = made[first.inputs[2]]
        found.setdefault(first.outputs[0], []).append(op)
    return found


def refused(name: str, why: str) -> UsageError:
    """The error for units that cannot be split."""
    return UsageError(f"units of {name}", f"cannot be nested: {why}", "nest others")
