"""A graph of the IR as NIR nodes: one neuron for each membrane, one node for each matrix, one edge for each sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.backends.nir.forms import ELEMENTWISE, OWN_SUM, Forms, NotAffine, Real
from edgekit.backends.nir.neurons import Neuron, recognise
from edgekit.ir import Graph, Op
from edgekit.nir.raw import RawNode

MAX_MATRIX = 2**20
"""Elements of a unit matrix that stands before a bias."""


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


Row = Callable[["Builder", Op], "tuple[Source, ...]"]


class Unsayable(Exception):  # noqa: N818  (collected, and reported all at once)
    """Why a value cannot be said in NIR."""


class Builder:
    """Nodes for the values of a graph, made when something first reads them."""

    def __init__(self, graph: Graph, dt: float, rows: Mapping[str, Row]) -> None:
        self.graph, self.dt, self.forms, self.rows = graph, dt, Forms(graph), rows
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
        stem = _node_name(stem) or kind.lower()
        kept = () if kind in ("Input", "Output") else map(_node_name, self.step.outputs)
        at, name, taken = 1, stem, self.net.nodes.keys() | kept
        while name in taken:
            at, name = at + 1, f"{stem}_{at}"
        self.net.nodes[name] = RawNode(kind, {k: v if isinstance(v, str) else np.asarray(v) for k, v in fields.items()})
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
            self._refuse_cell(state, f"state {state}: {why}")
            raise Unsayable(self._unsayable[state]) from None
        if neuron is not None and (neuron.threshold is not None or _is_leaky(neuron)):
            self._neuron(neuron, update, init.astype(np.float64))
        elif init.any():
            self._unsayable[state] = f"state {state}: starts at other values than 0, and a Delay is empty at first"
            raise Unsayable(self._unsayable[state])

    def _refuse_cell(self, state: str, why: str) -> None:
        """Refuse what is computed from a state element by element, with one reason."""
        inside = {state}
        for op in self.step.ops:
            if op.kind in ELEMENTWISE and inside.intersection(op.inputs):
                inside.update(op.outputs)
        self._unsayable.update(dict.fromkeys(inside, why))

    def _neuron(self, neuron: Neuron, update: str, init: Real) -> None:
        shape, state = self.shape(neuron.state), neuron.state

        def full(value: Any) -> Real:
            return np.broadcast_to(np.asarray(value, np.float64), shape).copy()

        alike = _alike(neuron, shape)
        share, gain, rest = full(1.0 - neuron.decay), full(1.0 if alike is None else alike), full(0.0)
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
        if neuron.threshold is not None:
            why = f"state {state}: the membrane of a spiking neuron is read, which NIR cannot say"
            compared = (n for spike in neuron.now for n in self.forms.made[spike].inputs)
            self._unsayable.update({n: why for n in (state, update, *compared) if self.forms.data(n) is None})
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
        same = _alike(neuron, shape) is not None
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
        row = self.rows.get(op.kind)
        if row is None:
            raise Unsayable(f"{place(op)}: NIR has no node for it")
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
            raise Unsayable(f"{place(op)}: has weights that change at run time")
        if self.graph.tensor(op.inputs[at]).quant is not None:
            raise Unsayable(f"{place(op)}: has quantised weights; export the float32 graph")
        return data

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
        return (self.shifted(op.source or op.kind, place(op), self.shape(op.outputs[0]), sources, offset),)

    def refuse_broadcast(self, op: Op, *values: str) -> None:
        """Unsayable where a value is smaller than the result of an op."""
        if any(self.shape(value) != self.shape(op.outputs[0]) for value in values):
            raise Unsayable(f"{place(op)}: broadcasts a value, which NIR cannot say")

    def _output(self, name: str) -> None:
        shape = self.shape(name)
        self.add(name, "Output", shape, self.sources(name), {"shape": np.asarray(shape)})


def place(op: Op) -> str:
    """An op and where in the model it is."""
    return f"{op.kind} in {op.source}" if op.source else op.kind


def _node_name(name: str) -> str:
    """A name that HDF5 takes for one of a node, not for a path."""
    return name.replace("/", "_")


def _is_leaky(neuron: Neuron) -> bool:
    """Whether LI or I say what a state without a threshold does."""
    if np.all((neuron.decay > -1) & (neuron.decay < 1)):
        return True
    return bool(np.all(neuron.decay == 1) and not np.any(neuron.offset))


def _alike(neuron: Neuron, shape: tuple[int, ...]) -> Real | None:
    """The factor with which all drives count; None where they differ, or there are none."""
    gains = [np.broadcast_to(gain, shape) for gain in neuron.drives.values()]
    return gains[0] if gains and all(np.array_equal(gain, gains[0]) for gain in gains) else None
