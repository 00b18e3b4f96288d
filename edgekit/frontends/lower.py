"""From a traced step to a graph: constants are known already, every other call goes through one row of `aten.ROWS`.

A value is `Known` (fixed at import), `Live` (a tensor of the graph) or a plain Python value. A call that has no row, or
whose row refuses it, is noted; all are reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgekit.errors import GraphError, UnsupportedError
from edgekit.frontends.discover import Discovered
from edgekit.frontends.emitter import LARGEST, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.record import Record, Ref, Shape, Value
from edgekit.frontends.trace import Traced
from edgekit.ir import FLOAT32, SPIKE, DType, Graph, verify
from edgekit.passes.rename import renamed


@dataclass(frozen=True)
class Complex:
    """A complex value: two real ones of the same shape."""

    re: Operand
    im: Operand


@dataclass(frozen=True)
class Lost:
    """A value that cannot be lowered; only a reader that matters reports it."""

    reason: str
    reported: bool = False


@dataclass(frozen=True)
class Call:
    """One ATen call: its arguments by name, and shape and dtype of its (first) result."""

    name: str
    args: Mapping[str, Any]
    shape: Shape
    dtype: torch.dtype

    def __getitem__(self, argument: str) -> Any:
        return self.args[argument]

    @property
    def rank(self) -> int:
        """Rank of the result."""
        return len(self.shape)


Row = Callable[["Lowering", Call], Any]
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Whole numbers are carried as float32, which is exact up to 2^24; the replay tells where that is not enough."""

NARROW = (torch.int16, torch.int8, torch.uint8)
WRAPPING = frozenset(f"aten::{n}" for n in ("add", "sub", "rsub", "mul", "neg", "sum", "cumsum", "pow", "abs"))
"""What leaves the range of a narrow integer, where torch wraps around and float32 does not."""

DTYPES: dict[torch.dtype, DType] = {torch.bool: SPIKE, **dict.fromkeys((torch.float32, torch.float64, *WHOLE), FLOAT32)}


State = Live | tuple[Live, ...] | None
"""A state of the graph, both parts of a complex one, or None where the graph cannot hold it."""


def complex_parts(name: str, value: torch.Tensor) -> tuple[tuple[str, torch.Tensor], tuple[str, torch.Tensor]]:
    """The parts of a complex tensor under their names in the graph."""
    return (f"{name}.real", value.real.contiguous()), (f"{name}.imag", value.imag.contiguous())


class Lowering(Emitter):
    """The graph of a traced step under construction."""

    def __init__(
        self, name: str, dt: float | None, rows: Mapping[str, Row], complex_rows: Mapping[str, Row] | None = None
    ) -> None:
        super().__init__(name, dt)
        self.rows, self.complex_rows = rows, complex_rows or {}
        self.faults: list[str] = []
        self._values: dict[Ref, Any] = {}
        self._whole: set[str] = set()
        self._leaving: dict[str, str] = {}

    def run(self, traced: Traced, found: Discovered) -> Graph:
        """Lower a whole step; UnsupportedError lists everything that cannot be lowered."""
        values = traced.values
        for ref, name in zip(traced.inputs, found.inputs, strict=True):
            shape = _without(values[ref].shape, found.axes.inputs)
            self._values[ref] = self.reshape(Live(self.builder.input(name, shape)), values[ref].shape)
        states = [
            self._enter_state(*row, values) for row in zip(traced.states, found.states, found.initial, strict=True)
        ]
        for call in traced.calls:
            self._call(call, values)
        for state, result in zip(states, traced.next_states, strict=True):
            self._leave_state(state, self._value(result, values))
        for result, name, axis in zip(traced.outputs, found.outputs, found.axes.outputs, strict=True):
            self._output(self._value(result, values), name, _without(values[result].shape, axis))
        if self.faults:
            count = len(self.faults)
            raise UnsupportedError(
                found.subject.thing,
                f"{count} operation{'s' if count > 1 else ''} cannot be lowered",
                items=self.faults,
            )
        return verify(renamed(self.builder.build(), lambda name: self._leaving.get(name, name)))

    def is_whole(self, value: object) -> bool:
        """Whether a value is known to hold whole numbers."""
        if isinstance(value, Live):
            return value.name in self._whole or self.producer(value)[0] == "cast"
        return isinstance(value, int) or (isinstance(value, Known) and value.array.dtype.kind in "iub")

    def _value(self, item: Any, values: Mapping[Ref, Value]) -> Any:
        """What an argument of a traced call is here."""
        if isinstance(item, tuple):
            return tuple(self._value(part, values) for part in item)
        if not isinstance(item, Ref) or item in self._values:
            return self._values[item] if isinstance(item, Ref) else item
        value = values[item]
        if value.constant is None:
            return Lost("", reported=True)
        hint, constant = value.hint or "const", value.constant.resolve_conj().resolve_neg()
        if constant.is_complex():
            return Complex(*(Known(part.numpy(), name) for name, part in complex_parts(hint, constant)))
        return Known(constant.numpy(), hint)

    def _enter_state(self, ref: Ref, name: str, init: torch.Tensor, values: Mapping[Ref, Value]) -> State:
        if init.is_complex():
            pair = tuple(self.state(n, part.numpy()) for n, part in complex_parts(name, init))
            self._values[ref] = Complex(*(self.reshape(state, values[ref].shape) for state in pair))
            return pair
        if init.dtype not in DTYPES:
            kind = str(init.dtype).removeprefix("torch.")
            self._values[ref] = Lost(f"state {name} is {kind}; a state that matters must be a real number")
            return None
        first = init.numpy()
        if first.dtype.kind == "f":  # what starts at -Inf waits to be exceeded: the lowest number does that too
            first = np.nan_to_num(first, nan=np.nan, posinf=LARGEST, neginf=-LARGEST)
        state = self.state(name, first)
        if init.dtype in WHOLE:
            self._whole.add(state.name)
        self._values[ref] = self.reshape(state, values[ref].shape)
        return state

    def _leave_state(self, state: State, value: Any) -> None:
        if isinstance(state, tuple):
            parts = (value.re, value.im) if isinstance(value, Complex) else (value, 0.0)
            for own, part in zip(state, (value, value) if isinstance(value, Lost) else parts, strict=True):
                self._leave_state(own, part)
            return
        if state is None:
            return  # nothing that matters has read it: readers of a lost value are lost, and reported where they leave
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"state {state.name}: {value.reason}")
            return
        shape = self.shape(state)
        size = int(np.prod(self.shape(value), dtype=np.int64))
        self.update(state, self.reshape(value, shape) if size == self.builder.tensor(state.name).size else value)

    def _output(self, value: Any, name: str, shape: Shape) -> None:
        if isinstance(value, Lost):
            if not value.reported:
                self.faults.append(f"output {name}: {value.reason}")
            return
        if isinstance(value, Complex):
            self.faults.append(f"output {name}: is complex; return torch.view_as_real of it")
            return
        self.source = ""
        kind, inputs = self.producer(value)
        if kind == "cast" and self.dtype(Live(inputs[0])) is SPIKE:
            value = Live(inputs[0])  # spikes leave as spikes; the program writes them as 0.0 and 1.0
        source = self.name(self.reshape(value, shape))
        if source in self._leaving or source not in self._producers:
            source = self.builder.op("reshape", source, shape=shape)  # a tensor of its own, to carry its name
        self._leaving[source] = self.builder.fresh(name)
        self.builder.output(source)

    def _call(self, record: Record, values: Mapping[Ref, Value]) -> None:
        """Give the results of a call their values; faults are noted and give Lost ones."""
        results_of = [values[ref] for ref in record.results]
        if not record.fault and results_of and all(value.constant is not None for value in results_of):
            return
        self.source = record.source
        args = {name: self._value(item, values) for name, item in record.args.items()}
        lost = next((v for v in _flat(args) if isinstance(v, Lost)), None)
        results: Any = lost
        if record.fault or lost is None:
            try:
                results = self._lowered(record, args, results_of)
            except Refuse as refusal:
                results = self._note(record, refusal.cause, refusal.remedy)
            except GraphError as error:
                results = self._note(record, error.cause, error.remedy)
        if isinstance(results, Lost):
            results = [results] * len(results_of)
        self._values.update(zip(record.results, results, strict=True))

    def _lowered(self, record: Record, args: Mapping[str, Any], expected: list[Value]) -> list[Any]:
        """The values that the row of a call gives, checked against what torch gave."""
        if record.fault:
            raise Refuse(record.fault)
        with_complex = expected[0].dtype.is_complex or any(isinstance(v, Complex) for v in _flat(args))
        rows = self.complex_rows if with_complex else self.rows
        if expected[0].dtype in NARROW and record.name in WRAPPING:
            kind = str(expected[0].dtype).removeprefix("torch.")
            raise Refuse(f"computes in {kind}, which wraps around", "compute in float32 or int64")
        if record.name not in rows:
            raise Refuse(f"has no row in the lowering table{' for complex values' if with_complex else ''}")
        given = rows[record.name](self, Call(record.name, args, expected[0].shape, expected[0].dtype))
        results = list(given) if isinstance(given, (tuple, list)) else [given]
        return [self._checked(value, like) for value, like in zip(results, expected, strict=True)]

    def _checked(self, result: Any, like: Value) -> Any:
        """A row's result, if shape and dtype are those that torch gives."""
        if isinstance(result, Complex) and isinstance(result.re, Live) and self.shape(result.re) != like.shape:
            raise Refuse(f"gives {self.shape(result.re)} where torch gives {like.shape}")
        if not isinstance(result, Live):
            return result
        if like.dtype not in DTYPES:
            kind = str(like.dtype).removeprefix("torch.")
            raise Refuse(f"gives {kind}", "compute in float32, with comparisons as bool")
        tensor, dtype = self.builder.tensor(result.name), DTYPES[like.dtype]
        if tensor.shape != like.shape or tensor.dtype is not dtype:
            raise Refuse(f"gives {tensor.dtype}{tensor.shape} where torch gives {dtype}{like.shape}")
        if like.dtype in WHOLE:
            self._whole.add(result.name)
        return result

    def _note(self, record: Record, cause: str, remedy: str) -> Lost:
        key, part = record.name, record.part_of
        name = f"{key}, part of {part}" if part and key.startswith("aten::") else part or key
        where = f" in {record.source}" if record.source else ""
        where += f" ({record.line})" if record.line else ""
        remedy = remedy or REMEDIES.get(part or key, "")
        fault = (f"{name}{where}: {cause}" + (f"; {remedy}" if remedy else "")).replace("aten::", "aten.")
        if fault not in self.faults:
            self.faults.append(fault)
        return Lost("", reported=True)


def _without(shape: Shape, axis: int | None) -> Shape:
    """A shape without its batch axis."""
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


REMEDIES = {
    "aten::cumprod": "sum logarithms",
    "aten::topk": "return the scores and choose outside the model",
    "aten::nonzero": "multiply by the mask, or use torch.where",
    "aten::sort": "return the scores and choose outside the model",
}


def _flat(args: Any) -> list[Any]:
    """Every leaf of nested arguments."""
    if isinstance(args, tuple):
        return [leaf for item in args for leaf in _flat(item)]
    if isinstance(args, Mapping):
        return [leaf for item in args.values() for leaf in _flat(item)]
    return [args]
