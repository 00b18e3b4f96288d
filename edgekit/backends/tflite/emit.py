"""The step of a float graph as a TFLite model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.artifact.exported import step_document
from edgekit.backends.tflite import contract, elementwise, movement
from edgekit.backends.tflite.context import Context
from edgekit.backends.tflite.step_end import STEP, finished
from edgekit.backends.tflite.variables import Variables
from edgekit.backends.tflite.writer import ModelWriter
from edgekit.ir import SPIKE, Graph
from edgekit.passes.flush import flush_states
from edgekit.passes.legalize import legalize

ROWS = {**elementwise.ROWS, **movement.ROWS, **contract.ROWS}
SUPPORTED = frozenset(ROWS)


def legal_step(graph: Graph) -> Graph:
    """The step in ops that there are rows for; UnsupportedError lists all that is left.

    States are flushed as in every program. A convolution over three axes goes by windows: TFLite-Micro has none.
    """
    volumes = any(op.kind == "conv" and len(op.attrs["stride"]) == 3 for _, op in graph.ops())
    return flush_states(legalize(graph, SUPPORTED - {"conv"} if volumes else SUPPORTED, "TFLite"))


def emit_float(graph: Graph, *, meta: Mapping[str, Any], precision: str, resource: bool) -> bytes:
    """The bytes of a model of an optimised float graph, its weights float32 or int8 as they are in it."""
    legal, model = legal_step(graph), ModelWriter()
    step, states = legal.entries[STEP], legal.states
    to = model.subgraph(STEP)
    context = Context(legal, to)
    inputs = {name: context.port(name, context.shape(name)) for name in step.inputs}
    document = step_document(graph, meta=meta, precision=precision)
    variables = Variables(model, context, document) if resource and states else None
    if variables:
        variables.read()
    for state in states:
        name = state.tensor
        if variables is None:
            inputs[name] = context.port(name, context.shape(name))
        context.set_real(name, variables.values[name] if variables else inputs[name])
    for name in step.inputs:
        if legal.tensors[name].dtype is SPIKE:  # any number but zero is a spike
            context.set_flag(name, context.spike(inputs[name]))
        else:
            context.set_real(name, inputs[name])
    for op in step.ops:
        context.begin(op)
        ROWS[op.kind](context, op)
    names = zip(graph.entries[STEP].outputs, step.outputs, strict=True)
    outputs = {port: context.output(value) for port, value in names}
    following = {s.tensor: step.updates.get(s.tensor, s.tensor) for s in states}
    ends = {s: context.output(v) for s, v in following.items() if not variables or s != v}
    return finished(model, to, document, inputs=inputs, outputs=outputs, following=ends, variables=variables)
