"""From the nodes of a model to a graph: what is constant is evaluated, every other node goes through one row.

A row takes the lowering and a node and gives the node's results as operands of `edgekit.frontends.emitter`. A value of
an integer type that changes at run time (a quantised one) is held as whole numbers in float32; `types` knows its type.
A node that has no row, or whose row refuses it, is noted; all are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import GraphError
from edgekit.frontends.emitter import Array, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.onnx.folding import can_fold, check_size, fold
from edgekit.frontends.onnx.ports import MAX_ELEMENTS
from edgekit.frontends.onnx.reading import STANDARD, onnx_module, stored_array
from edgekit.ir import SPIKE

CONSTANT_REMEDY = "export with constant shapes and indices"
_SOURCE_KEYS = ("source", "pkg.onnxscript.source", "pkg.torch.onnx.stack_trace", "stack_trace")


@dataclass(frozen=True)
class Lost:
    """A value that cannot be lowered: its reason was noted where it arose."""


@dataclass(frozen=True)
class Node:
    """One node of a model; an input that is left out is the empty string."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    opset: int
    proto: Any

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attrs.get(name, default)

    def wants(self, output: int) -> bool:
        """Whether a result of that number is named."""
        return output < len(self.outputs) and bool(self.outputs[output])


Row = Callable[["Lowering", Node], Any]


class Lowering:
    """The graph under construction and the values so far, by their names in the model."""

    def __init__(self, emitter: Emitter, rows: Mapping[str, Row], opset: int, types: Mapping[str, int]) -> None:
        self.e, self.rows, self.opset, self.types = emitter, rows, opset, dict(types)
        self.leaving: frozenset[str] = frozenset()
        self.tokens: frozenset[str] = frozenset()  # values that hold indices of tables
        self.values: dict[str, Operand | Lost] = {}
        self.faults: list[str] = []
        self.notes: dict[str, None] = {}
        self._onnx = onnx_module()
        self.integers = frozenset(
            getattr(self._onnx.TensorProto, n)
            for n in ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64")
        )

    # --- for the rows -------------------------------------------------------------------------------------------------

    def operand(self, node: Node, at: int) -> Operand:
        """An input that the operator needs."""
        value = self.optional(node, at)
        if value is None:
            raise Refuse(f"lacks input {at}", "export it again")
        return value

    def optional(self, node: Node, at: int) -> Operand | None:
        """An input, or None where it is left out."""
        name = node.inputs[at] if at < len(node.inputs) else ""
        value = self.values[name] if name else None
        if isinstance(value, Known) and value.array.dtype.kind == "f" and np.isinf(value.array).any():
            # masks hold them; a program holds finite numbers only, and the replay tells whether that matters
            self.note(f"{name}: an infinite constant is taken as the largest finite number")
            most = np.finfo(np.float32).max
            return Known(np.clip(value.array.astype(np.float32), -most, most), value.hint)
        return None if isinstance(value, Lost) else value

    def operands(self, node: Node) -> list[Operand]:
        """All inputs of a node that takes any number of them."""
        return [self.operand(node, at) for at in range(len(node.inputs))]

    def array(self, node: Node, at: int, what: str) -> Array | None:
        """A constant input as an array, None where it is left out; refused where it changes at run time."""
        value = self.optional(node, at)
        known = None if value is None else self.e.known(value)
        if value is not None and known is None:
            raise Refuse(f"its {what} ({node.inputs[at]}) changes at run time", CONSTANT_REMEDY)
        return None if known is None else known.array

    def ints(self, node: Node, at: int, what: str) -> tuple[int, ...] | None:
        """A constant list of whole numbers, None where it is left out."""
        array = self.array(node, at, what)
        return None if array is None else tuple(int(n) for n in array.reshape(-1))

    def shape(self, value: Operand) -> tuple[int, ...]:
        """Full shape of an operand."""
        return self.e.shape(value)

    def rank(self, node: Node, at: int = 0) -> int:
        """Rank of an input."""
        return len(self.shape(self.operand(node, at)))

    def axis(self, node: Node, default: int, at: int = 0, name: str = "axis") -> int:
        """The attribute `axis`, counted from the front."""
        return within(int(node.attr(name, default)), self.rank(node, at))

    def type_of(self, name: str) -> int:
        """The element type of a value in ONNX, 0 where it is not known."""
        return self.types.get(name, 0)

    def is_bool(self, value: Operand) -> bool:
        """Whether an operand holds truth values."""
        if isinstance(value, Live):
            return self.e.dtype(value) is SPIKE
        return isinstance(value, (bool, np.bool_)) or (isinstance(value, Known) and value.array.dtype == np.bool_)

    def floats_only(self, node: Node) -> None:
        """Refuse integers that change at run time: sums and products of them are not exact in float32."""
        for name in node.inputs:
            if name and isinstance(self.values[name], Live) and self.type_of(name) in self.integers:
                kind = self._onnx.TensorProto.DataType.Name(self.type_of(name)).lower()
                raise Refuse(f"computes with {kind} at run time ({name})", "compute in float32: Cast it first")

    def note(self, text: str) -> None:
        """Something that a reader of the result should know."""
        self.notes[text] = None

    # --- the walk -----------------------------------------------------------------------------------------------------

    def initializer(self, tensor: Any) -> None:
        """Make a stored tensor a known value."""
        self.values[tensor.name] = Known(stored_array(tensor), tensor.name)
        self.types[tensor.name] = int(tensor.data_type)

    def walk(self, nodes: Iterable[Any], wanted: Collection[str]) -> None:
        """Lower the nodes on which the wanted values depend; what cannot be lowered is noted in `faults`."""
        self.leaving = self.leaving or frozenset(wanted)
        with np.errstate(all="ignore"):  # NaN and Inf among constants are defined results
            for proto in needed(list(nodes), wanted):
                self._node(proto)

    def inside(self, graph: Any) -> list[Operand | Lost]:
        """The outputs of a graph inside a node, which sees the values outside."""
        self.types.update((v.name, int(v.type.tensor_type.elem_type)) for v in (*graph.value_info, *graph.output))
        for tensor in graph.initializer:
            self.initializer(tensor)
        self.walk(graph.node, [o.name for o in graph.output])
        return [self.values[o.name] for o in graph.output]

    def outcome(self, name: str) -> Operand:
        """A value by its name in the model, once nothing is at fault."""
        value = self.values[name]
        if isinstance(value, Lost):
            raise GraphError(f"value {name!r}", "was not lowered")
        return value

    def _node(self, proto: Any) -> None:
        attrs = {a.name: self._attribute(a) for a in proto.attribute}
        node = Node(proto.op_type, proto.name, tuple(proto.input), tuple(proto.output), attrs, self.opset, proto)
        self.e.source = node.name or node.outputs[0]
        results: list[Operand | Lost] = [Lost()] * len(node.outputs)
        if not any(isinstance(self.values.get(n), Lost) for n in node.inputs):
            try:
                results = self._lowered(node)
            except Refuse as refusal:
                self._fault(node, refusal.cause, refusal.remedy)
            except GraphError as error:
                self._fault(node, error.cause, error.remedy)
            except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError) as error:
                # attributes and shapes of a damaged file: what numpy or the table makes of them
                self._fault(node, f"is malformed ({type(error).__name__}: {str(error)[:120]})", "export it again")
        self.values.update((name, value) for name, value in zip(node.outputs, results, strict=True) if name)

    def _attribute(self, attribute: Any) -> Any:
        value = self._onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if isinstance(value, list) and value and isinstance(value[0], bytes):
            return [v.decode(errors="replace") for v in value]
        return value

    def _lowered(self, node: Node) -> list[Operand | Lost]:
        if node.proto.domain not in STANDARD:
            raise Refuse(f"is of the domain {node.proto.domain}", "export with standard operators only")
        given = {n: self.e.known(self.values[n]) for n in node.inputs if n}
        folds = can_fold(node.op) and all(known is not None for known in given.values())
        if not folds and node.op not in self.rows:
            raise Refuse("has no row in the lowering table", REMEDIES.get(node.op, ""))
        arrays = {n: k.array for n, k in given.items() if k is not None}
        if not any(a.HasField("g") for a in node.proto.attribute):  # the nodes of a branch are looked at one by one
            check_size(node.proto, node.opset, {n: self._declared(n) for n in given}, arrays)
        if folds:
            results = self._folded(node, arrays)
        else:
            made = self.rows[node.op](self, node)
            results = list(made) if isinstance(made, (tuple, list)) else [made]
        results += [Lost()] * (len(node.outputs) - len(results))
        return [self._typed(name, value) for name, value in zip(node.outputs, results, strict=False)]

    def _declared(self, name: str) -> tuple[int, tuple[int, ...]]:
        """Element type and shape of a value."""
        value = self.outcome(name)
        kind = self._onnx.TensorProto.BOOL if self.is_bool(value) else self._onnx.TensorProto.FLOAT
        return self.type_of(name) or kind, self.shape(value)

    def _folded(self, node: Node, arrays: Mapping[str, Array]) -> list[Any]:
        hint = node.outputs[0] or node.name
        return [Known(array, hint) for array in fold(node.proto, node.opset, arrays)]

    def _typed(self, name: str, value: Any) -> Any:
        """A row's result as the type that the model says: truth values as spikes, all others as float32."""
        if isinstance(value, Lost) or not name:
            return value
        if math.prod(self.shape(value)) > MAX_ELEMENTS:
            raise Refuse(f"gives {math.prod(self.shape(value)):,} elements, more than {MAX_ELEMENTS:,}")
        if isinstance(value, Known) and name in self.leaving:
            return Known(value.array, f"{name}.value")  # the name itself is that of the output
        if isinstance(value, Live) and (elem := self.type_of(name)):
            return self.e.spike(value) if elem == self._onnx.TensorProto.BOOL else self.e.real(value)
        return value

    def _fault(self, node: Node, cause: str, remedy: str) -> None:
        name = node.name or f"→ {node.outputs[0]}"
        line = source_line(node.proto)
        where = f" ({line})" if line else ""
        fault = f"{node.op} {name}{where}: {cause}" + (f"; {remedy}" if remedy else "")
        if fault not in self.faults:
            self.faults.append(fault)


def within(axis: int, rank: int) -> int:
    """An axis counted from the front; refused outside the rank."""
    if not -rank <= axis < max(rank, 1):
        raise Refuse(f"axis {axis} is outside a value of rank {rank}", "export it again")
    return axis % rank if rank else 0


def needed(nodes: Sequence[Any], wanted: Iterable[str]) -> list[Any]:
    """The nodes on which values depend, in order; what inner graphs read counts too."""
    live = set(wanted)
    kept = []
    for node in reversed(nodes):
        if live.intersection(node.output):
            kept.append(node)
            live.update(_reads(node))
    return kept[::-1]


def _reads(node: Any) -> set[str]:
    found = set(node.input)
    for attribute in node.attribute:
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            for inner in graph.node:
                found |= _reads(inner)
            found |= {o.name for o in graph.output}
    return found


def source_line(proto: Any) -> str:
    """Where a node comes from, as far as the file tells: its metadata, else its doc string, the last line of it."""
    told = {p.key: p.value for p in proto.metadata_props}
    text = str(next((told[key] for key in _SOURCE_KEYS if told.get(key)), proto.doc_string))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    files = [line for line in lines if ".py" in line]
    return (files or lines or [""])[-1][:160]


REMEDIES = {
    "If": "export one branch: decide outside the model, or fold the condition with a constant",
    "Loop": "export one time step; the stream is the loop",
    "Scan": "export one time step; the stream is the loop",
    "ArgMax": "return the scores; the decision is part of the io section",
    "ArgMin": "return the scores; the decision is part of the io section",
    "TopK": "return the scores and choose outside the model",
    "NonMaxSuppression": "return the boxes and scores and choose outside the model",
    "NonZero": "the shape of its result depends on values; use a mask",
    "Unique": "the shape of its result depends on values; do it outside the model",
    "QLinearConv": "quantise with QuantFormat.QDQ",
    "QLinearMatMul": "quantise with QuantFormat.QDQ",
    "ConvInteger": "quantise statically with QuantFormat.QDQ",
    "STFT": "feed the spectrum, or write it as a Conv with constant kernels",
    "DFT": "feed the spectrum, or write it as a MatMul with a constant matrix",
    "RandomNormal": "a step must not draw at random",
    "RandomNormalLike": "a step must not draw at random",
    "RandomUniform": "a step must not draw at random",
    "RandomUniformLike": "a step must not draw at random",
    "Multinomial": "a step must not draw at random",
    "Bernoulli": "a step must not draw at random",
    "SequenceEmpty": "use tensors of fixed shape",
    "SequenceConstruct": "use tensors of fixed shape",
    "SplitToSequence": "use Split",
    "StringNormalizer": "feed numbers",
    "TfIdfVectorizer": "feed numbers",
}
