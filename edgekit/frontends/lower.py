"""From an exported step to a graph: constants are folded, every other call goes through one row of `aten.ROWS`.

A value is `Known` (a tensor fixed at import), `Live` (a tensor of the graph), `Extent` (the batch size) or a plain
Python value. A call that has no row, or whose row refuses it, is noted; all of them are reported at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import map_aggregate, map_arg

from edgekit.errors import GraphError, UnsupportedError
from edgekit.frontends.discover import Discovered
from edgekit.frontends.export import Exported
from edgekit.frontends.step import printable
from edgekit.ir import FLOAT32, SPIKE, DType, Entry, Graph, GraphBuilder, verify
from edgekit.ir.graph import Shape


@dataclass(frozen=True)
class Live:
    """A value computed at run time, by its name in the graph."""

    name: str


@dataclass(frozen=True, eq=False)
class Known:
    """A value fixed at import. A `batched` one has a first axis of length one that stands for the batch."""

    tensor: Tensor
    hint: str
    batched: bool = False


class Extent(int):
    """A size that follows the batch, as it is for a batch of one: good for shapes, not for arithmetic on values."""


@dataclass(frozen=True)
class Lost:
    """A value that cannot be lowered; only a reader that matters reports it."""

    reason: str
    reported: bool = False


class Refuse(Exception):  # noqa: N818  (control flow inside the lowering, never seen by a user)
    """A row cannot lower its call: the cause, and what to write instead."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause, self.remedy = cause, remedy


@dataclass(frozen=True)
class Call:
    """One ATen call: its arguments by name, and shape and dtype of its (first) result without the batch."""

    name: str
    args: Mapping[str, Any]
    shape: Shape
    dtype: torch.dtype

    def __getitem__(self, argument: str) -> Any:
        return self.args[argument]

    @property
    def rank(self) -> int:
        """Rank of the result, batch included, as torch counts it."""
        return len(self.shape) + 1


Row = Callable[["Lowering", Call], Any]

DTYPES: dict[torch.dtype, DType] = {torch.float32: FLOAT32, torch.bool: SPIKE}
# Calls whose result depends on the batch size through its shape alone.
SHAPED = {
    f"aten::{n}"
    for n in (
        *("full", "zeros", "ones", "empty", "new_full", "new_zeros", "new_ones", "new_empty", "expand", "view"),
        *("reshape", "_unsafe_view", "repeat"),
    )
}
BATCH_REMEDY = "keep axis 0 for the batch and work on the other axes"


def key_of(target: object) -> str:
    """`aten::add` of an operator overload; other callables by their name."""
    return target._schema.name if isinstance(target, OpOverload) else getattr(target, "__name__", str(target))


class Lowering:
    """The graph under construction, with helpers for the rows."""

    def __init__(self, name: str, dt: float | None, rows: Mapping[str, Row]) -> None:
        self.builder = GraphBuilder(name, dt)
        self.rows = rows
        self.faults: list[str] = []
        self.source = ""
        self._values: dict[fx.Node, Any] = {}
        self._made: dict[Any, str] = {}
        self._producers: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._leaving: dict[str, str] = {}
        self._batch: object = None

    # --- for the rows -------------------------------------------------------------------------------------------------

    def emit(self, kind: str, *inputs: Any, **attrs: Any) -> Live:
        """Add an op; inputs are Live, Known or numbers. The same op on the same inputs is added once."""
        names = tuple(self.name(value) for value in inputs)
        key = (kind, names, tuple(sorted(attrs.items())))
        if key not in self._made:
            self._made[key] = self.builder.op(kind, *names, source=self.source, **attrs)
            self._producers[self._made[key]] = (kind, names)
        return Live(self._made[key])

    def name(self, value: Any) -> str:
        """The graph tensor of a value; Known ones and numbers become constants."""
        if isinstance(value, Live):
            return value.name
        if isinstance(value, Extent):
            raise Refuse("computes with the batch size", BATCH_REMEDY)
        if isinstance(value, (bool, int, float)):
            value = Known(torch.tensor(float(value)), f"const.{np.float32(value)!s}")
        if not isinstance(value, Known):
            raise Refuse(f"takes {type(value).__name__}, not a tensor")
        tensor = value.tensor
        if tensor.dtype is not torch.bool:
            tensor = tensor.float()
        array = tensor.numpy()[0] if value.batched else tensor.numpy()
        dtype = DTYPES[tensor.dtype]
        key = (value.hint, dtype.name, array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = self.builder.const(self.builder.fresh(value.hint), array, dtype)
        return self._made[key]

    def operand(self, value: Any, rank: int) -> Any:
        """A value as operand of an op whose result has `rank` axes in torch, batch included.

        A constant that spans the batch axis must be of length one there.
        """
        if isinstance(value, Known) and not value.batched and value.tensor.ndim == rank:
            if value.tensor.shape[0] != 1:
                raise Refuse("combines each sample of the batch with another constant", BATCH_REMEDY)
            return Known(value.tensor[0], value.hint)
        if isinstance(value, Live) and len(self.shape(value)) + 1 < rank:
            raise Refuse("aligns the batch axis with another axis", BATCH_REMEDY)
        return value

    def shape(self, value: Live) -> Shape:
        """Shape of a live value, without the batch."""
        return self.builder.tensor(value.name).shape

    def dtype(self, value: Live) -> DType:
        return self.builder.tensor(value.name).dtype

    def producer(self, value: Any) -> tuple[str, tuple[str, ...]]:
        """(kind, inputs) of the op that made a value; ('', ()) for inputs, states and constants."""
        return self._producers.get(value.name, ("", ())) if isinstance(value, Live) else ("", ())

    def real(self, value: Any) -> Any:
        """A value as float32: spikes become 0.0 and 1.0."""
        if isinstance(value, Live):
            return self.emit("cast", value, to="float32") if self.dtype(value) is SPIKE else value
        if isinstance(value, Known) and value.tensor.dtype is torch.bool:
            return Known(value.tensor.float(), value.hint, value.batched)
        return value

    def spike(self, value: Any) -> Any:
        """A value as spikes: whatever is not zero."""
        if isinstance(value, Live):
            return self.emit("cast", value, to="spike") if self.dtype(value) is FLOAT32 else value
        if isinstance(value, Known):
            return Known(value.tensor.bool(), value.hint, value.batched)
        return Known(torch.tensor(bool(value)), "const.true" if value else "const.false")

    def spread(self, value: Any, shape: Shape, dtype: torch.dtype) -> Live | Known:
        """A value broadcast to a shape (without batch) and cast to a dtype."""
        value = self.real(value) if dtype is torch.float32 else self.spike(value)
        if isinstance(value, Live):
            return value if self.shape(value) == shape else self.emit("expand", value, shape=shape)
        if not isinstance(value, Known):
            value = Known(torch.tensor(float(value)), f"const.{np.float32(value)!s}")
        tensor = value.tensor[0] if value.batched or value.tensor.ndim > len(shape) else value.tensor
        return Known(tensor.expand(shape).contiguous(), value.hint)

    # --- the walk -----------------------------------------------------------------------------------------------------

    def run(self, exported: Exported, found: Discovered) -> Graph:
        """Lower a whole step; UnsupportedError lists everything that cannot be lowered."""
        self._batch = exported.inputs[0].meta["val"].shape[0].node.expr
        for node, name in zip(exported.inputs, found.inputs, strict=True):
            self._values[node] = Live(self.builder.input(name, self._per_sample(node)))
        for node, name, init in zip(exported.states, found.states, found.initial, strict=True):
            dtype = DTYPES.get(init.dtype)
            if dtype is None:
                kind = str(init.dtype).removeprefix("torch.")
                self._values[node] = Lost(f"state {name} is {kind}; a state that matters must be float32 or bool")
            else:
                self._values[node] = Live(self.builder.state(self.builder.fresh(name), init.numpy(), dtype))
        for node in exported.nodes:
            if node.op == "placeholder" and node not in self._values:
                hint, tensor = exported.constants[node.name]
                self._values[node] = Known(tensor, printable(hint))
            elif node.op == "call_function" and node.users:
                self._values[node] = self._call(node)
        states = dict(zip(exported.states, exported.next_states, strict=True))
        for node, result in states.items():
            self._update(node, self._values.get(result) if isinstance(result, fx.Node) else result)
        for result, name in zip(exported.outputs, found.outputs, strict=True):
            self._output(result, name)
        if self.faults:
            count = len(self.faults)
            raise UnsupportedError(
                found.subject.thing,
                f"{count} operation{'s' if count > 1 else ''} cannot be lowered",
                items=self.faults,
            )
        return _renamed(self.builder.build(), self._leaving)

    def _update(self, node: fx.Node, value: Any) -> None:
        state = self._values[node]
        if isinstance(state, Lost):
            return  # nothing that matters has read it: readers of a lost value are lost, and reported where they leave
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"state {state.name}: {value.reason}")
            return
        tensor = self.builder.tensor(state.name)
        dtype = torch.bool if tensor.dtype is SPIKE else torch.float32
        self.builder.update(state.name, self.name(self.spread(value, tensor.shape, dtype)))

    def _output(self, result: object, name: str) -> None:
        value = self._values.get(result) if isinstance(result, fx.Node) else None
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"output {name}: {value.reason}")
            return
        if not isinstance(value, (Live, Known)):
            self.faults.append(f"output {name}: is not a tensor")
            return
        self.source = ""
        kind, inputs = self.producer(value)
        if kind == "cast" and self.dtype(Live(inputs[0])) is SPIKE:
            value = Live(inputs[0])  # spikes leave as spikes; the program writes them as 0.0 and 1.0
        if isinstance(value, Known):
            source, shape = self.name(value), tuple(value.tensor.shape[int(value.batched) :])
        else:
            source, shape = value.name, self.shape(value)
        if source in self._leaving or not self._producers.get(source):
            source = self.builder.op("reshape", source, shape=shape)  # a tensor of its own, to carry its name
        self._leaving[source] = self.builder.fresh(name)
        self.builder.output(source)

    def _per_sample(self, node: fx.Node) -> Shape:
        return tuple(int(n) for n in node.meta["val"].shape[1:])

    def _call(self, node: fx.Node) -> Any:
        """The value of a call; faults are noted and give a Lost value."""
        args: Any = map_arg((node.args, node.kwargs), lambda n: self._values[n])
        lost = next((v for v in _flat(args) if isinstance(v, Lost)), None)
        key = key_of(node.target)
        self.source = _module_path(node)
        try:
            if key == "getitem":
                container, at = args[0]
                return container if isinstance(container, Lost) else container[at]
            if lost is not None and key != "aten::sym_size":
                return lost
            if not isinstance(node.target, OpOverload):
                return _sized(node.target, args)
            if key == "aten::sym_size":
                return self._size(node)
            live = any(isinstance(v, Live) for v in _flat(args))
            if live and key in self.rows:
                return self._checked(node, self.rows[key](self, self._named(node, node.target, args)))
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise Refuse("draws random numbers", "remove the noise for inference")
            if live:
                raise Refuse("has no row in the lowering table", REMEDIES.get(key, ""))
            return self._folded(node, node.target, args)
        except Refuse as refusal:
            self._note(key, refusal.cause, refusal.remedy)
        except GraphError as error:
            self._note(key, error.cause, error.remedy)
        return Lost("", reported=True)

    def _note(self, key: str, cause: str, remedy: str) -> None:
        where = f" in {self.source}" if self.source else ""
        fault = f"{key.replace('aten::', 'aten.')}{where}: {cause}" + (f"; {remedy}" if remedy else "")
        if fault not in self.faults:
            self.faults.append(fault)

    def _size(self, node: fx.Node) -> Any:
        size = node.meta["val"]
        return Extent(1) if isinstance(size, torch.SymInt) else int(size)

    def _named(self, node: fx.Node, target: OpOverload, args: Any) -> Call:
        named = {}
        for at, argument in enumerate(target._schema.arguments):
            if at < len(args[0]):
                named[argument.name] = args[0][at]
            elif argument.name in args[1]:
                named[argument.name] = args[1][argument.name]
            else:
                named[argument.name] = argument.default_value if argument.has_default_value() else None
        value = node.meta["val"]
        first = next((v for v in value if isinstance(v, Tensor)), None) if isinstance(value, (tuple, list)) else value
        if not isinstance(first, Tensor):
            raise Refuse("gives no tensor")
        self._check_batch(first)
        return Call(key_of(target), named, tuple(int(n) for n in first.shape[1:]), first.dtype)

    def _check_batch(self, value: Tensor) -> None:
        axes: list[Any] = list(value.shape)
        first = axes[0].node.expr if axes and isinstance(axes[0], torch.SymInt) else None
        if first != self._batch or any(isinstance(n, torch.SymInt) for n in axes[1:]):
            raise Refuse("sums over, moves or reshapes the batch axis", BATCH_REMEDY)

    def _checked(self, node: fx.Node, value: Any) -> Any:
        """The row's result, if its shape and dtype are those that torch gives."""
        expected = node.meta["val"]
        pairs = zip(expected, value, strict=False) if isinstance(value, (tuple, list)) else [(expected, value)]
        for meta, got in pairs:
            if not isinstance(got, Live):
                continue
            self._check_batch(meta)
            if meta.dtype not in DTYPES:
                kind = str(meta.dtype).removeprefix("torch.")
                raise Refuse(f"gives {kind}", "compute in float32, with comparisons as bool")
            tensor, shape = self.builder.tensor(got.name), tuple(int(n) for n in meta.shape[1:])
            if tensor.shape != shape or tensor.dtype is not DTYPES[meta.dtype]:
                raise Refuse(f"gives {tensor.dtype}{tensor.shape} where torch gives {DTYPES[meta.dtype]}{shape}")
        return value

    def _folded(self, node: fx.Node, target: OpOverload, args: Any) -> Any:
        """A call on constants, evaluated now by torch itself."""
        if any(isinstance(v, Extent) for v in _flat(args)) and key_of(target) not in SHAPED:
            raise Refuse("makes values from the batch size", BATCH_REMEDY)
        known = [v for v in _flat(args) if isinstance(v, Known)]
        hint = known[0].hint if known else self.source or "const"
        plain: Any = map_aggregate(args, lambda v: v.tensor if isinstance(v, Known) else v)
        result, expected = target(*plain[0], **plain[1]), node.meta["val"]
        if not isinstance(result, (tuple, list)):
            return _known(result, expected, hint)
        return [_known(r, e, hint) for r, e in zip(result, expected, strict=True)]


REMEDIES = {
    "aten::convolution": "convolutions are not supported; use linear layers on a flattened window",
    "aten::max_pool2d_with_indices": "pooling is not supported; use linear layers on a flattened window",
    "aten::avg_pool2d": "pooling is not supported; use linear layers on a flattened window",
    "aten::erf": "use GELU(approximate='tanh')",
    "aten::argmax": "return the scores; the decision is part of the io section",
    "aten::embedding": "feed the embedded vector",
    "aten::bmm": "only one operand of a product may change at run time",
    "aten::cumsum": "carry the sum as a state",
    "aten::topk": "return the scores and choose outside the model",
    "aten::sort": "return the scores and choose outside the model",
}


def _flat(args: Any) -> list[Any]:
    """Every leaf of nested arguments."""
    if isinstance(args, (tuple, list)):
        return [leaf for item in args for leaf in _flat(item)]
    if isinstance(args, dict):
        return [leaf for item in args.values() for leaf in _flat(item)]
    return [args]


def _sized(function: object, args: Any) -> Any:
    """Arithmetic on sizes, which torch writes with Python's operators; what came from the batch follows the batch."""
    if not isinstance(function, BuiltinFunctionType):
        raise Refuse("is not an operator", "write the step without control flow on tensors")
    value = function(*args[0], **args[1])
    return Extent(value) if type(value) is int and any(isinstance(v, Extent) for v in _flat(args)) else value


def _known(value: Any, expected: Any, hint: str) -> Any:
    if not isinstance(value, Tensor):
        return value
    moving = [at for at, n in enumerate(expected.shape) if isinstance(n, torch.SymInt)]
    if moving not in ([], [0]):
        raise Refuse("moves the batch axis", BATCH_REMEDY)
    return Known(value.detach(), hint, batched=bool(moving))


def _module_path(node: fx.Node) -> str:
    """The dotted path of the innermost submodule that made a call."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(stack.values()))[0]) if stack else ""
    return path.removeprefix("module").removeprefix(".")


def _renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The same graph with some tensors under other names."""

    def new(tensors: Iterable[str]) -> tuple[str, ...]:
        return tuple(names.get(n, n) for n in tensors)

    entries = [
        Entry(
            entry.name,
            new(entry.inputs),
            new(entry.outputs),
            tuple(dataclasses.replace(op, inputs=new(op.inputs), outputs=new(op.outputs)) for op in entry.ops),
            {state: names.get(value, value) for state, value in entry.updates.items()},
        )
        for entry in graph.entries.values()
    ]
    tensors = {names.get(n, n): dataclasses.replace(t, name=names.get(n, n)) for n, t in graph.tensors.items()}
    return verify(graph.replace(tensors=tensors).with_entries(*entries))
