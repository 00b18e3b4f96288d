"""From a traced step to a graph: constants are known already, every other call goes through one row of `aten.ROWS`.

A value is `Known` (a tensor fixed at import), `Live` (a tensor of the graph), `Extent` (a number that follows the batch
size) or a plain Python value. A call that has no row, or whose row refuses it, is noted; all are reported at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from edgekit.errors import GraphError, UnsupportedError
from edgekit.frontends.discover import Discovered
from edgekit.frontends.step import printable
from edgekit.frontends.trace import Extent, Meta, Record, Ref, Shape, Traced
from edgekit.ir import FLOAT32, SPIKE, DType, Entry, Graph, GraphBuilder, verify


@dataclass(frozen=True)
class Live:
    """A value computed at run time, by its name in the graph; `merged` where axis 0 is the batch times another axis."""

    name: str
    merged: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """A value fixed at import; torch sees a `batched` one once for each sample, here it is that of one sample."""

    tensor: Tensor
    hint: str
    batched: bool = False


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
BATCH_REMEDY = "keep axis 0 for the batch and work on the other axes"


def key_of(target: OpOverload) -> str:
    """`aten::add` of an operator overload, and of its in-place form: the trace has made values of what that writes."""
    name: str = target._schema.name
    return name.removesuffix("_") if target._schema.is_mutable else name


class Lowering:
    """The graph under construction, with helpers for the rows."""

    def __init__(self, name: str, dt: float | None, rows: Mapping[str, Row]) -> None:
        self.builder = GraphBuilder(name, dt)
        self.rows = rows
        self.faults: list[str] = []
        self.source = ""
        self._values: dict[Ref, Any] = {}
        self._made: dict[Any, str] = {}
        self._producers: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._leaving: dict[str, str] = {}

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
        if isinstance(value, (bool, int, float)):
            value = Known(torch.tensor(float(value)), f"const.{np.float32(value)!s}")
        if not isinstance(value, Known):
            raise Refuse(f"takes {type(value).__name__}, not a tensor")
        tensor = value.tensor
        if tensor.dtype is not torch.bool:
            tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise Refuse("takes a constant with NaN or Inf in it", "use a large finite number")
        array = tensor.numpy()
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
        tensor = value.tensor[0] if value.tensor.ndim > len(shape) else value.tensor
        return Known(tensor.expand(shape).contiguous(), value.hint)

    # --- the walk -----------------------------------------------------------------------------------------------------

    def run(self, traced: Traced, found: Discovered) -> Graph:
        """Lower a whole step; UnsupportedError lists everything that cannot be lowered."""
        for ref, name in zip(traced.inputs, found.inputs, strict=True):
            self._values[ref] = Live(self.builder.input(name, traced.values[ref].shape))
        for ref, name, init in zip(traced.states, found.states, found.initial, strict=True):
            dtype = DTYPES.get(init.dtype)
            if dtype is None:
                kind = str(init.dtype).removeprefix("torch.")
                self._values[ref] = Lost(f"state {name} is {kind}; a state that matters must be float32 or bool")
            else:
                self._values[ref] = Live(self.builder.state(self.builder.fresh(name), init.numpy(), dtype))
        for call in traced.calls:
            self._call(call, traced.values)
        for state, result in zip(traced.states, traced.next_states, strict=True):
            self._update(self._values[state], self._value(result, traced.values))
        for result, name in zip(traced.outputs, found.outputs, strict=True):
            self._output(self._value(result, traced.values), name)
        if self.faults:
            count = len(self.faults)
            raise UnsupportedError(
                found.subject.thing,
                f"{count} operation{'s' if count > 1 else ''} cannot be lowered",
                items=self.faults,
            )
        return _renamed(self.builder.build(), self._leaving)

    def _value(self, item: Any, values: Mapping[Ref, Meta]) -> Any:
        """What an argument of a traced call is here."""
        if isinstance(item, tuple):
            return tuple(self._value(part, values) for part in item)
        if not isinstance(item, Ref) or item in self._values:
            return self._values[item] if isinstance(item, Ref) else item
        meta = values[item]
        if meta.constant is None:
            return Lost("", reported=True)
        if meta.lead < 0:
            return Lost("a constant depends on the size of the batch")
        return Known(meta.constant, printable(meta.hint or "const"), batched=meta.lead > 0)

    def _update(self, state: Any, value: Any) -> None:
        if isinstance(state, Lost):
            return  # nothing that matters has read it: readers of a lost value are lost, and reported where they leave
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"state {state.name}: {value.reason}")
            return
        tensor = self.builder.tensor(state.name)
        dtype = torch.bool if tensor.dtype is SPIKE else torch.float32
        self.builder.update(state.name, self.name(self.spread(value, tensor.shape, dtype)))

    def _output(self, value: Any, name: str) -> None:
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"output {name}: {value.reason}")
            return
        self.source = ""
        kind, inputs = self.producer(value)
        if kind == "cast" and self.dtype(Live(inputs[0])) is SPIKE:
            value = Live(inputs[0])  # spikes leave as spikes; the program writes them as 0.0 and 1.0
        source = self.name(value)
        if source in self._leaving or source not in self._producers:
            shape = self.builder.tensor(source).shape
            source = self.builder.op("reshape", source, shape=shape)  # a tensor of its own, to carry its name
        self._leaving[source] = self.builder.fresh(name)
        self.builder.output(source)

    def _call(self, record: Record, values: Mapping[Ref, Meta]) -> None:
        """Give the results of a call their values; faults are noted and give Lost ones."""
        metas = [values[ref] for ref in record.results]
        if not record.fault and metas and all(meta.constant is not None for meta in metas):
            return
        key = key_of(record.target)
        self.source = record.source
        args = {name: self._value(item, values) for name, item in _named(record).items()}
        lost = next((v for v in _flat(args) if isinstance(v, Lost)), None)
        results: Any = lost
        if record.fault or lost is None:
            try:
                results = self._lowered(key, args, metas, record.fault)
            except Refuse as refusal:
                results = self._note(record, refusal.cause, refusal.remedy)
            except GraphError as error:
                results = self._note(record, error.cause, error.remedy)
        if isinstance(results, Lost):
            results = [results] * len(metas)
        self._values.update(zip(record.results, results, strict=True))

    def _lowered(self, key: str, args: Mapping[str, Any], metas: list[Meta], fault: str) -> list[Any]:
        """The values that the row of a call gives, checked against what torch gave."""
        if fault:
            raise Refuse(fault)
        if key not in self.rows:
            raise Refuse("has no row in the lowering table")
        if any(isinstance(value, Extent) for value in args.values()):  # inside a list it is a size, and harmless
            raise Refuse("computes with the batch size", BATCH_REMEDY)
        merges = metas[0].lead > 1 or any(isinstance(v, Live) and v.merged for v in _flat(args))
        if metas[0].lead < 1 or (merges and key not in MERGING):
            raise Refuse("sums over, moves or reshapes the batch axis", BATCH_REMEDY)
        given = self.rows[key](self, Call(key, args, metas[0].shape, metas[0].dtype))
        results = list(given) if isinstance(given, (tuple, list)) else [given]
        return [self._checked(value, meta) for value, meta in zip(results, metas, strict=True)]

    def _checked(self, value: Any, meta: Meta) -> Any:
        """A row's result, if shape and dtype are those that torch gives."""
        if not isinstance(value, Live):
            return value
        if meta.dtype not in DTYPES:
            kind = str(meta.dtype).removeprefix("torch.")
            raise Refuse(f"gives {kind}", "compute in float32, with comparisons as bool")
        tensor, dtype = self.builder.tensor(value.name), DTYPES[meta.dtype]
        if tensor.shape != meta.shape or tensor.dtype is not dtype:
            raise Refuse(f"gives {tensor.dtype}{tensor.shape} where torch gives {dtype}{meta.shape}")
        return Live(value.name, merged=meta.lead > 1)

    def _note(self, record: Record, cause: str, remedy: str) -> Lost:
        key, part = key_of(record.target), record.part_of
        name = f"{key}, part of {part}" if part and key.startswith("aten::") else part or key
        where = f" in {record.source}" if record.source else ""
        remedy = remedy or REMEDIES.get(part or key, "")
        fault = (f"{name}{where}: {cause}" + (f"; {remedy}" if remedy else "")).replace("aten::", "aten.")
        if fault not in self.faults:
            self.faults.append(fault)
        return Lost("", reported=True)


# torch flattens [batch, k, n] to [batch·k, n] around a matrix product: the calls that may see that.
MERGING = frozenset(f"aten::{n}" for n in ("view", "_unsafe_view", "clone", "mm", "addmm", "mv"))

REMEDIES = {
    "aten::convolution": "convolutions are not supported; use linear layers on a flattened window",
    "aten::max_pool2d_with_indices": "pooling is not supported; use linear layers on a flattened window",
    "aten::avg_pool2d": "pooling is not supported; use linear layers on a flattened window",
    "aten::erf": "use GELU(approximate='tanh')",
    "aten::argmax": "return the scores; the decision is part of the io section",
    "aten::embedding": "feed the embedded vector",
    "aten::cumprod": "sum logarithms",
    "aten::topk": "return the scores and choose outside the model",
    "aten::sort": "return the scores and choose outside the model",
}


def _flat(args: Any) -> list[Any]:
    """Every leaf of nested arguments."""
    if isinstance(args, tuple):
        return [leaf for item in args for leaf in _flat(item)]
    if isinstance(args, Mapping):
        return [leaf for item in args.values() for leaf in _flat(item)]
    return [args]


def _named(record: Record) -> dict[str, Any]:
    """The arguments of a call by name, defaults filled in."""
    named = {}
    for at, argument in enumerate(record.target._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        default = tuple(default) if isinstance(default, list) else default
        named[argument.name] = record.args[at] if at < len(record.args) else record.kwargs.get(argument.name, default)
    return named


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
