"""Layers that learn: their weights become states that a reset keeps, and a step leaves what a rule needs of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError, UsageError
from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Entry, Graph, Op
from edgekit.learn.draft import Draft

READOUT = "readout"
GATES = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "gt": "spike", "ge": "spike"}
"""Nonlinearities that an error passes back through, by the op that computes them."""
THROUGH = frozenset({"add", "sub", "mul", "neg", "cast", "flush", "reshape"})
"""Elementwise ops on the way from a layer's output to its nonlinearity."""


@dataclass(frozen=True)
class Layer:
    """A plastic layer: `weights` [out, in] is its state, `given` the state that holds its last input.

    Its output becomes, through the nonlinearity `gate`, the input of the plastic layer number `into`; -1 is for the
    read-out, whose error is that of the model. `bias` is a state too where the rule changes it.
    """

    name: str
    weights: str
    given: str
    size: tuple[int, int]
    gate: str = ""
    into: int = -1
    bias: str = ""


@dataclass(frozen=True)
class Plastic:
    """A step whose layers may learn, in the order of the data, and the state that holds its last output."""

    graph: Graph
    layers: tuple[Layer, ...]
    output: str

    @property
    def readout(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    @property
    def stateful(self) -> bool:
        """Whether the model itself carries something from step to step."""
        return any(s.reset == "reset" for s in self.graph.states)


def layer_names(graph: Graph) -> dict[str, list[Op]]:
    """The linears of a step with constant float weights, in order, by what the model calls their layer.

    Where that is not known, or several layers came from there, the name of the weights serves.
    """
    found: dict[str, list[Op]] = {}
    for op in graph.entries["step"].ops:
        if op.kind == "linear" and graph.tensors[op.inputs[1]].is_const:
            found.setdefault(op.source or op.inputs[1].partition(".weight")[0], []).append(op)
    return found


def readout_of(graph: Graph) -> Op:
    """The last linear with constant float weights whose output has the size of the model's output."""
    step = graph.entries["step"]
    size = graph.tensors[step.outputs[0]].size
    for op in reversed(step.ops):
        if op.kind != "linear" or not graph.tensors[op.inputs[1]].is_const:
            continue
        constant_addend = len(op.inputs) == 2 or graph.tensors[op.inputs[2]].is_const
        if graph.tensors[op.outputs[0]].shape == (size,) and constant_addend:
            return op
        break
    raise UnsupportedError("learning", "finds no read-out: the model does not end in W z + b")


def make_plastic(graph: Graph, names: Sequence[str], *, bias: bool = False) -> Plastic:
    """Make layers plastic, by name or `readout`: W is a state, and so is what the layer was last given.

    Raises UsageError that lists unknown names and what there is, UnsupportedError for layers from which no error can
    find back.
    """
    chosen = chosen_layers(graph, names)
    if readout_of(graph).outputs != chosen[-1].outputs:
        cause = f"plastic layers {', '.join(names)} leave the read-out fixed"
        raise UnsupportedError("learning", cause, f"name {READOUT!r} too: the error comes through it")
    gates = _gates(graph, chosen)
    draft = Draft(graph)
    step = graph.entries["step"]
    updates, given = dict(step.updates), dict[str, str]()
    swapped, layers = dict[str, str](), []
    for op in chosen:
        x, w, *addend = op.inputs
        tensor = graph.tensors[w]
        if x not in given:
            given[x] = draft.left(f"given.{x}", x)
            updates[given[x]] = x
        name = w.partition(".weight")[0]
        swapped[w] = draft.state(f"{name}.plastic", _data(graph, w), "keep")
        held = ""
        if bias and op is chosen[-1]:
            first = _data(graph, addend[0]) if addend else np.zeros(tensor.shape[0])
            held = draft.state(f"{name}.plastic.bias", np.broadcast_to(first, (tensor.shape[0],)), "keep")
        gate, into = gates[op.outputs]
        layers.append(Layer(name, swapped[w], given[x], (tensor.shape[0], tensor.shape[1]), gate, into, held))
    last = draft.left("given.output", step.outputs[0])
    updates[last] = step.outputs[0]
    biased = {chosen[-1].outputs: layers[-1].bias}
    ops = tuple(_plastic_op(op, swapped, biased.get(op.outputs, "")) for op in step.ops)
    draft.step(dataclasses.replace(step, ops=ops, updates=updates))
    return Plastic(draft.build(), tuple(layers), last)


def _plastic_op(op: Op, swapped: Mapping[str, str], bias: str) -> Op:
    if op.kind != "linear" or op.inputs[1] not in swapped:
        return op
    addend = (bias,) if bias else op.inputs[2:]
    return dataclasses.replace(op, inputs=(op.inputs[0], swapped[op.inputs[1]], *addend), attrs={})


def _data(graph: Graph, name: str) -> np.ndarray:
    tensor = graph.tensors[name]
    if tensor.data is None or tensor.dtype is not FLOAT32:
        raise UnsupportedError("learning", f"weights {name!r} are not float32")
    return tensor.data


def chosen_layers(graph: Graph, names: Sequence[str]) -> list[Op]:
    """The layers of these names in the order of the data; UsageError that lists unknown ones and what there is."""
    known, wanted, unknown = layer_names(graph), list[Op](), []
    for name in names:
        if name == READOUT:
            wanted.append(readout_of(graph))
        elif name in known:
            wanted += known[name]
        else:
            unknown.append(name)
    if unknown or not names:
        cause = f"no layer is called {', '.join(map(repr, unknown))}" if unknown else "no layer is named"
        raise UsageError("plastic layers", cause, f"there are {', '.join((READOUT, *known))}")
    order = {op.outputs: at for at, op in enumerate(graph.entries["step"].ops)}
    chosen = sorted({op.outputs: op for op in wanted}.values(), key=lambda op: order[op.outputs])
    wide = [op.inputs[1] for op in chosen if len(graph.tensors[op.inputs[0]].shape) != 1]
    if wide:
        raise UnsupportedError("plastic layers", f"{', '.join(wide)} take more than one vector in a step")
    return chosen


def _gates(graph: Graph, chosen: Sequence[Op]) -> dict[tuple[str, ...], tuple[str, int]]:
    """By outputs of each layer, the nonlinearity by which they become the input of a later one, and which that is."""
    step = graph.entries["step"]
    gates, lost = {chosen[-1].outputs: ("", -1)}, []
    for at, op in enumerate(chosen[:-1]):
        ways = {i: _gate(step, op.outputs[0], chosen[i].inputs[0]) for i in range(at + 1, len(chosen))}
        into = next((i for i, gate in ways.items() if gate is not None), None)
        if into is None:
            lost.append(f"{op.inputs[1]}: no elementwise ops lead from its output to a plastic layer")
        else:
            gates[op.outputs] = (ways[into] or "", into)
    if lost:
        raise UnsupportedError("plastic layers", "the error of the read-out does not find back to some", items=lost)
    return gates


def _gate(step: Entry, source: str, target: str) -> str | None:
    """What kind of nonlinearity leads from one value to another, '' for none; None where no way is elementwise."""
    made = {name: op for op in step.ops for name in op.outputs}
    ways, seen = [(target, "")], set()
    for name, gate in ways:  # grows while it is walked
        if name == source:
            return gate
        op = made.get(name)
        if op is None or name in seen:
            continue
        seen.add(name)
        if op.kind in GATES and not gate:
            ways.append((op.inputs[0], GATES[op.kind]))
        elif op.kind in THROUGH:
            ways += [(n, gate) for n in op.inputs]
        elif op.kind == "linear" and len(op.inputs) == 3:
            ways.append((op.inputs[2], gate))
    return None


def spikes(graph: Graph, name: str) -> bool:
    """Whether a value is one of spikes."""
    return graph.tensors[name].dtype is SPIKE
