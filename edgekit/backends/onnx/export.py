"""A graph as an ONNX file: one step with its states as ports, or a whole sequence as a Scan over that step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.artifact.exported import KEY, Quantised, dump_step_document, state_output, step_document
from edgekit.backends.onnx.body import Body, Node
from edgekit.backends.onnx.program import Program, make_program
from edgekit.backends.onnx.proto import PortType, graph_proto, model_bytes
from edgekit.backends.onnx.rows import ROWS
from edgekit.compress.calibrate import Calibration
from edgekit.errors import UsageError
from edgekit.ir import INT8, Graph

FORMS = ("step", "sequence")
FORM_KEY = "edgekit.form"
STREAMS, TIME = "N", "T"  # the axes that are only known at run time
_STEP = "step/"  # before every name in the body of a Scan: names are unique over the file, as TensorRT's parser needs


def export_onnx(
    graph: Graph,
    *,
    meta: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    form: str = "step",
    calibration: Calibration | None = None,
) -> bytes:
    """The ONNX file of an optimised float graph (`passes.pipelines.OPTIMISE`, before `LOWER`).

    `step` takes inputs [N, …] and a state of each name, and gives outputs and `<state>.next`. `sequence` takes inputs
    [N, T, …] and first states, and gives outputs [N, T, …] and last states. `meta` is the io section as `check_meta`
    gives it; `int8` needs the calibration of this graph. The file has passed onnx.checker with full shape inference.

    Raises UnsupportedError with everything that has no ONNX form, UsageError for options that do not fit.
    """
    if form not in FORMS:
        raise UsageError(f"ONNX form {form!r}", "is not known", f"known are {', '.join(FORMS)}")
    program = make_program(graph, precision, calibration)
    held = program.quantisation.states
    document = step_document(
        program.graph,
        meta=meta or {},
        precision=precision,
        dtypes=dict.fromkeys(held, INT8),
        quant={name: Quantised(scale) for name, scale in held.items()},
    )
    document["graph_sha256"] = graph.hash()  # of what was given, whatever was rewritten for the file
    proto = _step(program) if form == "step" else _sequence(program)
    properties = {KEY: dump_step_document(document).decode(), FORM_KEY: form}
    return model_bytes(proto, properties=properties, doc=_doc(program.graph, form))


def _doc(graph: Graph, form: str) -> str:
    time = "a step" if graph.dt is None else f"a step of {graph.dt:g} s"
    what = f"{time} for each of N streams" if form == "step" else f"T times {time} for each of N streams"
    return f"{graph.name}: {what}; states are inputs and outputs, the property {KEY!r} says which"


@dataclass(frozen=True, eq=False)
class _Written:
    """A step as nodes; its ports are the states first, then the inputs or outputs."""

    body: Body
    inputs: list[PortType]
    outputs: list[PortType]


def _written(program: Program, prefix: str = "") -> _Written:
    graph, step = program.graph, program.graph.entries["step"]
    states = [s.tensor for s in graph.states]
    ends = [(step.updates.get(s, s), prefix + state_output(s)) for s in states]
    ends += [(name, prefix + name) for name in step.outputs]
    held = program.quantisation.states
    direct = {
        value: port for (value, port), state in zip(ends, [*states, *step.outputs], strict=True) if state not in held
    }
    body = Body(graph, program.quantisation, prefix, frozenset(map(state_output, states)), direct)
    for name in (*states, *step.inputs):
        body.take(name, prefix + name)
    body.run(ROWS)
    for (value, port), state in zip(ends, [*states, *[""] * len(step.outputs)], strict=True):
        body.give(value, port, held.get(state))
    inputs = [_port(program, name, prefix + name) for name in (*states, *step.inputs)]
    outputs = [_port(program, state, prefix + state_output(state)) for state in states]
    return _Written(body, inputs, outputs + [_port(program, name, prefix + name) for name in step.outputs])


def _port(program: Program, value: str, name: str) -> PortType:
    dtype = np.int8 if value in program.quantisation.states else np.float32
    return PortType(name, (STREAMS, *program.graph.tensors[value].shape), dtype)


def _step(program: Program) -> Any:
    written, states = _written(program), len(program.graph.states)
    return graph_proto(
        program.graph.name,
        written.body.nodes,
        written.body.constants,
        inputs=_states_last(written.inputs, states),
        outputs=_states_last(written.outputs, states),
        doc=_doc(program.graph, "step"),
    )


def _sequence(program: Program) -> Any:
    """One Scan node: the states are its loop-carried values, inputs and outputs run along their second axis."""
    written, states = _written(program, _STEP), len(program.graph.states)
    name, body = program.graph.name, written.body
    step = graph_proto(f"{name}_step", body.nodes, body.constants, inputs=written.inputs, outputs=written.outputs)
    inputs = [_outside(port, at >= states) for at, port in enumerate(written.inputs)]
    outputs = [_outside(port, at >= states) for at, port in enumerate(written.outputs)]
    scan = Node(
        "Scan",
        tuple(p.name for p in inputs),
        tuple(p.name for p in outputs),
        {
            "body": step,
            "num_scan_inputs": len(inputs) - states,
            "scan_input_axes": [1] * (len(inputs) - states),
            "scan_output_axes": [1] * (len(outputs) - states),
        },
    )
    return graph_proto(
        name,
        [scan],
        {},
        inputs=_states_last(inputs, states),
        outputs=_states_last(outputs, states),
        doc=_doc(program.graph, "sequence"),
    )


def _states_last(ports: list[PortType], states: int) -> list[PortType]:
    return [*ports[states:], *ports[:states]]


def _outside(port: PortType, timed: bool) -> PortType:
    """A port of the step as a port of the sequence."""
    axes = (STREAMS, TIME, *port.axes[1:]) if timed else port.axes
    return PortType(port.name.removeprefix(_STEP), axes, port.dtype)
