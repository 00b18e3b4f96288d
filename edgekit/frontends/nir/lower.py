"""A NIR program as a graph of the IR: the same step in terms of the op table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.frontends.emitter import Array, Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.spatial import average_pool, padded, sum_pool
from edgekit.ir import Graph, printable, verify
from edgekit.nir.flatten import PASS
from edgekit.nir.nodes import SPIKING, STATEFUL, Node, Real
from edgekit.nir.program import Program
from edgekit.nir.retime import kept_edges
from edgekit.nir.shapes import conv_padding
from edgekit.nir.simulate import Simulation
from edgekit.passes.rename import renamed

ONE = 2**-22
"""A factor this close to one is one: what tau and r in float32 leave of dt/tau · r when r is tau/dt."""


def lower(program: Program, name: str) -> Graph:
    """The graph of one step; inputs and outputs are called as the Input and Output nodes."""
    return _Lowering(program, name).run()


class _Lowering:
    def __init__(self, program: Program, name: str) -> None:
        self.p, self.e = program, Emitter(name, program.conventions.dt)
        self.late = kept_edges(program.flat, program.order)
        self.values: dict[str, Operand] = {}
        self.states: dict[str, Live] = {}
        self.kept: dict[str, Live] = {}

    def run(self) -> Graph:
        """Declare inputs and states, lower node by node, then say what the states become."""
        p, e = self.p, self.e
        names: dict[str, str] = {}
        for name, node in p.flat.nodes.items():
            if node.kind == "Input":
                self.values[name] = Live(e.builder.input(e.builder.fresh(printable(name)), p.given[name]))
        self._declare()
        faults = []
        for name in self._order():
            e.source = name
            try:
                self._lower(p.node(name))
            except Refuse as refusal:
                faults.append(f"{p.node(name)}: {refusal.cause}; {refusal.remedy}")
                self.values[name] = Known(np.zeros(p.given[name], np.float32))
        if faults:
            raise UnsupportedError("NIR graph", "holds constants that no program can hold", items=faults)
        for name in p.order.late:
            self._shift(p.node(name), self._taken(name))
        for name, state in self.kept.items():
            if not self._gives_membrane(name):
                e.update(state, self.values[name])
        for name, node in p.flat.nodes.items():
            if node.kind == "Output":
                self._output(name, names)
        return verify(renamed(e.builder.build(), lambda n: names.get(n, n)))

    def _order(self) -> list[str]:
        """Nodes so that each follows what it reads, kept edges aside."""
        flat, late = self.p.flat, self.p.order.late
        needs = {n: set() if n in late else {s for s in flat.sources[n] if (s, n) not in self.late} for n in flat.nodes}
        ready = deque(n for n in self.p.order.nodes if not needs[n])
        order: list[str] = []
        while ready:
            name = ready.popleft()
            order.append(name)
            for reader in flat.readers[name]:
                if name in needs[reader]:
                    needs[reader].discard(name)
                    if not needs[reader]:
                        ready.append(reader)
        return [n for n in order if n not in self.values]

    def _declare(self) -> None:
        """The states: membranes, currents, delay lines, and kept values."""
        p, rest = self.p, Simulation(self.p)
        sources = {source for source, _ in self.late}
        spikes = self._spiking()
        for name, node in p.flat.nodes.items():
            form = np.bool_ if name in spikes else np.float32
            if node.kind in STATEFUL:
                self._state(f"{name}.v", rest.membrane[name][0].astype(np.float32))
            if node.kind in ("CubaLI", "CubaLIF"):
                self._state(f"{name}.i", np.zeros(p.taken[name], np.float32))
            if node.kind == "Delay" and p.delays[name].max() > 0:
                self._state(f"{name}.line", np.zeros((int(p.delays[name].max()), *p.taken[name]), form))
            if name in sources:
                if self._gives_membrane(name):
                    self.kept[name] = self.states[f"{name}.v"]
                else:
                    self.kept[name] = self._state(f"{name}.out", rest.values[name][0].astype(form))

    def _state(self, name: str, init: Array) -> Live:
        self.states[name] = self.e.state(name, init)
        return self.states[name]

    def _gives_membrane(self, name: str) -> bool:
        """Whether the value that a node gave in the step before is its own state."""
        kind = self.p.node(name).kind
        return kind in STATEFUL and kind not in SPIKING

    def _spiking(self) -> set[str]:
        """Nodes whose values are spikes."""
        flat = self.p.flat
        spikes = {n for n, node in flat.nodes.items() if node.kind in (*SPIKING, "Threshold")}
        moving = {n for n, node in flat.nodes.items() if node.kind in ("Delay", "Flatten", PASS)}
        found = spikes | {n for n in moving if len(flat.sources[n]) == 1}
        while True:
            kept = spikes | {n for n in found - spikes if flat.sources[n][0] in found}
            if kept == found:
                return found
            found = kept

    def _taken(self, name: str) -> Live:
        """What arrives at a node: the sum of its sources."""
        parts: list[Operand] = [
            self.kept[s] if (s, name) in self.late else self.values[s] for s in self.p.flat.sources[name]
        ]
        total = self.e.live(parts[0])
        for part in parts[1:]:
            total = self.e.emit("add", self.e.real(total), self.e.real(part))
        return total

    def _output(self, name: str, names: dict[str, str]) -> None:
        value = self.e.live(self.values[name]).name
        own = self.e.builder.op("reshape", value, shape=self.p.given[name]) if self._is_taken(value, names) else value
        free = self.e.builder.fresh(printable(name))
        while free in names.values():  # tensors get these names when all are made
            free = f"{free}.out"
        names[own] = free
        self.e.builder.output(own)

    def _is_taken(self, value: str, names: Mapping[str, str]) -> bool:
        """Whether a value cannot carry the name of an output: no op made it, or it carries another one."""
        return value in names or not self.e.producer(Live(value))[0]

    # --- nodes -------------------------------------------------------------------------------------------------------

    def _lower(self, node: Node) -> None:
        name = node.name
        if name in self.p.order.late:
            self.values[name] = self._delayed(node, None)
            return
        x = self._taken(name)
        if node.kind in STATEFUL:
            self.values[name] = self._neuron(node, x)
        elif node.kind == "Delay":
            self.values[name] = self._delayed(node, x)
            if f"{name}.line" in self.states:
                self._shift(node, x)
        else:
            row = _ROWS.get(node.kind)
            self.values[name] = x if row is None else row(self, node, x)

    def const(self, node: Node, what: str, value: Real) -> Known:
        """A constant of a node, one number where all are the same."""
        if value.size > 1 and (value == value.flat[0]).all():
            value = value.reshape(-1)[0].reshape(())
        return Known(np.asarray(value, np.float32), f"{node.name}.{what}")

    def scaled(self, node: Node, what: str, x: Live, factor: Real) -> Live:
        """factor · x; x where the factor is one."""
        x = self.e.real(x)
        return x if np.abs(factor - 1).max() <= ONE else self.e.emit("mul", x, self.const(node, what, factor))

    def _leaky(self, node: Node, what: str, v: Live, share: Real, drive: Live) -> Live:
        """(1 - share) · v + drive."""
        return self.e.emit("add", self.e.emit("mul", v, self.const(node, f"{what}.decay", 1.0 - share)), drive)

    def _neuron(self, node: Node, x: Live) -> Live:
        p, e, rule = self.p, self.e, self.p.conventions
        state = self.states[f"{node.name}.v"]
        r = p.parameter(node, "r")
        if node.kind in ("I", "IF"):
            gain = r * (rule.seconds if rule.charge == "current" else 1.0)
            v = e.emit("add", state, self.scaled(node, "gain", x, gain))
        else:
            if node.kind.startswith("Cuba"):
                x = self._synapse(node, x)
            share = rule.share(p.parameter(node, "tau_mem" if node.kind.startswith("Cuba") else "tau"))
            drive = self.scaled(node, "gain", x, share * r)
            rest = np.asarray(share * p.parameter(node, "v_leak"))
            if rest.any():
                drive = e.emit("add", drive, self.const(node, "rest", rest))
            v = self._leaky(node, "v", state, share, drive)
        if node.kind not in SPIKING:
            e.update(state, v)
            return v
        threshold = p.parameter(node, "v_threshold")
        spikes = e.emit("gt", v, self.const(node, "v_threshold", threshold))
        if rule.reset == "subtract":
            after = e.emit("sub", v, self.scaled(node, "v_threshold", spikes, threshold))
        else:
            after = e.emit("where", spikes, self.const(node, "v_reset", p.reset_value(node)), v)
        e.update(state, after)
        return spikes

    def _synapse(self, node: Node, x: Live) -> Live:
        """The synaptic current that the membrane sees."""
        p = self.p
        state = self.states[f"{node.name}.i"]
        share = p.conventions.share(p.parameter(node, "tau_syn"))
        drive = self.scaled(node, "w_in", x, share * p.parameter(node, "w_in"))
        after = self._leaky(node, "i", state, share, drive)
        self.e.update(state, after)
        return after if p.conventions.synapse == "updated" else state

    def _delayed(self, node: Node, x: Live | None) -> Live:
        """Each element as it was so many steps ago: row d - 1 of the line, which has the newest first."""
        e, steps, shape = self.e, self.p.delays[node.name], self.p.taken[node.name]
        if f"{node.name}.line" not in self.states:
            return e.live(self.values[node.name] if x is None else x)
        line = self.states[f"{node.name}.line"]
        if x is not None:  # some elements are not delayed at all: x is row 0
            line = self._joined(line, x, shape)
            steps = steps + 1
        size = prod(shape)
        if (steps == steps.flat[0]).all():
            row = int(steps.flat[0]) - 1
            return e.live(e.reshape(e.emit("slice", line, axis=0, start=row, stop=row + 1), shape))
        flat = e.reshape(line, (size * e.shape(line)[0],))
        indices = (steps.reshape(-1) - 1) * size + np.arange(size)
        return e.live(e.reshape(e.emit("gather", e.live(flat), axis=0, indices=tuple(map(int, indices))), shape))

    def _joined(self, line: Live, x: Live, shape: tuple[int, ...]) -> Live:
        return self.e.emit("concat", self.e.live(self.e.reshape(x, (1, *shape))), line, axis=0)

    def _shift(self, node: Node, x: Live) -> None:
        """The line a step later: x comes first, the oldest leaves."""
        line, shape = self.states[f"{node.name}.line"], self.p.taken[node.name]
        depth = self.e.shape(line)[0]
        rest = self.e.emit("slice", line, axis=0, start=0, stop=depth - 1) if depth > 1 else None
        first = self.e.reshape(x, (1, *shape))
        self.e.update(line, first if rest is None else self._joined(rest, x, shape))


Row = Callable[[_Lowering, Node, Live], Live]


def _linear(low: _Lowering, node: Node, x: Live) -> Live:
    weight, e = node["weight"], low.e
    w = Known(weight.astype(np.float32), f"{node.name}.weight")
    bias = Known(node["bias"].astype(np.float32), f"{node.name}.bias") if node.kind == "Affine" else None
    if weight.ndim == 2:
        if bias is not None and bias.array.shape == weight.shape[:1]:
            return e.emit("linear", x, w, bias)
        y = e.emit("linear", x, w)
    else:  # a matrix of its own for each leading index
        column = e.reshape(e.real(x), (*weight.shape[:-2], 1, weight.shape[-1]))
        y = e.emit("sum", e.emit("mul", column, w), axis=weight.ndim - 1, keepdims=False)
    return y if bias is None else e.emit("add", y, bias)


def _conv(low: _Lowering, node: Node, x: Live) -> Live:
    before, after = conv_padding(node)
    operands = [padded(low.e, x, before, after), Known(node["weight"].astype(np.float32), f"{node.name}.weight")]
    if "bias" in node.values and node["bias"].any():
        bias = np.broadcast_to(node["bias"].reshape(-1), node["weight"].shape[:1])
        operands.append(Known(bias.astype(np.float32), f"{node.name}.bias"))
    attrs = {"stride": node.ints("stride"), "dilation": node.ints("dilation"), "groups": node.ints("groups")[0]}
    return low.e.emit("conv", *operands, **attrs)


def _pool(low: _Lowering, node: Node, x: Live) -> Live:
    size, stride, padding = (node.ints(n) for n in ("kernel_size", "stride", "padding"))
    if node.kind == "SumPool2d":
        return sum_pool(low.e, x, size=size, stride=stride, before=padding, after=padding)
    return average_pool(low.e, x, size=size, stride=stride, before=padding, after=padding, divisor=prod(size))


def _scale(low: _Lowering, node: Node, x: Live) -> Live:
    return low.scaled(node, "scale", x, low.p.parameter(node, "scale"))


def _threshold(low: _Lowering, node: Node, x: Live) -> Live:
    return low.e.emit("gt", low.e.real(x), low.const(node, "threshold", low.p.parameter(node, "threshold")))


def _flatten(low: _Lowering, node: Node, x: Live) -> Live:
    return low.e.live(low.e.reshape(x, low.p.given[node.name]))


_ROWS: Mapping[str, Row] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Scale": _scale,
    "Threshold": _threshold,
    "Flatten": _flatten,
}
