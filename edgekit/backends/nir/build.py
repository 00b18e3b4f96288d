"""A graph of the IR as NIR nodes: one neuron for each membrane, one node for each matrix, one edge for each sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edgekit.backends.nir.forms import STRICT, Forms, NotAffine, Real
from edgekit.backends.nir.neurons import AT, Neuron, recognise
from edgekit.ir import SPIKE, Graph, Op
from edgekit.nir.raw import RawNode

OWN_SUM = ".sum"
"""What a value W x is called beside the sum W x + addend that its op gives."""
MAX_MATRIX = 2**20
"""Elements of a matrix that stands for a slice or a concatenation, which NIR has no node for."""


@dataclass(frozen=True)
class Source:
    """A node whose output is part of a value: that of this step, or of the one `before`."""

    node: str
    before: bool = False


@dataclass
class Network:
    """The nodes so far, the edges between them with which of them are late, and what cannot be said in NIR."""

    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    late: set[tuple[str, str]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)
    subtracts: set[bool] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)


class Unsayable(Exception):  # noqa: N818  (collected, and reported all at once)
    """Why a value cannot be said in NIR."""


class Builder:
    """Nodes for the values of a graph, made when something first reads them."""

    def __init__(self, graph: Graph, dt: float) -> None:
        self.graph, self.dt, self.forms = graph, dt, Forms(graph)
        self.net = Network()
        self.step = graph.entries["step"]
        self.neurons: dict[str, Neuron] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}  # that each node gives
        self._sources: dict[str, tuple[Source, ...]] = {}
        self._unsayable: dict[str, str] = {}
        self._unfed: list[str] = []
        self._biases: dict[str, Real] = {}

    def run(self) -> Network:
        """The network of the step; faults are collected in it."""
        for name in (*self.step.inputs, *self.step.outputs):
            if not self.shape(name):
                self.net.faults.append(f"{name}: is a single number; NIR ports have at least one axis")
        for name in self.step.inputs:
            self._sources[name] = (
                self.add(name, "Input", self.shape(name), (), {"shape": np.asarray(self.shape(name))}),
            )
        for state in self.graph.states:
            self._collect(lambda s=state: self._state(s.tensor, s.init))  # type: ignore[misc]
        for neuron in self.neurons.values():
            self._collect(lambda n=neuron: self._wire(n))  # type: ignore[misc]
        for name in self.step.outputs:
            self._collect(lambda n=name: self._output(n))  # type: ignore[misc]
        while self._unfed:  # what feeds a memory may read others
            unfed = self._unfed.pop()
            self._collect(lambda s=unfed: self._feed(s))  # type: ignore[misc]
        return self.net

    def _collect(self, make: Callable[[], None]) -> None:
        try:
            make()
        except Unsayable as fault:
            if str(fault) not in self.net.faults:
                self.net.faults.append(str(fault))

    # --- nodes and edges ---------------------------------------------------------------------------------------------

    def shape(self, value: str) -> tuple[int, ...]:
        """The shape of a value of the step."""
        return self.graph.tensor(value.removesuffix(OWN_SUM)).shape

    def module(self, value: str) -> str:
        """Where in the model a value comes from."""
        op = self.forms.made.get(value.removesuffix(OWN_SUM))
        return op.source if op else ""

    def add(
        self, stem: str, kind: str, given: tuple[int, ...], sources: Sequence[Source], fields: Mapping[str, Any]
    ) -> Source:
        """Add a node that gives values of a shape, and the edges to it."""
        stem = stem.replace("/", "_") or kind.lower()
        at, name = 1, stem
        while name in self.net.nodes:
            at, name = at + 1, f"{stem}_{at}"
        self.net.nodes[name] = RawNode(kind, fields)
        self._shapes[name] = given
        self._connect(name, sources)
        return Source(name)

    def _connect(self, name: str, sources: Sequence[Source]) -> None:
        for source, count in Counter(sources).items():
            beside = source.before and Source(source.node) in sources  # two edges between the same nodes
            end = source
            if count > 1 or beside:
                end = self.scale(f"{source.node}_again", (source,), np.asarray(float(count)), self._shapes[source.node])
            self.net.edges.append((end.node, name))
            if end.before:
                self.net.late.add((end.node, name))

    def scale(self, stem: str, sources: Sequence[Source], factor: Real, shape: tuple[int, ...]) -> Source:
        """Add a Scale node."""
        full = np.broadcast_to(factor, shape).astype(np.float64)
        return self.add(stem, "Scale", shape, sources, {"scale": full})

    # --- states ------------------------------------------------------------------------------------------------------

    def _state(self, state: str, init: np.ndarray[Any, Any]) -> None:
        """Make the neuron of a membrane; what remembers anything else is made when it is read."""
        update = self.step.updates.get(state, state)
        try:
            neuron = recognise(self.forms, state, update) if init.dtype != np.bool_ else None
        except NotAffine as why:
            self._unsayable[state] = f"state {state}: {why}"
            raise Unsayable(self._unsayable[state]) from None
        if neuron is not None and (neuron.threshold is not None or _is_leaky(neuron)):
            self._neuron(neuron, update, init.astype(np.float64))
        elif init.any():
            self._unsayable[state] = f"state {state}: starts at other values than 0, and a Delay is empty at first"
            raise Unsayable(self._unsayable[state])

    def _neuron(self, neuron: Neuron, update: str, init: Real) -> None:
        shape, state = self.shape(neuron.state), neuron.state

        def full(value: Any) -> Real:
            return np.broadcast_to(np.asarray(value, np.float64), shape).copy()

        share, gain, rest = full(1.0 - neuron.decay), full(_common_gain(neuron, shape)), full(0.0)
        fields: dict[str, Any]
        if np.all(neuron.decay == 1) and not np.any(neuron.offset):
            kind, fields = "I", {"r": gain}
        elif np.all((neuron.decay > -1) & (neuron.decay < 1)):
            rest = self._rest(neuron, full(init), full(neuron.offset) / share, gain)
            kind, fields = "LI", {"tau": self.dt / share, "r": gain / share, "v_leak": rest}
        else:
            how = "integrates a constant, or keeps less than nothing or more than all of itself in a step"
            raise Unsayable(f"state {state}: {how}, which NIR cannot say")
        if neuron.threshold is not None:
            reset = np.zeros(()) if neuron.subtracts or neuron.reset is None else neuron.reset
            fields |= {"v_threshold": full(neuron.threshold), "v_reset": full(reset)}
            kind += "F"
            self.net.subtracts.add(neuron.subtracts)
        self._start(state, full(init), rest)
        self.net.inexact += [f"state {state}: {why}" for why in neuron.inexact]
        node = self.add(self.module(update) or state, kind, shape, (), fields)
        self.neurons[state] = neuron
        self._sources[state] = ()
        self._sources.update(dict.fromkeys(neuron.now, (node,)))
        self._sources.update(dict.fromkeys(neuron.before, (Source(node.node, before=True),)))

    def _rest(self, neuron: Neuron, init: Real, rest: Real, gain: Real) -> Real:
        """The leak of a membrane: where it comes to rest, or where it starts, and then a bias pulls it from there."""
        if self._starts_at(init, rest) or np.any(gain == 0):
            return rest
        self._biases[neuron.state] = (1.0 - neuron.decay) * (rest - init) / gain
        return init

    @staticmethod
    def _starts_at(init: Real, rest: Real) -> list[str]:
        """Conventions of the first membrane under which one starts so."""
        return [s for s, v in (("leak", rest), ("zero", np.zeros(()))) if np.allclose(init, v, 1e-5, 1e-7)]

    def _start(self, state: str, init: Real, rest: Real) -> None:
        """Note which convention of the first membrane a state follows."""
        matching = self._starts_at(init, rest)
        if not matching:
            raise Unsayable(f"state {state}: starts neither at its rest nor at 0, which NIR cannot say")
        if len(matching) == 1:
            self.net.starts.update(matching)

    def _wire(self, neuron: Neuron) -> None:
        """The edges to a neuron: what drives it, through scales where the drives count differently."""
        shape = self.shape(neuron.state)
        (node,) = {source.node for value in neuron.now for source in self._sources[value]}
        same = np.any(_common_gain(neuron, shape) != 1) or len(neuron.drives) == 1
        found: list[Source] = []
        for value, gain in neuron.drives.items():
            if self.shape(value) != shape:
                raise Unsayable(f"state {neuron.state}: is driven by {value} of shape {self.shape(value)}")
            sources = self.sources(value)
            found += sources if same else (self.scale(f"{node}_drive", sources, gain, shape),)
        bias = self._biases.get(neuron.state)
        if bias is not None:
            found = [self.shifted(f"{node}_bias", f"state {neuron.state}", shape, found, bias)]
        if not found:
            raise Unsayable(f"state {neuron.state}: is driven by nothing")
        self._connect(node, found)

    def _remembered(self, state: str) -> tuple[Source, ...]:
        """What a state that is no membrane holds: spikes of the step before, or a Delay of one step."""
        if state in self.neurons:
            raise Unsayable(f"state {state}: the membrane of a spiking neuron is read, which NIR cannot say")
        update = self._behind(self.step.updates.get(state, state))
        for neuron in self.neurons.values():
            if update in neuron.now and neuron.threshold is not None:
                return tuple(Source(source.node, before=True) for source in self._sources[update])
        self._unfed.append(state)
        shape = self.shape(state)
        return (self.add(state, "Delay", shape, (), {"delay": np.full(shape, self.dt)}),)

    def _feed(self, state: str) -> None:
        """The edges to the delay of a state."""
        (delay,) = self._sources[state]
        self._connect(delay.node, self.sources(self.step.updates.get(state, state)))

    def _behind(self, value: str) -> str:
        """The spikes behind a cast to numbers."""
        op = self.forms.made.get(value)
        return op.inputs[0] if op is not None and op.kind == "cast" else value

    # --- values ------------------------------------------------------------------------------------------------------

    def sources(self, value: str) -> tuple[Source, ...]:
        """The nodes whose outputs add up to a value; Unsayable where NIR has no nodes for it."""
        if value in self._unsayable:
            raise Unsayable(self._unsayable[value])
        if not self._sources.get(value):
            is_state = value in self.graph.state_names
            try:
                self._sources[value] = self._remembered(value) if is_state else self._made(value)
            except Unsayable as why:
                self._unsayable[value] = str(why)
                raise
        return self._sources[value]

    def _made(self, value: str) -> tuple[Source, ...]:
        op = self.forms.made.get(value.removesuffix(OWN_SUM))
        if op is None:
            raise Unsayable(f"{value}: is a constant by itself, which NIR cannot say")
        if op.kind == "linear":
            return self._linear(op, value)
        row = _ROWS.get(op.kind)
        if row is None:
            raise Unsayable(f"{_at(op)}: NIR has no node for it")
        return row(self, op)

    def _linear(self, op: Op, value: str) -> tuple[Source, ...]:
        weight, x, given = self.constant(op, 1), op.inputs[0], self.shape(op.outputs[0])
        fields = {"weight": np.broadcast_to(weight, (*self.shape(x)[:-1], *weight.shape)).copy()}
        addend = op.inputs[2] if len(op.inputs) == 3 and not value.endswith(OWN_SUM) else None
        bias = None if addend is None else self.forms.data(addend)
        if bias is not None:
            fields["bias"] = np.broadcast_to(bias, given).copy()
        kind = "Linear" if bias is None else "Affine"
        node = self.add(op.source, kind, given, self.sources(x), fields)
        return (node,) if addend is None or bias is not None else (node, *self.sources(addend))

    def constant(self, op: Op, at: int) -> Real:
        """The constant operand of an op, in float64."""
        data = self.forms.data(op.inputs[at])
        if data is None:
            raise Unsayable(f"{_at(op)}: has weights that change at run time")
        if self.graph.tensor(op.inputs[at]).quant is not None:
            raise Unsayable(f"{_at(op)}: has quantised weights; export the float32 graph")
        return data

    def moved(self, op: Op, value: str, rows: Callable[[Real], Real]) -> tuple[Source, ...]:
        """A Linear node for what only moves elements of a vector: `rows` makes its matrix from a unit matrix."""
        size, given = self.shape(value), self.shape(op.outputs[0])
        if len(size) != 1 or size[0] * given[0] > MAX_MATRIX:
            raise Unsayable(f"{_at(op)}: NIR only says it of short vectors, as a matrix")
        return (
            self.add(op.source or op.kind, "Linear", given, self.sources(value), {"weight": rows(np.eye(size[0]))}),
        )

    def shifted(self, stem: str, thing: str, shape: tuple[int, ...], sources: Sequence[Source], offset: Real) -> Source:
        """sources + offset: an Affine node with a unit matrix."""
        if len(shape) != 1 or shape[0] ** 2 > MAX_MATRIX:
            raise Unsayable(f"{thing}: adds a constant, which NIR only says of short vectors")
        fields = {"weight": np.eye(shape[0]), "bias": np.broadcast_to(offset, shape).copy()}
        return self.add(stem, "Affine", shape, sources, fields)

    def plus(self, op: Op, sources: Sequence[Source], offset: Real) -> tuple[Source, ...]:
        """The result of an op that adds a constant; the sources where that is 0."""
        if not np.any(offset):
            return tuple(sources)
        return (self.shifted(op.source or op.kind, _at(op), self.shape(op.outputs[0]), sources, offset),)

    def refuse_broadcast(self, op: Op, *values: str) -> None:
        """Unsayable where a value is smaller than the result of an op."""
        if any(self.shape(value) != self.shape(op.outputs[0]) for value in values):
            raise Unsayable(f"{_at(op)}: broadcasts a value, which NIR cannot say")

    def _output(self, name: str) -> None:
        shape = self.shape(name)
        self.add(name, "Output", shape, self.sources(name), {"shape": np.asarray(shape)})


def _at(op: Op) -> str:
    return f"{op.kind} in {op.source}" if op.source else op.kind


def _is_leaky(neuron: Neuron) -> bool:
    """Whether LI or I say what a state without a threshold does."""
    if np.all((neuron.decay > -1) & (neuron.decay < 1)):
        return True
    return bool(np.all(neuron.decay == 1) and not np.any(neuron.offset))


def _common_gain(neuron: Neuron, shape: tuple[int, ...]) -> Real:
    """The factor with which all drives count; one where they differ."""
    gains = [np.broadcast_to(gain, shape) for gain in neuron.drives.values()]
    alike = bool(gains) and all(np.array_equal(gain, gains[0]) for gain in gains)
    return np.asarray(gains[0]) if alike else np.ones(())


Row = Callable[[Builder, Op], tuple[Source, ...]]


def _add(b: Builder, op: Op) -> tuple[Source, ...]:
    for at, other in ((0, 1), (1, 0)):
        offset = b.forms.data(op.inputs[at])
        if offset is not None:
            b.refuse_broadcast(op, op.inputs[other])
            return b.plus(op, b.sources(op.inputs[other]), offset)
    b.refuse_broadcast(op, *op.inputs)
    return (*b.sources(op.inputs[0]), *b.sources(op.inputs[1]))


def _sub(b: Builder, op: Op) -> tuple[Source, ...]:
    x, y = op.inputs
    less, from_ = b.forms.data(y), b.forms.data(x)
    if less is not None:
        b.refuse_broadcast(op, x)
        return b.plus(op, b.sources(x), -less)
    b.refuse_broadcast(op, y)
    negative = b.scale(f"{op.source or op.kind}_less", b.sources(y), np.asarray(-1.0), b.shape(y))
    if from_ is not None:
        return b.plus(op, (negative,), from_)
    b.refuse_broadcast(op, x)
    return (*b.sources(x), negative)


def _mul(b: Builder, op: Op) -> tuple[Source, ...]:
    for at, other in ((0, 1), (1, 0)):
        factor = b.forms.data(op.inputs[at])
        if factor is not None:
            return _scaled(b, op, op.inputs[other], factor)
    raise Unsayable(f"{_at(op)}: multiplies two values, which NIR cannot say")


def _div(b: Builder, op: Op) -> tuple[Source, ...]:
    divisor = b.forms.data(op.inputs[1])
    if divisor is None or not np.all(divisor):
        raise Unsayable(f"{_at(op)}: divides by a value, which NIR cannot say")
    return _scaled(b, op, op.inputs[0], 1.0 / divisor)


def _neg(b: Builder, op: Op) -> tuple[Source, ...]:
    return _scaled(b, op, op.inputs[0], np.asarray(-1.0))


def _scaled(b: Builder, op: Op, value: str, factor: Real) -> tuple[Source, ...]:
    b.refuse_broadcast(op, value)
    made = b.forms.made.get(value)
    if made is not None and made.kind == "sum" and np.all(factor == factor.flat[0]):
        pool = _pool(b, made, average=float(factor.flat[0]))
        if pool is not None:
            return pool
    return (b.scale(op.source or op.kind, b.sources(value), factor, b.shape(value)),)


def _sum(b: Builder, op: Op) -> tuple[Source, ...]:
    pool = _pool(b, op, average=None)
    if pool is None:
        raise Unsayable(f"{_at(op)}: NIR has no node for it")
    return pool


def _pool(b: Builder, op: Op, average: float | None) -> tuple[Source, ...] | None:
    """The pool that a sum of windows is: a sum, or an average where `average` is one over the size of a window."""
    windows = b.forms.made.get(op.inputs[0])
    if windows is None or windows.kind != "windows" or op.attrs["axis"] != len(b.shape(op.inputs[0])) - 1:
        return None
    size, stride, dilation = (windows.attrs[n] for n in ("size", "stride", "dilation"))
    value, before, after = _unpadded(b, windows.inputs[0], 2)
    if len(size) != 2 or len(b.shape(value)) != 3 or set(dilation) != {1} or before != after:
        return None
    if average is not None and abs(average * prod(size) - 1) > 1e-6:
        return None
    fields = {"kernel_size": np.asarray(size), "stride": np.asarray(stride), "padding": np.asarray(before)}
    kind = "SumPool2d" if average is None else "AvgPool2d"
    return (b.add(op.source, kind, b.shape(op.outputs[0]), b.sources(value), fields),)


def _unpadded(b: Builder, value: str, axes: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The value inside a padding with zeros of its last axes, and the widths of that."""
    real = b.forms.made.get(value)
    if real is not None and real.kind == "cast":
        return _unpadded(b, real.inputs[0], axes)
    op = real
    if op is None or op.kind != "pad" or op.attrs.get("value", 0.0) != 0:
        return value, (0,) * axes, (0,) * axes
    lead = len(op.attrs["before"]) - axes
    if any(op.attrs["before"][:lead]) or any(op.attrs["after"][:lead]):
        return value, (0,) * axes, (0,) * axes
    return op.inputs[0], tuple(op.attrs["before"][lead:]), tuple(op.attrs["after"][lead:])


def _conv(b: Builder, op: Op) -> tuple[Source, ...]:
    weight = b.constant(op, 1)
    axes = weight.ndim - 2
    if axes > 2:
        raise Unsayable(f"{_at(op)}: has {axes} spatial axes; NIR has Conv1d and Conv2d")
    value, before, after = _unpadded(b, op.inputs[0], axes)
    stride, dilation = op.attrs["stride"], op.attrs["dilation"]
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True)]
    padding: Any = before
    if before != after:
        if list(before) != [r // 2 for r in reach] or list(after) != [r - r // 2 for r in reach] or set(stride) != {1}:
            raise Unsayable(f"{_at(op)}: pads its sides by {before} and {after}, which NIR cannot say")
        padding = "same"
    bias = b.constant(op, 2) if len(op.inputs) == 3 else np.zeros(weight.shape[0])
    spatial = b.shape(value)[1:]
    fields = {"stride": stride, "padding": padding, "dilation": dilation}
    if axes == 1:
        fields = {n: v if isinstance(v, str) else v[0] for n, v in fields.items()}
    fields |= {"groups": op.attrs.get("groups", 1), "bias": bias, "weight": weight}
    fields["input_shape"] = spatial[0] if axes == 1 else tuple(spatial)
    return (b.add(op.source, f"Conv{axes}d", b.shape(op.outputs[0]), b.sources(value), fields),)


def _cast(b: Builder, op: Op) -> tuple[Source, ...]:
    if b.graph.tensor(op.inputs[0]).dtype is not SPIKE and op.attrs["to"] == "spike":
        inner = b.forms.made.get(op.inputs[0])
        if inner is None or inner.kind != "cast":
            raise Unsayable(f"{_at(op)}: turns numbers into spikes, which NIR cannot say")
    return b.sources(op.inputs[0])


def _where(b: Builder, op: Op) -> tuple[Source, ...]:
    """One number where a spike is, another where none is: the spike scaled, and moved."""
    on, off = (b.forms.data(name) for name in op.inputs[1:])
    if on is None or off is None:
        raise Unsayable(f"{_at(op)}: chooses between values, which NIR cannot say")
    b.refuse_broadcast(op, op.inputs[0])
    scaled = b.scale(op.source or op.kind, b.sources(op.inputs[0]), on - off, b.shape(op.outputs[0]))
    return b.plus(op, (scaled,), off)


def _compare(b: Builder, op: Op) -> tuple[Source, ...]:
    x, y = op.inputs if op.kind in ("gt", "ge") else op.inputs[::-1]
    threshold = b.forms.data(y)
    shape = b.shape(op.outputs[0])
    if threshold is None or b.shape(x) != shape:
        raise Unsayable(f"{_at(op)}: compares with no constant from below, which NIR cannot say")
    if op.kind not in STRICT:
        b.net.inexact.append(f"{_at(op)}: {AT}")
    full = np.broadcast_to(threshold, shape).copy()
    return (b.add(op.source, "Threshold", shape, b.sources(x), {"threshold": full}),)


def _reshape(b: Builder, op: Op) -> tuple[Source, ...]:
    source, target = b.shape(op.inputs[0]), tuple(op.attrs["shape"])
    if source == target:
        return b.sources(op.inputs[0])
    for start in range(len(source)):
        for end in range(start + 1, len(source)):
            if (*source[:start], prod(source[start : end + 1]), *source[end + 1 :]) == target:
                fields = {"input_type": np.asarray(source), "start_dim": start, "end_dim": end}
                return (b.add(op.source, "Flatten", target, b.sources(op.inputs[0]), fields),)
    raise Unsayable(f"{_at(op)}: from {source} to {target}; NIR only flattens")


def _slice(b: Builder, op: Op) -> tuple[Source, ...]:
    start, stop, step = op.attrs["start"], op.attrs["stop"], op.attrs.get("step", 1)
    return b.moved(op, op.inputs[0], lambda unit: unit[start:stop:step])


def _gather(b: Builder, op: Op) -> tuple[Source, ...]:
    return b.moved(op, op.inputs[0], lambda unit: unit[list(op.attrs["indices"])])


def _concat(b: Builder, op: Op) -> tuple[Source, ...]:
    found, at = list[Source](), 0
    for name in op.inputs:
        size, total = b.shape(name)[0], b.shape(op.outputs[0])[0]
        found += b.moved(op, name, lambda unit, at=at, t=total: np.pad(unit, ((at, t - at - len(unit)), (0, 0))))  # type: ignore[misc]
        at += size
    return tuple(found)


_ROWS: Mapping[str, Row] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "sum": _sum,
    "conv": _conv,
    "cast": _cast,
    "where": _where,
    "gt": _compare,
    "ge": _compare,
    "lt": _compare,
    "le": _compare,
    "reshape": _reshape,
    "slice": _slice,
    "gather": _gather,
    "concat": _concat,
}
