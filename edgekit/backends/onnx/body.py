"""The nodes of one step as they are written: names, constants, the batch axis, and the two forms of a spike.

Every value has the batch in front of its shape: [N, *shape]. A spike has two forms, made when something reads them: a
float32 of 0 or 1, which linears, movement ops and ports take, and a bool, which logic and `Where` take. TensorRT
moves no bools about in some of its layers, so only comparisons, logic, `Where` and `Cast` ever see one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import Graph, Op, Tensor

Array = npt.NDArray[Any]
NUMBER, BOOLEAN = "number", "boolean"


@dataclass(frozen=True)
class Node:
    """One ONNX node; `source` is where the op came from, kept as its doc string."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Quantisation:
    """Scales of the int8 forms of a step: of what contractions read, by value, and of the states held in int8."""

    operands: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, float] = field(default_factory=dict)


class Body:
    """Collects the nodes and constants of one step of a graph.

    `prefix` goes before every name, so that the body of a Scan shares none with the graph around it. `targets` says
    under which name the result of an op is wanted outside: an output, or the next value of a state.
    """

    def __init__(
        self,
        graph: Graph,
        quantisation: Quantisation,
        prefix: str = "",
        reserved: frozenset[str] = frozenset(),
        targets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.graph, self.quantisation, self.prefix = graph, quantisation, prefix
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self._reserved = reserved
        self._single = self._without_streams()
        made = {name for op in graph.entries["step"].ops for name in op.outputs} - self._single
        self._targets = {name: port for name, port in targets.items() if name in made}
        self._taken = {prefix + name for name in (*graph.tensors, *reserved)}
        self._forms: dict[tuple[str, str], str] = {}
        self._stored: dict[str, str] = {}  # int8 forms of values
        self._same: dict[str, str] = {}  # values that are another one under a second name
        self._known: dict[tuple[str, ...], str] = {}
        self._source = ""

    # --- names, nodes and constants ---

    def fresh(self, stem: str) -> str:
        """A name with the prefix that nothing has yet."""
        at, name = 0, self.prefix + stem
        while name in self._taken:
            at += 1
            name = f"{self.prefix}{stem}.{at}"
        self._taken.add(name)
        return name

    def node(self, kind: str, *inputs: str, out: str, **attrs: Any) -> str:
        """Add a node whose one output is called `out`."""
        self.nodes.append(Node(kind, inputs, (out,), attrs, self._source))
        return out

    def made(self, kind: str, *inputs: str, stem: str, **attrs: Any) -> str:
        """The output of a node on the way to another value; the same node is added once."""
        key = (kind, *inputs, repr(sorted(attrs.items())))
        if key not in self._known:
            self._known[key] = self.node(kind, *inputs, out=self.fresh(stem), **attrs)
        return self._known[key]

    def constant(self, stem: str, array: Array, *, own: bool = False) -> str:
        """An initialiser; equal arrays are one, unless it has to be its `own`: then those of one stem alone."""
        content = hashlib.sha256(array.tobytes()).hexdigest()
        key = ("constant", array.dtype.str, repr(array.shape), content, stem if own else "")
        if key not in self._known:
            self._known[key] = self.fresh(stem)
            self.constants[self._known[key]] = np.array(array, order="C")
        return self._known[key]

    def integers(self, *values: int) -> str:
        """An int64 vector: shapes, axes, indices."""
        return self.constant("integers", np.asarray(values, np.int64))

    # --- values of the graph ---

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def define(self, name: str, value: str, form: str = NUMBER) -> None:
        """Say that a value of the graph is there, in one of its forms."""
        self._forms[name, form] = value

    def take(self, name: str, port: str) -> None:
        """Say that an input or state comes through a port, a state held in int8 as its integers."""
        if name in self.quantisation.states:
            self._stored[name] = port
        else:
            self.define(name, port)

    def give(self, name: str, port: str, scale: float | None) -> None:
        """Let a value out through a port, as integers at a scale where there is one."""
        value = self.streams(name)
        if scale is not None:
            self.node("QuantizeLinear", value, *self.scale(name, scale), out=port)
        elif value != port:
            self.node("Identity", value, out=port)

    def result(self, op: Op, kind: str, *inputs: str, form: str = NUMBER, **attrs: Any) -> None:
        """Add the node that makes the result of an op."""
        name = op.outputs[0]
        stem = name if form == NUMBER else f"{name}/fired"
        self.define(name, self.node(kind, *inputs, out=self._wanted(name, stem, form), **attrs), form)

    def _wanted(self, name: str, stem: str, form: str) -> str:
        """The name that the value should have: that of its port, its own while that is free, or a fresh one."""
        if form == NUMBER and name in self._targets:
            return self._targets.pop(name)
        return self.prefix + name if stem == name and name not in self._reserved else self.fresh(stem)

    def value(self, name: str, form: str = NUMBER) -> str:
        """A value [N, *shape]; a constant is [1, *shape]."""
        name = self._same.get(name, name)
        if (name, form) in self._forms:
            return self._forms[name, form]
        tensor = self.tensor(name)
        if tensor.data is not None:
            made = self.constant(f"{name}/{form}", _stored(tensor.data, form)[None])
        elif name in self.quantisation.states:
            scale = self.scale(name, self.quantisation.states[name])
            made = self.made("DequantizeLinear", self._stored[name], *scale, stem=f"{name}/rounded")
        elif form == NUMBER:
            fired = self._forms[name, BOOLEAN]
            made = self.node("Cast", fired, out=self._wanted(name, name, NUMBER), to=np.float32)
        else:
            made = self.node("Cast", self._forms[name, NUMBER], out=self.fresh(f"{name}/fired"), to=np.bool_)
        self.define(name, made, form)
        return made

    def beside(self, name: str, rank: int, form: str = NUMBER, *, whole: bool = False) -> str:
        """A value whose shape lines up with results of `rank` axes: ones come between the batch and a shorter shape.

        A constant has no batch axis, it broadcasts from the right, unless it has to be `whole`.
        """
        tensor = self.tensor(name)
        shape = (*(1,) * (rank - len(tensor.shape)), *tensor.shape)
        if tensor.data is not None:
            stored = _stored(tensor.data, form)
            return self.constant(f"{name}/{form}", stored.reshape(1, *shape) if whole else stored)
        value = self.value(name, form)
        if len(shape) == len(tensor.shape):
            return value
        if form == BOOLEAN:  # moved as a number
            number = self.beside(name, rank)
            return self.made("Cast", number, stem=f"{name}/fired", to=np.bool_)
        return self.made("Reshape", value, self.integers(0, *shape), stem=f"{name}/aligned")

    def alias(self, op: Op) -> None:
        """The result of an op that changes nothing but the type in the graph."""
        name, source = op.outputs[0], self._same.get(op.inputs[0], op.inputs[0])
        if name not in self._targets:
            self._same[name] = source
        elif (source, NUMBER) in self._forms or self.tensor(source).is_const:
            self.result(op, "Identity", self.value(source))
        else:
            self.result(op, "Cast", self._forms[source, BOOLEAN], to=np.float32)

    def scale(self, name: str, scale: float) -> tuple[str, str]:
        """Scale and zero point; TensorRT wants one, ONNX Runtime rewrites them and stumbles over one that is shared."""
        zero = self.constant(f"{name}/zero", np.zeros((), np.int8), own=True)
        return self.constant(f"{name}/scale", np.asarray(scale, np.float32)), zero

    def is_quantised(self, name: str, weights: str) -> bool:
        """Whether a contraction takes both a value and its weights as int8."""
        return name in self.quantisation.operands and self.tensor(weights).quant is not None

    def read(self, name: str, weights: str) -> str:
        """What a contraction reads: a value as it is, or on the int8 grid where it and the weights are quantised."""
        if not self.is_quantised(name, weights):
            return self.value(name)
        ends = self.scale(name, self.quantisation.operands[name])
        if name not in self._stored:
            self._stored[name] = self.made("QuantizeLinear", self.value(name), *ends, stem=f"{name}/int8")
        return self.made("DequantizeLinear", self._stored[name], *ends, stem=f"{name}/rounded")

    def streams(self, name: str) -> str:
        """A value with N in front, also of a constant."""
        value = self.value(name)
        if not self.is_single(name):
            return value
        return self.made("Expand", value, self.shape_of_streams(self.tensor(name).shape), stem=f"{name}/streams")

    def shape_of_streams(self, shape: tuple[int, ...]) -> str:
        """The shape [N, *shape] at run time."""
        some = next(n for n in (*self.graph.entries["step"].inputs, *(s.tensor for s in self.graph.states)))
        whole = self.made("Shape", self.value(some), stem="shape")
        batch = self.made("Slice", whole, self.integers(0), self.integers(1), self.integers(0), stem="batch")
        return self.made("Concat", batch, self.integers(*shape), stem="streams", axis=0) if shape else batch

    def is_single(self, name: str) -> bool:
        """Whether a value is the same for every stream and has a batch axis of one."""
        return name in self._single

    def _without_streams(self) -> set[str]:
        """Constants, and what is computed of them alone: what cannot be folded because it is infinite."""
        single = set(self.graph.consts)
        for op in self.graph.entries["step"].ops:
            if single.issuperset(op.inputs):
                single.update(op.outputs)
        return single

    # --- ops ---

    def run(self, rows: Mapping[str, Callable[[Body, Op], None]]) -> None:
        """Write every op of the step by its row."""
        for op in self.graph.entries["step"].ops:
            self._source = op.source
            rows[op.kind](self, op)
        self._source = ""


def _stored(data: Array, form: str) -> Array:
    wanted = np.bool_ if form == BOOLEAN else np.float32
    return data.astype(wanted) if data.dtype != wanted else np.asarray(data)
