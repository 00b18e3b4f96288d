"""A program as an ONNX graph: its step, or a Scan over time with that step as its body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.artifact.exported import state_output
from edgekit.backends.onnx.body import Body, Node, Quantisation
from edgekit.backends.onnx.program import Program
from edgekit.backends.onnx.proto import PortType, graph_proto
from edgekit.backends.onnx.rows import ROWS

STREAMS, TIME = "N", "T"  # the axes that are only known at run time
_STEP = "step/"  # before every name in the body of a Scan: names are unique over the file, as TensorRT's parser needs


@dataclass(frozen=True, eq=False)
class _Written:
    """A step as nodes; its ports are the states first, then the inputs or outputs."""

    body: Body
    inputs: list[PortType]
    outputs: list[PortType]


def _written(program: Program, prefix: str = "") -> _Written:
    graph, step = program.graph, program.graph.entries["step"]
    states = [s.tensor for s in graph.states]
    held = program.quantisation.states
    ends = [(step.updates.get(s, s), state_output(s), held.get(s)) for s in states]
    ends += [(name, name, None) for name in step.outputs]
    direct = {value: prefix + port for value, port, scale in ends if scale is None}
    body = Body(graph, program.quantisation, prefix, frozenset(map(state_output, states)), direct)
    for name in (*states, *step.inputs):
        body.take(name, prefix + name)
    body.run(ROWS)
    for value, port, scale in ends:
        body.give(value, prefix + port, scale)
    inputs = [_port(program, name, prefix + name) for name in (*states, *step.inputs)]
    outputs = [_port(program, state, prefix + state_output(state)) for state in states]
    return _Written(body, inputs, outputs + [_port(program, name, prefix + name) for name in step.outputs])


def _port(program: Program, value: str, name: str) -> PortType:
    dtype = np.int8 if value in program.quantisation.states else np.float32
    return PortType(name, (STREAMS, *program.graph.tensors[value].shape), dtype)


def step_graph(program: Program, doc: str) -> Any:
    """The GraphProto of one step: inputs, then states; outputs, then next states."""
    written, states = _written(program), len(program.graph.states)
    return graph_proto(
        program.graph.name,
        written.body.nodes,
        written.body.constants,
        inputs=_states_last(written.inputs, states),
        outputs=_states_last(written.outputs, states),
        doc=doc,
    )


def sequence_graph(program: Program, doc: str) -> Any:
    """The GraphProto of a Scan: states are its loop-carried values, inputs and outputs run along their second axis.

    A state held in int8 is one at the ports alone: a Scan of TensorRT carries floats, and its readers round it anyway.
    """
    graph, held = program.graph, program.quantisation.states
    written = _written(replace(program, quantisation=Quantisation(program.quantisation.operands)), _STEP)
    body, states = written.body, [s.tensor for s in graph.states]
    step = graph_proto(f"{graph.name}_step", body.nodes, body.constants, inputs=written.inputs, outputs=written.outputs)
    inputs = [_outside(program, port, at < len(states)) for at, port in enumerate(written.inputs)]
    outputs = [_outside(program, port, at < len(states)) for at, port in enumerate(written.outputs)]
    around = Body(graph, program.quantisation, reserved=frozenset(map(state_output, states)))
    for name in (*states, *graph.entries["step"].inputs):
        around.take(name, name)
    taken = tuple(around.value(port.name) for port in inputs)
    last = {state_output(s): around.fresh(f"{s}/last") for s in states if s in held}
    times = len(inputs) - len(states), len(outputs) - len(states)
    attrs = {
        "body": step,
        "num_scan_inputs": times[0],
        "scan_input_axes": [1] * times[0],
        "scan_output_axes": [1] * times[1],
    }
    around.nodes.append(Node("Scan", taken, tuple(last.get(port.name, port.name) for port in outputs), attrs))
    for name, scale in held.items():
        end = state_output(name)
        around.node("QuantizeLinear", last[end], *around.scale(name, scale), out=end)
    return graph_proto(
        graph.name,
        around.nodes,
        around.constants,
        inputs=_states_last(inputs, len(states)),
        outputs=_states_last(outputs, len(states)),
        doc=doc,
    )


def _states_last(ports: list[PortType], states: int) -> list[PortType]:
    return [*ports[states:], *ports[:states]]


def _outside(program: Program, port: PortType, state: bool) -> PortType:
    """A port of the step as a port of the sequence."""
    name = port.name.removeprefix(_STEP)
    if not state:
        return PortType(name, (STREAMS, TIME, *port.axes[1:]))
    held = program.quantisation.states
    stored = name in held or name in map(state_output, held)
    return PortType(name, port.axes, np.int8 if stored else np.float32)
